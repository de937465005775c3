"""An exchange that lists 1,000 pairs of 500 assets: read by its connector, stored, and told in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain

import aiohttp
import pytest

from api.api_parts import NOW, Api, FakeConnector, HandClock
from zvt_crypto.api.app import create_app
from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.server import RestServer
from zvt_crypto.cli.entities import store_listings
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.roster import spot_roster
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.telemetry.health import Health
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.binance import BinanceConnector, BinanceHosts, BinanceOptions
from zvt_crypto.venues.budget import LimitBudget

PAIRS, ASSETS = 1_000, 500
ROSTER = spot_roster(PAIRS, ASSETS)


@pytest.fixture
async def listing(store: PostgresStore) -> AsyncIterator[Api]:
    """The API on a store into which the emulated exchange's whole listing was read."""
    clock, observer, live = HandClock(NOW), PrometheusObserver(), MemoryLiveState()
    transport = MemoryTransport(BinanceDialect(MarketWorld(1, ROSTER, start_ns=NOW)), clock)
    hosts, options = BinanceHosts.local("http://exchange", "ws://exchange"), BinanceOptions(markets=("spot",))
    connector = BinanceConnector(transport, clock, LimitBudget(clock, observer), observer, hosts=hosts, options=options)
    await store_listings(store, "binance", await connector.fetch_instruments(), NOW)
    await connector.close()
    await transport.close()
    table, health = await store.instruments.load(), Health(clock)
    deps = ApiDeps(
        store=store,
        live=live,
        instruments=lambda: table,
        connectors={},
        health=health,
        observer=observer,
        clock=clock,
        metrics=observer.render,
    )
    server = RestServer(create_app(deps), port=0)
    port = await server.start()
    async with aiohttp.ClientSession() as http:
        yield Api(store, live, clock, observer, health, FakeConnector(), deps, f"http://127.0.0.1:{port}", http, table)
    await server.stop()


async def pages(api: Api, path: str, key: str, limit: int) -> list[list[str]]:
    """The ids of every page, following `next` to the end."""
    found, asked = [], {"exchange": "binance", "limit": str(limit)}
    while True:
        status, answer = await api.get(path, **asked)
        assert status == 200, answer
        assert answer["count"] == len(answer[key])
        found.append([row["id"] for row in answer[key]])
        if "next" not in answer:
            return found
        asked["cursor"] = answer["next"]


async def test_a_thousand_pairs_and_five_hundred_assets_are_listed_and_paged(listing: Api) -> None:
    pair_ids = sorted(f"cryptopair_binance_{symbol.name.lower()}" for symbol in ROSTER)
    asset_ids = sorted({f"crypto_binance_{code.lower()}" for symbol in ROSTER for code in (symbol.base, symbol.quote)})
    assert (len(pair_ids), len(asset_ids)) == (PAIRS, ASSETS)
    assert await pages(listing, "/pairs", "pairs", 5_000) == [pair_ids]
    assert await pages(listing, "/assets", "assets", 5_000) == [asset_ids]
    by_page = await pages(listing, "/pairs", "pairs", 300)
    assert [len(page) for page in by_page] == [300, 300, 300, 100]
    assert [*chain.from_iterable(by_page)] == pair_ids
    by_page = await pages(listing, "/assets", "assets", 125)
    assert [len(page) for page in by_page] == [125] * 4
    assert [*chain.from_iterable(by_page)] == asset_ids
    for text, symbols in (("qaab", ["QAAB"]), ("qaa", [f"QAA{letter}" for letter in "ABCDEFGHIJKLMNOPQRST"]), ("zzzz", [])):
        _, answer = await listing.get("/assets/search", q=text)
        assert [row["symbol"] for row in answer["results"]] == symbols
