"""From the feed into the store, and nothing acknowledged is ever lost.

What is recorded: every trade, every final kline (forming ones are rebuilt from trades, and would fill the revisions), funding, gaps,
mark prices thinned to one row a second and instrument, and the samples that `books` takes of live books. Positions of a shared feed are
stored in one transaction with all that came before them.

When the store does not answer, rows wait: in the batch at hand, in the reader's queue, then in a file that survives the process.
Only when all are full is something dropped; then it is counted, and a Gap says what is missing, so that backfill can heal it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import ConstraintViolated, Disconnected, StoreError, StoreUnavailable
from zvt_crypto.domain.events import Event, FeedPosition
from zvt_crypto.domain.market import BookSample, BookSnapshot, Funding, Gap, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.engine.holes import Holes, gaps_of_break
from zvt_crypto.ports import Clock, Feed, Observer, Spool, Store

Stored = TypeVar("Stored", bound=Event)
Row = TypeVar("Row", Trade, Kline, Funding, MarkPrice, BookSample, Gap)
RECORDED: tuple[type, ...] = (Trade, Kline, Funding, MarkPrice, BookSample, Gap, FeedPosition)


class RecordOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A batch is what has gathered within `flush_s`, at most `batch_rows`."""

    bound: int = 100_000
    batch_rows: int = 5_000
    flush_s: float = 0.2
    first_wait_s: float = 0.1
    most_wait_s: float = 2.0  # the database is used again within 5 s of its return
    mark_every_ns: int = NS_PER_S
    stop_s: float = 10.0


