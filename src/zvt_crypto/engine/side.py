"""One side of an order book: sizes by price, the best of them at hand and in order."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right, insort

from zvt_crypto.domain.market import Level

# How many of the best levels are kept in order, at least where they were put in order anew, and until they are so many times as many.
# On recorded BTCUSDT 16 took a message in 3.3 us, 64 in 3.9: what comes or goes at hand has to be put in its place.
_NEAR, _NEAR_TIMES = 16, 4
# Of a wide book one in so many is at hand: finding the next ones means to look at them all.
_WIDE = 64
# A reader of the top so deep has it kept at hand from then on; a deeper one has all of them sorted each time.
_DEPTH_MOST = 128
_INFINITY = float("inf")
_LEAST_PRICE, _MOST_PRICE = math.ulp(0.0), sys.float_info.max


class Side:
    """The levels of one side, as far as they are known: what Bids and Asks have in common.

    `sizes` is price → size, above zero. `near` holds the best prices of it, all from `_low` to `_high`, ascending: the best is the last
    of the bids, the first of the asks. It is empty only when `sizes` is.

    Beyond `bound` nothing is known: a snapshot that was cut ends there, and news from there would leave holes. It is left out. When the
    best has come to `edge`, few levels are left before it.
    """

    __slots__ = (
        *("_at_hand", "_far_high", "_far_low", "_high", "_levels_most", "_low", "_near_most", "_nowhere"),
        *("bound", "edge", "least", "near", "sign", "sizes"),
    )

    def __init__(self, sign: float, levels_most: int) -> None:
        self.sign = sign  # 1 for asks, -1 for bids
        self._nowhere = sign * _INFINITY
        self._levels_most = levels_most
        self._at_hand = _NEAR
        self.clear()

    def clear(self) -> None:
        """Forget every level."""
        self.sizes: dict[float, float] = {}
        self.bound = self.edge = self._nowhere
        self.least = 0
        self._order()

    def load(self, levels: list[Level], outermost: float | None) -> bool:
        """Replace everything. `outermost`: the price beyond which there may be more; None: there is none.

        False when a price is not a positive finite number.
        """
        self.edge, self.least = self._nowhere, 0
        self.bound = self._nowhere if outermost is None else outermost
        self.sizes = {price: size for price, size in levels if size > 0 and 0 < price < _INFINITY}
        self._order()
        return len(self.sizes) == len(levels) or all(0 < price < _INFINITY for price, _ in levels)

    def top(self, depth: int) -> list[Level]:
        """At most `depth` levels, best first."""
        sizes, near = self.sizes, self.near
        if depth > len(near) and len(near) < len(sizes):
            if depth > _DEPTH_MOST:
                near = sorted(sizes)
            else:
                self._at_hand = max(self._at_hand, depth + depth // 2)
                self._order()
                near = self.near
        if depth <= 0:
            return []
        prices = near[:depth] if self.sign > 0 else near[: -depth - 1 : -1]
        return [(price, sizes[price]) for price in prices]

    @property
    def is_cut(self) -> bool:
        """Whether there may be levels beyond those that are known."""
        return self.bound != self._nowhere

    @property
    def outermost(self) -> float | None:
        """The price beyond which nothing is known; None where all is."""
        return self.bound if self.is_cut else None

    def known(self) -> int:
        """How many levels it holds."""
        return len(self.sizes)

    def spare(self) -> int:
        """How many levels it holds beyond `least`. Puts `edge` where `least` are left."""
        held, least = len(self.sizes), self.least
        self.edge = self._nowhere
        if 0 < least <= held:
            self.edge = sorted(self.sizes)[-least if self.sign > 0 else least - 1]
        return held - least

    def _settle(self) -> None:
        """Bring what changes have made too much, or left empty, within its bounds."""
        if len(self.near) > self._near_most:
            self._reach(self.near)
        if len(self.sizes) > self._levels_most or (self.sizes and not self.near):
            self._order()

    def _order(self) -> None:
        """Put the best in order anew, and drop what lies beyond the bound."""
        prices, most = sorted(self.sizes), self._levels_most
        is_asks, is_wide = self.sign > 0, len(prices) > most
        if is_wide:
            left = max(1, most * 3 // 4)
            self.bound = prices[left - 1 if is_asks else -left]
        self._far_low = _LEAST_PRICE if is_asks else max(self.bound, _LEAST_PRICE)
        self._far_high = min(self.bound, _MOST_PRICE) if is_asks else _MOST_PRICE
        if prices and not self._far_low <= prices[0] <= prices[-1] <= self._far_high:
            prices = prices[bisect_left(prices, self._far_low) : bisect_right(prices, self._far_high)]
            sizes = self.sizes
            self.sizes = {price: sizes[price] for price in prices}
        self._reach(prices)

    def _reach(self, prices: list[float]) -> None:
        """Have the best of `prices`, which are in order, at hand."""
        count = max(self._at_hand, len(self.sizes) // _WIDE)
        self._near_most = _NEAR_TIMES * count
        self._low, self._high = self._far_low, self._far_high
        if self.sign > 0:
            del prices[count:]
            if len(prices) < len(self.sizes):
                self._high = prices[-1]
        else:
            del prices[:-count]
            if len(prices) < len(self.sizes):
                self._low = prices[0]
        self.near = prices


class Bids(Side):
    """The bids. Its `update` and that of the other side differ in what is compared: most levels are compared once, not twice."""

    __slots__ = ()

    def __init__(self, levels_most: int) -> None:
        super().__init__(-1.0, levels_most)

    def update(self, levels: list[Level]) -> bool:
        """Take new sizes in. False when a price is not a positive finite number.

        A size that is not above zero (NaN too) removes; removing a level that is not held is normal.
        """
        sizes, near, low, far, sound = self.sizes, self.near, self._low, self._far_low, True
        for price, size in levels:
            if price >= low:
                if size > 0:
                    if price not in sizes:
                        insort(near, price)
                    sizes[price] = size
                elif sizes.pop(price, None) is not None:
                    del near[bisect_left(near, price)]
            elif size > 0:
                if price >= far:
                    sizes[price] = size
                else:
                    sound &= 0 < price < _INFINITY
            else:
                sizes.pop(price, None)
        if near and near[-1] == _INFINITY:
            sound = False
        if not near or len(near) > self._near_most or len(sizes) > self._levels_most:
            self._settle()
        return sound


class Asks(Side):
    """The asks. Its `update` and that of the other side differ in what is compared: most levels are compared once, not twice."""

    __slots__ = ()

    def __init__(self, levels_most: int) -> None:
        super().__init__(1.0, levels_most)

    def update(self, levels: list[Level]) -> bool:
        """Take new sizes in. False when a price is not a positive finite number.

        A size that is not above zero (NaN too) removes; removing a level that is not held is normal.
        """
        sizes, near, high, far, sound = self.sizes, self.near, self._high, self._far_high, True
        for price, size in levels:
            if price <= high:
                if size > 0:
                    if price not in sizes:
                        insort(near, price)
                    sizes[price] = size
                elif sizes.pop(price, None) is not None:
                    del near[bisect_left(near, price)]
            elif size > 0:
                if price <= far:
                    sizes[price] = size
                else:
                    sound &= 0 < price < _INFINITY
            else:
                sizes.pop(price, None)
        if near and near[0] <= 0:
            sound = False
        if not near or len(near) > self._near_most or len(sizes) > self._levels_most:
            self._settle()
        return sound
