"""Doors to exchanges. Two literal tables: `VENUES`, exchange id → what makes its connector, and `CAPABILITIES`, what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Clock, ExchangeConnector, Observer, RateBudget, Transport
from zvt_crypto.venues.binance import BinanceConnector
from zvt_crypto.venues.binance.capabilities import CAPABILITIES as BINANCE
from zvt_crypto.venues.bybit import BybitConnector
from zvt_crypto.venues.bybit.capabilities import CAPABILITIES as BYBIT
from zvt_crypto.venues.capability import Capabilities
from zvt_crypto.venues.coinbase import CoinbaseConnector
from zvt_crypto.venues.coinbase.capabilities import CAPABILITIES as COINBASE
from zvt_crypto.venues.okx import OkxConnector
from zvt_crypto.venues.okx.capabilities import CAPABILITIES as OKX


class VenueFactory(Protocol):
    """Makes a connector. Venues have further keyword arguments of their own (hosts, options), all with defaults."""

    def __call__(
        self, transport: Transport, clock: Clock, budget: RateBudget, observer: Observer, *, instruments: Instruments = ...
    ) -> ExchangeConnector: ...


VENUES: Mapping[str, VenueFactory] = MappingProxyType(
    {"binance": BinanceConnector, "bybit": BybitConnector, "coinbase": CoinbaseConnector, "okx": OkxConnector}
)
# exchange id → what it can do; the docs, `zvt-crypto venues` and the conformance suite read it here.
CAPABILITIES: Mapping[str, Capabilities] = MappingProxyType({"binance": BINANCE, "bybit": BYBIT, "coinbase": COINBASE, "okx": OKX})
