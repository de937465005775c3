"""Quote → base: where a venue counts inverse contracts in their quote, and turns them over in their base, what leaves here is base, and
turnover quote, as of all other instruments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from zvt_crypto.domain.instrument import CryptoPair, Instrument
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, Level, Ticker, Trade

_replace = msgspec.structs.replace


def in_base(told: Any) -> Any:
    """An event of an inverse contract whose quantities are quote → in base. Mark prices, funding and what is strange are as they are."""
    change = _CHANGES.get(type(told))
    return told if change is None else change(told)


def units_of(instrument: Instrument) -> Callable[[Any], Any]:
    """What is done to what the venue tells of an instrument."""
    is_inverse = not isinstance(instrument, CryptoPair) and instrument.is_inverse
    return in_base if is_inverse else _as_it_is


def all_in_base(read: Callable[[Any, int], Sequence[Any]]) -> Callable[[Any, int], Sequence[Any]]:
    """A reader of an inverse contract's frames whose events are in base."""
    return lambda frame, recv_ns: [in_base(told) for told in read(frame, recv_ns)]


def _as_it_is(told: Any) -> Any:
    return told


def _trade(told: Trade) -> Trade:
    return _replace(told, quantity=told.quantity / told.price)


def _day(told: Kline | Ticker) -> Kline | Ticker:
    """The quote is what was turned over, and the base that the venue calls turnover is the volume."""
    return _replace(told, volume=told.turnover, turnover=told.volume)


def _book(told: BookSnapshot | BookDelta) -> BookSnapshot | BookDelta:
    return _replace(told, bids=_levels(told.bids), asks=_levels(told.asks))


def _levels(levels: Sequence[Level]) -> list[Level]:
    return [(price, size / price) for price, size in levels]


def _quote(told: BestQuote) -> BestQuote:
    """A side without orders is all zeros."""
    sizes = ((told.bid, told.bid_quantity), (told.ask, told.ask_quantity))
    bid, ask = (size / price if price else 0.0 for price, size in sizes)
    return _replace(told, bid_quantity=bid, ask_quantity=ask)


_CHANGES: dict[type, Callable[[Any], Any]] = {
    Trade: _trade,
    Kline: _day,
    Ticker: _day,
    BookSnapshot: _book,
    BookDelta: _book,
    BestQuote: _quote,
}
