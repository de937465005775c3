"""The three kinds of streams: what changed since the last flush → one frame for all listeners.

`seq` counts a stream's messages and is shared by all its listeners. A newcomer gets the newest state under the newest number, so that
the next message it sees is that number plus one.
"""

from __future__ import annotations

from typing import Literal

from zvt_crypto.api.klines import SOURCE_RANK
from zvt_crypto.api.rows import Digits, encode, kdata_row, level_rows, trade_row
from zvt_crypto.api.shapes import DepthData
from zvt_crypto.api.ws.outbox import Outbox
from zvt_crypto.api.ws.protocol import Topic, envelope, envelope_head, text_frame
from zvt_crypto.domain.market import Kline, Level, Trade
from zvt_crypto.domain.time import to_rfc3339
from zvt_crypto.ports import BookView, LiveState

Tops = tuple[list[Level], list[Level]]


class Stream:
    """A topic with listeners."""

    def __init__(self, topic: Topic, digits: Digits) -> None:
        self.topic = topic
        self.digits = digits
        self.seq = 0
        self.listeners: dict[Outbox, None] = {}
        self._head = envelope_head(topic)

    def next_frame(self, kind: Literal["update", "snapshot", "delta", "stale"], data: bytes) -> bytes:
        """A new message, numbered."""
        self.seq += 1
        return self.frame(kind, data)

    def frame(self, kind: Literal["update", "snapshot", "delta", "stale"], data: bytes) -> bytes:
        """A message under the newest number."""
        return text_frame(envelope(self._head, self.seq, kind, data))

    def greet(self, outbox: Outbox) -> None:
        """Give a newcomer the newest state."""

    def flush(self) -> int:
        """Send what is new; returns how many frames were handed over."""
        raise AssertionError("every kind of stream has its own")


class TradeStream(Stream):
    """All trades of an instrument, in batches. It has no state for a newcomer."""

    def __init__(self, topic: Topic, digits: Digits) -> None:
        super().__init__(topic, digits)
        self._new: list[Trade] = []

    def take(self, trade: Trade) -> None:
        """A trade happened."""
        self._new.append(trade)

    def skip(self) -> None:
        """Trades were lost before they reached us: a number without a message tells the listeners."""
        self.seq += 1

    def flush(self) -> int:
        if not self._new:
            return 0
        count = len(self._new)
        frame = self.next_frame("update", encode([trade_row(trade, self.digits) for trade in self._new]))
        self._new = []
        for outbox in self.listeners:
            outbox.put_trades(self.topic, count, frame)
        return len(self.listeners)


class KlineStream(Stream):
    """The rows of the klines of an instrument and interval, as they form and close."""

    def __init__(self, topic: Topic, digits: Digits, live: LiveState) -> None:
        super().__init__(topic, digits)
        assert topic.interval is not None
        self._new: dict[int, Kline] = {}
        self._last: Kline | None = None
        self._newest: bytes | None = None
        known = live.klines(topic.symbol, topic.interval, 1)
        if known:
            self._last = known[-1]
            self._newest = self.next_frame("update", encode(kdata_row(known[-1], digits)))

    def take(self, kline: Kline) -> None:
        """A kline changed. What a better source has told already, or what is older and still forming, is left out."""
        last = self._last
        if last is not None and not kline.final and kline.open_ns < last.open_ns:
            return
        if last is not None and kline.open_ns == last.open_ns and _rank(kline) < _rank(last):
            return
        if last is None or kline.open_ns >= last.open_ns:
            self._last = kline
        self._new[kline.open_ns] = kline

    def greet(self, outbox: Outbox) -> None:
        if self._newest is not None:
            outbox.put(self._newest)

    def flush(self) -> int:
        handed = 0
        for open_ns, kline in sorted(self._new.items()):
            frame = self._newest = self.next_frame("update", encode(kdata_row(kline, self.digits)))
            for outbox in self.listeners:
                outbox.put_kline(self.topic, open_ns, frame)
            handed += len(self.listeners)
        self._new = {}
        return handed


def _rank(kline: Kline) -> tuple[bool, int]:
    return kline.final, SOURCE_RANK[kline.source]


class DepthStream(Stream):
    """The top of a book: a snapshot, then what changed in it, or the word that it is not valid."""

    def __init__(self, topic: Topic, digits: Digits, live: LiveState) -> None:
        super().__init__(topic, digits)
        assert topic.depth is not None
        self.depth = topic.depth
        self._live = live
        self._tops: Tops | None = None  # None while the book is not valid
        self._event_ns = 0
        self._renew = False
        book = live.book(topic.symbol)
        self.seq = 1
        if book is not None:
            self._event_ns = book.event_ns or book.recv_ns
            self._tops = book.top(self.depth) if book.is_valid else None

    def restart(self) -> None:
        """The book was replaced or broken: the next message is a snapshot (or says stale)."""
        self._renew = True

    def newest_frame(self) -> bytes:
        """The state as of the newest message."""
        if self._tops is None:
            return self.frame("stale", self._data([], []))
        return self.frame("snapshot", self._data(*self._tops))

    def greet(self, outbox: Outbox) -> None:
        outbox.put(self.newest_frame())

    def flush(self) -> int:
        frame = self._advance(self._live.book(self.topic.symbol))
        if frame is None:
            return 0
        for outbox in self.listeners:
            outbox.put_book(self, frame)
        return len(self.listeners)

    def _advance(self, book: BookView | None) -> bytes | None:
        before, renew, self._renew = self._tops, self._renew, False
        if book is None or not book.is_valid:
            self._tops = None
            if book is not None:
                self._event_ns = book.event_ns or book.recv_ns
            return self.next_frame("stale", self._data([], [])) if before is not None else None
        self._tops, self._event_ns = book.top(self.depth), book.event_ns or book.recv_ns
        if before is None or renew:
            return self.next_frame("snapshot", self._data(*self._tops))
        if before == self._tops:
            return None
        return self.next_frame("delta", self._data(changes(before[0], self._tops[0]), changes(before[1], self._tops[1])))

    def _data(self, bids: list[Level], asks: list[Level]) -> bytes:
        made = DepthData(
            level_rows(bids, self.digits),
            level_rows(asks, self.digits),
            to_rfc3339(self._event_ns) if self._event_ns else None,
        )
        return encode(made)


def changes(before: list[Level], after: list[Level]) -> list[Level]:
    """The levels that turn `before` into `after`: new sizes, best first, then size 0 for those that left the window."""
    if before == after:
        return []
    held, kept = dict(before), {price for price, _ in after}
    changed = [level for level in after if held.get(level[0]) != level[1]]
    return changed + [(price, 0.0) for price, _ in before if price not in kept]
