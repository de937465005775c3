"""Which exchanges the emulator speaks like: one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.bybit.dialect import BybitDialect
from zvt_crypto.emulator.coinbase.dialect import CoinbaseDialect
from zvt_crypto.emulator.dialect import Dialect
from zvt_crypto.emulator.model import World
from zvt_crypto.emulator.okx.dialect import OkxDialect

DIALECTS: Mapping[str, Callable[[World], Dialect]] = MappingProxyType(
    {"binance": BinanceDialect, "bybit": BybitDialect, "okx": OkxDialect, "coinbase": CoinbaseDialect}
)
