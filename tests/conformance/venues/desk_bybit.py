"""Bybit's connector on an emulated Bybit."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from zvt_crypto.domain.errors import Unreachable
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.bybit.dialect import BybitDialect
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.venues import VENUES
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.bybit import BybitHosts


class BybitDesk:
    """`pair` and `perp` are what the suite asks for."""

    pair, other_pair, perp = "cryptopair_bybit_btcusdt", "cryptopair_bybit_ethusdt", "cryptoperp_bybit_btcusdt"
    unavailable = Unreachable  # what an HTTP 503 is: a service that is away
    heavy_minutes = (0.02, 0.1)  # 150 reads of one page, of which 54 a second are ours to use for the past
    categories = MappingProxyType({pair: "spot", perp: "linear"})

    def __init__(self, seed: int, symbols: Any, notes: Any) -> None:
        self.clock = virtual.VirtualClock()
        self.world = MarketWorld(seed, symbols, start_ns=self.clock.now_ns(), events_per_s=6.0, history_days=3)
        self.dialect = BybitDialect(self.world)
        self.faults = self.dialect.faults
        self.transport = MemoryTransport(self.dialect, self.clock, latency_ms=5)
        self.notes = notes
        self.budget = LimitBudget(self.clock, self.notes)
        make: Any = VENUES["bybit"]
        hosts = BybitHosts.local("http://emulator", "ws://emulator")
        self.connector = make(self.transport, self.clock, self.budget, self.notes, instruments=Instruments(), hosts=hosts)

    def true_book(self, instrument: str, depth: int) -> tuple[int, list[tuple[float, float]], list[tuple[float, float]]]:
        """The exchange's own book at this instant: (id of who has heard everything, bids, asks)."""
        market = "spot" if instrument.startswith("cryptopair") else "usdm"
        image = self.world.book(self.world.listings(market)["BTCUSDT"], depth)
        bids, asks = ([(price / 1e8, size / 1e8) for price, size in side[:depth]] for side in (image.bids, image.asks))
        heard = self.dialect.book_of(self.categories[instrument], "BTCUSDT")
        return (-1 if heard is None else heard[0]), bids, asks

    def is_update(self, payload: bytes) -> bool:
        """Whether a frame is an update of a book."""
        return b'"topic":"orderbook' in payload and b'"type":"delta"' in payload

    async def close(self) -> None:
        await self.connector.close()
        await self.transport.close()
