"""Longer klines from shorter ones: final only when all they are made of is.

`Roll` is fed by ascending open and holds one kline's worth of state, so it is rebuilt by feeding the stored klines since the open of
its last span that was not final.
"""

from __future__ import annotations

from collections.abc import Iterable

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import INTERVALS, Interval, floor_ns, next_ns

# Sums are kept as integers of this many decimals: exact, whatever the order of the terms. 8 are the most that Binance has.
_SCALE = 10**8
# What each longer interval is best rolled from: weeks and months of days, so that their state is rebuilt from few rows.
ROLL_BASE: dict[Interval, Interval] = {
    Interval.MIN_5: Interval.MIN_1,
    Interval.MIN_15: Interval.MIN_1,
    Interval.MIN_30: Interval.MIN_1,
    Interval.HOUR_1: Interval.MIN_1,
    Interval.HOUR_4: Interval.MIN_1,
    Interval.DAY_1: Interval.MIN_1,
    Interval.WEEK_1: Interval.DAY_1,
    Interval.MONTH_1: Interval.DAY_1,
}


class Roll:
    """One longer interval from the klines of a shorter one (`base`), given by ascending open, the forming one as often as it changes.

    A longer kline is final when every kline of its span came and was final; it comes out with the last of them. It opens at its
    first traded kline, as the exchanges' own do: the price that an untraded one carries counts only where none was traded.

    complete_from_ns: no kline is missing from this time on, so that before the first one given there was none: a listing may begin
    in the middle of a span (0 for data since the listing).
    A kline that was taken as final and comes again, changed, makes its span non-final: roll the stored ones anew. `doubt` says that it
    has changed where only others see it.
    """

    def __init__(
        self,
        instrument: str,
        interval: Interval,
        *,
        base: Interval = Interval.MIN_1,
        complete_from_ns: int | None = None,
    ) -> None:
        assert INTERVALS.index(base) < INTERVALS.index(interval)
        assert base is not Interval.WEEK_1  # months do not consist of weeks
        self.instrument = instrument
        self.interval = interval
        self.base = base
        self._complete_from_ns = complete_from_ns
        self._span: _Span | None = None  # klines that will not change any more
        self._tail: Kline | None = None  # the newest, while it may still change
        self._last: Kline | None = None  # the newest that was folded
        self._next_ns: int | None = None  # the open that must come next

    @property
    def forming(self) -> Kline | None:
        """The longer kline up to now, not final; None between two."""
        if self._tail is not None:
            span = self._span.copy() if self._span is not None else _Span(floor_ns(self.interval, self._tail.open_ns), whole=False)
            span.add(self._tail)
            return self._kline(span, self._tail, final=False)
        if self._span is not None and self._last is not None:
            return self._kline(self._span, self._last, final=False)
        return None

    @property
    def forms_whole(self) -> bool:
        """Whether `forming` holds every kline since its open; otherwise its open and sums are those of a part."""
        if self._span is not None:
            return self._span.whole and (self._tail is None or self._tail.open_ns == self._next_ns)
        return self._tail is not None and self._tail.open_ns == floor_ns(self.interval, self._tail.open_ns)

    def on_kline(self, kline: Kline) -> list[Kline]:
        """The longer klines that this one closes: mostly none, at most two (a torn one, and its own)."""
        assert kline.instrument == self.instrument
        assert kline.interval == self.base
        if self._next_ns is not None and kline.open_ns < self._next_ns:
            self._doubt(kline)
            return []
        made: list[Kline] = []
        if self._tail is not None and self._tail.open_ns < kline.open_ns:
            made += self._fold(self._tail)
        if self._span is not None and self._span.open_ns < floor_ns(self.interval, kline.open_ns):
            made += self._end(kline, final=False)
        if not kline.final:
            self._tail = kline
            return made
        return made + self._fold(kline)

    def has_passed(self, open_ns: int) -> bool:
        """Whether it took the kline of that open, or a later one, as one that does not change any more."""
        return self._next_ns is not None and open_ns < self._next_ns

    def doubt(self, open_ns: int) -> bool:
        """A kline that was taken has changed since. False where its span is out already, and must be rolled anew at once."""
        if self._span is None or open_ns < self._span.open_ns:
            return self._next_ns is not None and open_ns >= self._next_ns
        if self._next_ns is not None and open_ns < self._next_ns:
            self._span.doubted = True
        return True

    def _fold(self, kline: Kline) -> list[Kline]:
        """Take in a kline that will not change any more."""
        self._tail = None
        span = self._span
        if span is None:
            span = self._span = self._begin(kline)
        elif kline.open_ns != self._next_ns:
            span.whole = False
        span.whole = span.whole and kline.final
        span.add(kline)
        self._last = kline
        self._next_ns = next_ns(self.base, kline.open_ns)
        if self._next_ns < next_ns(self.interval, span.open_ns):
            return []
        return self._end(kline, final=span.whole and not span.doubted)

    def _begin(self, kline: Kline) -> _Span:
        open_ns = floor_ns(self.interval, kline.open_ns)
        since_ns = self._complete_from_ns if self._next_ns is None else None
        return _Span(open_ns, whole=kline.open_ns == open_ns or (since_ns is not None and since_ns <= open_ns))

    def _end(self, evidence: Kline, *, final: bool) -> list[Kline]:
        assert self._span is not None
        made = self._kline(self._span, evidence, final=final)
        self._span = None
        return [made]

    def _doubt(self, kline: Kline) -> None:
        if self._span is not None and kline.open_ns >= self._span.open_ns and not _same(kline, self._last):
            self._span.doubted = True

    def _kline(self, span: _Span, evidence: Kline, *, final: bool) -> Kline:
        return Kline(
            instrument=self.instrument,
            interval=self.interval,
            open_ns=span.open_ns,
            open=span.open,
            high=span.high,
            low=span.low,
            close=span.close,
            volume=span.volume / _SCALE,
            turnover=span.turnover / _SCALE if span.turnover is not None else None,
            trades=span.trades,
            final=final,
            source="derived",
            event_ns=evidence.event_ns,
            recv_ns=evidence.recv_ns,
        )


