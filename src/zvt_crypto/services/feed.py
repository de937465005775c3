"""The feed of one process (ports.Feed): one event in, every reader out.

`publish` never waits: it appends to the bounded queue of each reader that wants the type. What happens at the bound is the
reader's rule, so that a slow listener costs itself alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from zvt_crypto.domain.errors import Disconnected, Overflow
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Kline
from zvt_crypto.ports import Observer, WhenFull

# Handing over one event at a time would cost a file write each; a tenth of the bound keeps the pauses short.
_SPILL_PARTS = 10
_MOST_SPILLED = 5_000


def conflation_key(event: Event) -> tuple[object, ...]:
    """What only the newest is kept of: the type, its instrument (a status: its stream) and, for klines, the interval."""
    if isinstance(event, Kline):
        return Kline, event.instrument, event.interval
    name = getattr(event, "instrument", None) or getattr(event, "stream", None)
    return type(event), name


class MemoryReader:
    """One listener's queue (ports.Reader). One task may wait in `receive` at a time."""

    def __init__(
        self,
        name: str,
        bound: int,
        when_full: WhenFull,
        spill: Callable[[list[Event]], None] | None,
        observer: Observer | None,
        forget: Callable[[MemoryReader], None],
    ) -> None:
        assert bound > 0, "a reader without room hears nothing"
        assert (when_full == "spill") == (spill is not None), "the rule `spill`, and only it, needs a place to spill to"
        self.name = name
        self.bound = bound
        self.when_full = when_full
        self.dropped = 0
        self.spilled = 0
        self._queue: deque[Event] = deque()
        self._newest: dict[tuple[object, ...], Event] | None = None  # instead of the queue, from a conflation to the next receive
        self._overflown = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self._spill = spill
        self._observer = observer
        self._forget = forget

    def put(self, event: Event) -> None:
        """Take an event in; never waits."""
        if self._newest is not None:
            self._put_newest(self._newest, event)
        elif len(self._queue) < self.bound:
            self._queue.append(event)
        else:
            self._put_full(event)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def receive(self) -> list[Event]:
        """All events that wait, at least one. Raises Overflow (rule `fail`, from the first lost event on), Disconnected once closed."""
        while True:
            if self._overflown:
                raise Overflow(f"reader {self.name} fell more than {self.bound} events behind")
            if self._newest:
                taken = list(self._newest.values())
                self._newest = None
                return taken
            if self._queue:
                taken = list(self._queue)
                self._queue.clear()
                return taken
            if self._closed:
                raise Disconnected(f"reader {self.name} is closed")
            assert self._waiter is None, "one task at a time receives from a reader"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def pending(self) -> int:
        """How many wait now."""
        return len(self._queue) + len(self._newest or ())

    def close(self) -> None:
        """Stop listening. What waits can still be received; then Disconnected. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._forget(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _put_full(self, event: Event) -> None:
        match self.when_full:
            case "fail":
                self._overflown = True
                self._lose(1)
            case "drop":
                self._queue.popleft()
                self._queue.append(event)
                self._lose(1)
            case "spill":
                self._hand_over()
                self._queue.append(event)
            case "conflate":
                self._conflate()
                assert self._newest is not None
                self._put_newest(self._newest, event)

    def _hand_over(self) -> None:
        assert self._spill is not None
        count = max(1, min(_MOST_SPILLED, self.bound // _SPILL_PARTS))
        oldest = [self._queue.popleft() for _ in range(count)]
        self.spilled += count
        if self._observer is not None:
            self._observer.count("feed_spilled", count, reader=self.name)
        self._spill(oldest)

    def _conflate(self) -> None:
        newest: dict[tuple[object, ...], Event] = {}
        for event in self._queue:
            key = conflation_key(event)
            newest.pop(key, None)  # an event stands where it happened, not where its predecessor did
            newest[key] = event
        self._lose(len(self._queue) - len(newest))
        self._queue.clear()
        self._newest = newest

    def _put_newest(self, newest: dict[tuple[object, ...], Event], event: Event) -> None:
        key = conflation_key(event)
        if newest.pop(key, None) is not None:
            self._lose(1)
        elif len(newest) >= self.bound:
            del newest[next(iter(newest))]
            self._lose(1)
        newest[key] = event

    def _lose(self, count: int) -> None:
        self.dropped += count
        if self._observer is not None and count:
            self._observer.count("feed_dropped", count, reader=self.name)


class MemoryFeed:
    """ports.Feed within one process and one event loop."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._readers: list[tuple[MemoryReader, frozenset[type]]] = []
        self._by_type: dict[type, tuple[MemoryReader, ...]] = {}  # filled as types are met

    def publish(self, event: Event) -> None:
        """Hand to all readers. Never waits."""
        kind = type(event)
        readers = self._by_type.get(kind)
        if readers is None:
            readers = self._by_type[kind] = tuple(r for r, kinds in self._readers if not kinds or kind in kinds)
        for reader in readers:
            reader.put(event)

    def subscribe(
        self,
        name: str,
        *,
        bound: int,
        when_full: WhenFull,
        kinds: tuple[type, ...] = (),
        spill: Callable[[list[Event]], None] | None = None,
    ) -> MemoryReader:
        """A new reader of the given event types (all when empty), from now on."""
        reader = MemoryReader(name, bound, when_full, spill, self._observer, self._forget)
        self._readers.append((reader, frozenset(kinds)))
        self._by_type.clear()
        return reader

    def readers(self) -> list[MemoryReader]:
        """Who listens now."""
        return [reader for reader, _ in self._readers]

    def _forget(self, reader: MemoryReader) -> None:
        self._readers = [(r, kinds) for r, kinds in self._readers if r is not reader]
        self._by_type.clear()
