"""Where parts are plugged together for several processes: ingest (exchanges → Redis), record (Redis → database), api (both → everybody)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Protocol, cast

from zvt_crypto.cli.build import STREAM_STATES, Union, reason_of
from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.entities import name_new_assets
from zvt_crypto.cli.front import Front
from zvt_crypto.cli.pulse import Pulse
from zvt_crypto.cli.shared import Shared, open_spool
from zvt_crypto.domain.errors import BadInput, StoreUnavailable
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.ports import ExchangeConnector, Feed, Fence, LiveState, Store, Subscription
from zvt_crypto.services.booklog import BookLogOptions
from zvt_crypto.services.books import BookOptions
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.leases import Held, LeaseKeeper
from zvt_crypto.services.plan import plan_listed
from zvt_crypto.services.platform import Platform, PlatformOptions, Sink, TapFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.services.supervise import Supervisor
from zvt_crypto.stores.files.spool import FileSpool
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.redis.live import LiveKeeper, load_live
from zvt_crypto.stores.redis.reading import FeedReader
from zvt_crypto.stores.redis.sending import FeedStore, LiveSender
from zvt_crypto.stores.redis.streams import SHARDS, Streams

TABLES_S = 30.0  # between two looks at the instruments that others list
FIRST_TABLES_S = 1.0  # while there are none


class Role(Protocol):
    """What a process does. `run` until cancelled; raises GaveUp."""

    async def run(self) -> None: ...

    def report(self) -> None:
        """Its state, to the process's health."""
        ...


class Hop:
    """platform.Sink through Redis: what must be stored as a recorder stores it, with its spool; what is only new beside it."""

    def __init__(self, streams: Streams, feed: Feed, live: LiveState, shared: Shared, spool: FileSpool, fence: Fence) -> None:
        store = cast("Store", FeedStore(streams))
        self._recorder = Recorder(feed, store, shared.clock, shared.observer, spool, RecordOptions(flush_s=0.02, most_wait_s=1.0))
        self._sender = LiveSender(streams, feed, live, shared.clock, shared.observer)
        self._keeper = LiveKeeper(shared.redis, feed, shared.clock, shared.observer, fence)

    @property
    def is_down(self) -> bool:
        """As Sink says."""
        return self._recorder.is_down

    @property
    def backlog(self) -> int:
        """As Sink says."""
        return self._recorder.backlog

    async def run(self) -> None:
        """As Sink says."""
        beside = {asyncio.create_task(self._sender.run()), asyncio.create_task(self._keeper.run())}
        try:
            await self._recorder.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    async def stop(self) -> None:
        """As Sink says."""
        await self._recorder.stop()


