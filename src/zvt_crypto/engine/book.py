"""Order books: one that is either right or says that it is not, and the synchronisation of a snapshot with its deltas.

`Book` holds the levels. `BookSync` turns what a venue sends (deltas of a stream, snapshots asked for) into a chain of events that
a `Book` can follow blindly. What "continues" means is the venue's word, given as a `Continuity`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import islice
from typing import Literal, Protocol

from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Level

# apply: it continues · ignore: the book has it already · gap: something between is missing · refetch: the snapshot is too old.
Verdict = Literal["apply", "ignore", "gap", "refetch"]

# The widest book seen is Coinbase's whole BTC-USD, 46,010 levels on both sides together. A side that grows beyond the bound
# forgets its farthest quarter: those levels are then unknown, as the levels beyond a venue's own snapshot depth are.
MAX_LEVELS = 100_000
# How many levels next to the best are kept in order: most news is there, and few readers ask for more. Of 64 to 1,024, 128 was the
# fastest on recorded BTCUSDT that did not sort anew too often; between the two borders nothing is sorted anew.
_NEAR, _NEAR_LEAST, _NEAR_MOST = 128, 32, 256
_INFINITY = float("inf")
# A message that comes twice does so within as many others; what is older than the book and was never taken belongs to another count,
# or the book's own id is wrong.
_REMEMBERED = 256


class Continuity(Protocol):
    """A venue's rule of how deltas follow a snapshot and one another. Pure: ids in, verdict out."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """May `delta` be the first one applied to a snapshot of this id?"""
        ...

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """May `delta` follow a delta whose last id was `last_id`?"""
        ...


