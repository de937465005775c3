"""One side of an order book: sizes by price, the best of them at hand."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Collection
from heapq import heapify, heappop, heappush
from itertools import compress, islice

from zvt_crypto.domain.market import Level

# How many levels next to the best are kept at hand, and how many times as many at most. On recorded BTCUSDT 1,024 applied a message in
# 4.7 us, 256 in 5.9, since less was dropped and looked for again; the top 20 of both sides were 10 % dearer to read.
_NEAR, _NEAR_TIMES = 1_024, 4
# Dead prices that a side may hold before all are dropped, besides as many as it has levels.
_DEAD_MOST = 256
_INFINITY = float("inf")
_LEAST_PRICE, _MOST_PRICE = math.ulp(0.0), sys.float_info.max


class Side:
    """The levels of one side, as far as they are known.

    `sizes` is price → size. A price whose size is not above zero is dead: it stays for a while, since prices come and go and come
    again, and is told to nobody. `near` is a heap of the best prices times `sign`, dead ones too: the best is the smallest on both
    sides, and alive after `load` and `update`. Prices beyond it, not within `_low` to `_high`, are in `sizes` alone.

    Beyond `bound` nothing is known: a snapshot that was cut ends there, and news from there would leave holes. It is left out. When the
    best has come to `edge`, few levels are left before it.
    """

    __slots__ = ("_full", "_high", "_levels_most", "_low", "_near_most", "bound", "edge", "least", "near", "sign", "sizes")

    def __init__(self, sign: float, levels_most: int) -> None:
        self.sign = sign  # 1 for asks, -1 for bids
        self._levels_most = levels_most
        self.clear()

    def clear(self) -> None:
        """Forget every level."""
        self.sizes: dict[float, float] = {}
        self.near: list[float] = []
        self.bound = self.edge = _INFINITY
        self.least = 0
        self._full = _DEAD_MOST
        self._reach(_NEAR, _INFINITY)

    def load(self, levels: list[Level], outermost: float | None) -> bool:
        """Replace everything. `outermost`: the price beyond which there may be more; None: there is none. False as for `update`."""
        self.edge, self.least = _INFINITY, 0
        self.bound = _INFINITY if outermost is None else outermost * self.sign
        self.sizes = dict(levels)
        sound = _are_positive(self.sizes)
        if not sound:
            self.sizes = {price: size for price, size in levels if 0 < price < _INFINITY}
        self._order(_NEAR)
        return sound

    def update(self, levels: list[Level]) -> bool:
        """Take new sizes in. False when a price is not a positive finite number.

        A size that is not above zero (NaN too) removes; removing a level that is not held is normal.
        """
        sizes, near, sign = self.sizes, self.near, self.sign
        held, sound = len(sizes), True
        sizes.update(levels)
        if new := len(sizes) - held:  # they are the last in it
            low, high, before = self._low, self._high, len(near)
            for price in islice(reversed(sizes), new):
                if low <= price <= high:
                    heappush(near, price * sign)
            if len(near) - before < new:
                sound = self._place_others([p for p in islice(reversed(sizes), new) if not low <= p <= high])
            if len(near) > self._near_most or len(sizes) > self._full:
                self._tidy()
                sizes, near = self.sizes, self.near
        try:
            while not sizes[best := near[0] * sign] > 0:
                heappop(near)
                del sizes[best]
        except IndexError:  # none is left at hand
            if sizes:
                self._order(_NEAR)
        return sound

    def best(self) -> Level | None:
        """The best level, or None for an empty side."""
        if not self.near:
            return None
        price = self.near[0] * self.sign
        return price, self.sizes[price]

    def top(self, depth: int) -> list[Level]:
        """At most `depth` levels, best first."""
        made = self._first(depth)
        if len(made) < depth and len(self.near) < len(self.sizes):
            self._order(max(_NEAR, depth + depth // 2))
            made = self._first(depth)
        return made

    @property
    def is_cut(self) -> bool:
        """Whether there may be levels beyond those that are known."""
        return self.bound < _INFINITY

    @property
    def outermost(self) -> float | None:
        """The price beyond which nothing is known; None where all is."""
        return self.bound * self.sign if self.is_cut else None

    def known(self) -> int:
        """How many levels it holds. Counts them."""
        return len(self._keys())

    def spare(self) -> int:
        """How many levels it holds beyond `least`. Puts `edge` where `least` are left."""
        keys = self._keys()
        self.edge = keys[-self.least] if 0 < self.least <= len(keys) else _INFINITY
        return len(keys) - self.least

    def _keys(self) -> list[float]:
        sign = self.sign
        return sorted([price * sign for price, size in self.sizes.items() if size > 0])

    def _place_others(self, prices: list[float]) -> bool:
        """New prices that are not next to the best, if they are prices and known at all. False as for `update`."""
        sizes, sign, bound, sound = self.sizes, self.sign, self.bound, True
        for price in prices:
            if not 0 < price < _INFINITY:
                sound &= not sizes.pop(price) > 0
            elif price * sign > bound:
                del sizes[price]
        return sound

    def _first(self, depth: int) -> list[Level]:
        sizes, sign = self.sizes, self.sign
        self.near.sort()  # an ordered list is a heap, too
        made: list[Level] = []
        for key in self.near:
            if len(made) >= depth:
                break
            price = key * sign
            if (size := sizes[price]) > 0:
                made.append((price, size))
        return made

    def _tidy(self) -> None:
        """Keep `near` and `sizes` within their bounds."""
        if len(self.sizes) > self._full:
            self._drop_dead()
        else:
            self.near.sort()
            least = self._near_most // _NEAR_TIMES
            del self.near[least:]
            self._reach(least, self.near[-1])

    def _drop_dead(self) -> None:
        alive = dict(compress(self.sizes.items(), self.sizes.values()))  # what is not zero; quicker than one by one
        if len(self.sizes) > self._levels_most or len(alive) > self._near_most or not _are_positive(alive.values()):
            self._order(_NEAR)
            return
        sign = self.sign
        self.sizes, self.near = alive, [price * sign for price in alive]
        heapify(self.near)
        self._reach(_NEAR, _INFINITY)
        self._full = min(self._levels_most, 2 * len(alive) + _DEAD_MOST)

    def _order(self, least: int) -> None:
        """Drop all that is dead or too much, and have at least the `least` best of the rest in order."""
        sign, held = self.sign, len(self.sizes)
        self.sizes = alive = {price: size for price, size in self.sizes.items() if size > 0}
        keys = sorted([price * sign for price in alive])
        if held > self._levels_most and len(keys) > self._levels_most * 7 // 8:
            self.bound = keys[self._levels_most * 3 // 4 - 1]
        if keys and keys[-1] > self.bound:
            del keys[bisect_right(keys, self.bound) :]
            self.sizes = {price: alive[price] for price in [key * sign for key in keys]}
        self.near = keys[:least]
        self._reach(least, keys[least - 1] if least < len(keys) else _INFINITY)
        self._full = min(self._levels_most, 2 * len(keys) + _DEAD_MOST)

    def _reach(self, least: int, far: float) -> None:
        """Prices up to `far`, times `sign`, are next to the best: of those that are prices at all."""
        far = min(far, self.bound)
        self._near_most = _NEAR_TIMES * least
        self._low = max(-far, _LEAST_PRICE) if self.sign < 0 else _LEAST_PRICE
        self._high = _MOST_PRICE if self.sign < 0 else min(far, _MOST_PRICE)


def _are_positive(numbers: Collection[float]) -> bool:
    """Whether all are positive and finite; quicker than one by one. NaN is neither above nor below."""
    return not numbers or (min(numbers) > 0 and sum(numbers) < _INFINITY)
