"""The only place that plugs parts together: one process that follows an exchange, records it and serves it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import TYPE_CHECKING, Any

from zvt_crypto.api.app import create_app
from zvt_crypto.api.deps import AccessRules, ApiDeps
from zvt_crypto.api.server import RestServer
from zvt_crypto.api.ws.gateway import Gateway, GatewayOptions
from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.entities import name_new_assets
from zvt_crypto.cli.pulse import Pulse, TappedFeed
from zvt_crypto.cli.settings import Settings
from zvt_crypto.services.bars import BarService
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.ingest import Ingest
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.plan import plan_subscriptions
from zvt_crypto.services.record import Recorder
from zvt_crypto.services.supervise import Supervisor
from zvt_crypto.stores.files.spool import FileSpool
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.telemetry.health import Health
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock

if TYPE_CHECKING:
    from zvt_crypto.ports import ExchangeConnector, Store

HEALTH_S = 1.0


class Platform:
    """Everything of one process, wired. Made by `open_platform`; `run` serves until told to stop."""

    def __init__(self, settings: Settings, store: Store, connector: ExchangeConnector, observer: PrometheusObserver) -> None:
        self.settings, self.store, self.connector, self.observer = settings, store, connector, observer
        self.clock = SystemClock()
        self.health = Health(self.clock)
        self.live = MemoryLiveState()
        self.pulse = Pulse()
        self.feed = TappedFeed(MemoryFeed(observer), self.live, self.pulse)
        self.spool = FileSpool(settings.spool_dir, settings.ingest.spool_mb * 1_000_000)
        self.recorder = Recorder(self.feed, store, self.clock, observer, self.spool)
        self.bars = BarService([connector], self.feed, store, self.clock, observer)
        self.ingest: Ingest | None = None
        self.api_url = self.ws_url = ""
        self._servers: list[RestServer | Gateway] = []

    async def prepare(self, options: IngestOptions | None = None) -> None:
        """What needs the database: which assets are named already, and the plan."""
        known = await self.store.instruments.load_assets(self.connector.exchange)
        chosen = self.settings.ingest
        self.ingest = Ingest(
            self.connector,
            lambda connector: plan_subscriptions(connector, chosen.symbols, chosen.channels),
            self.feed,
            self.store,
            self.clock,
            self.observer,
            options,
            describe=name_new_assets(known),
        )
        self.health.watch("database", self.store.ping)

    async def serve(self) -> None:
        """Open both ports. Raises PortTaken."""
        api, ws = self.settings.api, self.settings.ws
        access = AccessRules(hosts=api.hosts, origins=api.origins)
        gateway = Gateway(
            self.feed,
            self.live,
            lambda: self.connector.instruments,
            self.clock,
            self.observer,
            host=ws.host,
            port=ws.port,
            options=GatewayOptions(access=access),
        )
        self._servers.append(gateway)
        self.ws_url = f"ws://{_shown_host(ws.host)}:{await gateway.start()}/ws/v1"
        deps = ApiDeps(
            store=self.store,
            live=self.live,
            instruments=lambda: self.connector.instruments,
            connectors={self.connector.exchange: self.connector},
            health=self.health,
            observer=self.observer,
            clock=self.clock,
            metrics=self.observer.render,
            access=access,
            ws_url=self.ws_url,
        )
        rest = RestServer(create_app(deps), api.host, api.port)
        self._servers.append(rest)
        self.api_url = f"http://{_shown_host(api.host)}:{await rest.start()}"

    async def run(self, until: Awaitable[object]) -> None:
        """Follow, record and answer until `until` is done. Raises GaveUp when a part cannot do its job."""
        assert self.ingest is not None
        supervisor = Supervisor(self.clock, self.observer, random.Random())  # noqa: S311 - jitter, no secret
        record = asyncio.create_task(supervisor.keep("record", self.recorder.run), name="record")
        others = asyncio.create_task(
            supervisor.run({"ingest": self.ingest.run, "bars": self.bars.run, "health": self._report}), name="parts"
        )
        servers = [asyncio.create_task(server.wait()) for server in self._servers]
        stop = asyncio.ensure_future(until)
        try:
            done, _ = await asyncio.wait([stop, record, others, *servers], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end([stop, others, *servers])  # nothing is published any more; the recorder writes what waits
            await self.recorder.stop()
            await _end([record])

    async def close(self) -> None:
        """Close the ports and the spool."""
        for server in reversed(self._servers):
            await server.stop()
        self.spool.close()

    async def _report(self) -> None:
        """Health, once a second, from what the parts say of themselves."""
        while True:
            for name, status in list(self.pulse.streams.items()):
                state = {"live": "ok", "stopped": "ok", "geo_blocked": "failed"}.get(status.state, "degraded")
                self.health.report(f"stream {name}", state, status.reason)  # type: ignore[arg-type]
            if self.recorder.is_down:
                self.health.report("record", "degraded", f"the database does not take rows; {self.recorder.backlog} wait")
            else:
                self.health.report("record", "ok", f"{self.recorder.dropped} dropped" if self.recorder.dropped else "")
            await asyncio.sleep(HEALTH_S)


@contextlib.asynccontextmanager
async def open_platform(
    settings: Settings, observer: PrometheusObserver, *, serve: bool = True, options: IngestOptions | None = None
) -> AsyncIterator[Platform]:
    """Database, connector and every part; ports open (unless not `serve`), nothing running yet. Closed in reverse order."""
    async with (
        open_database(settings, observer) as store,
        open_connector(settings, settings.ingest.exchange, observer=observer) as connector,
    ):
        platform = Platform(settings, store, connector, observer)
        try:
            await platform.prepare(options)
            if serve:
                await platform.serve()
            yield platform
        finally:
            await platform.close()


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _shown_host(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104
