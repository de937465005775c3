"""Minutes from trades: final only on evidence, never by a clock. (Longer klines from minutes: `engine.roll`, named here too.)

`TradeBars` is fed in id order and holds two minutes' worth of state, so it is rebuilt by feeding the stored trades since the open of
the last minute that was not final, and one trade before it (or saying `complete_from_ns`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from zvt_crypto.domain.market import Kline, Trade, TradeContinuity, TradeStream
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, Interval
from zvt_crypto.engine.roll import ROLL_BASE, Roll, roll_up

__all__ = ["DECIMALS", "MAX_SILENCE_NS", "ROLL_BASE", "Roll", "TradeBars", "klines_from_trades", "roll_up"]

# Sums are kept as integers of this many decimals: exact, whatever the order of the terms. 8 are the most that Binance has.
DECIMALS = 8
# A silence longer than this is treated as a hole rather than filled with flat minutes: it bounds what one trade can make.
MAX_SILENCE_NS = 31 * NS_PER_DAY
_MOST_MISSING = 10_000  # spans


class TradeBars:
    """Minutes of one instrument from one id stream of its trades, given in id order.

    A minute is final when the unbroken run of trades began before its open (or `complete_from_ns` says that nothing is missing from
    a time at or before it) and a later trade of the run lies at or past its close. Minutes without trades inside the run are flat
    and final: the close before, volume 0, trades 0.

    continuity: what ids show. dense: they rise by exactly one, so that a jump is a hole, and a trade that was given is known by its id.
    increasing: they may leave some out, so that only `on_gap` breaks the run, and whoever watches the connection must call it.
    opaque: as increasing, and nothing is known by its id: each trade must be given once, in the order of the venue, or of time.
    A hole leaves the minutes it touches non-final, from that of the last trade before it to that of the first after it, and makes
    nothing in between; nor is a minute final, or a silence known, that a span of `on_missing` touches. Should it be filled later,
    `klines_from_trades` over the stored trades gives those minutes anew.
    `trades` of a kline is None for `agg`, where one row stands for many trades, but 0 for a flat minute.
    """

    def __init__(
        self,
        instrument: str,
        stream: TradeStream = "trade",
        *,
        continuity: TradeContinuity = "dense",
        complete_from_ns: int | None = None,
        decimals: int = DECIMALS,
    ) -> None:
        self.instrument = instrument
        self.stream = stream
        self.continuity: TradeContinuity = continuity
        self.misplaced = 0  # trades that came, in id order, more than a kline behind the newest: they are in no kline
        self._complete_from_ns = complete_from_ns
        self._scale = 10**decimals
        self._last: Trade | None = None
        self._last_id = -1
        self._broken = False
        self._known_from_ns = 0  # the run holds every trade from here on
        self._bar: _Bar | None = None
        self._before: _Bar | None = None  # the one closed last
        self._missing: deque[tuple[int, int]] = deque(maxlen=_MOST_MISSING)  # spans that lack something, but for those long over

    @property
    def forming(self) -> Kline | None:
        """The minute of the newest trade, not final."""
        if self._bar is None or self._last is None:
            return None
        return self._kline(self._bar, self._last, final=False)

    @property
    def forms_whole(self) -> bool:
        """Whether `forming` holds every trade since its open; otherwise its open and sums are those of a part."""
        return self._bar is not None and self._is_whole(self._bar.open_ns)

    def on_trade(self, trade: Trade) -> list[Kline]:
        """The minutes that this trade closes, oldest first; mostly none. A trade that was given already does nothing.

        A trade that is next by id but lies, by its time, in the minute closed last gives that minute once more, corrected.
        """
        assert trade.instrument == self.instrument
        assert trade.stream == self.stream
        if not self._follow(trade):
            return []
        open_ns = trade.event_ns - trade.event_ns % NS_PER_MINUTE
        bar = self._bar
        if bar is not None and open_ns < bar.open_ns:
            return self._correct(open_ns, trade)
        made: list[Kline] = []
        if bar is None or open_ns > bar.open_ns:
            made = self._close(bar, open_ns, trade) if bar is not None else []
            self._bar = bar = _Bar(open_ns, trade.price)
        bar.add(trade, self._scale)
        self._last = trade
        return made

    def on_gap(self, first_id: int | None = None, last_id: int | None = None) -> None:
        """Trades after the last one given are missing, and nobody will deliver them in their place.

        With ids: ignored when they lie behind what was given already. Dense streams show their holes by themselves.
        """
        if last_id is None or last_id > self._last_id:
            self._broken = True

    def on_missing(self, start_ns: int, end_ns: int) -> None:
        """Trades of [start_ns, end_ns) are missing, wherever in the run that is said, and whatever others of that span are given."""
        self._missing.append((start_ns, end_ns))

    def _is_whole(self, open_ns: int) -> bool:
        return self._known_from_ns <= open_ns and not self._lacks(open_ns, open_ns + NS_PER_MINUTE)

    def _lacks(self, start_ns: int, end_ns: int) -> bool:
        return any(first_ns < end_ns and until_ns > start_ns for first_ns, until_ns in self._missing)

    def _follow(self, trade: Trade) -> bool:
        """Whether the trade is news; and note where the run that it belongs to begins."""
        is_opaque = self.continuity == "opaque"
        assert is_opaque or trade.trade_id.isdecimal(), f"trade id {trade.trade_id!r} of a stream that is {self.continuity} is no number"
        number = -1 if is_opaque else int(trade.trade_id)
        if 0 <= number <= self._last_id:
            return False
        if self._last is None:
            # A trade of the same instant may lie just before the first one: complete only from the next instant on.
            self._known_from_ns = trade.event_ns + 1 if self._complete_from_ns is None else self._complete_from_ns
        elif self._is_hole(trade, number):
            self._known_from_ns = max(trade.event_ns, self._last.event_ns) + 1
        self._broken = False
        self._last_id = max(number, self._last_id)
        return True

    def _is_hole(self, trade: Trade, number: int) -> bool:
        assert self._last is not None
        jumped = self.continuity == "dense" and number != self._last_id + 1
        return jumped or self._broken or trade.event_ns - self._last.event_ns > MAX_SILENCE_NS

    def _close(self, bar: _Bar, until_ns: int, trade: Trade) -> list[Kline]:
        """The minute that ends, and flat ones up to `until_ns` where the run is known to have been silent."""
        assert self._last is not None
        self._missing = deque((span for span in self._missing if span[1] > bar.open_ns), _MOST_MISSING)
        made = [self._kline(bar, trade, final=self._is_whole(bar.open_ns))]
        self._before = bar
        first_ns = bar.open_ns + NS_PER_MINUTE
        if self._known_from_ns <= first_ns:
            silent_ns = self._last.event_ns + 1
            for open_ns in range(first_ns, until_ns, NS_PER_MINUTE):
                if self._lacks(silent_ns, open_ns + NS_PER_MINUTE):
                    break
                self._before = _Bar(open_ns, bar.close)
                made.append(self._kline(self._before, trade, final=True))
        return made

    def _correct(self, open_ns: int, trade: Trade) -> list[Kline]:
        bar = self._before
        if bar is None or bar.open_ns != open_ns:
            self.misplaced += 1
            return []
        bar.add(trade, self._scale)
        return [self._kline(bar, trade, final=self._is_whole(open_ns))]

    def _kline(self, bar: _Bar, evidence: Trade, *, final: bool) -> Kline:
        return Kline(
            instrument=self.instrument,
            interval=Interval.MIN_1,
            open_ns=bar.open_ns,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.lots / self._scale,
            turnover=bar.turnover / self._scale**2,
            trades=bar.trades if self.stream == "trade" or not bar.trades else None,
            final=final,
            source="trades",
            event_ns=evidence.event_ns,
            recv_ns=evidence.recv_ns,
        )


def klines_from_trades(
    trades: Iterable[Trade], *, continuity: TradeContinuity = "dense", complete_from_ns: int | None = None, decimals: int = DECIMALS
) -> list[Kline]:
    """All minutes of trades of one instrument and stream, in id order; the last one is forming. Empty for no trades."""
    made: list[Kline] = []
    bars: TradeBars | None = None
    for trade in trades:
        if bars is None:
            bars = TradeBars(trade.instrument, trade.stream, continuity=continuity, complete_from_ns=complete_from_ns, decimals=decimals)
        made += bars.on_trade(trade)
    forming = bars.forming if bars is not None else None
    return made if forming is None else [*made, forming]


class _Bar:
    """A minute being summed. Quantities in units of 1/scale, turnover in 1/scale²."""

    __slots__ = ("close", "high", "lots", "low", "open", "open_ns", "trades", "turnover")

    def __init__(self, open_ns: int, price: float) -> None:
        self.open_ns = open_ns
        self.open = self.high = self.low = self.close = price
        self.lots = self.turnover = self.trades = 0

    def add(self, trade: Trade, scale: int) -> None:
        price = trade.price
        if not self.trades:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        lots = round(trade.quantity * scale)
        self.lots += lots
        self.turnover += lots * round(price * scale)
        self.trades += 1
