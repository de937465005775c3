"""The only place that plugs parts together: one process that follows an exchange, records it and serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from zvt_crypto.api.app import create_app
from zvt_crypto.api.deps import AccessRules, ApiDeps
from zvt_crypto.api.server import RestServer
from zvt_crypto.api.ws.gateway import Gateway, GatewayOptions
from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.entities import name_new_assets
from zvt_crypto.cli.pulse import Pulse
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import PortTaken
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.services.books import BookOptions
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.ingest import Subscriptions
from zvt_crypto.services.plan import plan_listed
from zvt_crypto.services.platform import Platform, PlatformOptions, TapFeed
from zvt_crypto.stores.files.spool import FileSpool
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.telemetry.health import Health, State
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock

if TYPE_CHECKING:
    from zvt_crypto.domain.events import StreamStatus
    from zvt_crypto.ports import ExchangeConnector, Store

HEALTH_S = 1.0
STREAM_STATES: dict[str, State] = {
    "live": "ok",
    "stopped": "ok",
    "connecting": "degraded",
    "lost": "degraded",
    "geo_blocked": "failed",
}


class Node:
    """Everything of one process, wired. Made by `open_node`; `run` works until told to stop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        connectors: Sequence[ExchangeConnector],
        observer: PrometheusObserver,
        platform: Platform,
        live: MemoryLiveState,
        pulse: Pulse,
    ) -> None:
        self.settings, self.store, self.observer = settings, store, observer
        self.connectors = {connector.exchange: connector for connector in connectors}
        self._table = Union()
        self.platform, self.live, self.pulse = platform, live, pulse
        self.recorder = platform.recorder
        self.clock = SystemClock()
        self.health = Health(self.clock)
        self.health.watch("database", store.ping)
        self.api_url = self.ws_url = ""
        self._servers: list[RestServer | Gateway] = []

    def instruments(self) -> Instruments:
        """The newest table, of all exchanges."""
        return self._table.of([connector.instruments for connector in self.connectors.values()])

    def followed(self) -> list[str]:
        """Entity ids that are subscribed to, each once."""
        return list(dict.fromkeys(s.instrument for ingest in self.platform.ingests for s in ingest.subscriptions))

    def follows(self, entity_id: str) -> bool:
        """Whether it is subscribed to; until that is known, whatever is asked for may come."""
        followed = self.followed()
        return not followed or entity_id in followed

    async def serve(self, movable: Collection[str] = ()) -> None:
        """Open both ports. Those in `movable` (`api`, `ws`) may be any free one where theirs is taken; otherwise raises PortTaken."""
        api, ws = self.settings.api, self.settings.ws
        access = AccessRules(hosts=api.hosts, origins=api.origins)

        def gateway(port: int) -> Gateway:
            return Gateway(
                self.platform.feed,
                self.live,
                self.instruments,
                self.clock,
                self.observer,
                host=ws.host,
                port=port,
                options=GatewayOptions(access=access),
                follows=self.follows,
            )

        self.ws_url = f"ws://{_shown_host(ws.host)}:{await self._open(gateway, _ports(ws.port, 'ws' in movable))}/ws/v1"
        deps = ApiDeps(
            store=self.store,
            live=self.live,
            instruments=self.instruments,
            connectors=self.connectors,
            health=self.health,
            observer=self.observer,
            clock=self.clock,
            metrics=self.observer.render,
            access=access,
            ws_url=self.ws_url,
        )
        app = create_app(deps)
        port = await self._open(lambda port: RestServer(app, api.host, port), _ports(api.port, "api" in movable))
        self.api_url = f"http://{_shown_host(api.host)}:{port}"

    async def _open(self, make: Callable[[int], RestServer | Gateway], ports: list[int]) -> int:
        """The server on the first of the ports that is free: told by listening there, since between a look and that another may come."""
        *first, last = ports
        for port in first:
            with contextlib.suppress(PortTaken):
                return await self._start(make(port))
        return await self._start(make(last))

    async def _start(self, server: RestServer | Gateway) -> int:
        port = await server.start()
        self._servers.append(server)
        return port

    async def run(self, until: Awaitable[object]) -> None:
        """Follow, record and answer until `until` is done; what was received is stored then. Raises GaveUp."""
        work = asyncio.create_task(self.platform.run(), name="platform")
        ends = [asyncio.ensure_future(until), asyncio.create_task(self._report()), *(asyncio.create_task(s.wait()) for s in self._servers)]
        try:
            done, _ = await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(ends)
            self.platform.stop()
            await asyncio.wait([work])
        work.result()

    async def close(self) -> None:
        """Close the ports."""
        for server in reversed(self._servers):
            await server.stop()

    async def _report(self) -> None:
        """Health, once a second, from what the parts say of themselves."""
        while True:
            for name, status in list(self.pulse.streams.items()):
                self.health.report(f"stream {name}", STREAM_STATES[status.state], _reason(status))
            state: Literal["ok", "degraded"] = "degraded" if self.recorder.is_down else "ok"
            self.health.report("record", state, f"the database takes no rows, {self.recorder.backlog} wait" if state == "degraded" else "")
            await asyncio.sleep(HEALTH_S)


class Union:
    """Several tables as one, made anew only when one of them was replaced."""

    def __init__(self) -> None:
        self._parts: list[Instruments] = []
        self._whole: Instruments | None = None

    def of(self, parts: list[Instruments]) -> Instruments:
        """The one table."""
        if len(parts) == 1:
            return parts[0]
        if self._whole is None or any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            self._parts = parts
            self._whole = Instruments([instrument for part in parts for instrument in part])
        return self._whole


@contextlib.asynccontextmanager
async def open_node(
    settings: Settings,
    observer: PrometheusObserver,
    *,
    serve: bool = True,
    movable: Collection[str] = (),
    subscriptions: Subscriptions | None = None,
    options: PlatformOptions | None = None,
) -> AsyncIterator[Node]:
    """Database, connectors and every part; ports open (unless not `serve`), nothing running yet. Closed in reverse order.

    `movable`: see Node.serve.
    """
    chosen = settings.ingest
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_database(settings, observer))
        connectors = [
            await stack.enter_async_context(open_connector(settings, exchange, observer=observer))
            for exchange in dict.fromkeys(chosen.exchanges)
        ]
        books = BookOptions(levels=chosen.book_levels, every_s=chosen.book_every_s)
        live, pulse, spool = MemoryLiveState(), Pulse(), FileSpool(settings.spool_dir, chosen.spool_mb * 1_000_000)
        try:
            platform = Platform(
                connectors,
                subscriptions or (lambda c: plan_listed(c, chosen.symbols, chosen.channels, alone=len(connectors) == 1)),
                store,
                SystemClock(),
                observer,
                feed=TapFeed(MemoryFeed(observer), pulse.take),
                live=live,
                spool=spool,
                options=msgspec.structs.replace(options or PlatformOptions(), books=books),
                describe=name_new_assets([asset for c in connectors for asset in await store.instruments.load_assets(c.exchange)]),
            )
            node = Node(settings, store, connectors, observer, platform, live, pulse)
            try:
                if serve:
                    await node.serve(movable)
                yield node
            finally:
                await node.close()
        finally:
            spool.close()


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _ports(port: int, is_movable: bool) -> list[int]:
    return [port, 0] if is_movable else [port]


def _reason(status: StreamStatus) -> str:
    return status.reason if status.state != "live" else ""


def _shown_host(host: str) -> str:
    """A host that a browser on this machine can open."""
    if host in ("0.0.0.0", ""):  # noqa: S104 - asked about, not bound
        return "127.0.0.1"
    return "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
