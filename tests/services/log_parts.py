"""A log of books beside a live state, on a clock that tests set, and a plain reading of what a live book was at any instant."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec

from services.service_parts import Notes
from stores_fixtures import PAIR
from zvt_crypto.domain.errors import NotFound, Stale
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookSnapshot
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import BookLogStore
from zvt_crypto.services.booklog import BookLog, BookLogOptions, rebuild_book
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.platform import TapFeed
from zvt_crypto.stores.live import MemoryLiveState


class HandClock:
    """Time is what the test says; waiting is short."""

    def __init__(self) -> None:
        self.ns = 1

    def now_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.002)


class Desk:
    """The parts, wired. `before`: what the live books had heard before the log began."""

    def __init__(self, store: BookLogStore, before: Sequence[BookEvent] = (), **options: object) -> None:
        self.store, self.clock, self.live, self.notes = store, HandClock(), MemoryLiveState(), Notes()
        self.inner = MemoryFeed(self.notes)
        self.feed = TapFeed(self.inner, self.live.apply)
        for event in before:
            self.clock.ns = event.recv_ns + 1
            self.feed.publish(event)
        self.log = BookLog(self.feed, self.live, lambda: [PAIR.id], store, self.clock, self.notes, BookLogOptions(**options))

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.log.run())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.log.stop()

    async def hear(self, events: Iterable[BookEvent]) -> None:
        """Some at a time, as a loop does that has other things to do."""
        for number, event in enumerate(events):
            self.clock.ns = max(self.clock.ns, event.recv_ns)
            self.feed.publish(event)
            if number % 20 == 19:
                await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(reader.pending() for reader in self.inner.readers())


def dated(events: Iterable[BookEvent], start_ns: int, step_ns: int = 37_000_000) -> list[BookEvent]:
    """Of one instrument that stores know, received one after the other; some at one moment."""
    return [
        msgspec.structs.replace(event, instrument=PAIR.id, recv_ns=start_ns + (number - number % 3) * step_ns)
        for number, event in enumerate(events)
    ]


def live_at(events: Sequence[BookEvent], at_ns: int) -> BookSnapshot | str:
    """What a live book was: whole, or why it was none."""
    book = Book(PAIR.id)
    for event in events:
        if event.recv_ns > at_ns:
            break
        book.apply_event(event)
    return book.whole() if book.is_valid else book.stale_reason or ""


async def logged_at(store: BookLogStore, at_ns: int) -> BookSnapshot | str | None:
    """What the log says of that instant; None where it says nothing."""
    try:
        return await rebuild_book(store, PAIR.id, at_ns)
    except Stale as error:
        return str(error).partition(": ")[2]
    except NotFound:
        return None
