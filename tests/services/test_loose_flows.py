"""Venues whose trade ids show no holes, followed live, restarted and backfilled: everything once, or a gap that says where not."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import msgspec
import pytest

from services.loose_venue import LooseVenue
from services.memory_store import MemoryStore
from services.service_parts import BTC, START, Notes, trade, unordered
from zvt_crypto.domain.errors import Refused
from zvt_crypto.domain.market import Gap, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.engine.holes import Holes
from zvt_crypto.ports import Subscription
from zvt_crypto.services.backfill import Backfill, BackfillOptions
from zvt_crypto.services.bars import BarOptions
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.platform import Platform, PlatformOptions

MAKE = {"dense": trade, "increasing": lambda n: trade(3 * n, START + n * NS_PER_S), "opaque": unordered}
every = pytest.mark.parametrize("kind", ["dense", "increasing", "opaque"])
loose = pytest.mark.parametrize("kind", ["increasing", "opaque"])
OPTIONS = PlatformOptions(
    ingest=IngestOptions(page_rows=10, patience_s=5.0, silence_floor_s=500.0, first_data_s=500.0, silence_cap_s=900.0),
    bars=BarOptions(intervals=(Interval.MIN_5,)),
    heal_s=1e6,
)


class Market:
    """The venue, and processes that follow it one after another."""

    def __init__(self, kind: str, newest: int | None = None) -> None:
        self.make = MAKE[kind]
        self.venue = LooseVenue(now_ns=START, continuity=kind, newest=newest)  # type: ignore[arg-type]
        self.store, self.notes = MemoryStore(), Notes()
        self.told: list[Trade | Gap] = []

    @asynccontextmanager
    async def followed(self, ingest: IngestOptions | None = None):
        options = OPTIONS if ingest is None else PlatformOptions(ingest=ingest, heal_s=1e6)
        wanted = [Subscription(BTC, "trade")]
        platform = Platform([self.venue], wanted, self.store, VirtualClock(), self.notes, options=options, rng=random.Random(1))  # type: ignore[list-item, arg-type]
        heard = platform.feed.subscribe("test", bound=100_000, when_full="fail", kinds=(Trade, Gap))
        task = asyncio.create_task(platform.run())
        await asyncio.sleep(1)
        try:
            yield self
            await asyncio.sleep(20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.told += await heard.receive() if heard.pending() else []

    async def trade(self, *numbers: int) -> None:
        for number in numbers:
            self.venue.trade(self.make(number))
            await asyncio.sleep(0.02)

    async def outage(self, *numbers: int) -> None:
        """Trades that nobody hears."""
        self.venue.is_away = True
        self.venue.cut()
        await self.trade(*numbers)
        self.venue.is_away = False
        await asyncio.sleep(10)

    async def heal(self) -> int:
        options = BackfillOptions(batch_rows=100, read_rows=50, patience_s=5.0)
        return await Backfill(self.venue, self.store, VirtualClock(), self.notes, options).heal()  # type: ignore[arg-type]

    def published(self) -> list[int]:
        return [(t.event_ns - START) // NS_PER_S for t in self.told if isinstance(t, Trade)]

    def stored(self) -> list[int]:
        return sorted((t.event_ns - START) // NS_PER_S for t in self.store.ticks.values())

    def open_gaps(self) -> list[tuple[int, int]]:
        """(last trade before, first after)."""
        return [
            ((g.start_ns - START) // NS_PER_S, (g.end_ns - 1 - START) // NS_PER_S) for g in self.store.gaps.values() if not g.filled_from
        ]

    def filled_gaps(self) -> list[tuple[int, int]]:
        return [((g.start_ns - START) // NS_PER_S, (g.end_ns - START) // NS_PER_S) for g in self.store.gaps.values() if g.filled_from]

    def finals(self) -> list[int]:
        minutes = (k for k in self.store.bars.values() if k.final and k.interval is Interval.MIN_1)
        return sorted((k.open_ns - START) // NS_PER_MINUTE for k in minutes)


@every
def test_what_passed_while_nobody_listened_is_fetched_and_told_in_order(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(10))
            await market.outage(*range(10, 45))  # more than three pages
            await market.trade(*range(45, 60))
        assert market.published() == list(range(60))
        assert market.stored() == list(range(60))
        assert market.open_gaps() == []
        assert market.filled_gaps() == [(9, 44)]

    virtual.run(go())


@every
def test_a_restart_goes_on_where_the_store_ends(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(10))
        await market.outage(*range(10, 35))
        async with market.followed():
            await market.trade(*range(35, 50))
        assert market.stored() == list(range(50))
        assert market.published() == list(range(50))
        assert market.open_gaps() == []

    virtual.run(go())


@loose
def test_what_the_venue_has_no_more_is_flagged_from_trade_to_trade(kind):
    async def go():
        market = Market(kind, newest=8)
        async with market.followed():
            await market.trade(*range(10))
            await market.outage(*range(10, 30))
            await market.trade(*range(30, 40))
        assert market.published() == [*range(10), *range(22, 40)]
        assert market.open_gaps() == [(9, 22)]
        assert await market.heal() == 0
        assert market.open_gaps() == [(9, 22)]

    virtual.run(go())


@loose
def test_a_short_outage_within_the_venues_past_leaves_no_gap(kind):
    async def go():
        market = Market(kind, newest=12)
        async with market.followed():
            await market.trade(*range(10))
            await market.outage(*range(10, 18))
            await market.trade(*range(18, 30))
        assert (market.stored(), market.open_gaps()) == (list(range(30)), [])

    virtual.run(go())


@loose
def test_a_refusal_flags_the_gap_with_the_next_trade_and_healing_closes_it(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(10))
            market.venue.hook = lambda: market.venue.fails.append(Refused("needs a key"))
            await market.outage(*range(10, 20))
            assert market.open_gaps() == []
            await market.trade(20)
            await asyncio.sleep(1)
            await market.trade(21)
        assert market.published() == [*range(10), 20, 21]
        assert market.open_gaps() == [(9, 20)]
        market.venue.hook = lambda: None
        assert await market.heal() == 1
        assert (market.stored(), market.open_gaps()) == (list(range(22)), [])

    virtual.run(go())


@loose
def test_healing_a_part_leaves_the_rest_flagged(kind):
    async def go():
        market = Market(kind, newest=15)
        async with market.followed():
            await market.trade(*range(10))
            market.venue.newest = 4
            await market.outage(*range(10, 20))
            await market.trade(20, 21)
        assert market.open_gaps() == [(9, 16)]
        market.venue.newest = 7
        assert await market.heal() == 0
        assert market.open_gaps() == [(9, 15)]
        assert market.stored() == [*range(10), *range(15, 22)]
        market.venue.newest = None
        assert await market.heal() == 1
        assert (market.stored(), market.open_gaps()) == (list(range(22)), [])

    virtual.run(go())


@loose
def test_a_wished_start_is_fetched_from_there_or_flagged(kind):
    async def go():
        ingest = IngestOptions(page_rows=10, trades_since_ns=START + 5 * NS_PER_S)
        for newest, stored, gaps in ((None, list(range(5, 40)), []), (10, list(range(20, 40)), [(5, 20)])):
            market = Market(kind, newest=newest)
            await market.trade(*range(30))
            async with market.followed(ingest):
                await market.trade(*range(30, 40))
            assert (market.stored(), market.open_gaps()) == (stored, gaps)

    virtual.run(go())


@loose
def test_a_quiet_market_is_no_hole(kind):
    async def go():
        market = Market(kind, newest=50)
        await market.trade(0)
        async with market.followed(IngestOptions(trades_since_ns=START + 7_200 * NS_PER_S)):
            await market.trade(9_000)
        assert (market.stored(), market.open_gaps()) == ([9_000], [])

    virtual.run(go())


@every
def test_what_is_too_old_to_catch_up_is_flagged(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(10))
        await market.outage(*range(10, 35))
        ingest = IngestOptions(page_rows=10, max_catch_up_s=10.0)
        async with market.followed(ingest):
            await market.trade(*range(35, 40))
        assert market.stored() == [*range(10), *range(24, 40)]
        assert [(a, b + 1) for a, b in market.open_gaps()] == [(9, 24)]
        assert await market.heal() == 1
        assert market.stored() == list(range(40))

    virtual.run(go())


@every
def test_minutes_over_a_hole_are_not_final_and_the_others_are(kind):
    async def go():
        market = Market(kind, newest=5)
        async with market.followed():
            await market.trade(*range(150))
            if kind == "dense":
                market.venue.trades.clear()
            await market.outage(*range(150, 170))
            if kind == "dense":
                market.venue.trades.clear()
            await market.trade(*range(170, 400))
        assert market.finals() == [1, 3, 4, 5]  # 0 began unheard; the hole lies in 2

    virtual.run(go())


@loose
def test_a_restart_within_a_minute_makes_it_whole_and_one_over_a_hole_does_not(kind):
    async def go():
        for newest, finals in ((None, [1, 2, 3, 4]), (3, [1, 3, 4])):
            market = Market(kind, newest=newest)
            async with market.followed():
                await market.trade(*range(150))
            await market.outage(*range(150, 160))
            async with market.followed():
                await market.trade(*range(160, 170))
            async with market.followed():  # once more, after the hole was stored
                await market.trade(*range(170, 310))
            assert market.finals() == finals

    virtual.run(go())


@loose
def test_trades_that_were_dropped_are_healed_by_time(kind):
    async def go():
        market = Market(kind)
        await market.trade(*range(30))
        holes = Holes()
        for number in (10, 11, 14):
            holes.add([market.make(number)])
            await market.store.append([market.make(n) for n in range(30) if n not in (10, 11, 14)], 0)
        await market.store.save_gaps(holes.taken(), 0)
        assert await market.heal() == 1
        assert market.stored() == list(range(30))

    virtual.run(go())


@loose
def test_several_pages_of_one_instant_are_walked_through(kind):
    async def go():
        market = Market(kind)
        first = market.make(1)
        same = [msgspec.structs.replace(market.make(n), event_ns=first.event_ns) for n in range(2, 60)]
        async with market.followed():
            await market.trade(0, 1)
            market.venue.is_away = True
            market.venue.cut()
            for trade_of in same:
                market.venue.trade(trade_of)
            market.venue.is_away = False
            await asyncio.sleep(10)
            await market.trade(60, 61)
        assert [t.trade_id for t in market.told if isinstance(t, Trade)] == [t.trade_id for t in market.venue.trades]
        assert market.open_gaps() == []

    virtual.run(go())


@loose
def test_a_backfill_says_where_the_venues_past_ends(kind):
    async def go():
        market = Market(kind)
        await market.trade(*range(100))
        backfill = Backfill(market.venue, market.store, VirtualClock(), market.notes)  # type: ignore[arg-type]
        whole = await backfill.trades(BTC, START + 10 * NS_PER_S, START + 90 * NS_PER_S)
        assert (whole.rows, whole.absent, market.stored()) == (80, [], list(range(10, 90)))
        market.venue.newest = 30
        part = await backfill.trades(BTC, START, START + 90 * NS_PER_S)
        assert part.absent == [(START, START + 70 * NS_PER_S + 1)]
        none = await backfill.trades(BTC, START, START + 10 * NS_PER_S)
        assert (none.rows, none.absent) == (0, [(START, START + 10 * NS_PER_S)])

    virtual.run(go())


@loose
def test_random_cuts_lose_nothing_untold(kind):
    async def go():
        for seed in range(12):
            rng = random.Random(seed)
            market = Market(kind, newest=rng.choice([None, 4, 15, 60]))
            at = 0
            for _ in range(3):
                async with market.followed():
                    for _ in range(4):
                        lost = rng.randrange(25)
                        await market.trade(*range(at, at + 15))
                        await market.outage(*range(at + 15, at + 15 + lost))
                        at += 15 + lost
                    await market.trade(at)
                    at += 1
            assert market.published() == market.stored(), seed  # in order, each once
            holes = market.open_gaps()
            for missing in set(range(at)) - set(market.stored()):
                assert any(before < missing < after for before, after in holes), (seed, missing)
            for before, after in holes:
                assert not set(range(before + 1, after)) & set(market.stored()), (seed, before, after)

    virtual.run(go())


@every
def test_what_waits_when_it_ends_is_stored_and_what_may_be_missing_before_it_is_flagged(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(10))
        await market.trade(*range(10, 15))
        market.venue.answer_s = 600.0
        options = PlatformOptions(ingest=IngestOptions(page_rows=10), heal_s=1e6)
        platform = Platform([market.venue], [Subscription(BTC, "trade")], market.store, VirtualClock(), market.notes, options=options)  # type: ignore[list-item, arg-type]
        task = asyncio.create_task(platform.run())
        await asyncio.sleep(1)
        await market.trade(*range(15, 20))
        assert market.stored() == list(range(10))
        drained = asyncio.create_task(platform.drained())
        await asyncio.sleep(5)
        assert not drained.done()
        platform.stop()
        await task
        assert market.stored() == [*range(10), *range(15, 20)]
        assert len(market.open_gaps()) == 1
        market.venue.answer_s = 0.0
        assert await market.heal() == 1
        assert market.stored() == list(range(20))

    virtual.run(go())


@every
def test_an_outage_that_outlasts_us_stays_an_open_gap_until_the_next_start_closes_it(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(10))
            market.venue.is_away = True
            market.venue.cut()
        (gap,) = market.store.gaps.values()
        last = market.venue.trades[-1]
        ended = START + 21 * NS_PER_S
        assert (gap.start_ns, gap.filled_from, gap.reason) == (last.event_ns, None, "ended while the connection was lost")
        assert ended <= gap.end_ns < ended + NS_PER_S
        assert gap.first_id == (10 if kind == "dense" else None)

        async with market.followed():  # the venue is away still: the same gap reaches further
            pass
        assert [(g.start_ns, g.end_ns > gap.end_ns) for g in market.store.gaps.values()] == [(gap.start_ns, True)]

        market.venue.is_away = False
        await market.trade(*range(10, 45))
        async with market.followed():
            await market.trade(*range(45, 50))
        assert market.stored() == list(range(50))
        assert (market.open_gaps(), market.filled_gaps()) == ([], [(9, 44)])

    virtual.run(go(), start_ns=START)


@every
def test_an_outage_that_outlasts_us_and_in_which_nothing_was_traded_is_healed(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(3))
            market.venue.is_away = True
            market.venue.cut()
        market.venue.is_away = False
        await asyncio.sleep(60)
        for number in range(3, 6):
            later = msgspec.structs.replace(market.make(number), event_ns=START + (90 + number) * NS_PER_S)
            market.venue.trade(later)
        assert await market.heal() == 1
        assert market.open_gaps() == []

    virtual.run(go(), start_ns=START)


@every
def test_who_ends_while_the_connection_stands_or_at_the_end_of_a_recording_leaves_no_gap(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            await market.trade(*range(5))
            await market.outage(*range(5, 8))
            await market.trade(8)
        assert market.open_gaps() == []
        async with market.followed(IngestOptions(of_recording="midway")):
            await market.trade(9)
            market.venue.is_away = True
            market.venue.cut()
        assert market.open_gaps() == []

    virtual.run(go(), start_ns=START)


def test_a_recording_whose_ids_rise_has_nothing_before_it():
    async def go():
        market = Market("increasing")
        await market.trade(*range(30))
        async with market.followed(IngestOptions(page_rows=10, trades_since_ns=START - NS_PER_MINUTE, of_recording="midway")):
            await market.trade(*range(30, 40))
        assert (market.stored(), market.open_gaps()) == (list(range(40)), [])

    virtual.run(go())


def test_a_recording_without_an_order_begins_with_its_first_trade_or_says_what_it_cannot_show():
    async def go():
        for played, stored, gaps in (("begin", list(range(30, 40)), 0), ("midway", list(range(20, 40)), 1)):
            market = Market("opaque", newest=10)
            await market.trade(*range(30))
            async with market.followed(IngestOptions(page_rows=10, trades_since_ns=START - NS_PER_MINUTE, of_recording=played)):  # type: ignore[arg-type]
                await market.trade(*range(30, 40))
            assert (market.stored(), len(market.open_gaps())) == (stored, gaps)

    virtual.run(go())


@every
def test_a_first_trade_whose_time_is_long_past_is_not_stored_under_it(kind):
    async def go():
        market = Market(kind)
        async with market.followed():
            wrong = msgspec.structs.replace(market.make(7), event_ns=START - 2 * 3_600 * NS_PER_S)
            market.venue.streams[0].send(wrong)
            await asyncio.sleep(1)
            for number in (8, 9):
                market.venue.trade(market.make(number))
        return market

    market = virtual.run(go())
    trades = [event for event in market.told if isinstance(event, Trade)]
    assert [trade.event_ns for trade in trades] == [START + number * NS_PER_S for number in (8, 9)]
    if kind != "dense":
        assert market.notes.counts["trades_disbelieved"] == 1
        assert [fields["at"] for _, name, fields in market.notes.notes if name == "trade_disbelieved"] == ["2024-08-07T22:00:00.000Z"]