class IngestRole:
    """Follows its share of the exchanges' shards. Bars, samples of books and the healing of gaps (by who holds the first shard) are here,
    too: what they make goes the same way as what the exchange says."""

    def __init__(self, shared: Shared) -> None:
        chosen = shared.settings.ingest
        self._shared, self._exchanges = shared, tuple(dict.fromkeys(chosen.exchanges))
        self._platforms: dict[str, Platform] = {}
        self._pulse = Pulse()
        names = [f"ingest:{exchange}:{n}/{chosen.shards}" for exchange in self._exchanges for n in range(chosen.shards)]
        group = f"ingest:{','.join(self._exchanges)}:{chosen.shards}"
        self.keeper = LeaseKeeper(shared.leases, group, names, shared.holder, self._follow, shared.clock, shared.observer)

    async def run(self) -> None:
        """As Role says."""
        await self.keeper.run()

    def report(self) -> None:
        """Leases, connections, and whether Redis takes what comes."""
        health = self._shared.health
        report_leases(self._shared, "ingest", self.keeper)
        for name, status in list(self._pulse.streams.items()):
            health.report(f"stream {name}", STREAM_STATES[status.state], reason_of(status))
        report_sinks(self._shared, "publish", "Redis takes nothing", [platform.sink for platform in self._platforms.values()])

    async def _follow(self, held: Held) -> None:
        """Begun again where a part of it failed: a database that is away just now ends no process."""
        await supervised(self._shared, {held.name: lambda: self._follow_once(held)})

    async def _follow_once(self, held: Held) -> None:
        shared, chosen = self._shared, self._shared.settings.ingest
        _, exchange, part = held.name.split(":")
        shard = int(part.partition("/")[0])
        books = BookOptions(levels=chosen.book_levels, every_s=chosen.book_every_s)
        log = BookLogOptions() if chosen.book_log else None
        async with contextlib.AsyncExitStack() as stack:
            connector = await stack.enter_async_context(open_connector(shared.settings, exchange, observer=shared.observer))
            spool = open_spool(shared.settings, f"{exchange}-{part.replace('/', '-of-')}")
            stack.callback(spool.close)
            streams, live = Streams(shared.redis, held.name, held), MemoryLiveState()
            stack.push_async_callback(streams.close)
            known = await shared.store.instruments.load_assets(exchange)
            platform = Platform(
                [connector],
                lambda one: self._subscriptions(one, shard),
                shared.store,
                shared.clock,
                shared.observer,
                feed=TapFeed(MemoryFeed(shared.observer), self._pulse.take),
                live=live,
                sink=lambda feed: Hop(streams, feed, live, shared, spool, held),
                options=PlatformOptions(books=books, book_log=log, others=len(self._exchanges) > 1)
                if shard == 0
                else PlatformOptions(books=books, book_log=log, others=len(self._exchanges) > 1, heal_s=0.0),
                describe=name_new_assets(known),
            )
            self._platforms[held.name] = platform
            try:
                await platform.run()
            finally:
                del self._platforms[held.name]

    def _subscriptions(self, connector: ExchangeConnector, shard: int) -> list[Subscription]:
        chosen = self._shared.settings.ingest
        wanted = plan_listed(connector, chosen.symbols, chosen.channels, alone=len(self._exchanges) == 1)
        return [one for one in wanted if shard_of(one.instrument, chosen.shards) == shard]


