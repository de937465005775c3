"""A running API on a real store, on a free port of the loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from api.api_parts import ASSETS, BTC, BTC_FUTURE, BTC_PERP, NOW, Api, FakeConnector, HandClock
from api.ws_parts import Hall
from zvt_crypto.api.app import create_app
from zvt_crypto.api.deps import AccessRules, ApiDeps
from zvt_crypto.api.server import RestServer
from zvt_crypto.api.ws.gateway import Gateway, GatewayOptions
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.telemetry.health import Health
from zvt_crypto.telemetry.metrics import PrometheusObserver


@pytest.fixture
async def api(store: PostgresStore) -> AsyncIterator[Api]:
    """The API on a store that knows one pair, one perpetual, one dated contract and three assets."""
    await store.instruments.save_assets(ASSETS, NOW, "test")
    await store.instruments.save([BTC, BTC_PERP, BTC_FUTURE], NOW)
    table = await store.instruments.load()
    clock, observer, live, connector = HandClock(NOW), PrometheusObserver(), MemoryLiveState(), FakeConnector()
    health = Health(clock)
    health.watch("database", store.ping)
    deps = ApiDeps(
        store=store,
        live=live,
        instruments=lambda: table,
        connectors={"binance": connector},  # type: ignore[dict-item]
        health=health,
        observer=observer,
        clock=clock,
        metrics=observer.render,
        access=AccessRules(origins=("https://charts.example",)),
    )
    server = RestServer(create_app(deps), port=0)
    port = await server.start()
    async with aiohttp.ClientSession() as http:
        yield Api(store, live, clock, observer, health, connector, deps, f"http://127.0.0.1:{port}", http, table)
    await server.stop()


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """A gateway that serves one pair and one perpetual; flushes every 2 ms."""
    table = Instruments([BTC, BTC_PERP])
    feed, live, clock, observer = MemoryFeed(), MemoryLiveState(), HandClock(NOW), PrometheusObserver()
    options = GatewayOptions(flush_ms=2, farewell_s=0.05, access=AccessRules(origins=("https://charts.example",)))
    gateway = Gateway(feed, live, lambda: table, clock, observer, port=0, options=options)
    port = await gateway.start()
    async with aiohttp.ClientSession() as http:
        yield Hall(gateway, feed, live, clock, observer, port, http)
    await gateway.stop()
    assert gateway.clients() == 0