def roll_up(klines: Iterable[Kline], interval: Interval, *, complete_from_ns: int | None = None) -> list[Kline]:
    """All longer klines of klines of one instrument and interval, by ascending open; a last one that is not closed is forming."""
    made: list[Kline] = []
    roll: Roll | None = None
    for kline in klines:
        if roll is None:
            roll = Roll(kline.instrument, interval, base=kline.interval, complete_from_ns=complete_from_ns)
        made += roll.on_kline(kline)
    forming = roll.forming if roll is not None else None
    return made if forming is None else [*made, forming]


class _Span:
    """A longer kline being summed; volume and turnover in units of 1/_SCALE."""

    __slots__ = ("close", "doubted", "high", "is_traded", "low", "open", "open_ns", "trades", "turnover", "volume", "whole")

    def __init__(self, open_ns: int, *, whole: bool) -> None:
        self.open_ns = open_ns
        self.whole = whole  # no kline of it was missing or not final so far
        self.doubted = False  # one of them has changed since it was added
        self.is_traded = False
        self.open = self.high = self.low = self.close = 0.0
        self.volume = 0
        self.turnover: int | None = 0
        self.trades: int | None = 0

    def copy(self) -> _Span:
        made = _Span(self.open_ns, whole=self.whole)
        for name in _Span.__slots__:
            setattr(made, name, getattr(self, name))
        return made

    def add(self, kline: Kline) -> None:
        is_traded = kline.volume > 0
        if is_traded and self.is_traded:
            self.high, self.low = max(self.high, kline.high), min(self.low, kline.low)
        elif is_traded or not self.close:
            self.open, self.high, self.low = kline.open, kline.high, kline.low
        self.is_traded = self.is_traded or is_traded
        self.close = kline.close
        self.volume += round(kline.volume * _SCALE)
        self.turnover = None if self.turnover is None or kline.turnover is None else self.turnover + round(kline.turnover * _SCALE)
        self.trades = None if self.trades is None or kline.trades is None else self.trades + kline.trades


def _same(a: Kline, b: Kline | None) -> bool:
    """Whether two klines say the same, whoever said it and when."""
    if b is None:
        return False
    return (a.open_ns, a.open, a.high, a.low, a.close, a.volume) == (b.open_ns, b.open, b.high, b.low, b.close, b.volume)
