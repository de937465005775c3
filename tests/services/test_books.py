"""Live books, kept: at each full period, only valid ones, and exactly as they were."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from faults.live_market import BTC, Live
from services.service_parts import PERP
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSample, BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.engine.book import Book
from zvt_crypto.services.books import BookOptions, BookSampler
from zvt_crypto.stores.live import MemoryLiveState

BIDS = [(100.0 - n, 1.0) for n in range(5)]
ASKS = [(101.0 + n, 2.0) for n in range(5)]


class Shelf:
    def __init__(self, **options) -> None:
        self.live, self.kept = MemoryLiveState(), []
        self.clock = VirtualClock()
        self.sampler = BookSampler(self.live, lambda: [BTC, PERP], self.kept.append, self.clock, BookOptions(**options))

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.sampler.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def hear(self, event: BookEvent) -> None:
        self.live.apply(event)


def snapshot(number: int, instrument: str = BTC, event_ns: int | None = None) -> BookSnapshot:
    return BookSnapshot(instrument, number, BIDS, ASKS, number if event_ns is None else event_ns, 77)


def test_the_top_of_each_valid_book_is_kept_at_full_minutes():
    async def go():
        async with Shelf(levels=2).running() as shelf:
            shelf.hear(snapshot(1))
            shelf.hear(snapshot(2, PERP))
            await asyncio.sleep(61)
            assert shelf.kept == [BookSample(BTC, 1, BIDS[:2], ASKS[:2], 1, 77), BookSample(PERP, 2, BIDS[:2], ASKS[:2], 2, 77)]
            assert shelf.clock.now_ns() // (60 * NS_PER_S) == (shelf.clock.now_ns() - NS_PER_S) // (60 * NS_PER_S)

    virtual.run(go())


def test_a_period_is_a_setting_and_an_unchanged_book_is_kept_once():
    async def go():
        async with Shelf(every_s=5.0).running() as shelf:
            shelf.hear(snapshot(1))
            await asyncio.sleep(21)
            assert len(shelf.kept) == 1
            for number in range(2, 5):
                shelf.hear(snapshot(number))
                await asyncio.sleep(5)
            assert [book.last_id for book in shelf.kept] == [1, 2, 3, 4]

    virtual.run(go())


def test_a_stale_book_is_never_kept_and_the_next_valid_one_is():
    async def go():
        async with Shelf(every_s=5.0).running() as shelf:
            shelf.hear(snapshot(1))
            shelf.hear(BookStale(BTC, "lost", 2))
            await asyncio.sleep(11)
            assert shelf.kept == []
            shelf.hear(snapshot(9))
            await asyncio.sleep(5)
            assert [book.last_id for book in shelf.kept] == [9]

    virtual.run(go())


def test_a_book_without_the_venues_time_has_ours():
    async def go():
        async with Shelf(every_s=5.0).running() as shelf:
            shelf.hear(snapshot(1, event_ns=0))
            await asyncio.sleep(6)
            assert [book.event_ns for book in shelf.kept] == [77]

    virtual.run(go())


@pytest.mark.parametrize("seed", [3, 4])
def test_a_platform_stores_the_exchanges_books_and_none_across_a_loss(seed):
    async def go() -> Live:
        live = Live(seed, channels=("depth",), events_per_s=10.0)
        async with live.running():
            for minute in range(6):
                await live.sleep(57 - live.clock.now_ns() / NS_PER_S % 60)
                if minute in (2, 4):  # away over the full minute
                    live.faults.refuse_connections(10)
                    live.faults.cut_all()
                await live.sleep(20)
        return live

    live = virtual.run(go())
    samples = live.of(BookSample)
    assert len(samples) == 4
    book, at = Book(BTC), 0
    for _, event in live.events:
        if isinstance(event, BookSnapshot | BookDelta | BookStale):
            book.apply_event(event)
        elif isinstance(event, BookSample):
            assert book.is_valid
            assert (event.bids, event.asks) == book.top(50)
            assert (event.last_id, event.event_ns) == (book.last_id, book.event_ns)
            at += 1
    assert at == len(samples)
    assert [b.last_id for b in live.store.books.values()] == [s.last_id for s in samples]
