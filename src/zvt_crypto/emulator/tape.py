"""Trades and minutes of a recorded symbol so far, and what follows from them. The same for every exchange."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from zvt_crypto.domain.errors import shown
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from zvt_crypto.emulator.bars import BarPages, Worth, add_trade, bars_of, flat, join, times
from zvt_crypto.emulator.model import Agg, Bar, BookImage, Day, Trade, text_e8

Level = tuple[int, int]
MOST_APART_NS = NS_PER_DAY  # between a time that the exchange tells and the receipt of it
_MOST_ID = 2**63 - 1
MOST_IDS = 10**10  # between two trades that follow one another


class Tape:
    """Grows with `add_trade`, `add_agg`, `say` and `hear`; `event_ms` is the newest time that the exchange has told.

    worth: the turnover of a price and size. most_ids: how far ids may jump; None: they are no count of trades.
    left_out: why something of the frame that came last was not taken, "" where all was.
    """

    def __init__(self, worth: Worth = times, *, most_ids: int | None = MOST_IDS) -> None:
        self._worth = worth
        self._most_ids = most_ids
        self.trades: list[Trade] = []
        self.aggs: list[Agg] = []
        self.event_ms = 0
        self.left_out = ""
        self._recv_ns: int | None = None
        self._said: dict[int, Bar] = {}  # minutes as the exchange's own klines gave them
        self._built: dict[int, Bar] = {}  # minutes that saw a trade
        self._opens: list[int] = []  # theirs, in order
        self._feed = ""  # trade or agg
        self._folded: list[Agg] = []
        self._folded_trades = 0
        self.pages = BarPages(self.minutes, self.seconds, self._bounds)

    def begin(self, recv_ns: int) -> None:
        """What comes now was received then: times that lie more than a day from it are not taken."""
        self._recv_ns = recv_ns
        self.left_out = ""

    def hear(self, event_ms: int) -> None:
        """The exchange's own time; 0 where a message tells none."""
        if event_ms > self.event_ms and self.takes(event_ms * NS_PER_MS, "time"):
            self.event_ms = event_ms

    def takes(self, at_ns: int, what: str) -> bool:
        """Whether something of that time is taken: of a day around the receipt. Notes what is not."""
        if is_near(at_ns, self._recv_ns):
            return True
        self._leave_out(f"{what} of {at_ns // NS_PER_MS} ms lies more than a day from its receipt")
        return False

    def _leave_out(self, why: str) -> None:
        self.left_out = self.left_out or why

    def _is_sound(self, trade: Trade | Agg) -> bool:
        if trade.price <= 0 or trade.size < 0:
            self._leave_out(f"trade {trade.id} has price {text_e8(trade.price)} and size {text_e8(trade.size)}")
            return False
        return self.takes(trade.time_ns, f"trade {trade.id}")

    def _follows(self, trade: Trade | Agg, before: Sequence[Trade | Agg]) -> bool:
        """Whether a market can have come to such an id since: a wrong one would keep all later trades out."""
        if before and self._most_ids is not None and trade.id - before[-1].id > self._most_ids:
            self._leave_out(f"trade {trade.id} follows {before[-1].id}")
            return False
        return True

    def add_trade(self, trade: Trade) -> None:
        """A single trade; one that came before counts once."""
        if not self._is_sound(trade) or not self._follows(trade, self.trades):
            return
        if not self.trades or trade.id > self.trades[-1].id:
            self.trades.append(trade)
            self._feed = self._feed or "trade"
            if self._feed == "trade":
                self._build(trade)

    def add_agg(self, agg: Agg) -> None:
        """An aggregate."""
        if not self._is_sound(agg) or not self._follows(agg, self.aggs):
            return
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
        if self.takes(minute.open_ns, "minute"):
            self._said[minute.open_ns] = minute

    def _build(self, trade: Trade | Agg) -> None:
        """Minutes grow with the trades: with those of the stream that spoke first."""
        open_ns = trade.time_ns // NS_PER_MINUTE * NS_PER_MINUTE
        if open_ns not in self._built:
            insort(self._opens, open_ns)
            self._built[open_ns] = flat(open_ns, trade.price)
        self._built[open_ns] = add_trade(self._built[open_ns], trade, self._worth)

    def minutes(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Minutes that open in [start, end): the exchange's own where it sent them, else built from the trades, flat ones between."""
        known = {bar.open_ns: bar for bar in self._between(start_ns, end_ns)}
        known |= {open_ns: bar for open_ns, bar in self._said.items() if start_ns <= open_ns < end_ns}
        return [known[open_ns] for open_ns in sorted(known)]

    def _between(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Minutes of [start, end) from the first trade to the last one. Those without a trade are made only here."""
        if not self._opens:
            return []
        first_ns = max(-(-start_ns // NS_PER_MINUTE) * NS_PER_MINUTE, self._opens[0])
        before = bisect_left(self._opens, first_ns)
        close = self._built[self._opens[before - 1]].close if before else 0
        bars = []
        for open_ns in range(first_ns, min(end_ns, self._opens[-1] + 1), NS_PER_MINUTE):
            bar = self._built.get(open_ns) or flat(open_ns, close)
            bars.append(bar)
            close = bar.close
        return bars

    def seconds(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Second bars of [start, end), from the single trades."""
        low = bisect_left(self.trades, start_ns, key=lambda trade: trade.time_ns)
        high = bisect_left(self.trades, end_ns, key=lambda trade: trade.time_ns)
        carried = self.trades[low - 1].price if low else None
        return bars_of(self.trades[low:high], "1s", carried, start_ns, min(end_ns, self.event_ms * NS_PER_MS + 1), self._worth)

    def _bounds(self) -> tuple[int, int] | None:
        opens = [*self._opens[:1], *self._opens[-1:], *self._said]
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


def is_near(at_ns: int, recv_ns: int | None) -> bool:
    """Whether a time that the exchange tells may be that of something received then. Receipt unknown: any may."""
    return recv_ns is None or abs(at_ns - recv_ns) <= MOST_APART_NS


def checked_id(number: int) -> int:
    """An exchange's number of a trade or book. Raises ValueError for one that does not fit into 64 bits."""
    if not -1 <= number <= _MOST_ID:
        raise ValueError(f"id {shown(number, 40)} does not fit into 64 bits")
    return number
