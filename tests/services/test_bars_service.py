"""Klines from live trades, beside the venue's own and without them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec

from services.memory_store import MemoryStore
from services.service_parts import BTC, START, ListConnector, Notes, kline, trade, unordered
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.engine.bars import klines_from_trades
from zvt_crypto.services.bars import BarOptions, BarService
from zvt_crypto.services.feed import MemoryFeed

BEFORE = trade(0, START - 1_000_000_000)  # shows that the run reaches back beyond the first minute


class Bench:
    def __init__(self, store: MemoryStore | None = None, continuity="dense", **options) -> None:
        self.store = store or MemoryStore()
        self.feed, self.notes = MemoryFeed(), Notes()
        self.heard = self.feed.subscribe("test", bound=100_000, when_full="fail", kinds=(Kline,))
        desk = ListConnector(now_ns=START, continuity=continuity)
        self.service = BarService([desk], self.feed, self.store, VirtualClock(), self.notes, BarOptions(**options))

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.service.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def klines(self, *, final: bool, source: str | None = None, settle_s: float = 0.3) -> list[Kline]:
        await asyncio.sleep(settle_s)
        events = await self.heard.receive() if self.heard.pending() else []
        return [k for k in events if k.final == final and source in (None, k.source)]


def minutes(klines: list[Kline]) -> list[int]:
    return [(k.open_ns - START) // NS_PER_MINUTE for k in klines]


def test_a_minute_is_final_when_a_later_trade_closes_it():
    async def go():
        async with Bench().running() as bench:
            for number in range(30, 200):  # a trade a second from 00:00:30 to 00:03:19
                bench.feed.publish(trade(number))
            finals = await bench.klines(final=True, source="trades")
            assert minutes(finals) == [1, 2]  # the first is torn: we came into it
            assert [k.trades for k in finals] == [60, 60]
            assert bench.notes.counts["bars_torn"] == 1

    virtual.run(go())


def test_longer_klines_come_out_with_their_last_minute():
    async def go():
        async with Bench().running() as bench:
            for number in range(10 * 60 + 1):
                bench.feed.publish(trade(number))
            finals = await bench.klines(final=True, source="derived")
            assert [(k.interval, m) for k, m in zip(finals, minutes(finals), strict=True)] == [(Interval.MIN_5, 5)]
            assert finals[0].trades == 300

    virtual.run(go())


def test_forming_klines_are_told_at_most_four_times_a_second():
    async def go():
        async with Bench(intervals=()).running() as bench:
            bench.feed.publish(BEFORE)
            for number in range(1, 401):
                bench.feed.publish(trade(number, START + number * 10_000_000))
                await asyncio.sleep(0.01)
            forming = await bench.klines(final=False)
            assert 14 <= len(forming) <= 17  # in 4 s
            assert forming[-1].trades == 400

    virtual.run(go())


def test_forming_klines_are_silent_while_the_venue_speaks_and_finals_are_not():
    async def go():
        async with Bench().running() as bench:
            bench.feed.publish(kline(0, final=False))
            bench.feed.publish(BEFORE)
            for number in range(1, 200):
                bench.feed.publish(trade(number))
            await asyncio.sleep(0.3)
            events = await bench.heard.receive()
            ours = [k for k in events if k.source != "venue"]
            # A Thursday's midnight: the week and the month began before we listened.
            assert {k.interval for k in ours if not k.final} == set(Interval) - {Interval.MIN_1, Interval.WEEK_1, Interval.MONTH_1}
            assert minutes([k for k in ours if k.final]) == [0, 1, 2]

    virtual.run(go())


def test_a_fetched_kline_silences_nothing():
    async def go():
        async with Bench(intervals=()).running() as bench:
            bench.feed.publish(BEFORE)
            bench.feed.publish(kline(-2))
            bench.feed.publish(trade(1))
            assert [k.source for k in await bench.klines(final=False)] == ["trades"]

    virtual.run(go())


def test_a_venue_that_fell_silent_is_replaced_by_ours():
    async def go():
        async with Bench(intervals=(), venue_quiet_s=5.0).running() as bench:
            bench.feed.publish(kline(0, final=False))
            bench.feed.publish(BEFORE)
            bench.feed.publish(trade(1))
            assert [k.source for k in await bench.klines(final=False)] == ["venue"]
            await asyncio.sleep(6)
            bench.feed.publish(trade(2))
            assert [k.source for k in await bench.klines(final=False)] == ["trades"]

    virtual.run(go())


def test_a_part_of_a_kline_is_not_told_as_the_forming_one():
    async def go():
        async with Bench().running() as bench:
            for number in range(30, 90):  # from the middle of a minute on
                bench.feed.publish(trade(number))
            forming = await bench.klines(final=False)
            assert [(k.interval, m) for k, m in zip(forming, minutes(forming), strict=True)] == [(Interval.MIN_1, 1)]

    virtual.run(go())


def test_only_the_stream_that_feeds_bars_counts():
    async def go():
        async with Bench(intervals=()).running() as bench:
            bench.feed.publish(trade(1, stream="agg"))
            bench.feed.publish(trade(1, instrument="cryptopair_okx_btcusdt"))
            assert await bench.klines(final=False) == []

    virtual.run(go())


def test_a_hole_leaves_its_minutes_without_a_final_kline():
    async def go():
        async with Bench().running() as bench:
            for number in [*range(100), *range(130, 300)]:
                if number == 130:
                    bench.feed.publish(Gap(BTC, "trade", 0, 0, 100, 129, "x", None))
                bench.feed.publish(trade(number))
            assert minutes(await bench.klines(final=True)) == [3]

    virtual.run(go())


def test_a_hole_in_ids_that_jump_is_known_from_the_gap_alone():
    async def go():
        async with Bench(intervals=(), continuity="increasing").running() as bench:
            for number in range(0, 400, 3):
                if number == 150:
                    between = trade(147).event_ns, trade(150).event_ns + 1
                    bench.feed.publish(Gap(BTC, "trade", *between, None, None, "x", None))
                bench.feed.publish(trade(number))
            # 00:01 is whole without trades 60, 61, ...; the gap lies between 147 and 150, in 00:02
            assert minutes(await bench.klines(final=True, settle_s=6)) == [1, 3, 4, 5]

    virtual.run(go())


def test_the_open_minute_and_longer_spans_are_rebuilt_from_the_store():
    async def go():
        store = MemoryStore()
        await store.append([trade(n) for n in range(200)], 0)
        await store.upsert([kline(m, source="trades") for m in (0, 1, 2)], 0)
        async with Bench(store, read_rows=7).running() as bench:
            for number in range(200, 301):
                bench.feed.publish(trade(number))
            finals = await bench.klines(final=True, settle_s=2)
            assert [(k.interval, m) for k, m in zip(finals, minutes(finals), strict=True)] == [
                (Interval.MIN_1, 3),
                (Interval.MIN_1, 4),
                (Interval.MIN_5, 0),
            ]
            assert finals[0].trades == 60
            assert finals[2].trades == 3 + 3 + 3 + 60 + 60

    virtual.run(go())


def test_what_closed_but_was_not_stored_is_published_again():
    async def go():
        store = MemoryStore()
        await store.append([trade(n) for n in range(200)], 0)
        await store.upsert([kline(0, source="trades")], 0)
        async with Bench(store).running() as bench:
            bench.feed.publish(trade(200))
            assert minutes(await bench.klines(final=True, settle_s=2)) == [1, 2]

    virtual.run(go())


def test_a_rebuild_waits_for_a_recorder_that_is_behind():
    async def go():
        store = MemoryStore()
        await store.append([trade(n) for n in range(100)], 0)
        async with Bench(store).running() as bench:
            bench.feed.publish(trade(150))
            await asyncio.sleep(1)
            await store.append([trade(n) for n in range(100, 150)], 0)
            await asyncio.sleep(1)
            for number in range(151, 181):
                bench.feed.publish(trade(number))
            await asyncio.sleep(1)
            assert minutes(await bench.klines(final=True)) == [1, 2]
            forming = bench.service._bars[BTC].trades.forming
            assert forming is not None
            assert forming.open_ns == START + 180 * NS_PER_S

    virtual.run(go())


def test_a_rebuild_waits_for_a_store_that_is_away():
    async def go():
        store = MemoryStore()
        store.is_down = True
        async with Bench(store).running() as bench:
            for number in range(200):
                bench.feed.publish(trade(number))
            await asyncio.sleep(3)
            assert bench.service.pending() == 0 or bench.service._bars == {}
            store.is_down = False
            assert minutes(await bench.klines(final=True, settle_s=2)) == [1, 2]

    virtual.run(go())


def test_bars_that_fell_behind_begin_again():
    async def go():
        async with Bench(bound=10).running() as bench:
            for number in range(50):
                bench.feed.publish(trade(number))
            await asyncio.sleep(1)
            for number in range(50, 55):
                bench.feed.publish(trade(number))
            await asyncio.sleep(1)
            assert [name for _, name, _ in bench.notes.notes] == ["bars_rebuilt"]
            forming = bench.service._bars[BTC].trades.forming
            assert forming is not None
            assert forming.trades == 5

    virtual.run(go())


def test_a_longer_kline_that_we_came_into_is_made_of_the_stored_minutes():
    async def go():
        async with Bench(intervals=(Interval.MIN_5,)).running() as bench:
            await bench.store.klines.upsert([kline(minute, final=True) for minute in range(5)], START)  # the venue's own
            for number in range(30, 6 * 60):  # our trades begin in the middle of the first minute
                bench.feed.publish(trade(number))
            made = await bench.klines(final=True, source="derived", settle_s=10.0)
            assert [(k.interval, k.open_ns) for k in made] == [(Interval.MIN_5, START)]

    virtual.run(go())


def test_a_longer_kline_whose_minutes_are_not_all_stored_stays_away():
    async def go():
        async with Bench(intervals=(Interval.MIN_5,)).running() as bench:
            await bench.store.klines.upsert([kline(minute, final=True) for minute in (0, 1, 2, 4)], START)
            for number in range(30, 6 * 60):
                bench.feed.publish(trade(number))
            assert await bench.klines(final=True, source="derived", settle_s=2000.0) == []

    virtual.run(go())


def test_what_stored_trades_closed_and_nobody_stored_is_built_without_a_further_trade():
    async def go():
        store = MemoryStore()
        await store.append([trade(n) for n in range(301)], 0)
        async with Bench(store).running() as bench:
            await bench.service.catch_up([BTC, "cryptopair_binance_ethusdt"])
            finals = await bench.klines(final=True, settle_s=1)
            assert [m for k, m in zip(finals, minutes(finals), strict=True) if k.interval is Interval.MIN_1] == [1, 2, 3, 4]
            await bench.service.catch_up([BTC])
            bench.feed.publish(trade(301))
            assert await bench.klines(final=True) == []

    virtual.run(go())


class SlowStore(MemoryStore):
    """Thinks before it answers."""

    async def read(self, instrument: str, *args: object, **named: object) -> list:  # type: ignore[type-arg]
        await asyncio.sleep(0.2)
        return await super().read(instrument, *args, **named)


def test_a_hole_that_is_told_while_stored_trades_are_looked_at_is_no_silence():
    async def go():
        store = SlowStore()
        trades = [unordered(n) for n in range(700)]
        await store.append(trades[:66], 0)
        async with Bench(store, continuity="opaque", intervals=()).running() as bench:
            looking = asyncio.create_task(bench.service.catch_up([BTC]))
            await asyncio.sleep(0.3)
            bench.feed.publish(Gap(BTC, "trade", trades[65].event_ns, trades[430].event_ns + 1, None, None, "x", None))
            await looking
            for each in trades[430:]:
                bench.feed.publish(each)
            assert minutes(await bench.klines(final=True, settle_s=6)) == [8, 9, 10]

    virtual.run(go())


def test_a_hole_of_the_store_reaches_over_the_trades_that_are_in_it():
    async def go():
        store = MemoryStore()
        await store.append([unordered(n) for n in range(500) if n < 66 or n in (70, 400) or n >= 430], 0)
        await store.save_gaps([Gap(BTC, "trade", START + 65 * NS_PER_S, START + 430 * NS_PER_S + 1, None, None, "x", None)], 0)
        async with Bench(store, continuity="opaque", intervals=()).running() as bench:
            for number in range(500, 700):
                bench.feed.publish(unordered(number))
            assert minutes(await bench.klines(final=True, settle_s=6)) == [8, 9, 10]

    virtual.run(go())


def test_a_minute_that_is_stored_is_not_made_worse_of_trades_whose_order_nobody_knows():
    async def go():
        store = MemoryStore()
        came = [msgspec.structs.replace(unordered(n, START + n // 5 * 10 * NS_PER_S), price=100.0 + n % 5) for n in range(80)]
        await store.append(came[:60], 0)
        held = [k for k in klines_from_trades(came[:61], continuity="opaque") if k.final]
        await store.upsert(held, 0)
        async with Bench(store, continuity="opaque", intervals=(Interval.MIN_5,)).running() as bench:
            await bench.service.catch_up([BTC])
            for each in came[60:]:
                bench.feed.publish(each)
            assert await bench.klines(final=True, settle_s=6) == []
            assert await store.read(BTC, Interval.MIN_1) == held

    virtual.run(go())
