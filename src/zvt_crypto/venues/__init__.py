"""Doors to exchanges. `VENUES` is the literal table: exchange id → what makes its connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Clock, ExchangeConnector, Observer, RateBudget, Transport
from zvt_crypto.venues.binance import BinanceConnector


class VenueFactory(Protocol):
    """Makes a connector. Venues have further keyword arguments of their own (hosts, options), all with defaults."""

    def __call__(
        self, transport: Transport, clock: Clock, budget: RateBudget, observer: Observer, *, instruments: Instruments = ...
    ) -> ExchangeConnector: ...


VENUES: Mapping[str, VenueFactory] = MappingProxyType({"binance": BinanceConnector})
