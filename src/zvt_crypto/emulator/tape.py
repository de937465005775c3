"""Trades and minutes of a recorded symbol so far, and what follows from them. The same for every exchange."""

from __future__ import annotations

from bisect import bisect_left

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from zvt_crypto.emulator.bars import BarPages, Worth, add_trade, bars_of, flat, join, times
from zvt_crypto.emulator.model import Agg, Bar, BookImage, Day, Trade

Level = tuple[int, int]


class Tape:
    """Grows with `add_trade`, `add_agg` and `say`; `event_ms` is the newest time that the exchange has told.

    worth: the turnover of a price and size.
    """

    def __init__(self, worth: Worth = times) -> None:
        self._worth = worth
        self.trades: list[Trade] = []
        self.aggs: list[Agg] = []
        self.event_ms = 0
        self._said: dict[int, Bar] = {}  # minutes as the exchange's own klines gave them
        self._built: list[Bar] = []
        self._feed = ""  # trade or agg
        self._folded: list[Agg] = []
        self._folded_trades = 0
        self.pages = BarPages(self.minutes, self.seconds, self._bounds)

    def add_trade(self, trade: Trade) -> None:
        """A single trade; one that came before counts once."""
        if not self.trades or trade.id > self.trades[-1].id:
            self.trades.append(trade)
            self._feed = self._feed or "trade"
            if self._feed == "trade":
                self._build(trade)

    def add_agg(self, agg: Agg) -> None:
        """An aggregate."""
        if not self.aggs or agg.id > self.aggs[-1].id:
            self.aggs.append(agg)
            self._feed = self._feed or "agg"
            if self._feed == "agg":
                self._build(agg)

    def folded(self) -> list[Agg]:
        """Aggregates of the single trades, for a recording that has none: of one instant, price and side. Ids begin at 1."""
        for trade in self.trades[self._folded_trades :]:
            last = self._folded[-1] if self._folded else None
            if last is not None and (last.time_ns, last.price, last.buyer_is_maker) == (trade.time_ns, trade.price, trade.buyer_is_maker):
                self._folded[-1] = last._replace(size=last.size + trade.size, last_id=trade.id)
            else:
                number = len(self._folded) + 1
                self._folded.append(Agg(number, trade.price, trade.size, trade.id, trade.id, trade.time_ns, trade.buyer_is_maker))
        self._folded_trades = len(self.trades)
        return self._folded

    def say(self, minute: Bar) -> None:
        """A minute as the exchange has it."""
        self._said[minute.open_ns] = minute

    def _build(self, trade: Trade | Agg) -> None:
        """Minutes grow with the trades: with those of the stream that spoke first."""
        open_ns = trade.time_ns // NS_PER_MINUTE * NS_PER_MINUTE
        if not self._built:
            self._built.append(flat(open_ns, trade.price))
        while self._built[-1].open_ns < open_ns:
            self._built.append(flat(self._built[-1].open_ns + NS_PER_MINUTE, self._built[-1].close))
        self._built[-1] = add_trade(self._built[-1], trade, self._worth)

    def minutes(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Minutes that open in [start, end): the exchange's own where it sent them, else built from the trades."""
        built = {bar.open_ns: bar for bar in self._built} | self._said
        return [built[open_ns] for open_ns in sorted(built) if start_ns <= open_ns < end_ns]

    def seconds(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Second bars of [start, end), from the single trades."""
        low = bisect_left(self.trades, start_ns, key=lambda trade: trade.time_ns)
        high = bisect_left(self.trades, end_ns, key=lambda trade: trade.time_ns)
        carried = self.trades[low - 1].price if low else None
        return bars_of(self.trades[low:high], "1s", carried, start_ns, min(end_ns, self.event_ms * NS_PER_MS + 1), self._worth)

    def _bounds(self) -> tuple[int, int] | None:
        opens = [bar.open_ns for bar in (self._built[:1] + self._built[-1:])] + list(self._said)
        return (min(opens), max(max(opens), self.trades[-1].time_ns if self.trades else 0)) if opens else None

    def day(self, book: BookImage) -> Day | None:
        """The last 24 hours, as far as they are known, with the best of a book."""
        bounds = self._bounds()
        if bounds is None:
            return None
        now_ns = max(self.event_ms * NS_PER_MS, bounds[1])
        bar = join(bounds[0], self.minutes(now_ns - NS_PER_DAY, now_ns + 1))
        if bar is None:
            return None
        bid, ask = (book.bids or [(0, 0)])[0], (book.asks or [(0, 0)])[0]
        last = self.trades[-1] if self.trades else None
        return Day(bar, last, bar.open, bid, ask, now_ns - NS_PER_DAY, now_ns)
