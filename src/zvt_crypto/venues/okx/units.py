"""Contracts → base: outside of spot, OKX counts trades, books and tickers in contracts, and every quantity that leaves here is base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp, Instrument, Instruments
from zvt_crypto.domain.market import Level
from zvt_crypto.domain.money import decimals_of
from zvt_crypto.venues.okx.spec import EXCHANGE
from zvt_crypto.venues.okx.symbols import index_of
from zvt_crypto.venues.okx.wire import LevelWire

# Decimals of a size in contracts that are kept: the finest lot is 0.01.
_CONTRACT_DECIMALS = 6


class Traded(msgspec.Struct, frozen=True):
    """An instrument as a parser needs it. `base` turns a size in contracts (base on spot) and its price into base.

    native: the venue's symbol. value: base (linear) or quote (inverse) of one contract; 1 on spot. index: the name of its index.
    """

    id: str
    native: str
    index: str
    is_spot: bool
    is_inverse: bool
    has_funding: bool
    value: float
    base: Callable[[float, float], float]
    levels: Callable[[Sequence[LevelWire]], list[Level]]


def traded_of(instruments: Instruments) -> dict[str, Traded]:
    """Native symbol → what a parser needs: they are unique over all of the venue's markets."""
    listed = instruments.of_exchange(EXCHANGE)
    # A relisted name belongs to the living.
    return {one.native_symbol: traded(one) for one in sorted(listed, key=lambda one: one.status != "delisted")}


def traded(instrument: Instrument) -> Traded:
    """What a parser needs of one instrument."""
    name, index, funded = (instrument.id, instrument.native_symbol), index_of(instrument), isinstance(instrument, CryptoPerp)
    if isinstance(instrument, CryptoPair):
        return Traded(*name, index, True, False, funded, 1.0, _as_it_is, _levels_as_they_are)
    size = instrument.contract_size
    if instrument.is_inverse:
        return Traded(*name, index, False, True, funded, float(size), _inverse(float(size)), _inverse_levels(float(size)))
    factor, divisor = _ratio(size)
    return Traded(*name, index, False, False, funded, float(size), _linear(factor, divisor), _linear_levels(factor, divisor))


def _ratio(size: Decimal) -> tuple[float, int]:
    """(factor, divisor): `round(contracts * factor) / divisor` is the float nearest to the decimal product, without its noise."""
    decimals = (decimals_of(size) or 0) + _CONTRACT_DECIMALS
    return float(size.scaleb(decimals)), 10**decimals


def _as_it_is(size: float, _price: float) -> float:
    return size


def _levels_as_they_are(levels: Sequence[LevelWire]) -> list[Level]:
    return [(level.price, level.size) for level in levels]


def _linear(factor: float, divisor: int) -> Callable[[float, float], float]:
    return lambda size, _price: round(size * factor) / divisor


def _linear_levels(factor: float, divisor: int) -> Callable[[Sequence[LevelWire]], list[Level]]:
    return lambda levels: [(level.price, round(level.size * factor) / divisor) for level in levels]


def _inverse(value: float) -> Callable[[float, float], float]:
    return lambda size, price: size * value / price


def _inverse_levels(value: float) -> Callable[[Sequence[LevelWire]], list[Level]]:
    return lambda levels: [(level.price, level.size * value / level.price) for level in levels]