class _Side:
    """The levels of one side.

    `sizes` is price → size of all of them. `near` holds the prices of the best, times `sign`, ascending, so that the best is the last
    on both sides and news next to it moves little memory; prices below `far` are in `sizes` alone.
    """

    __slots__ = ("far", "max_levels", "near", "sign", "sizes")

    def __init__(self, sign: float, max_levels: int) -> None:
        self.sign = sign
        self.max_levels = max_levels
        self.clear()

    def clear(self) -> None:
        """Forget every level."""
        self.sizes: dict[float, float] = {}
        self.near: list[float] = []
        self.far = -_INFINITY

    def load(self, levels: list[Level]) -> bool:
        """Replace everything. False as for `update`."""
        self.sizes = {price: size for price, size in levels if size > 0 and 0 < price < _INFINITY}
        self._narrow(self._ordered())
        self._balance()
        return all(0 < price < _INFINITY for price, _ in levels)

    def update(self, levels: list[Level]) -> bool:
        """Take new sizes in. False when a price is not a positive finite number; such a level is left out.

        A size that is not above zero (NaN too) removes; removing a level that is not held is normal.
        """
        sizes, near, sign, far = self.sizes, self.near, self.sign, self.far
        sound = True
        for price, size in levels:
            if size > 0:
                if price not in sizes:
                    if not 0 < price < _INFINITY:
                        sound = False
                        continue
                    key = price * sign
                    if key >= far:
                        insort(near, key)
                sizes[price] = size
            elif sizes.pop(price, None) is not None:
                key = price * sign
                if key >= far:
                    del near[bisect_left(near, key)]
        self._balance()
        return sound

    def best(self) -> Level | None:
        """The best level, or None for an empty side."""
        if not self.near:
            return None
        price = self.near[-1] * self.sign
        return price, self.sizes[price]

    def top(self, depth: int) -> list[Level]:
        """At most `depth` levels, best first."""
        keys = self.near if depth <= len(self.near) else self._ordered()
        prices = (key * self.sign for key in islice(reversed(keys), max(0, depth)))
        return [(price, self.sizes[price]) for price in prices]

    def _balance(self) -> None:
        """Keep `near` between its borders and `sizes` below its bound."""
        near, sizes = self.near, self.sizes
        if len(sizes) > self.max_levels:
            kept = self._ordered()[-(self.max_levels * 3 // 4) :]
            self.sizes = {key * self.sign: sizes[key * self.sign] for key in kept}
            self._narrow(kept)
        elif len(near) > _NEAR_MOST:
            self._narrow(near)
        elif len(near) < _NEAR_LEAST and len(near) < len(sizes):
            self._narrow(self._ordered())

    def _narrow(self, keys: list[float]) -> None:
        self.near = keys[-_NEAR:]
        self.far = self.near[0] if len(self.near) < len(self.sizes) else -_INFINITY

    def _ordered(self) -> list[float]:
        return sorted(price * self.sign for price in self.sizes)


class Book:
    """A live book (ports.BookView): follows a verified chain of events.

    While it is not valid it holds no levels, so nobody can be served from it by mistake. It becomes invalid by `mark_stale`, and by
    itself when it is crossed (best bid at or above best ask: no venue's book is, so ours is broken) or given a price that is none.
    """

    __slots__ = ("_asks", "_bids", "event_ns", "instrument", "is_valid", "last_id", "recv_ns", "stale_reason")

    def __init__(self, instrument: str, max_levels: int = MAX_LEVELS) -> None:
        self.instrument = instrument
        self.last_id = 0
        self.event_ns = 0
        self.recv_ns = 0
        self.is_valid = False
        self.stale_reason: str | None = "no snapshot yet"
        self._bids = _Side(1.0, max_levels)
        self._asks = _Side(-1.0, max_levels)

    def load(self, snapshot: BookSnapshot) -> None:
        """Replace everything."""
        self.is_valid, self.stale_reason = True, None
        sound = self._bids.load(snapshot.bids)
        self._take(snapshot, self._asks.load(snapshot.asks) and sound)

    def apply(self, delta: BookDelta) -> None:
        """Set the sizes that `delta` names. Does nothing while the book is not valid."""
        if self.is_valid:
            sound = self._bids.update(delta.bids)
            self._take(delta, self._asks.update(delta.asks) and sound)

    def mark_stale(self, reason: str, event_ns: int) -> None:
        """Not valid from now on, until the next `load`."""
        self.is_valid, self.stale_reason, self.event_ns = False, reason, event_ns
        self._bids.clear()
        self._asks.clear()

    def apply_event(self, event: BookEvent) -> None:
        """Whichever of the three it is."""
        match event:
            case BookDelta():
                self.apply(event)
            case BookSnapshot():
                self.load(event)
            case BookStale():
                self.mark_stale(event.reason, event.event_ns)

    def best(self) -> tuple[Level | None, Level | None]:
        """Best bid and best ask as (price, size); None for an empty side and while not valid."""
        return self._bids.best(), self._asks.best()

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        """(bids, asks), best first, at most `depth` a side; both empty while not valid."""
        return self._bids.top(depth), self._asks.top(depth)

    def _take(self, news: BookSnapshot | BookDelta, sound: bool) -> None:
        self.last_id, self.event_ns, self.recv_ns = news.last_id, news.event_ns, news.recv_ns
        bids, asks = self._bids.near, self._asks.near
        if not sound:
            self.mark_stale(f"update {news.last_id} holds a price that is none", news.event_ns)
        elif bids and asks and bids[-1] >= -asks[-1]:
            self.mark_stale(f"crossed at update {news.last_id}: bid {bids[-1]} at or above ask {-asks[-1]}", news.event_ns)


class BookSync:
    """Makes one chain out of a stream of deltas and the snapshots asked for.

    Deltas are kept (the newest `max_buffer`) until a snapshot fits; then that snapshot and what continues it come out, and from
    there every delta that continues. The very message that shows a gap, or crosses the book, comes out as BookStale, is kept, and a
    snapshot is wanted again. A snapshot comes out only once the stream has proved to reach back to it, by a delta that it already
    contains or that continues it: an update lost between the snapshot and the stream's first message can thus not go unseen.
    """

    def __init__(self, instrument: str, continuity: Continuity, *, max_buffer: int = 10_000) -> None:
        self.book = Book(instrument)  # as of the last event given out
        self._continuity = continuity
        self._waiting: deque[BookDelta] = deque(maxlen=max_buffer)  # when full, the oldest go: a later snapshot holds them
        self._snapshot: BookSnapshot | None = None  # fits so far, but the stream has not confirmed it yet
        self._applied = False  # whether a delta followed the snapshot already
        self._taken: deque[int] = deque(maxlen=_REMEMBERED)  # last ids of the newest messages that the book has

    @property
    def instrument(self) -> str:
        """Whose book it is."""
        return self.book.instrument

    @property
    def wants_snapshot(self) -> bool:
        """Whether somebody should fetch one. Remains true until one fits."""
        return self._snapshot is None and not self.book.is_valid

    def on_delta(self, delta: BookDelta) -> list[BookEvent]:
        """A message of the stream, in the order received."""
        if self.book.is_valid:
            return self._follow(delta)
        while self._waiting and self._waiting[-1].first_id > delta.last_id:
            self._waiting.pop()  # ids went back: no snapshot will ever hold both
        self._waiting.append(delta)
        return self._join(self._snapshot) if self._snapshot is not None else []

    def on_snapshot(self, snapshot: BookSnapshot) -> list[BookEvent]:
        """A snapshot that was fetched. One that comes while the book is in sync is not needed and ignored."""
        if self.book.is_valid:
            return []
        return self._join(snapshot)

    def on_stream_snapshot(self, snapshot: BookSnapshot) -> list[BookEvent]:
        """A snapshot that the stream itself brought, at its place among the deltas: it replaces whatever was before, valid or not.

        Gives BookStale where the snapshot itself is broken (crossed, or with a price that is none) and the book was valid before it.
        """
        was_valid = self.book.is_valid
        self._waiting.clear()
        self._taken.clear()
        self._snapshot, self._applied = None, False
        self.book.load(snapshot)
        if self.book.is_valid:
            return [snapshot]
        return [BookStale(self.instrument, self.book.stale_reason or "", snapshot.event_ns, snapshot.recv_ns)] if was_valid else []

    def reset(self, reason: str, event_ns: int, recv_ns: int = 0) -> list[BookEvent]:
        """The stream ended or the book is doubted: start anew. Gives BookStale unless the book was not valid anyway."""
        was_valid = self.book.is_valid
        self._waiting.clear()
        self._snapshot = None
        self.book.mark_stale(reason, event_ns)
        return [BookStale(self.instrument, reason, event_ns, recv_ns)] if was_valid else []

    def _follow(self, delta: BookDelta) -> list[BookEvent]:
        book = self.book
        verdict = self._verdict(delta)
        if verdict == "ignore" and (delta.last_id in self._taken or not self._applied):
            self._taken.append(delta.last_id)
            return []
        if verdict == "apply":
            book.apply(delta)
            self._applied = True
            self._taken.append(delta.last_id)
            if book.is_valid:
                return [delta]
        else:
            book.mark_stale(_gap_reason(book.last_id, delta), delta.event_ns)
        self._waiting.append(delta)
        return [BookStale(self.instrument, book.stale_reason or "", delta.event_ns, delta.recv_ns)]

    def _verdict(self, delta: BookDelta) -> Verdict:
        rule = self._continuity.following if self._applied else self._continuity.first
        return rule(self.book.last_id, delta)

    def _join(self, snapshot: BookSnapshot) -> list[BookEvent]:
        """Try the snapshot with the deltas that wait. Gives the chain, or nothing and keeps what a newer snapshot may need."""
        if not self._waiting:
            self._snapshot = snapshot
            return []
        self._snapshot, self._applied = None, False
        self._taken.clear()
        self.book.load(snapshot)
        made: list[BookEvent] = [snapshot]
        waiting, self._waiting = self._waiting, deque(maxlen=self._waiting.maxlen)
        for delta in waiting:
            if self.book.is_valid:
                made += self._follow(delta)
            else:
                self._waiting.append(delta)
        return made if self.book.is_valid else []


def _gap_reason(last_id: int, delta: BookDelta) -> str:
    follows = "" if delta.prev_id is None else f" (after {delta.prev_id})"
    return f"gap after update {last_id}: the next message holds {delta.first_id} to {delta.last_id}{follows}"
