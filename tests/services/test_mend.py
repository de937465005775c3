"""A corrected minute reaches the longer klines that were made of it, whenever it comes; a venue's own is left as it is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, START, ListConnector, Notes, kline, trade
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.services.backfill import Backfill
from zvt_crypto.services.bars import BarOptions, BarService
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.mend import rerolled
from zvt_crypto.services.record import Recorder
from zvt_crypto.venues.clock import SystemClock

MIN = NS_PER_MINUTE
FIVE = Interval.MIN_5
BEFORE = trade(0, START - 1_000_000_000)  # shows that the run reaches back beyond the first minute


class Bench:
    """Bars and a recorder on one feed. Trades are one a second, with prices 100 to 106."""

    def __init__(self, *lengths: Interval) -> None:
        self.store, self.feed, self.notes = MemoryStore(), MemoryFeed(), Notes()
        options, clock = BarOptions(intervals=lengths or (FIVE,)), VirtualClock()
        self.bars = BarService([ListConnector(now_ns=START)], self.feed, self.store, clock, self.notes, options)
        self.recorder = Recorder(self.feed, self.store, clock, self.notes)

    @asynccontextmanager
    async def running(self):
        tasks = [asyncio.create_task(self.bars.run()), asyncio.create_task(self.recorder.run())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def trades(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.feed.publish(trade(number) if number else BEFORE)
        await asyncio.sleep(1)

    async def publish(self, *klines: Kline) -> None:
        for one in klines:
            self.feed.publish(one)
        await asyncio.sleep(60)

    def served(self, length: Interval = FIVE, open_ns: int = START) -> Kline:
        return self.store.bars[BTC, length, open_ns]


def corrected(minute: int, high: float = 200.0) -> Kline:
    return Kline(BTC, Interval.MIN_1, START + minute * MIN, 100.0, high, 100.0, 101.0, 30.0, 3000.0, 60, True, "venue")


def same(minute: Kline) -> Kline:
    """The same minute as the venue tells it."""
    return Kline(*(getattr(minute, f) for f in minute.__struct_fields__[:11]), "venue")


def test_a_minute_that_the_venue_corrects_rebuilds_what_was_derived_of_it():
    async def go():
        async with Bench().running() as bench:
            await bench.trades(0, 400)
            before = bench.served()
            assert (before.source, before.high, before.trades) == ("derived", 106.0, 299)
            await bench.publish(corrected(2))
            after = bench.served()
            assert (after.source, after.final, after.high, after.trades) == ("derived", True, 200.0, 299)
            assert (after.open, after.close) == (before.open, before.close)

    virtual.run(go())


def test_a_minute_that_says_the_same_as_ours_touches_nothing():
    async def go():
        async with Bench().running() as bench:
            await bench.trades(0, 400)
            await asyncio.sleep(2_000)  # the span before START, of which we saw a second, is given up
            asked = bench.store.calls
            minutes = [bench.served(Interval.MIN_1, START + n * MIN) for n in range(5)]
            heard = bench.feed.subscribe("test", bound=100, when_full="fail", kinds=(Kline,))
            await bench.publish(*map(same, minutes))
            assert [k.source for k in await heard.receive()] == ["venue"] * 5
            assert bench.store.calls == asked + 1  # the recorder's

    virtual.run(go())


def test_a_minute_corrected_before_its_span_closes_is_in_it():
    async def go():
        async with Bench().running() as bench:
            await bench.trades(0, 200)
            await bench.publish(corrected(1))
            await bench.trades(200, 400)
            await asyncio.sleep(10)
            assert (bench.served().high, bench.served().source) == (200.0, "derived")

    virtual.run(go())


def test_a_venues_minute_that_came_before_ours_and_says_something_else_counts():
    async def go():
        async with Bench().running() as bench:
            await bench.trades(0, 130)
            await bench.publish(corrected(2))  # while minute 2 still forms for us
            await bench.trades(130, 400)
            await asyncio.sleep(60)
            assert bench.served().high == 200.0

    virtual.run(go())


def test_what_forms_goes_on_while_a_part_is_doubted():
    async def go():
        async with Bench().running() as bench:
            await bench.trades(0, 130)
            await bench.publish(corrected(1))
            heard = bench.feed.subscribe("test", bound=100, when_full="fail", kinds=(Kline,))
            await bench.trades(130, 150)
            assert FIVE in {k.interval for k in await heard.receive() if not k.final}

    virtual.run(go())


def test_weeks_and_months_follow_a_corrected_day():
    async def go():
        day, week = Interval.DAY_1, Interval.WEEK_1
        monday = START - 3 * NS_PER_DAY  # START is a Thursday
        async with Bench(day, week).running() as bench:
            days = [kline(n * 1440, interval=day, close=1.5) for n in (-3, -2, -1, 1, 2, 3)]
            minutes = [kline(n, source="trades") for n in range(1440)]
            await bench.store.upsert([*days, *minutes], 0)
            made = await rerolled(bench.store, BTC, day, START, START + 1)
            await bench.store.upsert(made, 0)
            await bench.store.upsert(await rerolled(bench.store, BTC, week, monday, monday + 1), 0)
            assert (bench.served(week, monday).high, bench.served(week, monday).trades) == (2.0, 3 * 6 + 3 * 1440)
            bench.feed.publish(trade(5 * 86_400))  # state is rebuilt here
            await asyncio.sleep(2)
            await bench.publish(corrected(100))
            await asyncio.sleep(60)
            assert bench.served(day).high == 200.0
            assert bench.served(week, monday).high == 200.0

    virtual.run(go())


def test_a_database_that_is_away_delays_a_correction_only():
    async def go():
        async with Bench().running() as bench:
            await bench.trades(0, 400)
            bench.store.is_down = True
            await bench.publish(corrected(2))
            assert "bars_wait" in [name for _, name, _ in bench.notes.notes]
            bench.store.is_down = False
            await asyncio.sleep(60)
            assert bench.served().high == 200.0

    virtual.run(go())


@pytest.mark.parametrize("source", ["derived", "venue"])
async def test_a_backfill_that_changes_minutes_rebuilds_and_keeps_what_differs_from_the_venues_own(
    listed_store, sql: asyncpg.Connection, source
):
    await listed_store.klines.upsert([kline(n, final=n != 2) for n in range(5)], START)
    await listed_store.klines.upsert([kline(0, source=source, interval=FIVE, close=1.5)], START)
    venue = ListConnector(now_ns=START + 10 * MIN, klines=[kline(2, close=1.9), kline(4)])
    await Backfill(venue, listed_store, SystemClock(), Notes()).klines(BTC, "1m", START, START + 5 * MIN)  # type: ignore[arg-type]
    (stored,) = await listed_store.klines.read(BTC, FIVE)
    kept = [tuple(row) for row in await sql.fetch("SELECT volume, source, served FROM kline_revision WHERE slug = '5m'")]
    if source == "derived":
        assert (stored.volume, stored.trades, stored.source) == (50.0, 15, "derived")
        assert kept == [(10.0, 1, True)]
    else:
        assert (stored.volume, stored.source) == (10.0, "venue")
        assert kept == [(50.0, 1, False)]
