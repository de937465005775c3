"""A running API on a real store: REST and WebSocket on free ports of the loopback."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.domain.errors import ZvtCryptoError
from zvt_crypto.domain.instrument import CryptoAsset, CryptoFuture, CryptoPair, CryptoPerp, Instruments
from zvt_crypto.domain.market import BookSnapshot, Kline, Ticker
from zvt_crypto.domain.time import Interval, parse_time
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.telemetry.health import Health
from zvt_crypto.telemetry.metrics import PrometheusObserver

NOW = parse_time("2024-08-09T00:01:15.099Z")
BTC = CryptoPair(
    id="cryptopair_binance_btcusdt",
    exchange="binance",
    native_symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    tick=Decimal("0.01"),
    lot=Decimal("0.00001"),
    min_trade_amount=Decimal("0.00001"),
    min_notional=Decimal(5),
)
BTC_PERP = CryptoPerp(
    id="cryptoperp_binance_btcusdt",
    exchange="binance",
    native_symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
    underlying_asset="BTC",
    settlement_currency="USDT",
)
BTC_FUTURE = CryptoFuture(
    id="cryptofuture_binance_btcusdt_241227",
    exchange="binance",
    native_symbol="BTCUSDT_241227",
    base_asset="BTC",
    quote_asset="USDT",
    underlying_asset="BTC",
    settlement_currency="USDT",
    expiry_ns=parse_time("2024-12-27T08:00:00Z"),
)
ASSETS = [
    CryptoAsset(id="crypto_binance_btc", exchange="binance", symbol="BTC", full_name="Bitcoin", max_supply=Decimal(21_000_000)),
    CryptoAsset(id="crypto_binance_bch", exchange="binance", symbol="BCH", full_name="Bitcoin Cash"),
    CryptoAsset(id="crypto_binance_usdt", exchange="binance", symbol="USDT", full_name="Tether"),
]


class HandClock:
    """A clock that moves when a test says so; waiting is real."""

    def __init__(self, now_ns: int) -> None:
        self.ns = now_ns

    def now_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FakeConnector:
    """What an exchange would answer by REST, counted."""

    exchange = "binance"

    def __init__(self) -> None:
        self.ticker: Ticker | ZvtCryptoError | None = None
        self.book: BookSnapshot | ZvtCryptoError | None = None
        self.asked = 0

    async def fetch_ticker(self, symbol: str) -> Ticker:
        return self._give(self.ticker)

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        return self._give(self.book)

    def _give(self, value: Any) -> Any:
        self.asked += 1
        if isinstance(value, Exception):
            raise value
        assert value is not None
        return value


@dataclass
class Api:
    """The parts of a running REST API, and a client on it."""

    store: PostgresStore
    live: MemoryLiveState
    clock: HandClock
    observer: PrometheusObserver
    health: Health
    connector: FakeConnector
    deps: ApiDeps
    url: str
    http: aiohttp.ClientSession
    instruments: Instruments

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        """(status, JSON) of a path below /api/v1/crypto, or of one that begins with two slashes at the root."""
        target = path[1:] if path.startswith("//") else f"/api/v1/crypto{path}"
        async with self.http.get(self.url + target, params=params) as answer:
            return answer.status, await answer.json(content_type=None)


def make_kline(open_time: str, close: float = 100.0, *, final: bool = True, source: Any = "venue", instrument: str = BTC.id) -> Kline:
    """A one-minute kline at `close`, flat but for a high of one more."""
    return Kline(
        instrument,
        Interval.MIN_1,
        parse_time(open_time),
        close,
        close + 1,
        close,
        close,
        2.5,
        close * 2.5,
        7,
        final,
        source,
        parse_time(open_time),
    )