class RecordRole:
    """Stores its share of the feed's shards; position and rows in one transaction."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._recorders: dict[str, Recorder] = {}
        names = [f"record:{n}" for n in range(SHARDS)]
        self.keeper = LeaseKeeper(shared.leases, "record", names, shared.holder, self._record, shared.clock, shared.observer)

    async def run(self) -> None:
        """As Role says."""
        await self.keeper.run()

    def report(self) -> None:
        """Leases, and whether the database takes what comes."""
        report_leases(self._shared, "record", self.keeper)
        report_sinks(self._shared, "record", "the database takes no rows", list(self._recorders.values()))

    async def _record(self, held: Held) -> None:
        shared = self._shared
        feed = MemoryFeed(shared.observer)
        recorder = Recorder(feed, shared.store, shared.clock, shared.observer, options=RecordOptions(flush_s=0.02))
        reader = FeedReader(shared.redis, int(held.name.partition(":")[2]), feed.publish, shared.clock, shared.observer)
        self._recorders[held.name] = recorder
        try:
            await supervised(
                shared,
                {
                    f"record {held.name}": recorder.run,
                    f"read {held.name}": lambda: reader.record(recorder.drained, held, shared.store.recording),
                },
            )
        finally:
            del self._recorders[held.name]


class ApiRole:
    """Serves REST and WebSocket from what Redis tells and the database holds."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._live = MemoryLiveState()
        self._feed = TapFeed(MemoryFeed(shared.observer), self._live.apply)
        self._connectors: dict[str, ExchangeConnector] = {}
        self._followed: frozenset[str] = frozenset()
        self._union = Union()
        self.keeper = LeaseKeeper(shared.leases, "api", (), shared.holder, _nothing, shared.clock, shared.observer)
        shown = self._instruments, self._connectors, shared.health, shared.observer, shared.clock, self._follows
        self.front = Front(shared.settings, shared.store, self._live, self._feed, *shown)

    @contextlib.asynccontextmanager
    async def opened(self, movable: Collection[str] = ()) -> AsyncIterator[None]:
        """Connectors for what is asked of the exchanges themselves; both ports."""
        async with contextlib.AsyncExitStack() as stack:
            for exchange in dict.fromkeys(self._shared.settings.ingest.exchanges):
                opening = open_connector(self._shared.settings, exchange, observer=self._shared.observer)
                self._connectors[exchange] = await stack.enter_async_context(opening)
            stack.push_async_callback(self.front.close)
            with contextlib.suppress(StoreUnavailable):  # health tells; what comes next is taken from there on
                for event in await load_live(self._shared.redis):
                    self._live.apply(event)
            await self.front.open(movable)
            yield

    async def run(self) -> None:
        """As Role says."""
        shared = self._shared
        readers = [FeedReader(shared.redis, n, self._feed.publish, shared.clock, shared.observer) for n in range(SHARDS)]
        parts = {f"serve {number}": reader.serve for number, reader in enumerate(readers)}
        await supervised(shared, {"leases": self.keeper.run, "instruments": self._keep_tables, **parts})

    def report(self) -> None:
        """Whether the database says that it lives."""
        report_leases(self._shared, "api", self.keeper)
        is_known = any(len(connector.instruments) for connector in self._connectors.values())
        self._shared.health.report("instruments", "ok" if is_known else "degraded", "" if is_known else "none are stored yet")

    async def _keep_tables(self) -> None:
        while True:
            try:
                await self._read_tables()
            except StoreUnavailable as error:
                self._shared.observer.note("warning", "instruments_not_refreshed", reason=str(error))
            is_known = any(len(connector.instruments) for connector in self._connectors.values())
            await self._shared.clock.sleep(TABLES_S if is_known else FIRST_TABLES_S)

    async def _read_tables(self) -> None:
        chosen = self._shared.settings.ingest
        followed: set[str] = set()
        for exchange, connector in self._connectors.items():
            connector.instruments = await self._shared.store.instruments.load(exchange)
            with contextlib.suppress(BadInput):  # symbols that another exchange has, or that are not listed yet
                followed |= {one.instrument for one in plan_listed(connector, chosen.symbols, chosen.channels, alone=False)}
        self._followed = frozenset(followed)

    def _instruments(self) -> Instruments:
        return self._union.of([connector.instruments for connector in self._connectors.values()])

    def _follows(self, entity_id: str) -> bool:
        return not self._followed or entity_id in self._followed


async def _nothing(held: Held) -> None:
    raise AssertionError(f"nothing is divided here, and {held.name} was")


async def supervised(shared: Shared, parts: dict[str, Callable[[], Awaitable[None]]]) -> None:
    """All parts, each begun again as often as it fails for nothing that a new start cannot mend. Raises GaveUp."""
    jitter = random.Random()  # noqa: S311 - no secret
    await Supervisor(shared.clock, shared.observer, jitter).run(parts)


def operation_front(shared: Shared) -> Front:
    """Of a process that serves no data: nothing is live in it."""
    feed, live = MemoryFeed(shared.observer), MemoryLiveState()
    connectors: dict[str, ExchangeConnector] = {}
    return Front(
        shared.settings, shared.store, live, feed, Instruments, connectors, shared.health, shared.observer, shared.clock, lambda _: True
    )


def report_leases(shared: Shared, role: str, keeper: LeaseKeeper) -> None:
    """What is held, and whether the database still says so."""
    held = ", ".join(sorted(keeper.held)) or "none"
    if keeper.is_away:
        shared.health.report(f"leases {role}", "degraded", f"the database does not answer; as long as that is so, {held} stay here")
    else:
        shared.health.report(f"leases {role}", "ok", held)


def report_sinks(shared: Shared, name: str, told: str, sinks: Sequence[Sink]) -> None:
    """Whether what comes gets on."""
    waiting = sum(sink.backlog for sink in sinks)
    is_down = any(sink.is_down for sink in sinks)
    shared.health.report(name, "degraded" if is_down else "ok", f"{told}, {waiting} wait" if is_down else "")
