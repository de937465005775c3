"""Binance's connector (ports.ExchangeConnector)."""

from __future__ import annotations

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Clock, Observer, RateBudget, Transport
from zvt_crypto.venues.binance.spec import EXCHANGE, BinanceHosts, BinanceOptions


class BinanceConnector:
    """Spot and USD-M, public side."""

    exchange = EXCHANGE

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        budget: RateBudget,
        observer: Observer,
        *,
        instruments: Instruments | None = None,
        hosts: BinanceHosts | None = None,
        options: BinanceOptions | None = None,
    ) -> None:
        self.instruments = instruments if instruments is not None else Instruments()
        self.hosts = hosts or BinanceHosts()
        self.options = options or BinanceOptions()
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
