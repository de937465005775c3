"""The parameters of a request to either API, and refusals as answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.coinbase.names import Product, find, products
from zvt_crypto.emulator.model import Bar, Listing, Trade, World


class Fault(Exception):
    """An error answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = msgspec.json.encode(body)


def wrong(text: str) -> Fault:
    """Advanced's answer to a parameter that cannot be."""
    return Fault(400, {"error": "INVALID_ARGUMENT", "error_details": text, "message": text})


def unknown(text: str) -> Fault:
    """Advanced's answer to a name that it does not know."""
    return Fault(404, {"error": "NOT_FOUND", "error_details": text, "message": text})


class Query:
    """One request. `refuse` words what is wrong with it as its API does. Raises Fault."""

    def __init__(self, world: World, text: str, now_ns: int, refuse: Callable[[str], Fault] = wrong) -> None:
        self.world, self.now_ns, self._refuse = world, now_ns, refuse
        self.pairs = [(name, value) for name, value in parse_qsl(text) if value]
        self.values = dict(self.pairs)

    @property
    def server_ns(self) -> int:
        """The exchange's clock."""
        return self.world.server_ns(self.now_ns)

    def product(self, product_id: str) -> Product:
        """The product that Advanced knows by this id."""
        found = find(self.world, unquote(product_id))
        if found is None:
            raise unknown("valid product_id is required")
        return found

    def pair(self, product_id: str) -> Product:
        """The pair that Exchange knows by this id: no contracts, no other names."""
        found = products(self.world).get(unquote(product_id))
        if found is None or found.book_id != found.id:
            raise Fault(404, {"message": "NotFound"})
        return found

    def number(self, name: str) -> int | None:
        """A whole number, if it was sent."""
        text = self.values.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise self._refuse(f"invalid {name}: {text[:40]}")
        return int(text)

    def needed(self, name: str) -> int:
        """A whole number that must be there."""
        value = self.number(name)
        if value is None:
            raise self._refuse(f"{name} is required")
        return value

    def limit(self, usual: int, most: int) -> int:
        """How many rows; more than there may be is as many as there may be."""
        value = self.number("limit")
        if value == 0:
            raise self._refuse("limit must be positive")
        return usual if value is None else min(value, most)


def traded_bars(world: World, listing: Listing, interval: str, start_ns: int, end_ns: int, limit: int) -> list[Bar]:
    """Bars that open in [start, end], newest first: an interval without trades has none."""
    rows = world.bars(listing, interval, start_ns, end_ns, limit)
    return [bar for bar in reversed(rows) if bar.trades or bar.size]


def trades_below(world: World, listing: Listing, below_id: int | None, limit: int) -> list[Trade]:
    """The newest trades whose ids are below one, newest first."""
    if below_id is None:
        return world.trades(listing, None, limit)[::-1]
    newest = world.trades(listing, None, 1)
    end_id = min(below_id, newest[-1].id + 1) if newest else 0
    rows = world.trades(listing, max(0, end_id - limit), limit)
    return [row for row in reversed(rows) if row.id < end_id]


def trades_within(world: World, listing: Listing, start_s: int | None, end_s: int | None, limit: int) -> list[Trade]:
    """The newest trades of [start, end], newest first."""
    below_id = None
    if end_s is not None:
        before = world.aggs(listing, None, None, end_s * NS_PER_S, 1)
        if not before or before[-1].time_ns > end_s * NS_PER_S:
            return []
        below_id = before[-1].last_id + 1
    rows = trades_below(world, listing, below_id, limit)
    return [row for row in rows if start_s is None or row.time_ns >= start_s * NS_PER_S]
