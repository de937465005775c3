"""Holes of mark prices and of funding: told, filled where the venue has them, and healed later where it did not answer."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from services.memory_store import MemoryStore
from services.service_parts import PERP, START, ListConnector, Notes
from zvt_crypto.domain.errors import Unreachable, Unsupported
from zvt_crypto.domain.market import Funding, Gap, MarkPrice
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.ports import Subscription
from zvt_crypto.services.backfill import Backfill, BackfillOptions
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.funding import FundingPoll
from zvt_crypto.services.ingest import Ingest
from zvt_crypto.services.markflow import MarkFlow
from zvt_crypto.services.options import IngestOptions

HOUR_8 = 8 * 3600 * NS_PER_S


def mark(second: float) -> MarkPrice:
    return MarkPrice(PERP, START + int(second * NS_PER_S), 1.0, None, None, None)


def settled(number: int) -> Funding:
    return Funding(PERP, START + number * HOUR_8, 0.0001 * number)


class Flow:
    def __init__(self, minutes: list[int], last_ns: int | None = None, **options) -> None:
        self.venue, self.notes, self.out = ListConnector(now_ns=START), Notes(), []  # type: ignore[var-annotated]
        self.venue.marks = [mark(60 * minute) for minute in minutes]
        self.flow = MarkFlow(
            self.venue, PERP, self.out.append, VirtualClock(), self.notes, IngestOptions(**options), random.Random(1), last_ns  # type: ignore[arg-type]
        )  # fmt: skip

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.flow.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def gaps(self) -> list[tuple[int, int, str | None]]:
        return [((g.start_ns - START) // NS_PER_S, (g.end_ns - START) // NS_PER_S, g.filled_from) for g in self.out if isinstance(g, Gap)]

    def seconds(self) -> list[int]:
        return [(m.event_ns - START) // NS_PER_S for m in self.out if isinstance(m, MarkPrice)]


def test_a_hole_of_the_stream_is_told_and_filled_by_minutes():
    async def go():
        async with Flow(list(range(20))).running() as flow:
            for second in (1, 2, 61, 310, 311):
                flow.flow.on_mark(mark(second))
            assert flow.gaps() == [(61, 310, None)]  # before the venue is asked
            assert flow.seconds() == [1, 2, 61, 310, 311]  # live ones do not wait
            await asyncio.sleep(10)
            assert flow.gaps() == [(61, 310, None), (61, 310, "rest")]
            assert flow.seconds()[5:] == [120, 180, 240, 300]

    virtual.run(go())


def test_what_was_stored_before_the_start_begins_the_hole():
    async def go():
        async with Flow(list(range(20)), last_ns=START).running() as flow:
            flow.flow.on_mark(mark(200))
            await asyncio.sleep(10)
            assert flow.gaps()[-1] == (0, 200, "rest")
            assert flow.seconds() == [200, 60, 120, 180]

    virtual.run(go())


@pytest.mark.parametrize(
    ("minutes", "fails", "reason"),
    [
        ([1, 3], [], "the venue does not have 1 of the minutes"),
        ([], [Unsupported("no mark price of the past")], "no mark price of the past"),
        ([], [Unreachable("down")] * 500, "down"),
    ],
)
def test_a_hole_that_the_venue_cannot_fill_stays_an_open_gap(minutes, fails, reason):
    async def go():
        async with Flow(minutes).running() as flow:
            flow.venue.fails = list(fails)
            flow.flow.on_mark(mark(1))
            flow.flow.on_mark(mark(200))
            await asyncio.sleep(600)
            assert flow.gaps() == [(1, 200, None)]
            assert [f["reason"] for _, name, f in flow.notes.notes if name == "marks_not_filled"] == [reason]

    virtual.run(go())


def test_a_hole_of_long_ago_is_told_and_left_to_backfill():
    async def go():
        async with Flow([], max_catch_up_s=3600.0).running() as flow:
            flow.flow.on_mark(mark(0))
            flow.flow.on_mark(mark(7200))
            await asyncio.sleep(60)
            assert (flow.gaps(), flow.venue.calls) == ([(0, 7200, None)], [])

    virtual.run(go())


def test_a_mark_that_comes_late_makes_no_hole():
    async def go():
        flow = Flow([])
        for second in (100, 10, 101):
            flow.flow.on_mark(mark(second))
        assert (flow.gaps(), flow.seconds()) == ([], [100, 10, 101])

    virtual.run(go())


# ── funding ──


async def polled(last_ns: int | None, now_ns: int) -> tuple[ListConnector, list[object]]:
    venue, feed = ListConnector(now_ns=now_ns), MemoryFeed()
    reader = feed.subscribe("r", bound=1_000, when_full="fail")
    venue.funding = [settled(n) for n in range(-10, 400)]
    task = asyncio.create_task(FundingPoll(venue, PERP, feed, VirtualClock(), Notes(), 600.0, last_ns).run())  # type: ignore[arg-type]
    await asyncio.sleep(1)
    task.cancel()
    return venue, await reader.receive()


def test_funding_begins_after_what_is_stored():
    async def go():
        now_ns = START + 60 * NS_PER_DAY
        venue, told = await polled(settled(3).event_ns, now_ns)
        assert venue.calls == [("funding", settled(3).event_ns + 1, None)]
        assert told[0] == settled(4)
        venue, told = await polled(None, now_ns)
        assert venue.calls == [("funding", now_ns - 3 * NS_PER_DAY + 1, None)]

    virtual.run(go())


def test_funding_that_nobody_looked_at_for_a_season_is_a_gap():
    async def go():
        now_ns = START + 120 * NS_PER_DAY
        venue, told = await polled(settled(3).event_ns, now_ns)
        begin_ns = now_ns - 90 * NS_PER_DAY
        assert venue.calls == [("funding", begin_ns + 1, None)]
        gap = told[0]
        assert isinstance(gap, Gap)
        assert (gap.channel, gap.start_ns, gap.end_ns, gap.filled_from) == ("funding", settled(3).event_ns, begin_ns, None)

    virtual.run(go())


def test_the_ingest_knows_the_newest_stored_settlement_and_mark():
    async def go():
        store, venue = MemoryStore(), ListConnector(now_ns=START + 200 * NS_PER_DAY)
        await store.save_funding([settled(1), settled(2)], 0)
        await store.save_mark([mark(1), mark(2)], 0)
        ingest = Ingest(venue, [], MemoryFeed(), store, VirtualClock(), Notes())  # type: ignore[arg-type]
        await ingest._make_flow(Subscription(PERP, "mark"), venue.now_ns)
        assert ingest._funding[PERP]._stored_ns == settled(2).event_ns
        assert ingest._marks[PERP]._last_ns == mark(2).event_ns
        ingest.take(mark(300))
        assert len(ingest._marks[PERP]._holes) == 1

    virtual.run(go())


# ── heal ──


class Desk:
    def __init__(self, gap: Gap, **options) -> None:
        self.venue, self.store, self.notes, self.gap = ListConnector(now_ns=START + 100 * NS_PER_DAY), MemoryStore(), Notes(), gap
        self.backfill = Backfill(self.venue, self.store, VirtualClock(), self.notes, BackfillOptions(**options))  # type: ignore[arg-type]

    async def heal(self) -> tuple[int, int]:
        await self.store.save_gaps([self.gap], 0)
        return await self.backfill.heal(), len(await self.store.read_gaps(open_only=True))


def gap_of(channel: str, start_ns: int, end_ns: int) -> Gap:
    return Gap(PERP, channel, start_ns, end_ns, None, None, "why", None)  # type: ignore[arg-type]


def test_gaps_of_marks_are_healed_when_each_minute_has_a_row():
    async def go():
        desk = Desk(gap_of("mark", mark(61).event_ns, mark(310).event_ns))
        await desk.store.save_mark([mark(61), mark(310)], 0)
        desk.venue.marks = [mark(60 * minute) for minute in (2, 3, 5)]
        assert await desk.heal() == (0, 1)  # the fourth is not there
        desk.venue.marks = [mark(60 * minute) for minute in range(10)]
        assert await desk.heal() == (1, 0)
        assert {at // NS_PER_MINUTE for _, at in desk.store.marks} >= {(START // NS_PER_MINUTE) + n for n in range(1, 6)}

    virtual.run(go())


def test_a_dropped_mark_is_healed_by_its_minute_and_a_long_gap_in_passes():
    async def go():
        one = Desk(gap_of("mark", mark(61).event_ns, mark(61).event_ns + 1))
        one.venue.marks = [mark(60)]
        assert await one.heal() == (1, 0)
        long = Desk(gap_of("mark", START, START + 3 * NS_PER_DAY), heal_rows=1_000)
        long.venue.marks = [mark(60 * minute) for minute in range(3 * 1440)]
        assert [await long.backfill.heal() for _ in range(1)] == [0]
        assert await long.heal() == (0, 1)
        assert len(long.store.marks) == 1440
        assert await long.heal() == (0, 1)
        assert await long.heal() == (1, 0)

    virtual.run(go())


def test_gaps_of_funding_are_healed_where_the_venue_reaches_back_before_them():
    async def go():
        desk = Desk(gap_of("funding", settled(3).event_ns, settled(90).event_ns))
        desk.venue.funding = [settled(n) for n in range(50, 90)]
        assert await desk.heal() == (0, 1)
        desk.venue.funding = [settled(n) for n in range(90)]
        assert await desk.heal() == (1, 0)
        assert len(desk.store.paid) == 90

    virtual.run(go())


def test_gaps_of_books_stay():
    async def go():
        assert await Desk(gap_of("book", START, START + 60 * NS_PER_S)).heal() == (0, 1)

    virtual.run(go())
