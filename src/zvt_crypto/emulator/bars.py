"""Klines of every Binance interval from minutes: calendar, summing, paging."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S, Interval, floor_ns, next_ns
from zvt_crypto.emulator.model import Agg, Bar, Trade

MINUTE = "1m"
Worth = Callable[[int, int], int]
LENGTH_NS: dict[str, int] = {
    "1s": NS_PER_S,
    **{f"{n}m": n * NS_PER_MINUTE for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * 60 * NS_PER_MINUTE for n in (1, 2, 4, 6, 8, 12)},
    "1d": NS_PER_DAY,
    "3d": 3 * NS_PER_DAY,
}
INTERVALS = (*LENGTH_NS, "1w", "1M")
_MOST_CACHED = 20_000  # long bars kept, about 4 MB


def floor_open(interval: str, at_ns: int) -> int:
    """The open of the bar that holds a time."""
    length = LENGTH_NS.get(interval)
    if length is None:
        return floor_ns(Interval(interval), at_ns)
    return at_ns // length * length


def next_open(interval: str, open_ns: int) -> int:
    """The open after this one."""
    length = LENGTH_NS.get(interval)
    if length is None:
        return next_ns(Interval(interval), open_ns)
    return open_ns + length


def flat(open_ns: int, price: int) -> Bar:
    """A bar in which nothing traded."""
    return Bar(open_ns, price, price, price, price, 0, 0, 0, 0, 0, -1, -1)


def times(price: int, size: int) -> int:
    """The turnover of a trade whose size is base."""
    return price * size


def add_trade(bar: Bar, trade: Trade | Agg, worth: Worth = times) -> Bar:
    """The bar with one more trade; an aggregate counts as its trades. `worth` gives the turnover of a price and size."""
    first, last = (trade.first_id, trade.last_id) if isinstance(trade, Agg) else (trade.id, trade.id)
    turnover = worth(trade.price, trade.size)
    taker = 0 if trade.buyer_is_maker else 1
    if bar.trades == 0:
        price, size = trade.price, trade.size
        return Bar(bar.open_ns, price, price, price, price, size, turnover, last - first + 1, taker * size, taker * turnover, first, last)
    return Bar(
        bar.open_ns,
        bar.open,
        max(bar.high, trade.price),
        min(bar.low, trade.price),
        trade.price,
        bar.size + trade.size,
        bar.turnover + turnover,
        bar.trades + last - first + 1,
        bar.taker_size + taker * trade.size,
        bar.taker_turnover + taker * turnover,
        bar.first_id,
        last,
    )


def join(open_ns: int, bars: Iterable[Bar]) -> Bar | None:
    """One bar of consecutive shorter ones. It opens at its first trade, not at an empty bar's carried price."""
    rows = list(bars)
    traded = [row for row in rows if row.trades or row.size]  # not every exchange counts the trades of a kline
    if not traded:
        return flat(open_ns, rows[-1].close) if rows else None
    return Bar(
        open_ns,
        traded[0].open,
        max(row.high for row in traded),
        min(row.low for row in traded),
        traded[-1].close,
        sum(row.size for row in traded),
        sum(row.turnover for row in traded),
        sum(row.trades for row in traded),
        sum(row.taker_size for row in traded),
        sum(row.taker_turnover for row in traded),
        traded[0].first_id,
        traded[-1].last_id,
    )


