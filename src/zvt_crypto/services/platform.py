"""The live path as a whole: ingest, bars, recorder and healer around one feed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from zvt_crypto.domain.errors import NothingListed, StoreUnavailable, VenueError
from zvt_crypto.domain.events import Event, StreamStatus
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, LiveState, Observer, Reader, Spool, Store, WhenFull
from zvt_crypto.services.backfill import Backfill, BackfillOptions
from zvt_crypto.services.bars import BarOptions, BarService
from zvt_crypto.services.booklog import BookLog, BookLogOptions
from zvt_crypto.services.books import BookOptions, BookSampler
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.ingest import Ingest, Subscriptions
from zvt_crypto.services.late import LateBars
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.services.rollups import Rollups
from zvt_crypto.services.supervise import Supervisor
from zvt_crypto.services.tables import DescribeAssets, plain_assets


class TapFeed:
    """A feed on which `tap` takes each event in before any reader hears of it: live state, a counter."""

    def __init__(self, feed: Feed, tap: Callable[[Event], None]) -> None:
        self._feed = feed
        self._tap = tap

    def publish(self, event: Event) -> None:
        """The tap first, then all readers. Never waits."""
        self._tap(event)
        self._feed.publish(event)

    def subscribe(
        self,
        name: str,
        *,
        bound: int,
        when_full: WhenFull,
        kinds: tuple[type, ...] = (),
        spill: Callable[[list[Event]], None] | None = None,
    ) -> Reader:
        """As ports.Feed says."""
        return self._feed.subscribe(name, bound=bound, when_full=when_full, kinds=kinds, spill=spill)


class Sink(Protocol):
    """Where all that is followed goes: the recorder of this process, or the hop to others. It listens from the moment it is made."""

    @property
    def is_down(self) -> bool:
        """Whether nothing can be handed on now."""
        ...

    @property
    def backlog(self) -> int:
        """How much waits."""
        ...

    async def run(self) -> None:
        """Until `stop` has ended it."""
        ...

    async def stop(self) -> None:
        """Hand on what waits, keep what cannot be, and end `run`."""
        ...


class PlatformOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`heal_s`: how often open gaps are tried again; 0: another process does that, and rolls what came late, too. `book_log`: None keeps
    no books in full. `others`: other processes follow other exchanges, so one that lists nothing of what is wanted is no mistake."""

    ingest: IngestOptions = IngestOptions()
    bars: BarOptions = BarOptions()
    books: BookOptions = BookOptions()
    book_log: BookLogOptions | None = None
    record: RecordOptions = RecordOptions()
    heal_s: float = 300.0
    rollup_s: float = 60.0
    late_s: float = 5.0
    others: bool = False


