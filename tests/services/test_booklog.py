"""Books in full: what the log says of an instant is what a live book was, or that nobody knows."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.log_parts import Desk, dated, live_at, logged_at
from stores_fixtures import PAIR, START
from zvt_crypto.domain.booklog import BookSegment
from zvt_crypto.domain.errors import ConstraintViolated, StoreError, StoreUnavailable
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S
from zvt_crypto.engine.booklog import SegmentLog, book_at, events_of
from zvt_crypto.services.booklog import rebuild_book

S = NS_PER_S


class Shelf:
    """ports.BookLogStore in memory, that may be told to fail."""

    def __init__(self) -> None:
        self.rows: list[BookSegment] = []
        self.is_down = False
        self.wrong = 0  # the start of a segment that is refused

    async def save(self, segments, known_at_ns: int) -> None:
        if self.is_down:
            raise StoreUnavailable("the store is down")
        if any(segment.start_ns == self.wrong for segment in segments):
            raise ConstraintViolated("the store refuses a segment")
        self.rows += segments

    async def segment_at(self, instrument: str, at_ns: int) -> BookSegment | None:
        return next((s for s in self.rows if s.instrument == instrument and s.start_ns <= at_ns < s.until_ns), None)

    async def segments(self, instrument: str, start_ns: int, end_ns: int) -> list[BookSegment]:
        return [s for s in self.rows if s.start_ns < end_ns and s.until_ns > start_ns]


def market(seed: int, count: int) -> list[BookEvent]:
    """A book that moves, breaks now and then, and comes back."""
    rng, made, valid = random.Random(seed), [], False
    for number in range(1, count + 1):
        chance = rng.random()
        if not valid or chance < 0.02:
            levels = [(float(rng.randrange(50, 100)), 1.0 + n) for n in range(8)]
            asks = [(float(rng.randrange(101, 150)), 2.0 + n) for n in range(8)]
            ends = (50.0, 150.0) if chance < 0.3 else (None, None)
            made.append(BookSnapshot(PAIR.id, number, list(dict(levels).items()), list(dict(asks).items()), START + number, 0, *ends))
            valid = True
        elif chance < 0.04:
            made.append(BookStale(PAIR.id, f"gap {number}", START + number))
            valid = False
        else:
            bids = [(float(rng.randrange(50, 100)), rng.choice([0.0, 1.5, 2.5]))]
            asks = [(float(rng.randrange(101, 150)), rng.choice([0.0, 1.5]))] if chance < 0.5 else []
            made.append(BookDelta(PAIR.id, number, number, number - 1, bids, asks, START + number))
    return made


@pytest.mark.parametrize("seed", range(6))
async def test_any_instant_is_what_the_live_book_was(seed):
    rng, shelf = random.Random(seed), Shelf()
    events = dated(market(seed, 600), START)
    async with Desk(shelf, span_s=rng.choice([0.5, 3.0, 60.0]), most_events=rng.choice([7, 50, 1000])).running() as desk:
        await desk.hear(events)
        desk.clock.ns += 5 * S
    last_ns = events[-1].recv_ns
    for at_ns in [rng.randrange(START, last_ns + 3 * S) for _ in range(150)] + [START, last_ns]:
        assert await logged_at(shelf, at_ns) == live_at(events, at_ns), f"seed {seed}, {at_ns - START} ns in"
    assert await logged_at(shelf, START - 1) is None
    starts, untils = [s.start_ns for s in shelf.rows], [s.until_ns for s in shelf.rows]
    assert starts[1:] == untils[:-1]  # nothing between two segments
    assert len(shelf.rows) > 1


async def test_events_of_a_book_that_was_followed_before_begin_with_the_live_book():
    shelf, events = Shelf(), dated(market(1, 200), START)
    async with Desk(shelf, events[:100]).running() as desk:
        await desk.hear(events[100:])
    assert await logged_at(shelf, events[99].recv_ns) is None
    assert await logged_at(shelf, events[150].recv_ns) == live_at(events, events[150].recv_ns)


async def test_a_log_that_falls_behind_says_nothing_of_what_it_lost_and_begins_anew():
    shelf, events = Shelf(), dated([e for e in market(3, 400) if not isinstance(e, BookStale)], START)
    async with Desk(shelf, bound=50).running() as desk:
        await desk.hear(events[:40])
        for event in events[40:200]:  # nobody reads meanwhile
            desk.clock.ns = event.recv_ns
            desk.feed.publish(event)
        await asyncio.sleep(0.01)
        await desk.hear(events[200:])
        desk.clock.ns += S
    assert await logged_at(shelf, events[30].recv_ns) == live_at(events, events[30].recv_ns)
    assert await logged_at(shelf, events[120].recv_ns) is None
    assert await logged_at(shelf, events[300].recv_ns) == live_at(events, events[300].recv_ns)
    assert desk.notes.counts["book_log_broken"] == 1


async def test_a_quiet_book_is_logged_on_and_a_stale_one_stays_stale():
    shelf = Shelf()
    first = BookSnapshot(PAIR.id, 1, [(99.0, 1.0)], [(101.0, 1.0)], START, START)
    gone = BookStale(PAIR.id, "lost", START + 40 * S, START + 40 * S)
    async with Desk(shelf, span_s=10).running() as desk:
        await desk.hear([first])
        for second in (12, 24, 36):
            desk.clock.ns = START + second * S
            await asyncio.sleep(0.02)
        await desk.hear([gone])
        for second in (52, 64):
            desk.clock.ns = START + second * S
            await asyncio.sleep(0.02)
    assert [await logged_at(shelf, START + at * S) for at in (0, 15, 39)] == [first] * 3
    assert [await logged_at(shelf, START + at * S) for at in (40, 55, 63)] == ["lost"] * 3
    assert len(shelf.rows) >= 5


async def test_segments_wait_for_a_store_that_is_away_up_to_a_bound():
    shelf, events = Shelf(), dated(market(5, 500), START)
    shelf.is_down = True
    async with Desk(shelf, most_events=10, waiting_bytes=3_000).running() as desk:
        await desk.hear(events)
        await asyncio.sleep(0.02)
        assert desk.log._waiting_bytes <= 3_000
        assert desk.notes.counts["book_log_dropped"] > 0
        assert [event for _, event, _ in desk.notes.notes] == ["book_log_waits"]
        shelf.is_down = False
        await asyncio.sleep(0.02)
    assert await logged_at(shelf, events[5].recv_ns) is None
    assert await logged_at(shelf, events[-1].recv_ns) == live_at(events, events[-1].recv_ns)


async def test_a_segment_that_the_store_refuses_stops_no_other():
    shelf, events = Shelf(), dated(market(5, 200), START)
    shelf.is_down = True
    async with Desk(shelf, most_events=10).running() as desk:
        await desk.hear(events)
        shelf.wrong = desk.log._waiting[3].start_ns
        shelf.is_down = False
        await asyncio.sleep(0.03)
        assert not desk.log._waiting
    assert [(level, event) for level, event, _ in desk.notes.notes] == [("warning", "book_log_waits"), ("error", "book_segment_refused")]
    assert await logged_at(shelf, shelf.wrong) is None
    assert await logged_at(shelf, shelf.wrong - 1) == live_at(events, shelf.wrong - 1)
    assert await logged_at(shelf, events[-1].recv_ns) == live_at(events, events[-1].recv_ns)


async def test_what_no_store_takes_at_the_end_is_told():
    shelf = Shelf()
    shelf.is_down = True
    desk = Desk(shelf, stop_s=0.0)
    async with desk.running():
        await desk.hear(dated(market(5, 20), START))
    assert ("error", "book_log_lost") in [(level, event) for level, event, _ in desk.notes.notes]


async def test_segments_come_back_from_the_database_as_they_were(listed_store):
    store, shelf, events = listed_store.book_log, Shelf(), dated(market(2, 300), START + NS_PER_DAY // 3 + 7)
    for target in (store, shelf):
        async with Desk(target, most_events=40).running() as desk:
            await desk.hear(events)
    found = await store.segments(PAIR.id, START, START + NS_PER_DAY)
    assert list(found) == shelf.rows
    middle = shelf.rows[3]
    assert await store.segments(PAIR.id, middle.start_ns, middle.start_ns + 1) == [middle]
    for at_ns, segment in ((middle.start_ns, middle), (middle.until_ns - 1, middle), (middle.until_ns, shelf.rows[4])):
        assert await store.segment_at(PAIR.id, at_ns) == segment
    assert await store.segment_at(PAIR.id, shelf.rows[-1].until_ns) is None
    assert await store.segment_at("cryptopair_binance_nobody", middle.start_ns) is None
    await store.save(shelf.rows[:2], START)  # again
    await store.save([], START)
    assert len(await store.segments(PAIR.id, START, START + NS_PER_DAY)) == len(shelf.rows)


async def test_a_damaged_segment_is_refused_by_name():
    shelf = Shelf()
    log = SegmentLog(BookSnapshot(PAIR.id, 1, [(99.0, 1.0)], [(101.0, 1.0)], START, START), START)
    segment = log.close(START + S)
    broken = bytearray(segment.data)
    broken[len(broken) // 2] ^= 1
    for wrong in (msgspec.structs.replace(segment, data=bytes(broken)), msgspec.structs.replace(segment, form=9)):
        shelf.rows = [wrong]
        with pytest.raises(StoreError, match=PAIR.id):
            await rebuild_book(shelf, PAIR.id, START)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_packing_gives_every_event_back(seed, count):
    events = dated(market(seed, count), START)
    log = SegmentLog(events[0], events[0].recv_ns)
    for event in events[1:]:
        log.take(event, event.recv_ns)
    segment = log.close(0)
    assert [event for _, event in events_of(segment)] == events
    assert (segment.first_id, segment.events) == (events[0].last_id, count)
    assert book_at(segment, segment.until_ns - 1).top(10) == log._book.top(10)
