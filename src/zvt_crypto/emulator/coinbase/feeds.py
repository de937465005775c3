"""What a channel of a product has shown its readers so far, and what it tells them next.

`first` is what a new reader hears, `next` what all readers hear of an event: texts that Advanced puts into numbered messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zvt_crypto.emulator.coinbase import wire
from zvt_crypto.emulator.coinbase.names import Product
from zvt_crypto.emulator.coinbase.query import traded_bars, trades_below
from zvt_crypto.emulator.model import BarEvent, BookImage, Day, Depth, Fact, World

SNAPSHOT_TRADES = 100
SNAPSHOT_CANDLES = 100
ALL = 1_000_000  # levels: the whole book


class Feed(Protocol):
    """One channel of one product."""

    def first(self, now_ns: int) -> list[str]: ...

    def next(self, fact: Fact) -> list[str]: ...


class Shown:
    """A book as its readers hold it."""

    def __init__(self, image: BookImage) -> None:
        self._bids, self._asks = dict(image.bids), dict(image.asks)

    def sides(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Both sides, best first."""
        return sorted(self._bids.items(), reverse=True), sorted(self._asks.items())

    def take(self, depth: Depth) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Take a difference in; what of it is new to the readers."""
        return _taken(self._bids, depth.bids), _taken(self._asks, depth.asks)

    def is_now(self, image: BookImage) -> bool:
        """Whether it is the world's whole book."""
        return self._bids == dict(image.bids) and self._asks == dict(image.asks)


def _taken(held: dict[int, int], rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    told = [(price, size) for price, size in rows if held.get(price, 0) != size]
    for price, size in told:
        if size:
            held[price] = size
        else:
            held.pop(price, None)
    return told


class Level2:
    """The whole book, then what changes."""

    def __init__(self, world: World, product: Product) -> None:
        self._product, self.shown = product, Shown(world.book(product.listing, ALL))

    def first(self, now_ns: int) -> list[str]:
        """The book as the others hold it."""
        return [wire.book_event("snapshot", self._product, *self.shown.sides(), now_ns)]

    def next(self, fact: Fact) -> list[str]:
        """The levels that changed."""
        assert isinstance(fact, Depth), "books come as differences"
        bids, asks = self.shown.take(fact)
        return [wire.book_event("update", self._product, bids, asks, fact.event_ns)] if bids or asks else []


class MarketTrades:
    """The newest hundred, then everything that came within a quarter of a second, newest first."""

    def __init__(self, world: World, product: Product) -> None:
        self._world, self._product = world, product
        newest = world.trades(product.listing, None, 1)
        self._told_id = newest[-1].id if newest else -1

    def first(self, now_ns: int) -> list[str]:
        """What the others have heard of."""
        rows = trades_below(self._world, self._product.listing, self._told_id + 1, SNAPSHOT_TRADES)
        return [wire.trades_event("snapshot", self._product, rows)]

    def next(self, fact: Fact) -> list[str]:
        """What came since, up to the beat."""
        assert isinstance(fact, Day), "the beat is that of the day's ticker"
        came = []
        while rows := self._world.trades(self._product.listing, self._told_id + 1, 1_000):
            rows = [row for row in rows if row.time_ns < fact.close_ns]
            if not rows:
                break
            came += rows
            self._told_id = rows[-1].id
        return [wire.trades_event("update", self._product, came[::-1])] if came else []


class Ticker:
    """The rolling day with the best quotes, whenever one of them has changed."""

    def __init__(self, world: World, product: Product) -> None:
        self._world, self._product = world, product
        self._told: tuple[object, ...] = ()

    def first(self, now_ns: int) -> list[str]:
        """What is so now."""
        return self._event("snapshot", self._world.book(self._product.listing, 1))

    def next(self, fact: Fact) -> list[str]:
        """What is so now, if it is news."""
        assert isinstance(fact, BookImage), "the beat is that of the best level"
        return self._event("update", fact)

    def _event(self, kind: str, best: BookImage) -> list[str]:
        day = self._world.day(self._product.listing)
        if day is None:
            return []
        now = (day.bar.close, day.bar.size, best.bids, best.asks)
        if kind == "update" and now == self._told:
            return []
        self._told = now
        return [wire.ticker_event(kind, "ticker", self._product, day, best)]


class TickerBatch:
    """The rolling day, every five seconds."""

    def __init__(self, world: World, product: Product) -> None:
        self._world, self._product = world, product

    def first(self, now_ns: int) -> list[str]:
        """What is so now."""
        day = self._world.day(self._product.listing)
        return [] if day is None else [wire.ticker_event("snapshot", "ticker", self._product, day, None)]

    def next(self, fact: Fact) -> list[str]:
        """What is so now."""
        assert isinstance(fact, Day), "the beat is that of the day's ticker"
        return [wire.ticker_event("update", "ticker", self._product, fact, None)]


class Candles:
    """The last hundred candles of five minutes, then the one that forms, a second apart."""

    def __init__(self, world: World, product: Product) -> None:
        self._world, self._product = world, product

    def first(self, now_ns: int) -> list[str]:
        """Oldest first; those without trades are missing."""
        rows = self._world.bars(self._product.listing, "5m", None, None, SNAPSHOT_CANDLES)
        if not rows:
            return []
        traded = traded_bars(self._world, self._product.listing, "5m", rows[0].open_ns, rows[-1].open_ns, SNAPSHOT_CANDLES)
        return [wire.candles_event("snapshot", self._product, traded[::-1])]

    def next(self, fact: Fact) -> list[str]:
        """The candle now. Nothing tells that it is closed."""
        assert isinstance(fact, BarEvent), "candles come as bars"
        return [wire.candles_event("update", self._product, [fact.bar])] if fact.bar.trades else []


FEEDS: dict[str, Callable[[World, Product], Feed]] = {
    "level2": Level2,
    "market_trades": MarketTrades,
    "ticker": Ticker,
    "ticker_batch": TickerBatch,
    "candles": Candles,
}
