"""Order books: one that is either right or says that it is not, and the synchronisation of a snapshot with its deltas.

`Book` holds the levels. `BookSync` turns what a venue sends (deltas of a stream, snapshots asked for) into a chain of events that
a `Book` can follow blindly. What "continues" means is the venue's word, given as a `Continuity`.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, Protocol

from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Level
from zvt_crypto.engine.side import Asks, Bids, Side

# apply: it continues · ignore: the book has it already · gap: something between is missing · refetch: the snapshot is too old.
Verdict = Literal["apply", "ignore", "gap", "refetch"]

# The widest book seen is Coinbase's whole BTC-USD, 46,010 levels on both sides together. A side that grows beyond the bound
# forgets its farthest quarter: those levels are then unknown, as the levels beyond a venue's own snapshot depth are.
MAX_LEVELS = 100_000
# A book whose snapshot was cut gets a new one before fewer levels a side are known: twice the deepest window that is streamed on.
KNOWN_LEAST = 200
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


class Book:
    """A live book (ports.BookView): follows a verified chain of events.

    While it is not valid it holds no levels, so nobody can be served from it by mistake. It becomes invalid by `mark_stale`, and by
    itself when it is crossed (best bid at or above best ask: no venue's book is, so ours is broken), given a price that is none, or
    has no level left on a side whose snapshot was cut: what is there now was never told.
    """

    __slots__ = ("_asks", "_bids", "event_ns", "instrument", "is_valid", "last_id", "recv_ns", "stale_reason")

    def __init__(self, instrument: str, max_levels: int = MAX_LEVELS) -> None:
        self.instrument = instrument
        self.last_id = 0
        self.event_ns = 0
        self.recv_ns = 0
        self.is_valid = False
        self.stale_reason: str | None = "no snapshot yet"
        self._bids = Bids(max_levels)
        self._asks = Asks(max_levels)

    def load(self, snapshot: BookSnapshot) -> None:
        """Replace everything."""
        self.is_valid, self.stale_reason = True, None
        sound = self._bids.load(snapshot.bids, snapshot.bids_to)
        sound &= self._asks.load(snapshot.asks, snapshot.asks_to)
        self.last_id, self.event_ns, self.recv_ns = snapshot.last_id, snapshot.event_ns, snapshot.recv_ns
        self._judge(snapshot, sound)

    def apply(self, delta: BookDelta) -> None:
        """Set the sizes that `delta` names. Does nothing while the book is not valid."""
        if not self.is_valid:
            return
        of_bids, of_asks, told_bids, told_asks = self._bids, self._asks, delta.bids, delta.asks
        sound = not told_bids or of_bids.update(told_bids)
        if told_asks and not of_asks.update(told_asks):
            sound = False
        self.last_id, self.event_ns, self.recv_ns = delta.last_id, delta.event_ns, delta.recv_ns
        bids, asks = of_bids.near, of_asks.near
        if not (sound and bids and asks and bids[-1] < asks[0]):  # as nearly every book is
            self._judge(delta, sound)

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
        of_bids, of_asks = self._bids, self._asks
        bids, asks = of_bids.near, of_asks.near
        return (bids[-1], of_bids.sizes[bids[-1]]) if bids else None, (asks[0], of_asks.sizes[asks[0]]) if asks else None

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        """(bids, asks), best first, at most `depth` a side; both empty while not valid. Ends where a cut snapshot ended."""
        return self._bids.top(depth), self._asks.top(depth)

    def known(self) -> int | None:
        """How many levels are surely known on the side that is cut; the fewer, where both are. None: nothing is missing."""
        return min((side.known() for side in self._cut()), default=None)

    def keep(self, least: int) -> None:
        """Have `spare` see to it that `least` levels are known of a side that is cut; half of what it holds now, where that is less."""
        for side in self._cut():
            side.least = min(least, side.known() // 2)

    def spare(self) -> int | None:
        """How many levels a side may lose before fewer are known than should be (below zero: fewer are). None: nothing is cut."""
        return min((side.spare() for side in self._cut()), default=None)

    def is_at_edge(self) -> bool:
        """Whether the best of a side has come so near to the end that fewer levels may be known than should be."""
        bids, asks = self._bids, self._asks
        return bool(bids.near and bids.near[-1] <= bids.edge) or bool(asks.near and asks.near[0] >= asks.edge)

    def whole(self) -> BookSnapshot:
        """All that is known."""
        bids, asks = self.top(MAX_LEVELS)
        ends = self._bids.outermost, self._asks.outermost
        return BookSnapshot(self.instrument, self.last_id, bids, asks, self.event_ns, self.recv_ns, *ends)

    def _cut(self) -> list[Side]:
        return [side for side in (self._bids, self._asks) if side.is_cut]

    def _judge(self, news: BookSnapshot | BookDelta, sound: bool) -> None:
        """Whether the book can be right after these news."""
        bids, asks = self._bids.near, self._asks.near
        if not sound:
            self.mark_stale(f"update {news.last_id} holds a price that is none", news.event_ns)
        elif bids and asks:
            if bids[-1] >= asks[0]:
                self.mark_stale(f"crossed at update {news.last_id}: bid {bids[-1]} at or above ask {asks[0]}", news.event_ns)
        elif not bids and self._bids.is_cut:
            self._lost("bid", self._bids, news)
        elif not asks and self._asks.is_cut:
            self._lost("ask", self._asks, news)

    def _lost(self, name: str, side: Side, news: BookSnapshot | BookDelta) -> None:
        reason = f"the best {name} of update {news.last_id} lies beyond {side.outermost}, where the snapshot ended"
        self.mark_stale(reason, news.event_ns)


class BookSync:
    """Makes one chain out of a stream of deltas and the snapshots asked for.

    Deltas are kept (the newest `max_buffer`) until a snapshot fits; then that snapshot and what continues it come out, and from
    there every delta that continues. The very message that shows a gap, or crosses the book, comes out as BookStale, is kept, and a
    snapshot is wanted again. A snapshot comes out only once the stream has proved to reach back to it, by a delta that it already
    contains or that continues it: an update lost between the snapshot and the stream's first message can thus not go unseen.

    A snapshot that the venue cut lasts only until prices have moved beyond its end. Before fewer than `known_least` levels of a side
    are left (half of what there was, where that is less), another one is wanted while the book goes on; it comes out as a
    BookSnapshot of the very update that the book has reached.
    """

    def __init__(self, instrument: str, continuity: Continuity, *, max_buffer: int = 10_000, known_least: int = KNOWN_LEAST) -> None:
        self.book = Book(instrument)  # as of the last event given out
        self._continuity = continuity
        self._waiting: deque[BookDelta] = deque(maxlen=max_buffer)  # when full, the oldest go: a later snapshot holds them
        self._snapshot: BookSnapshot | None = None  # fits so far, but the stream has not confirmed it yet
        self._applied = False  # whether a delta followed the snapshot already
        self._following = continuity.following
        self._taken: deque[int] = deque(maxlen=_REMEMBERED)  # last ids of the newest messages that the book has
        self._known_least = known_least
        self._spare: int | None = None  # messages until the levels that are known are counted again; None: nothing was cut
        self._next: BookSync | None = None  # what takes over once it has a snapshot and has come as far

    @property
    def instrument(self) -> str:
        """Whose book it is."""
        return self.book.instrument

    @property
    def wants_snapshot(self) -> bool:
        """Whether somebody should fetch one, though the book may be valid still. Remains true until one fits."""
        if self.book.is_valid:
            return self._next is not None and self._next.wants_snapshot
        return self._snapshot is None

    def on_delta(self, delta: BookDelta) -> list[BookEvent]:
        """A message of the stream, in the order received."""
        book = self.book
        if book.is_valid:
            if self._applied and self._following(book.last_id, delta) == "apply":  # as nearly all do
                book.apply(delta)
                self._taken.append(delta.last_id)
                made: list[BookEvent] = [delta] if book.is_valid else self._broke(delta)
            else:
                made = self._follow(delta)
            return made if self._spare is None else self._watch(delta, made)
        while self._waiting and self._waiting[-1].first_id > delta.last_id:
            self._waiting.pop()  # ids went back: no snapshot will ever hold both
        self._waiting.append(delta)
        return self._join(self._snapshot) if self._snapshot is not None else []

    def on_snapshot(self, snapshot: BookSnapshot) -> list[BookEvent]:
        """A snapshot that was fetched. One that comes while the book is in sync and wants none is ignored."""
        if not self.book.is_valid:
            return self._join(snapshot)
        if self._next is None:
            return []
        self._next.on_snapshot(snapshot)
        return self._take_over([])

    def on_stream_snapshot(self, snapshot: BookSnapshot) -> list[BookEvent]:
        """A snapshot that the stream itself brought, at its place among the deltas: it replaces whatever was before, valid or not.

        Gives BookStale where the snapshot itself is broken (crossed, or with a price that is none) and the book was valid before it.
        """
        was_valid = self.book.is_valid
        self._waiting.clear()
        self._load(snapshot)
        if self.book.is_valid:
            return [snapshot]
        return [BookStale(self.instrument, self.book.stale_reason or "", snapshot.event_ns, snapshot.recv_ns)] if was_valid else []

    def reset(self, reason: str, event_ns: int, recv_ns: int = 0) -> list[BookEvent]:
        """The stream ended or the book is doubted: start anew. Gives BookStale unless the book was not valid anyway."""
        was_valid = self.book.is_valid
        self._waiting.clear()
        self._snapshot = self._next = None
        self.book.mark_stale(reason, event_ns)
        return [BookStale(self.instrument, reason, event_ns, recv_ns)] if was_valid else []

    def _follow(self, delta: BookDelta) -> list[BookEvent]:
        book = self.book
        rule = self._continuity.following if self._applied else self._continuity.first
        verdict = rule(book.last_id, delta)
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
        return self._broke(delta)

    def _broke(self, delta: BookDelta) -> list[BookEvent]:
        """The book is not valid any more, by this message, which the next snapshot may need."""
        self._waiting.append(delta)
        return [BookStale(self.instrument, self.book.stale_reason or "", delta.event_ns, delta.recv_ns)]

    def _load(self, snapshot: BookSnapshot) -> None:
        self._snapshot, self._next, self._applied = None, None, False
        self._taken.clear()
        self.book.load(snapshot)
        self.book.keep(self._known_least)
        self._spare = self.book.spare()

    def _watch(self, delta: BookDelta, made: list[BookEvent]) -> list[BookEvent]:
        """Of a snapshot that was cut: see to the next one in time. `made`: what `delta` came to."""
        assert self._spare is not None
        self._spare -= 1
        if self._next is None and (self._spare < 0 or self.book.is_at_edge()) and self.book.is_valid:
            self._spare = self.book.spare() or 0
            if self._spare < 0:
                self._next = BookSync(self.instrument, self._continuity, max_buffer=self._waiting.maxlen or 0)
        if self._next is None:
            return made
        self._next.on_delta(delta)
        return self._take_over(made)

    def _take_over(self, made: list[BookEvent]) -> list[BookEvent]:
        """The next book becomes ours once it is valid, and as far as ours is; where ours is not valid any more, whatever it has."""
        following = self._next
        assert following is not None
        if following.book.is_valid and (not self.book.is_valid or following.book.last_id == self.book.last_id):
            whole = following.book.whole()
            self._load(whole)
            self._waiting.clear()
            self._applied, self._taken = following._applied, following._taken
            return [*(event for event in made if isinstance(event, BookDelta)), whole]
        if not self.book.is_valid:
            self._waiting, self._snapshot, self._next = following._waiting, following._snapshot, None
        return made

    def _join(self, snapshot: BookSnapshot) -> list[BookEvent]:
        """Try the snapshot with the deltas that wait. Gives the chain, or nothing and keeps what a newer snapshot may need."""
        if not self._waiting:
            self._snapshot = snapshot
            return []
        self._load(snapshot)
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
