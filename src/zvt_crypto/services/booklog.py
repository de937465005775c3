"""Books in full, from the feed into the store: every verified event of every book, in segments; and the book of any past instant.

Off unless a setting asks for it. Its reader and what waits for the store are bounded; where one is full, the events are lost, the log says
nothing of that time, and begins anew with the live book.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from zvt_crypto.domain.booklog import BookSegment
from zvt_crypto.domain.errors import Disconnected, NotFound, Overflow, Stale, StoreError, StoreUnavailable
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_S, to_rfc3339
from zvt_crypto.engine.booklog import SegmentLog, book_at, learnt_ns
from zvt_crypto.ports import BookLogStore, Clock, Feed, LiveState, Observer, Reader

_HEARD: tuple[type, ...] = (BookSnapshot, BookDelta, BookStale)
_GRACE_NS = NS_PER_S  # an event stamped before now may still be on its way to us


class BookLogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A segment ends after `span_s`, or with so many events or bytes, whichever is first: a process that is killed loses no more.

    bound: events that wait to be looked at. waiting_bytes: segments that wait for the store, compressed.
    """

    span_s: float = 60.0
    most_events: int = 20_000
    most_bytes: int = 4_000_000
    bound: int = 200_000
    waiting_bytes: int = 64_000_000
    batch: int = 50
    turn_s: float = 1.0
    stop_s: float = 5.0


