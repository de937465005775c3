"""Each venue on its emulator: the same connector code as live, in memory, on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.venues.desk_bybit import BybitDesk
from conformance.venues.desk_coinbase import CoinbaseDesk
from conformance.venues.desk_okx import OkxDesk
from zvt_crypto.domain.errors import Throttled
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.market import MarketWorld, Symbol
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.venues import VENUES
from zvt_crypto.venues.binance import BinanceHosts
from zvt_crypto.venues.budget import LimitBudget

SYMBOLS = (
    Symbol("spot", "BTC", "USDT", "60000", "0.01", "0.00001", 1500),
    Symbol("spot", "ETH", "USDT", "2500", "0.01", "0.0001", 4000),
    Symbol("usdm", "BTC", "USDT", "60010", "0.1", "0.001", 20, "100"),
)


class Notes:
    """ports.Observer that remembers."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.notes: list[tuple[str, dict[str, object]]] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + amount

    def gauge(self, name: str, value: float, **labels: str) -> None: ...

    def note(self, level: str, event: str, **fields: object) -> None:
        self.notes.append((event, fields))


class BinanceDesk:
    """Binance's connector on an emulated Binance. `pair` and `perp` are what the suite asks for."""

    pair, other_pair, perp = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt", "cryptoperp_binance_btcusdt"
    unavailable = Throttled  # what an HTTP 503 is: too much for now
    heavy_minutes = (1, 4)  # 150 reads of two pages at 20 each, of 2160 a minute: three windows

    def __init__(self, seed: int) -> None:
        self.clock = virtual.VirtualClock()
        self.world = MarketWorld(seed, SYMBOLS, start_ns=self.clock.now_ns(), events_per_s=6.0, history_days=3)
        self.dialect = BinanceDialect(self.world)
        self.faults = self.dialect.faults
        self.transport = MemoryTransport(self.dialect, self.clock, latency_ms=5)
        self.notes = Notes()
        self.budget = LimitBudget(self.clock, self.notes)
        make: Any = VENUES["binance"]
        hosts = BinanceHosts.local("http://emulator", "ws://emulator")
        self.connector = make(self.transport, self.clock, self.budget, self.notes, instruments=Instruments(), hosts=hosts)

    def true_book(self, instrument: str, depth: int) -> tuple[int, list[tuple[float, float]], list[tuple[float, float]]]:
        """The exchange's own book at this instant: (last id, bids, asks)."""
        market = "spot" if instrument.startswith("cryptopair") else "usdm"
        image = self.world.book(self.world.listings(market)["BTCUSDT"], depth)
        bids, asks = ([(price / 1e8, size / 1e8) for price, size in side[:depth]] for side in (image.bids, image.asks))
        return image.last_id, bids, asks

    def is_update(self, payload: bytes) -> bool:
        """Whether a frame is an update of a book."""
        return b"depthUpdate" in payload

    async def close(self) -> None:
        await self.connector.close()
        await self.transport.close()


# One line a venue: a new one is held to the whole suite by standing here.
DESKS: dict[str, Callable[[int], Any]] = {
    "binance": BinanceDesk,
    "bybit": lambda seed: BybitDesk(seed, SYMBOLS, Notes()),
    "coinbase": lambda seed: CoinbaseDesk(seed, SYMBOLS, Notes()),
    "okx": lambda seed: OkxDesk(seed, SYMBOLS, Notes()),
}


@pytest.fixture(scope="session")
def desks() -> dict[str, Callable[[int], Any]]:
    return DESKS


@pytest.fixture(params=sorted(DESKS))
def at_venue(request) -> SimpleNamespace:
    """`run(scenario)`: scenario(desk) on a fresh virtual loop, instruments fetched, closed in good order."""

    def run(scenario: Callable[[Any], Coroutine[Any, Any, Any]], seed: int = 7) -> Any:
        async def whole() -> Any:
            desk = DESKS[request.param](seed)
            await desk.connector.fetch_instruments()
            try:
                return await scenario(desk)
            finally:
                await desk.close()

        return virtual.run(whole())

    return SimpleNamespace(name=request.param, run=run)
