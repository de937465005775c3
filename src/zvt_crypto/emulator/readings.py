"""Whose recordings can be played: one literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from zvt_crypto.emulator.binance.reading import BinanceReading
from zvt_crypto.emulator.bybit.reading import BybitReading
from zvt_crypto.emulator.capture import Capture
from zvt_crypto.emulator.coinbase.reading import CoinbaseReading
from zvt_crypto.emulator.okx.reading import OkxReading
from zvt_crypto.emulator.reading import Reading

READINGS: Mapping[str, Callable[[Capture], Reading]] = MappingProxyType(
    {"binance": BinanceReading, "bybit": BybitReading, "okx": OkxReading, "coinbase": CoinbaseReading}
)