class BookLog:
    """Listens from the moment it is made; `run` writes, until cancelled; `stop` stores what is at hand.

    `live` must have taken every event in before readers hear of it. `followed`: instruments whose books are logged.
    """

    def __init__(
        self,
        feed: Feed,
        live: LiveState,
        followed: Callable[[], Iterable[str]],
        store: BookLogStore,
        clock: Clock,
        observer: Observer,
        options: BookLogOptions | None = None,
    ) -> None:
        self._feed, self._live, self._followed, self._store = feed, live, followed, store
        self._clock, self._observer = clock, observer
        self._options = options or BookLogOptions()
        self._open: dict[str, SegmentLog] = {}
        self._waiting: deque[BookSegment] = deque()
        self._waiting_bytes = 0
        self._doubted = 0  # so many of the oldest are stored one by one
        self._news = asyncio.Event()
        self._reader: Reader = self._listen()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._turn())
            group.create_task(self._write())

    async def stop(self) -> None:
        """Listen no more; what is at hand is stored, as far as the store takes it in `stop_s`."""
        self._reader.close()
        if self._reader.pending():
            try:
                self._take_all(await self._reader.receive())
            except (Overflow, Disconnected):
                self._open.clear()
        for log in self._open.values():
            self._put(log.close(self._clock.now_ns()))
        self._open.clear()
        until_ns = self._clock.now_ns() + int(self._options.stop_s * NS_PER_S)
        while self._waiting and self._clock.now_ns() < until_ns:
            if not await self._store_some():
                await self._clock.sleep(self._options.stop_s / 20)
        if self._waiting:
            self._observer.note("error", "book_log_lost", segments=len(self._waiting))

    def _listen(self) -> Reader:
        """From now on, and what the live books are now."""
        reader = self._feed.subscribe("book_log", bound=self._options.bound, when_full="fail", kinds=_HEARD)
        for name in self._followed():
            book = self._live.book(name)
            if book is not None and book.is_valid:
                self._open[name] = SegmentLog(book.whole(), self._clock.now_ns())
        return reader

    async def _read(self) -> None:
        while True:
            try:
                self._take_all(await self._reader.receive())
            except Overflow as error:
                self._observer.note("warning", "book_log_broken", reason=str(error))
                self._observer.count("book_log_broken")
                for log in self._open.values():
                    self._put(log.close(log.last_ns))
                self._open.clear()
                self._reader.close()
                self._reader = self._listen()

    def _take_all(self, events: Iterable[Event]) -> None:
        for event in events:
            assert isinstance(event, BookSnapshot | BookDelta | BookStale)
            at_ns = learnt_ns(event)
            log = self._open.get(event.instrument)
            if log is None:
                if not isinstance(event, BookDelta):  # of one that we know nothing else of
                    self._open[event.instrument] = SegmentLog(event, at_ns)
                continue
            if at_ns > log.last_ns:  # of one instant all is in one segment
                if isinstance(event, BookSnapshot):  # it says all that there is to say
                    self._put(log.close(at_ns))
                    self._open[event.instrument] = SegmentLog(event, at_ns)
                    continue
                if self._is_full(log) or self._is_old(log, at_ns):
                    log = self._follow_on(log, at_ns)
            log.take(event, at_ns)

    def _is_old(self, log: SegmentLog, now_ns: int) -> bool:
        return now_ns - log.start_ns >= self._options.span_s * NS_PER_S

    def _is_full(self, log: SegmentLog) -> bool:
        return log.events >= self._options.most_events or log.size_bytes >= self._options.most_bytes

    def _follow_on(self, log: SegmentLog, at_ns: int) -> SegmentLog:
        """The next segment begins where this one ends, with the book as it is."""
        self._put(log.close(at_ns))
        following = self._open[log.instrument] = SegmentLog(log.state(), at_ns)
        return following

    async def _turn(self) -> None:
        """End the segments of quiet books."""
        while True:
            await self._clock.sleep(self._options.turn_s)
            now_ns = self._clock.now_ns() - _GRACE_NS
            for log in list(self._open.values()):
                if self._is_old(log, now_ns) and now_ns > log.last_ns and not self._reader.pending():
                    self._follow_on(log, now_ns)

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put(self, segment: BookSegment) -> None:
        self._waiting.append(segment)
        self._waiting_bytes += len(segment.data)
        lost = 0
        while self._waiting_bytes > self._options.waiting_bytes and len(self._waiting) > 1:
            self._waiting_bytes -= len(self._waiting.popleft().data)
            lost += 1
        if lost:
            self._observer.count("book_log_dropped", lost)
        self._news.set()

    async def _write(self) -> None:
        told = False
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                if await self._store_some():
                    told = False
                    continue
                if not told:
                    self._observer.note("warning", "book_log_waits", segments=len(self._waiting))
                    told = True
                await self._clock.sleep(self._options.turn_s)

    async def _store_some(self) -> bool:
        """Store the oldest; whether the store took them."""
        batch = [self._waiting[n] for n in range(min(self._options.batch if not self._doubted else 1, len(self._waiting)))]
        try:
            await self._store.save(batch, self._clock.now_ns())
        except StoreUnavailable:
            return False
        except StoreError as error:  # some of them is refused for what it is: find it, and go on without it
            if len(batch) > 1:
                self._doubted = len(batch)
                return True
            self._observer.count("book_log_dropped")
            self._observer.note("error", "book_segment_refused", instrument=batch[0].instrument, reason=str(error))
        else:
            self._observer.count("book_segments_stored", len(batch))
        self._doubted = max(0, self._doubted - 1)
        for segment in batch:
            if self._waiting and self._waiting[0] is segment:  # it may have been dropped meanwhile
                self._waiting.popleft()
                self._waiting_bytes -= len(segment.data)
        return True


async def rebuild_book(store: BookLogStore, instrument: str, at_ns: int) -> BookSnapshot:
    """The whole book of a past instant, exactly as a live one was. Raises NotFound where none was logged then, Stale where it was not
    valid, StoreError where the log is damaged."""
    segment = await store.segment_at(instrument, at_ns)
    if segment is None:
        raise NotFound(f"no book of {instrument} was logged at {to_rfc3339(at_ns)}: the setting ingest.book_log logs them")
    book = book_at(segment, at_ns)
    if not book.is_valid:
        raise Stale(f"the book of {instrument} was not valid at {to_rfc3339(at_ns)}: {book.stale_reason}")
    return book.whole()