class Recorder:
    """Listens from the moment it is made; `run` writes. A supervisor may call `run` again: nothing taken is forgotten."""

    def __init__(
        self, feed: Feed, store: Store, clock: Clock, observer: Observer, spool: Spool | None = None, options: RecordOptions | None = None
    ) -> None:
        self.rows = 0  # given to the store and acknowledged by it
        self.wrong = 0  # refused by the store's constraints
        self.dropped = 0  # lost because queue and spool were full
        self.down_since_ns: int | None = None  # since when the store takes no batch
        self._feed = feed
        self._store = store
        self._clock = clock
        self._observer = observer
        self._spool = spool
        self._options = options or RecordOptions()
        self._holes = Holes()
        self._damaged = self._damage_of(spool)
        self._batch: list[Event] = []
        self._marked_ns: dict[str, int] = {}
        self._idle: asyncio.Event = asyncio.Event()
        self._stopping = False
        self._reader = feed.subscribe("record", bound=self._options.bound, when_full="spill", kinds=RECORDED, spill=self._spill)

    @property
    def is_down(self) -> bool:
        """Whether the store did not take the last batch."""
        return self.down_since_ns is not None

    @property
    def backlog(self) -> int:
        """Events and holes that are taken and not yet stored."""
        return len(self._batch) + self._reader.pending() + self.kept + len(self._holes) + len(self._damaged)

    @property
    def kept(self) -> int:
        """Events and holes that lie in the spool: the next start stores them."""
        return len(self._spool) if self._spool is not None else 0

    @property
    def untold(self) -> int:
        """Holes that neither the store nor the spool holds: nothing tells of them once the process has ended."""
        return len(self._holes)

    async def run(self) -> None:
        """Write what comes, until cancelled or stopped."""
        while True:
            await self._write_all()
            if not self.backlog:
                self._idle.set()
            if self._stopping and not self._reader.pending():
                return
            if not self._reader.pending() and not self._stopping:
                await self._gather()
            else:
                self._batch = await self._receive()

    async def drained(self) -> None:
        """Return once everything published before is stored. Waits as long as the store does not answer."""
        await asyncio.sleep(0)
        while self.backlog:
            self._idle.clear()
            await self._idle.wait()

    async def stop(self) -> None:
        """Listen no more, and store what waits; what the store does not take in `stop_s` goes to the spool, holes too."""
        self._stopping = True
        self._reader.close()
        until_ns = self._clock.now_ns() + int(self._options.stop_s * NS_PER_S)
        while self.backlog and self._clock.now_ns() < until_ns:
            await self._clock.sleep(self._options.flush_s / 4)
        if not self.backlog:
            return
        rest = [*self._batch, *(await self._reader.receive() if self._reader.pending() else [])]
        self._batch = []
        self._spill(rest)
        gaps = self._holes.taken()
        self._holes.stored(gaps[: self._keep(gaps)])
        if self.kept:
            self._observer.note("warning", "stored_later", events=self.kept)
        if self.untold:
            self._observer.note("error", "holes_untold", holes=self.untold, dropped=self.dropped)

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _gather(self) -> None:
        """Wait for news, then a little for more of it."""
        self._batch = await self._receive()
        if self._batch and len(self._batch) < self._options.batch_rows and not self._stopping:
            await self._clock.sleep(self._options.flush_s)
            if self._reader.pending():
                self._batch += await self._receive()

    async def _receive(self) -> list[Event]:
        try:
            return self._wanted(await self._reader.receive())
        except Disconnected:  # stopped while it waited
            return []

    def _wanted(self, events: Iterable[Event]) -> list[Event]:
        return [e for e in events if (e.final if isinstance(e, Kline) else not isinstance(e, MarkPrice) or self._is_due(e))]

    def _is_due(self, mark: MarkPrice) -> bool:
        last_ns = self._marked_ns.get(mark.instrument)
        if last_ns is not None and 0 <= mark.event_ns - last_ns < self._options.mark_every_ns:
            return False
        self._marked_ns[mark.instrument] = mark.event_ns
        return True

    def _spill(self, events: list[Event]) -> None:
        """The reader's oldest, because its queue is full: to the spool, and what has no room there is lost."""
        lost = events[self._keep(events) :]
        if not lost:
            return
        self.dropped += len(lost)
        self._holes.add(lost)
        self._observer.count("record_dropped", len(lost))
        if self.dropped == len(lost):
            self._observer.note("error", "record_drops", reason="queue and spool are full", first=len(lost))

    def _keep(self, events: Sequence[Event]) -> int:
        """To the spool; returns how many of them it took, from the first on."""
        if self._spool is None:
            return 0
        try:
            return self._spool.append(events)
        except StoreError as error:
            self._observer.note("error", "spool_failed", reason=str(error))
            return 0

    def _damage_of(self, spool: Spool | None) -> list[Gap]:
        """The holes that damage has left in what waited, told of."""
        gaps = [gap for found in (spool.breaks if spool is not None else ()) for gap in gaps_of_break(found)]
        if spool is not None and spool.breaks:
            size_bytes = sum(found.size_bytes for found in spool.breaks)
            self._observer.count("spool_damaged_bytes", size_bytes)
            self._observer.note("error", "spool_damaged", places=len(spool.breaks), size_bytes=size_bytes, gaps=len(gaps))
        return gaps

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _write_all(self) -> None:
        """The batch, then what was spilled after it, then the holes between that and what waits in the queue."""
        rows = self._options.batch_rows
        while self._batch:
            await self._write(self._batch[:rows])
            del self._batch[:rows]
        if self._damaged:  # before the events around it are let go: they are what shows it
            await self._write(self._damaged)
            self._damaged = []
        while self._spool is not None and len(self._spool):
            taken = self._spool.take(rows)
            await self._write(self._wanted(taken))
            self._spool.drop(len(taken))
        while len(self._holes):
            gaps = self._holes.taken()
            await self._write(gaps)
            self._holes.stored(gaps)

    async def _write(self, events: Sequence[Event]) -> None:
        """Until the store has acknowledged them all, or refused some for what they are."""
        positions = [e for e in events if isinstance(e, FeedPosition)]
        if not positions:
            await self._write_nouns(events)
            return
        rows = [e for e in events if not isinstance(e, FeedPosition)]
        try:
            await self._persist(rows, lambda rows: self._store.recording.record(rows, self._clock.now_ns(), positions))
        except ConstraintViolated:  # then noun by noun, which finds the wrong row; the position last
            await self._write_nouns(rows)
            await self._persist([], lambda _: self._store.recording.record([], self._clock.now_ns(), positions))

    async def _write_nouns(self, events: Sequence[Event]) -> None:
        facts, now = self._store.facts, self._clock.now_ns
        gaps = [e for e in events if isinstance(e, Gap)]
        # Nobody sees the trades after a hole without the hole, nor a hole closed before what closed it.
        await self._put([gap for gap in gaps if gap.filled_from is None], lambda rows: facts.save_gaps(rows, now()))
        await self._put([e for e in events if isinstance(e, Trade)], lambda rows: self._store.trades.append(rows, now()))
        await self._put([e for e in events if isinstance(e, Kline)], lambda rows: self._store.klines.upsert(rows, now()))
        await self._put([e for e in events if isinstance(e, Funding)], lambda rows: facts.save_funding(rows, now()))
        await self._put([e for e in events if isinstance(e, MarkPrice)], lambda rows: facts.save_mark(rows, now()))
        await self._put([e for e in events if isinstance(e, BookSample)], lambda rows: facts.save_books(_books(rows), now()))
        if any(gap.filled_from is not None for gap in gaps):
            await self._put(gaps, lambda rows: facts.save_gaps(rows, now()))

    async def _put(self, rows: Sequence[Row], put: Callable[[Sequence[Row]], Awaitable[object]]) -> None:
        if not rows:
            return
        try:
            await self._persist(rows, put)
        except ConstraintViolated as error:
            if len(rows) == 1:
                self._refuse(rows[0], str(error))
                return
            middle = len(rows) // 2
            await self._put(rows[:middle], put)
            await self._put(rows[middle:], put)

    async def _persist(self, rows: Sequence[Stored], put: Callable[[Sequence[Stored]], Awaitable[object]]) -> None:
        wait_s = self._options.first_wait_s
        while True:
            try:
                await put(rows)
            except StoreUnavailable as error:
                self._tell_down(str(error))
                await self._clock.sleep(wait_s)
                wait_s = min(self._options.most_wait_s, wait_s * 2)
            else:
                self._tell_up()
                self.rows += len(rows)
                for kind, count in Counter(type(row).__name__ for row in rows).items():
                    self._observer.count("rows_stored", count, kind=kind)
                return

    def _refuse(self, row: Event, reason: str) -> None:
        self.wrong += 1
        self._observer.count("rows_refused", kind=type(row).__name__)
        self._observer.note("error", "row_refused", row=repr(row), reason=reason)

    def _tell_down(self, reason: str) -> None:
        self._observer.gauge("record_backlog", self.backlog)
        if not self.is_down:
            self.down_since_ns = self._clock.now_ns()
            self._observer.note("error", "store_down", reason=reason, backlog=self.backlog)

    def _tell_up(self) -> None:
        if self.is_down:
            self.down_since_ns = None
            self._observer.note("info", "store_back", backlog=self.backlog)


def _books(samples: Sequence[BookSample]) -> list[BookSnapshot]:
    return [BookSnapshot(s.instrument, s.last_id, s.bids, s.asks, s.event_ns, s.recv_ns) for s in samples]
