"""How an exchange is reached: transport, clock, rate budget and connector, closed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Literal

from zvt_crypto.cli.settings import Settings, Venue, is_reference, read_secret
from zvt_crypto.domain.errors import BadConfig, Unsupported
from zvt_crypto.domain.exchanges import THROUGH_CCXT, check_exchange
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.telemetry.redact import redact_url

if TYPE_CHECKING:
    from zvt_crypto.ports import ExchangeConnector, Observer
    from zvt_crypto.stores.files.limits import FileLimits
    from zvt_crypto.stores.redis.limits import RedisLimits


class Silent:
    """An Observer for commands that only want the answer; warnings and errors go to stderr."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Not kept."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Not kept."""

    def note(self, level: Literal["debug", "info", "warning", "error"], event: str, **fields: object) -> None:
        """One line for what a person should see."""
        if level in ("warning", "error"):
            import sys

            told = ", ".join(f"{key} {value}" for key, value in fields.items())
            print(f"{level}: {event}{': ' + told if told else ''}", file=sys.stderr)


def place_of(exchange: str, chosen: Venue) -> tuple[str, str] | None:
    """The one place that `<exchange>.rest` and `<exchange>.ws` name, None for the real exchange. Raises BadConfig for half of it."""
    rest, ws = chosen.rest, chosen.ws
    if rest is None and ws is None:
        return None
    if rest is None or ws is None:
        absent = f"{exchange}.{'rest' if rest is None else 'ws'}"
        raise BadConfig(f"{exchange}.rest and {exchange}.ws belong together: {absent} is missing")
    if not rest.startswith(("http://", "https://")) or not ws.startswith(("ws://", "wss://")):
        raise BadConfig(f"{exchange}.rest {redact_url(rest)!r} must be http(s)://, and {exchange}.ws {redact_url(ws)!r} ws(s)://")
    return rest, ws


@contextlib.asynccontextmanager
async def open_connector(
    settings: Settings, exchange: str, *, observer: Observer | None = None, instruments: Instruments | None = None
) -> AsyncIterator[ExchangeConnector]:
    """A connector over real sockets. Raises UnknownExchange, and Unsupported for one that this build has no room for."""
    from zvt_crypto.venues import VENUES
    from zvt_crypto.venues.budget import LimitBudget
    from zvt_crypto.venues.clock import SystemClock
    from zvt_crypto.venues.http import NetTransport

    name = check_exchange(exchange)
    if name in THROUGH_CCXT:
        from zvt_crypto.venues.ccxt import CcxtConnector

        door = CcxtConnector(name, SystemClock(), observer or Silent(), instruments=instruments)
        try:
            yield door
        finally:
            await door.close()
        return
    if name not in VENUES:
        raise Unsupported(f"exchange {name!r} is known, but not in this build; it has {', '.join(VENUES)}")
    clock, watcher, transport = SystemClock(), observer or Silent(), NetTransport()
    make: Callable[..., ExchangeConnector] = VENUES[name]
    limits = _limits(settings, name, watcher)
    budget = LimitBudget(clock, watcher, limits)
    connector = make(transport, clock, budget, watcher, instruments=instruments or Instruments(), **KEYWORDS[name](settings))
    try:
        yield connector
    finally:
        await connector.close()
        await transport.close()
        limits.close()


def _limits(settings: Settings, exchange: str, observer: Observer) -> FileLimits | RedisLimits:
    """The shared table for the real exchange. An emulator counts for itself, and so do those who talk to it."""
    from zvt_crypto.stores.files.limits import FileLimits
    from zvt_crypto.stores.redis.limits import RedisLimits

    if getattr(getattr(settings, exchange, None), "rest", None):
        return FileLimits(settings.data_dir / "limits.json", observer)
    address = settings.limits.redis
    if address is None:
        return FileLimits(settings.limits_file, observer)
    return RedisLimits(read_secret("limits.redis", address) if is_reference(address) else address, observer)


def _binance_keywords(settings: Settings) -> dict[str, Any]:
    from zvt_crypto.venues.binance import BinanceHosts, BinanceOptions

    chosen = settings.binance
    options = BinanceOptions(markets=chosen.markets, spot_trade_stream=chosen.trades, usdm_trade_stream=chosen.usdm_trades)
    place = place_of("binance", chosen)
    return {"hosts": BinanceHosts.local(*place) if place else BinanceHosts(), "options": options}


def _bybit_keywords(settings: Settings) -> dict[str, Any]:
    from zvt_crypto.venues.bybit import BybitHosts, BybitOptions

    chosen = settings.bybit
    place = place_of("bybit", chosen)
    hosts = BybitHosts.local(*place) if place else BybitHosts()
    return {"hosts": hosts, "options": BybitOptions(markets=chosen.markets, book_levels=chosen.book_levels)}


def _coinbase_keywords(settings: Settings) -> dict[str, Any]:
    from zvt_crypto.venues.coinbase import CoinbaseHosts, CoinbaseOptions

    chosen = settings.coinbase
    place = place_of("coinbase", chosen)
    hosts = CoinbaseHosts.local(*place) if place else CoinbaseHosts()
    return {"hosts": hosts, "options": CoinbaseOptions(markets=chosen.markets, books_a_socket=chosen.books_a_socket)}


def _okx_keywords(settings: Settings) -> dict[str, Any]:
    from zvt_crypto.venues.okx import OkxHosts, OkxOptions

    chosen = settings.okx
    place = place_of("okx", chosen)
    return {"hosts": OkxHosts.local(*place) if place else OkxHosts(), "options": OkxOptions(markets=chosen.markets)}


# What a venue's factory takes beyond the common arguments.
KEYWORDS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "binance": _binance_keywords,
    "bybit": _bybit_keywords,
    "coinbase": _coinbase_keywords,
    "okx": _okx_keywords,
}
