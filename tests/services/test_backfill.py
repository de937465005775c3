"""Backfill: complete where the venue is, honest where it is not, and never asking twice for what is stored."""

from __future__ import annotations

import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, PERP, START, ListConnector, Notes, kline, trade
from zvt_crypto.domain.errors import Banned, Malformed, Refused, Throttled, UnknownSymbol, Unreachable
from zvt_crypto.domain.market import Funding, Gap, MarkPrice
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.services.backfill import Backfill, BackfillOptions

MIN = NS_PER_MINUTE
LIVE = START + 1000 * MIN


def klines_of(*minutes: int):
    return [kline(m) for m in minutes]


class Desk:
    def __init__(self, **lists) -> None:
        self.venue = ListConnector(now_ns=LIVE, **lists)
        self.store, self.notes = MemoryStore(), Notes()
        self.backfill = Backfill(self.venue, self.store, VirtualClock(), self.notes, BackfillOptions(batch_rows=100, read_rows=50))
        self.told: list[tuple[int, int | None, int]] = []

    def progress(self, done, total, rows) -> None:
        self.told.append((done, total, rows))

    def opens(self) -> list[int]:
        return sorted((k.open_ns - START) // MIN for k in self.store.bars.values())

    def ids(self) -> list[int]:
        return sorted(int(t.trade_id) for t in self.store.ticks.values())


def test_klines_are_fetched_from_the_listing_to_the_last_closed_one():
    async def go():
        desk = Desk(klines=klines_of(*range(400)))
        desk.venue.now_ns = START + 400 * MIN + 1
        report = await desk.backfill.klines("BTCUSDT", "1m", progress=desk.progress)
        assert desk.opens() == list(range(400))
        assert (report.rows, report.absent, report.is_complete) == (400, [], True)
        assert desk.told[-1] == (400, 400, 400)
        assert all(done <= total for done, total, _ in desk.told)

    virtual.run(go())


def test_a_second_run_asks_only_for_what_is_missing():
    async def go():
        desk = Desk(klines=klines_of(*range(300)))
        await desk.store.upsert(klines_of(*range(100), *range(150, 300)), 0)
        report = await desk.backfill.klines("BTCUSDT", "1m", START, START + 300 * MIN)
        assert desk.venue.calls == [("klines", START + 100 * MIN, START + 150 * MIN)]
        assert (report.rows, desk.opens()) == (50, list(range(300)))
        await desk.backfill.klines("BTCUSDT", "1m", START, START + 300 * MIN)
        assert len(desk.venue.calls) == 1

    virtual.run(go())


def test_an_interrupted_backfill_goes_on_where_it_was():
    async def go():
        desk = Desk(klines=klines_of(*range(300)))
        desk.venue.hook = lambda: desk.venue.fails.append(Refused("enough")) if len(desk.venue.calls) == 2 else None
        with pytest.raises(Refused):
            await desk.backfill.klines("BTCUSDT", "1m", START, START + 300 * MIN)
        assert desk.opens() == list(range(100))
        desk.venue.hook = lambda: None
        report = await desk.backfill.klines("BTCUSDT", "1m", START, START + 300 * MIN)
        assert (report.rows, desk.opens()) == (200, list(range(300)))

    virtual.run(go())


def test_what_the_venue_does_not_have_is_reported_not_invented():
    async def go():
        desk = Desk(klines=klines_of(*range(10, 20), *range(25, 30)))
        report = await desk.backfill.klines("BTCUSDT", "1m", START, START + 40 * MIN)
        spans = [((a - START) // MIN, (b - START) // MIN) for a, b in report.absent]
        assert spans == [(0, 10), (20, 25), (30, 40)]
        assert not report.is_complete
        assert len(desk.opens()) == 15

    virtual.run(go())


def test_a_forming_kline_is_not_kept():
    async def go():
        desk = Desk(klines=[*klines_of(0, 1), kline(2, final=False)])
        await desk.backfill.klines("BTCUSDT", "1m", START, START + 3 * MIN)
        assert desk.opens() == [0, 1]

    virtual.run(go())


def test_throttled_unreachable_and_html_answers_are_asked_again():
    async def go():
        desk = Desk(klines=klines_of(*range(10)))
        desk.venue.fails = [Throttled("429", 5_000), Unreachable("502"), Malformed("<html>"), Throttled("429", 1)]
        report = await desk.backfill.klines("BTCUSDT", "1m", START, START + 10 * MIN)
        assert (report.rows, len(desk.venue.calls)) == (10, 5)

    virtual.run(go())


def test_each_wait_is_told_at_once_with_its_reason_and_length():
    async def go():
        desk = Desk(klines=klines_of(*range(10)))
        desk.venue.fails = [Banned("HTTP 418: banned", 300_000), Malformed("answered '<html>'")]
        await desk.backfill.klines("BTCUSDT", "1m", START, START + 10 * MIN)
        told = [fields for _, event, fields in desk.notes.notes if event == "venue_waits"]
        assert told[0] == {"reason": "HTTP 418: banned", "wait_s": 300.0}
        assert told[1]["reason"] == "answered '<html>'"

    virtual.run(go())


def test_answers_that_cannot_be_read_are_asked_for_a_few_times_only():
    async def go():
        desk = Desk()
        desk.venue.fails = [Malformed(f"answered '<html>' {n}") for n in range(1_000)]
        with pytest.raises(Malformed, match="<html>' 3"):
            await desk.backfill.klines("BTCUSDT", "1m", START, START + 10 * MIN)
        assert len(desk.venue.calls) == 4

    virtual.run(go())


def test_patience_ends():
    async def go():
        desk = Desk()
        desk.venue.fails = [Throttled("banned", 3_600_000)]
        with pytest.raises(Throttled):
            await desk.backfill.klines("BTCUSDT", "1m", START, START + 10 * MIN)
        desk.venue.hook = lambda: desk.venue.fails.append(Unreachable("down"))
        with pytest.raises(Unreachable):
            await desk.backfill.klines("BTCUSDT", "1m", START, START + 10 * MIN)

    virtual.run(go())


def test_an_unknown_symbol_is_named():
    async def go():
        with pytest.raises(UnknownSymbol):
            await Desk().backfill.klines("NOPE", "1m", START)

    virtual.run(go())


def test_trades_of_a_range_are_fetched_by_id_and_stored_ones_are_not_asked_for():
    async def go():
        desk = Desk(trades=[trade(n) for n in range(500)])
        await desk.store.append([trade(n) for n in [*range(100, 180), *range(250, 300)]], 0)
        report = await desk.backfill.trades("BTCUSDT", START + 50 * 10**9, START + 400 * 10**9, desk.progress)
        assert desk.ids() == list(range(50, 400))
        assert report.rows == 350 - 130
        assert report.is_complete
        asked = [(first, last) for what, _, first, last in desk.venue.calls if what == "trades"]
        assert asked == [(None, None), (50, 99), (180, 249), (300, None)]
        assert desk.told[-1] == (350_000, 350_000, 220)

    virtual.run(go())


def test_trade_ids_that_the_venue_lacks_are_reported():
    async def go():
        desk = Desk(trades=[trade(n) for n in range(100) if n not in (40, 41, 60)])
        await desk.store.append([trade(0), trade(99)], 0)
        report = await desk.backfill.trades("BTCUSDT", START, START + 100 * 10**9)
        assert desk.ids() == [n for n in range(100) if n not in (40, 41, 60)]
        assert report.absent == [(trade(39).event_ns, trade(42).event_ns), (trade(59).event_ns, trade(61).event_ns)]

    virtual.run(go())


def test_a_range_without_trades_is_no_error():
    async def go():
        report = await Desk().backfill.trades("BTCUSDT", START, START + MIN)
        assert (report.rows, report.absent) == (0, [])

    virtual.run(go())


def test_funding_and_marks_are_stored_once():
    async def go():
        desk = Desk()
        desk.venue.funding = [Funding(PERP, START + n * 8 * 60 * MIN, 0.0001) for n in range(3)]
        desk.venue.marks = [MarkPrice(PERP, START + n * MIN, 1.0, 1.0, None, None) for n in range(2 * 1440)]
        for _ in range(2):
            report = await desk.backfill.funding(PERP)
            assert (report.noun, report.rows, len(desk.store.paid)) == ("funding", 3, 3)
        first = await desk.backfill.mark(PERP, START, START + 2880 * MIN, desk.progress)
        again = await desk.backfill.mark(PERP, START, START + 2880 * MIN)
        assert (first.rows, again.rows, len(desk.store.marks)) == (2880, 0, 2880)
        assert desk.told[-1] == (2880, 2880, 2880)

    virtual.run(go())


def test_open_gaps_are_healed_and_hopeless_ones_stay_open():
    async def go():
        desk = Desk(klines=klines_of(*range(10)), trades=[trade(n) for n in range(100) if n != 70])
        by_id = Gap(BTC, "trade", START, START + 10**9, 10, 19, "x", None)
        lost = Gap(BTC, "trade", START + 1, START + 10**9, 69, 71, "x", None)
        by_time = Gap(BTC, "trade", START + 30 * 10**9, START + 40 * 10**9, None, None, "x", None)
        minutes = Gap(BTC, "kline", START, START + 5 * MIN, None, None, "x", None, interval=Interval.MIN_1)
        book = Gap(BTC, "book", START, START + 5 * MIN, None, None, "x", None)
        other = Gap("cryptopair_okx_btcusdt", "trade", START, START, 1, 1, "x", None)
        await desk.store.save_gaps([by_id, lost, by_time, minutes, book, other], 0)
        assert await desk.backfill.heal() == 3
        still = [(g.channel, g.first_id, g.instrument) for g in await desk.store.read_gaps(open_only=True)]
        assert still == [("trade", 69, BTC), ("book", None, BTC), ("trade", 1, "cryptopair_okx_btcusdt")]
        assert set(desk.ids()) >= {*range(10, 20), *range(30, 40), 69, 71}
        assert desk.opens() == [0, 1, 2, 3, 4]
        desk.venue.fails = [Refused("no")] * 2
        assert await desk.backfill.heal() == 0

    virtual.run(go())


HUGE = 9 * 10**18


def test_a_gap_of_ids_that_no_market_makes_is_healed_by_its_time():
    async def go():
        desk = Desk(trades=[trade(n) for n in range(100)])
        await desk.store.append([trade(n) for n in (*range(10), *range(13, 20))], 0)
        await desk.store.append([trade(HUGE, trade(10).event_ns)], 0)
        await desk.store.save_gaps([Gap(BTC, "trade", trade(9).event_ns, trade(13).event_ns, 10, HUGE - 1, "x", None)], 0)
        assert await desk.backfill.heal() == 1
        assert set(desk.ids()) >= {10, 11, 12}
        assert len(desk.venue.calls) <= 6
        assert await desk.store.read_gaps(open_only=True) == []

    virtual.run(go())


def test_ids_that_the_venue_does_not_have_cost_two_questions_however_many():
    async def go():
        desk = Desk(trades=[trade(n) for n in (0, 1, 2, 400_000, 400_001)])
        gap = Gap(BTC, "trade", START, START + 400_001 * 10**9, 1, 400_001, "x", None)
        await desk.store.save_gaps([gap], 0)
        assert await desk.backfill.heal() == 0
        assert desk.ids() == [1, 2, 400_000, 400_001]
        assert len(desk.venue.calls) <= 4

    virtual.run(go())


def test_a_large_gap_is_healed_in_passes_and_starves_no_other():
    async def go():
        desk = Desk(trades=[trade(n) for n in range(30_000)], klines=klines_of(*range(15_000)))
        desk.backfill._options = BackfillOptions(batch_rows=5_000, heal_rows=10_000)
        large = Gap(BTC, "trade", START, trade(25_000).event_ns, 1, 24_999, "x", None)
        unknown = Gap(BTC, "trade", START + 1, trade(24_000).event_ns, None, None, "x", None)
        minutes = Gap(BTC, "kline", START, START + 12_000 * MIN, None, None, "x", None, interval=Interval.MIN_1)
        small = Gap(BTC, "trade", trade(28_000).event_ns, trade(28_010).event_ns, 28_001, 28_009, "x", None)
        await desk.store.save_gaps([large, unknown, minutes, small], 0)
        desk.venue.now_ns = START + 20_000 * MIN
        assert await desk.backfill.heal() == 1
        assert set(desk.ids()) >= {10_000, 28_001, 28_009}
        assert len(desk.ids()) < 21_000
        assert len(desk.opens()) == 10_000
        passes = 1
        while await desk.store.read_gaps(open_only=True):
            await desk.backfill.heal()
            passes += 1
        assert passes == 3
        assert set(desk.ids()) >= set(range(1, 25_000))
        assert desk.opens() == list(range(12_000))

    virtual.run(go())


def test_a_venue_that_is_away_ends_the_pass():
    async def go():
        desk = Desk(trades=[trade(n) for n in range(100)])
        await desk.store.save_gaps([Gap(BTC, "trade", START + n, START + 10**9, n, n, "x", None) for n in range(1, 4)], 0)
        desk.backfill._options = BackfillOptions(patience_s=5.0)
        desk.venue.fails = [Unreachable("away")] * 1_000
        assert await desk.backfill.heal() == 0
        assert len([note for note in desk.notes.notes if note[1] == "gap_not_healed"]) == 1

    virtual.run(go())