class Platform:
    """`run` is all of it, until `stop` is called or the task is cancelled; either way what was received is stored before it returns.

    `subscriptions` is what every connector follows: subscriptions, or a function of the connector, such as
    `lambda c: plan_subscriptions(c, symbols)`. `live` is kept current before any reader hears of an event; only with it are
    books kept for the past. `feed` may be given (readers that subscribe before `run` hear everything); it is wrapped when there is a
    `live`: use `platform.feed`. `sink` is what takes the place of the recorder where other processes record and follow on.
    """

    def __init__(
        self,
        connectors: Sequence[ExchangeConnector],
        subscriptions: Subscriptions,
        store: Store,
        clock: Clock,
        observer: Observer,
        *,
        feed: Feed | None = None,
        live: LiveState | None = None,
        spool: Spool | None = None,
        sink: Callable[[Feed], Sink] | None = None,
        options: PlatformOptions | None = None,
        rng: random.Random | None = None,
        describe: DescribeAssets = plain_assets,
    ) -> None:
        inner: Feed = feed if feed is not None else MemoryFeed(observer)
        self.feed: Feed = TapFeed(inner, live.apply) if live is not None else inner
        self._live = live
        self._options = options or PlatformOptions()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._clock = clock
        self._observer = observer
        self._stop = asyncio.Event()
        self.sink: Sink = Recorder(self.feed, store, clock, observer, spool, self._options.record) if sink is None else sink(self.feed)
        self.bars = BarService(connectors, self.feed, store, clock, observer, self._options.bars)
        self.ingests = [
            Ingest(c, subscriptions, self.feed, store, clock, observer, self._options.ingest, rng=self._rng, describe=describe)
            for c in connectors
        ]
        self.late = LateBars(connectors, store, clock, observer, every_s=self._options.late_s)
        self.rollups = Rollups(store, clock, observer, every_s=self._options.rollup_s)
        self.books: BookSampler | None = None
        self.book_log: BookLog | None = None
        if live is not None and self._options.book_log is not None:
            self.book_log = BookLog(self.feed, live, self._followed_books, store.book_log, clock, observer, self._options.book_log)
        if live is not None and self._options.books.every_s:
            self.books = BookSampler(live, self._followed_books, self.feed.publish, clock, self._options.books)
        healing = BackfillOptions(of_recording=self._options.ingest.of_recording is not None)
        self._backfills = [Backfill(c, store, clock, observer, healing, rng=self._rng) for c in connectors]

    @property
    def recorder(self) -> Recorder:
        """Where this process records itself."""
        assert isinstance(self.sink, Recorder)
        return self.sink

    async def run(self) -> None:
        """Raises GaveUp when a part cannot do its job."""
        supervisor = Supervisor(self._clock, self._observer, self._rng)
        writer = asyncio.create_task(supervisor.keep("record", self.sink.run))
        without: list[str] = []
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            f"ingest {i.connector.exchange}": self._following(i, without) for i in self.ingests
        }
        if self.books is not None:
            parts["books"] = self.books.run
        if self.book_log is not None:
            parts["book log"] = self.book_log.run
        if self._options.heal_s:
            parts |= {"heal": self._heal, "late": self.late.run, "rollups": self.rollups.run}
        parts |= {"bars": self.bars.run, "record": lambda: asyncio.shield(writer)}
        work = asyncio.create_task(supervisor.run(parts))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            work.cancel()
            await asyncio.wait({work})
            if isinstance(self.sink, Recorder):  # who follows on elsewhere begins at what is stored, and fetches what waits here
                for ingest in self.ingests:
                    ingest.release("ended while the exchange was asked for what came before")
            if self.book_log is not None:
                await self.book_log.stop()
            await self.sink.stop()
            writer.cancel()
            await asyncio.wait({writer})
        if not work.cancelled():
            work.result()

    def _following(self, ingest: Ingest, without: list[str]) -> Callable[[], Awaitable[None]]:
        """An exchange that lists nothing of what is wanted is told and left, unless no exchange does. `without`: those so far."""

        async def follow() -> None:
            try:
                await ingest.run()
            except NothingListed as error:
                exchange, now_ns = ingest.connector.exchange, self._clock.now_ns()
                without.append(exchange)
                if len(without) == len(self.ingests) and not self._options.others:
                    raise
                self._observer.note("warning", "nothing_listed", exchange=exchange, reason=str(error))
                self.feed.publish(StreamStatus(exchange, f"{exchange} tables", "stopped", str(error), now_ns, now_ns))
                ingest.ready.set()

        return follow

    async def ready(self) -> None:
        """Return once instruments are known and connections are being opened, everywhere."""
        for ingest in self.ingests:
            await ingest.ready.wait()

    async def drained(self) -> None:
        """Return once no trade waits for those before it, and bars have seen and the store has acknowledged everything."""
        while any(ingest.is_busy for ingest in self.ingests) or self.bars.pending() or self.recorder.backlog:
            await self.recorder.drained()
            await self._clock.sleep(0.05)

    def stop(self) -> None:
        """End `run` in good order. Safe to call from a signal handler of the loop, and twice."""
        self._stop.set()

    def missing_books(self) -> list[str]:
        """Instruments whose book is followed now and not valid, or has never come."""
        if self._live is None:
            return []
        followed = {s.instrument for i in self.ingests for route in i.routes for s in route.subscriptions if s.channel == "depth"}
        books = {name: self._live.book(name) for name in sorted(followed)}
        return [name for name, book in books.items() if book is None or not book.is_valid]

    def _followed_books(self) -> list[str]:
        return [s.instrument for ingest in self.ingests for s in ingest.subscriptions if s.channel == "depth"]

    async def _heal(self) -> None:
        """Each exchange by itself: one that is away, or has much to give, delays no other."""
        async with asyncio.TaskGroup() as group:
            for ingest, backfill in zip(self.ingests, self._backfills, strict=True):
                group.create_task(self._heal_one(ingest, backfill), name=f"heal {ingest.connector.exchange}")

    async def _heal_one(self, ingest: Ingest, backfill: Backfill) -> None:
        while True:
            await ingest.ready.wait()
            try:
                await backfill.heal()
            except (VenueError, StoreUnavailable) as error:
                self._observer.note("warning", "not_healed", exchange=ingest.connector.exchange, reason=str(error))
            await self._clock.sleep(self._options.heal_s)
