"""Minutes made of stored trades whose ids tell no order: what an instant of several prices leaves open, the minute that is served decides.

It was made as the exchange's trades came, or by the exchange itself; the store gives the trades of one instant by id.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE

_SHARE = 1e-9  # sums of doubles differ by less


def as_served(remade: Sequence[Kline], trades: Iterable[Trade], served: Mapping[int, Kline]) -> list[Kline]:
    """The minutes (oldest first), made of `trades` (by time), without those that say nothing new. `served`: by open.

    Of the others open and close are the served one's where a trade of the first or last instant has that price.
    """
    ends = _ends(trades)
    news: list[Kline] = []
    before: Kline | None = None
    for minute in remade:
        held = served.get(minute.open_ns)
        held = held if held is not None and held.final else None
        if minute.open_ns in ends:
            minute = _placed(minute, held, *ends[minute.open_ns])
        elif before is not None:  # silent: it says the close before
            close = before.close
            minute = msgspec.structs.replace(minute, open=close, high=close, low=close, close=close)
        before = minute
        if held is not None and says_the_same(minute, held):
            before = held
        else:
            news.append(minute)
    return news


def says_the_same(remade: Kline, held: Kline) -> bool:
    """Whether both are final, made of trades, and as far as their order does not matter of the same ones."""
    return (
        remade.final
        and held.final
        and (held.source, held.trades, held.high, held.low) == (remade.source, remade.trades, remade.high, remade.low)
        and math.isclose(held.volume, remade.volume, rel_tol=_SHARE)
    )


def holds_less(remade: Kline, held: Kline | None) -> bool:
    """Whether some of the trades that a final minute was made of are stored no more (forgotten, or archived): late ones only add."""
    return held is not None and held.final and held.source == remade.source and remade.volume < held.volume * (1 - _SHARE)


class _Instant:
    """One moment's prices."""

    __slots__ = ("at_ns", "prices")

    def __init__(self, trade: Trade) -> None:
        self.at_ns = trade.event_ns
        self.prices = {trade.price}


def _ends(trades: Iterable[Trade]) -> dict[int, tuple[_Instant, _Instant]]:
    """First and last instant of each minute, by its open."""
    ends: dict[int, tuple[_Instant, _Instant]] = {}
    for trade in trades:
        open_ns = trade.event_ns - trade.event_ns % NS_PER_MINUTE
        found = ends.get(open_ns)
        if found is None:
            instant = _Instant(trade)
            ends[open_ns] = instant, instant
        elif trade.event_ns == found[1].at_ns:
            found[1].prices.add(trade.price)
        else:
            ends[open_ns] = found[0], _Instant(trade)
    return ends


def _placed(minute: Kline, held: Kline | None, first: _Instant, last: _Instant) -> Kline:
    if held is None:
        return minute
    open_ = held.open if held.open in first.prices else minute.open
    close = held.close if held.close in last.prices else minute.close
    return msgspec.structs.replace(minute, open=open_, close=close)