class BarPages:
    """Bars of any interval out of a source of minutes, with Binance's paging; closed long bars are kept.

    minutes: (start_ns, end_ns) → the minutes that open in it, oldest first, the forming one included.
    bounds: → (open of the first minute, now), None while there is no minute.
    seconds: the same as minutes for 1 s bars.
    """

    def __init__(
        self,
        minutes: Callable[[int, int], list[Bar]],
        seconds: Callable[[int, int], list[Bar]],
        bounds: Callable[[], tuple[int, int] | None],
    ) -> None:
        self._minutes = minutes
        self._seconds = seconds
        self._bounds = bounds
        self._closed: dict[tuple[str, int], Bar] = {}

    def page(self, interval: str, start_ns: int | None, end_ns: int | None, limit: int) -> list[Bar]:
        """Opens in [start, end], both inclusive: the first `limit` from start, or without one the newest."""
        bounds = self._bounds()
        if bounds is None:
            return []
        last = floor_open(interval, bounds[1])
        last = last if end_ns is None else min(last, floor_open(interval, end_ns))
        first = floor_open(interval, bounds[0])
        if start_ns is None:
            opens = _back(interval, first, last, limit)
        else:
            opens = _forth(interval, max(first, _ceiling(interval, start_ns)), last, limit)
        if not opens:
            return []
        if interval in (MINUTE, "1s"):
            source = self._minutes if interval == MINUTE else self._seconds
            return source(opens[0], next_open(interval, opens[-1]))[:limit]
        return [bar for bar in (self._long(interval, open_ns, bounds[1]) for open_ns in opens) if bar is not None]

    def forming(self, interval: str, at_ns: int) -> Bar | None:
        """The bar of the interval that holds the time, as far as it is known."""
        bounds = self._bounds()
        if bounds is None:
            return None
        if interval == "1s":
            open_ns = floor_open(interval, at_ns)
            return next(iter(self._seconds(open_ns, open_ns + NS_PER_S)), None)
        return self._long(interval, floor_open(interval, at_ns), bounds[1])

    def forget(self) -> None:
        """Minutes have changed: long bars are joined anew."""
        self._closed.clear()

    def _long(self, interval: str, open_ns: int, now_ns: int) -> Bar | None:
        close_ns = next_open(interval, open_ns)
        if interval == MINUTE:
            return join(open_ns, self._minutes(open_ns, close_ns))
        known = self._closed.get((interval, open_ns))
        if known is not None:
            return known
        smaller = "1d" if interval in ("3d", "1w", "1M") else "1h" if interval in ("2h", "4h", "6h", "8h", "12h", "1d") else None
        if smaller is None:
            bar = join(open_ns, self._minutes(open_ns, close_ns))
        else:
            bar = join(open_ns, self._parts(smaller, open_ns, close_ns, now_ns))
        if bar is not None and close_ns <= now_ns:
            if len(self._closed) >= _MOST_CACHED:
                self._closed.clear()
            self._closed[interval, open_ns] = bar
        return bar

    def _parts(self, interval: str, start_ns: int, end_ns: int, now_ns: int) -> list[Bar]:
        opens = _forth(interval, start_ns, min(end_ns - 1, now_ns), 1_000)
        return [bar for bar in (self._long(interval, open_ns, now_ns) for open_ns in opens) if bar is not None]


def bars_of(trades: Iterable[Trade], interval: str, carried: int | None, start_ns: int, end_ns: int, worth: Worth = times) -> list[Bar]:
    """Bars of consecutive trades (all in [start, end)), flat ones between; before the first trade only if a price is carried."""
    bars: list[Bar] = []
    open_ns = start_ns
    for trade in trades:
        while next_open(interval, open_ns) <= trade.time_ns:
            if carried is not None and (not bars or bars[-1].open_ns < open_ns):
                bars.append(flat(open_ns, carried))
            open_ns = next_open(interval, open_ns)
        if not bars or bars[-1].open_ns < open_ns:
            bars.append(flat(open_ns, trade.price))
        bars[-1] = add_trade(bars[-1], trade, worth)
        carried = trade.price
    while open_ns < end_ns and carried is not None:
        if not bars or bars[-1].open_ns < open_ns:
            bars.append(flat(open_ns, carried))
        open_ns = next_open(interval, open_ns)
    return bars


def _ceiling(interval: str, at_ns: int) -> int:
    open_ns = floor_open(interval, at_ns)
    return open_ns if open_ns == at_ns else next_open(interval, open_ns)


def _forth(interval: str, first: int, last: int, limit: int) -> list[int]:
    opens: list[int] = []
    while first <= last and len(opens) < limit:
        opens.append(first)
        first = next_open(interval, first)
    return opens


def _back(interval: str, first: int, last: int, limit: int) -> list[int]:
    opens: list[int] = []
    while first <= last and len(opens) < limit:
        opens.append(last)
        last = floor_open(interval, last - 1)
    return opens[::-1]
