"""A price-time matching book on integer ticks and lots: pure, deterministic, self-contained."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Literal, NamedTuple

Side = Literal["buy", "sell"]


class Fill(NamedTuple):
    """One trade between a resting order and the one that came in. `price` in ticks, `quantity` in lots."""

    trade_id: int
    price: int
    quantity: int
    maker_id: int
    taker_id: int
    taker_side: Side


class Order:
    """A resting order: what is left of it."""

    __slots__ = ("id", "price", "quantity", "side")

    def __init__(self, order_id: int, side: Side, price: int, quantity: int) -> None:
        self.id = order_id
        self.side = side
        self.price = price
        self.quantity = quantity


class _Ladder:
    """One side: levels by price, orders in each by time. Keys rise towards the best price."""

    __slots__ = ("keys", "levels", "sign", "totals")

    def __init__(self, sign: int) -> None:
        self.sign = sign  # +1 bids (higher is better), -1 asks
        self.keys: list[int] = []
        self.levels: dict[int, dict[int, Order]] = {}
        self.totals: dict[int, int] = {}

    def best(self) -> int | None:
        return self.keys[-1] * self.sign if self.keys else None

    def add(self, order: Order) -> None:
        level = self.levels.get(order.price)
        if level is None:
            insort(self.keys, order.price * self.sign)
            level = self.levels[order.price] = {}
            self.totals[order.price] = 0
        level[order.id] = order
        self.totals[order.price] += order.quantity

    def reduce(self, order: Order, quantity: int) -> None:
        order.quantity -= quantity
        self.totals[order.price] -= quantity
        if order.quantity == 0:
            self._drop(order)

    def _drop(self, order: Order) -> None:
        level = self.levels[order.price]
        del level[order.id]
        if not level:
            del self.levels[order.price], self.totals[order.price]
            del self.keys[bisect_left(self.keys, order.price * self.sign)]

    def top(self, depth: int) -> list[tuple[int, int]]:
        prices = [key * self.sign for key in reversed(self.keys[-depth:])] if depth > 0 else []
        return [(price, self.totals[price]) for price in prices]


class MatchingBook:
    """Matches limit and market orders by price, then time. The maker's price holds.

    Prices are ticks > 0, quantities lots > 0 (AssertionError otherwise: a caller's mistake). `changes` collects the levels
    touched, (side, price) in order, until the owner drains it.
    """

    def __init__(self, first_trade_id: int = 1, first_order_id: int = 1) -> None:
        self.next_trade_id = first_trade_id
        self.next_order_id = first_order_id
        self.changes: list[tuple[Side, int]] = []
        self._sides: dict[Side, _Ladder] = {"buy": _Ladder(1), "sell": _Ladder(-1)}
        self._orders: dict[int, Order] = {}

    def limit(self, side: Side, price: int, quantity: int) -> tuple[int, list[Fill]]:
        """Match what crosses, rest what is left. Returns (order id, fills); the order rests iff `quantity_of(id)` > 0."""
        assert price > 0, f"price {price} ticks"
        order_id, fills, left = self._take(side, quantity, price)
        if left:
            order = Order(order_id, side, price, left)
            self._orders[order_id] = order
            self._sides[side].add(order)
            self.changes.append((side, price))
        return order_id, fills

    def market(self, side: Side, quantity: int) -> tuple[int, list[Fill]]:
        """Match against whatever stands there; what finds nobody is cancelled. Returns (order id, fills)."""
        order_id, fills, _ = self._take(side, quantity, None)
        return order_id, fills

    def cancel(self, order_id: int) -> int:
        """Take a resting order out. Returns the lots it still had, 0 if it does not rest (filled, cancelled, unknown)."""
        order = self._orders.pop(order_id, None)
        if order is None:
            return 0
        left = order.quantity
        self._sides[order.side].reduce(order, left)
        self.changes.append((order.side, order.price))
        return left

    def quantity_of(self, order_id: int) -> int:
        """Lots of the order that still rest."""
        order = self._orders.get(order_id)
        return order.quantity if order else 0

    def best(self, side: Side) -> int | None:
        """The best price of a side, ticks."""
        return self._sides[side].best()

    def size_at(self, side: Side, price: int) -> int:
        """Lots resting at a price; 0 where there is no level."""
        return self._sides[side].totals.get(price, 0)

    def top(self, side: Side, depth: int) -> list[tuple[int, int]]:
        """(price, lots), best first, at most `depth` levels."""
        return self._sides[side].top(depth)

    def levels(self, side: Side) -> int:
        """How many prices a side has."""
        return len(self._sides[side].keys)

    def __len__(self) -> int:
        """Resting orders."""
        return len(self._orders)

    def _take(self, side: Side, quantity: int, bound: int | None) -> tuple[int, list[Fill], int]:
        assert quantity > 0, f"quantity {quantity} lots"
        order_id = self.next_order_id
        self.next_order_id += 1
        fills: list[Fill] = []
        other = self._sides["sell" if side == "buy" else "buy"]
        while quantity:
            price = other.best()
            if price is None or (bound is not None and (price - bound) * other.sign < 0):
                break
            maker = next(iter(other.levels[price].values()))
            traded = min(quantity, maker.quantity)
            fills.append(Fill(self.next_trade_id, price, traded, maker.id, order_id, side))
            self.next_trade_id += 1
            quantity -= traded
            self.changes.append((maker.side, price))
            other.reduce(maker, traded)
            if maker.quantity == 0:
                del self._orders[maker.id]
        return order_id, fills, quantity
