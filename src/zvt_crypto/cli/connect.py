"""How an exchange is reached: transport, clock, rate budget and connector, closed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import BadConfig, Unsupported
from zvt_crypto.domain.instrument import Instruments, check_exchange

if TYPE_CHECKING:
    from zvt_crypto.ports import ExchangeConnector, Observer
    from zvt_crypto.venues.binance import BinanceHosts


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


def binance_hosts(settings: Settings) -> BinanceHosts:
    """The real exchange, or the one place that `binance.rest` and `binance.ws` name. Raises BadConfig for half of it."""
    from zvt_crypto.venues.binance import BinanceHosts

    rest, ws = settings.binance.rest, settings.binance.ws
    if rest is None and ws is None:
        return BinanceHosts()
    if rest is None or ws is None:
        raise BadConfig(f"binance.rest and binance.ws belong together: {'binance.rest' if rest is None else 'binance.ws'} is missing")
    if not rest.startswith(("http://", "https://")) or not ws.startswith(("ws://", "wss://")):
        raise BadConfig(f"binance.rest {rest!r} must be http(s)://, and binance.ws {ws!r} ws(s)://")
    return BinanceHosts.local(rest, ws)


@contextlib.asynccontextmanager
async def open_connector(
    settings: Settings, exchange: str, *, observer: Observer | None = None, instruments: Instruments | None = None
) -> AsyncIterator[ExchangeConnector]:
    """A connector over real sockets. Raises UnknownExchange, and Unsupported for one that this build has no room for."""
    from zvt_crypto.stores.files.limits import FileLimits
    from zvt_crypto.venues import VENUES
    from zvt_crypto.venues.budget import LimitBudget
    from zvt_crypto.venues.clock import SystemClock
    from zvt_crypto.venues.http import NetTransport

    name = check_exchange(exchange)
    if name not in VENUES:
        raise Unsupported(f"exchange {name!r} is known, but not in this build; it has {', '.join(VENUES)}")
    clock, watcher, transport = SystemClock(), observer or Silent(), NetTransport()
    make: Callable[..., ExchangeConnector] = VENUES[name]
    limits = FileLimits(_limits_file(settings, name))
    budget = LimitBudget(clock, watcher, limits)
    connector = make(transport, clock, budget, watcher, instruments=instruments or Instruments(), **KEYWORDS[name](settings))
    try:
        yield connector
    finally:
        await connector.close()
        await transport.close()
        limits.close()


def _limits_file(settings: Settings, exchange: str) -> Path:
    """The machine's table for the real exchange. An emulator counts for itself, and so do those who talk to it."""
    chosen = getattr(settings, exchange, None)
    return settings.data_dir / "limits.json" if getattr(chosen, "rest", None) else settings.limits_file


def _binance_keywords(settings: Settings) -> dict[str, Any]:
    from zvt_crypto.venues.binance import BinanceOptions

    chosen = settings.binance
    options = BinanceOptions(markets=chosen.markets, spot_trade_stream=chosen.trades, usdm_trade_stream=chosen.usdm_trades)
    return {"hosts": binance_hosts(settings), "options": options}


# What a venue's factory takes beyond the common arguments.
KEYWORDS: dict[str, Callable[[Settings], dict[str, Any]]] = {"binance": _binance_keywords}
