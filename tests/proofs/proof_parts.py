"""Recordings played through real sockets, and a second reading of the same files that shares no code with the product."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zvt_crypto.domain.events import MarketEvent
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.replay import ReplayWorld
from zvt_crypto.emulator.server import EmulatorServer
from zvt_crypto.ports import Subscription, VenueStream
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.binance import BinanceConnector, BinanceHosts, BinanceOptions
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.clock import SystemClock
from zvt_crypto.venues.http import NetTransport

QUIET_S = 1.0  # a stream that says nothing for this long after the recording ended has said everything


@dataclass
class Recording:
    """One market of one instrument, in one or more files."""

    name: str
    files: tuple[str, ...]
    entity: str
    options: BinanceOptions

    def paths(self, root: Path) -> list[Path]:
        return [root / file for file in self.files]

    def messages(self, root: Path) -> Iterator[dict[str, Any]]:
        """Every recorded message, read the plain way."""
        for path in self.paths(root):
            with gzip.open(path, "rt") as lines:
                for line in lines:
                    message = json.loads(line.split(" ", 1)[1], parse_float=str)
                    yield message.get("data", message)


SPOT = Recording(
    "spot BTCUSDT over midnight",
    ("hftbacktest/examples/spot/btcusdt_20240808.gz", "hftbacktest/examples/spot/btcusdt_20240809.gz"),
    "cryptopair_binance_btcusdt",
    BinanceOptions(markets=("spot",), spot_trade_stream="trade"),
)
USDM = Recording(
    "USD-M ETHUSDT",
    ("hftbacktest/examples/usdm/ethusdt_20240808.gz",),
    "cryptoperp_binance_ethusdt",
    BinanceOptions(markets=("usdm",), usdm_trade_stream="trade"),
)


@dataclass
class Played:
    """An emulator that plays a recording, and our connector to it."""

    world: ReplayWorld
    server: EmulatorServer
    connector: BinanceConnector

    async def stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        routes = self.connector.routes(subscriptions)
        assert len(routes) == 1, "these recordings need one socket"
        return await self.connector.open_stream(routes[0])

    async def follow(self, stream: VenueStream, take: Callable[[MarketEvent], None]) -> None:
        """Hand over every event until the recording has ended and everything of it has come."""
        while True:
            try:
                events = await asyncio.wait_for(stream.receive(), QUIET_S)
            except TimeoutError:
                if self.world.done:
                    return
                continue
            for event in events:
                take(event)


@asynccontextmanager
async def played(root: Path, recording: Recording) -> AsyncIterator[Played]:
    """As fast as it is read, over real sockets."""
    world = ReplayWorld(read_capture(recording.paths(root)), speed=None)
    server = EmulatorServer(BinanceDialect(world))
    rest_url, ws_url = await server.start()
    transport, clock, observer = NetTransport(), SystemClock(), PrometheusObserver()
    connector = BinanceConnector(
        transport, clock, LimitBudget(clock, observer), observer, hosts=BinanceHosts.local(rest_url, ws_url), options=recording.options
    )
    try:
        await connector.fetch_instruments()
        yield Played(world, server, connector)
    finally:
        await connector.close()
        await transport.close()
        await server.stop()
