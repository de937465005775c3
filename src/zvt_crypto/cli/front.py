"""What a process shows to the outside: REST and WebSocket, or health and metrics alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping

from zvt_crypto.api.app import create_app, create_operation_app
from zvt_crypto.api.deps import AccessRules, ApiDeps
from zvt_crypto.api.server import RestServer
from zvt_crypto.api.ws.gateway import Gateway, GatewayOptions
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import PortTaken
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, LiveState, Store
from zvt_crypto.stores.recent import RecentKlines
from zvt_crypto.telemetry.health import Health
from zvt_crypto.telemetry.metrics import PrometheusObserver


class Front:
    """The servers of one process. `follows`: whether anything of an instrument is expected to come."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        live: LiveState,
        feed: Feed,
        instruments: Callable[[], Instruments],
        connectors: Mapping[str, ExchangeConnector],
        health: Health,
        observer: PrometheusObserver,
        clock: Clock,
        follows: Callable[[str], bool],
    ) -> None:
        self.api_url = self.ws_url = self.operation_url = ""
        self.servers: list[RestServer | Gateway] = []
        self._settings, self._store, self._live, self._feed = settings, store, live, feed
        self._instruments, self._connectors = instruments, connectors
        self._health, self._observer, self._clock, self._follows = health, observer, clock, follows

    async def open(self, movable: Collection[str] = ()) -> None:
        """Both ports. Those in `movable` (`api`, `ws`) may be any free one where theirs is taken; otherwise raises PortTaken."""
        api, ws = self._settings.api, self._settings.ws

        def gateway(port: int) -> Gateway:
            return Gateway(
                self._feed,
                self._live,
                self._instruments,
                self._clock,
                self._observer,
                host=ws.host,
                port=port,
                options=GatewayOptions(access=self._access()),
                follows=self._follows,
            )

        self.ws_url = f"ws://{_shown_host(ws.host)}:{await self._open(gateway, _ports(ws.port, 'ws' in movable))}/ws/v1"
        app = create_app(self._deps())
        port = await self._open(lambda port: RestServer(app, api.host, port), _ports(api.port, "api" in movable))
        self.api_url = f"http://{_shown_host(api.host)}:{port}"

    async def open_operation(self) -> None:
        """Health and metrics on `health.port`; nothing where that is empty. Raises PortTaken."""
        place = self._settings.health
        if place.port is not None:
            port = await self._start(RestServer(create_operation_app(self._deps()), place.host, place.port))
            self.operation_url = f"http://{_shown_host(place.host)}:{port}"

    async def close(self) -> None:
        """Close the ports."""
        for server in reversed(self.servers):
            await server.stop()

    def _access(self) -> AccessRules:
        return AccessRules(hosts=self._settings.api.hosts, origins=self._settings.api.origins)

    def _deps(self) -> ApiDeps:
        return ApiDeps(
            store=self._store,
            klines=RecentKlines(self._store.klines, self._store.changes, self._clock),
            live=self._live,
            instruments=self._instruments,
            connectors=self._connectors,
            health=self._health,
            observer=self._observer,
            clock=self._clock,
            metrics=self._observer.render,
            access=self._access(),
            ws_url=self.ws_url,
        )

    async def _open(self, make: Callable[[int], RestServer | Gateway], ports: list[int]) -> int:
        """The server on the first of the ports that is free: told by listening there, since between a look and that another may come."""
        *first, last = ports
        for port in first:
            with contextlib.suppress(PortTaken):
                return await self._start(make(port))
        return await self._start(make(last))

    async def _start(self, server: RestServer | Gateway) -> int:
        port = await server.start()
        self.servers.append(server)
        return port


def _ports(port: int, is_movable: bool) -> list[int]:
    return [port, 0] if is_movable else [port]


def _shown_host(host: str) -> str:
    """A host that a browser on this machine can open."""
    if host in ("0.0.0.0", ""):  # noqa: S104 - asked about, not bound
        return "127.0.0.1"
    return "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
