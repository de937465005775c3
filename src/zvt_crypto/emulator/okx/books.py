"""The books that a channel has shown: what its readers hold after the last frame, and what to tell them next."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.model import BookImage, Depth

LEVELS = 400  # a side, in `books`
KEEP_ALIVE_NS = 60 * NS_PER_S


class _Half:
    """One side of a book, its window of the best `LEVELS`. `sign`: -1 for bids, so that keys rise from the best on."""

    def __init__(self, sign: int, rows: list[tuple[int, int]]) -> None:
        self._sign = sign
        self._sizes = {sign * price: size for price, size in rows}
        self._keys = sorted(self._sizes)

    def shown(self) -> list[tuple[int, int]]:
        """The window, best first."""
        return [(self._sign * key, self._sizes[key]) for key in self._keys[:LEVELS]]

    def take(self, rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Take changes in; returns what changes in the window: levels that enter it too, and a 0 for those that leave."""
        before = self._edge()
        told: dict[int, int] = {}
        for price, size in rows:
            key = self._sign * price
            old = self._sizes.get(key, 0)
            if size and not old:
                insort(self._keys, key)
            elif old and not size:
                del self._keys[bisect_left(self._keys, key)]
            if size:
                self._sizes[key] = size
            else:
                self._sizes.pop(key, None)
            told[key] = old if key <= before else 0
        after = self._edge()
        changes = {key: self._seen(key, after) for key, old in told.items() if self._seen(key, after) != old}
        low, high = sorted((before, after))
        for key in self._keys[bisect_right(self._keys, low) : bisect_right(self._keys, high)]:
            if key not in told:
                changes[key] = self._sizes[key] if after > before else 0
        return [(self._sign * key, changes[key]) for key in sorted(changes)]

    def _seen(self, key: int, edge: float) -> int:
        return self._sizes.get(key, 0) if key <= edge else 0

    def _edge(self) -> float:
        """The worst key that is in the window."""
        return self._keys[LEVELS - 1] if len(self._keys) >= LEVELS else float("inf")


class BookFeed:
    """`books` of one instrument: one chain of ids for all its readers. `shift` is taken off the world's ids."""

    def __init__(self, image: BookImage, shift: int, now_ns: int) -> None:
        self.readers: dict[int, str] = {}  # session id → the arg to send with
        self.shift = shift
        self.id = image.last_id - shift
        self.quiet_ns = now_ns
        self._world_id = image.last_id
        self._bids, self._asks = _Half(-1, image.bids), _Half(1, image.asks)

    def image(self, now_ns: int) -> BookImage:
        """What every reader holds."""
        return BookImage(self.id, now_ns, self._bids.shown(), self._asks.shown())

    def update(self, diff: Depth) -> tuple[BookImage, int, int] | None:
        """(changes, previous id, id) of a frame; None where nothing in the window has changed."""
        self._world_id = diff.last_id
        bids, asks = self._bids.take(diff.bids), self._asks.take(diff.asks)
        if not bids and not asks:
            return None
        previous, self.id, self.quiet_ns = self.id, diff.last_id - self.shift, diff.event_ns
        return BookImage(diff.last_id, diff.event_ns, bids, asks), previous, self.id

    def restart(self) -> int:
        """Maintenance: ids go on from a small number. Returns the new shift."""
        self.shift = self._world_id
        return self.shift

    def due_ns(self) -> int:
        """When readers hear that nothing has changed."""
        return self.quiet_ns + KEEP_ALIVE_NS


class BestFeed:
    """`books5` or `bbo-tbt` of one instrument: every frame is a whole picture."""

    def __init__(self, image: BookImage) -> None:
        self.readers: dict[int, str] = {}
        self.last = image
