"""The books and tickers that topics have shown: what their readers hold after the last frame, and what to tell them next."""

from __future__ import annotations

from zvt_crypto.emulator.bybit import wire
from zvt_crypto.emulator.bybit.topics import Topic
from zvt_crypto.emulator.model import BookImage, World

_FIRST_NUMBER = 60_000_000
_WHOLE = 1_000_000  # levels
Levels = list[tuple[int, int]]


class BookFeed:
    """One `orderbook` topic: its window of the book as its readers hold it, under `number` (`u`), which rises by one a push.

    number: where the topic's count stands already.
    """

    def __init__(self, world: World, topic: Topic, number: int | None = None) -> None:
        self._world, self._topic = world, topic
        self.levels = int(topic.detail)
        self.number = _FIRST_NUMBER + topic.listing.lot_e8 % 1_000 if number is None else number
        self.image = world.book(topic.listing, self.levels)
        self._starts_anew = False

    def snapshot(self) -> bytes:
        """What a new reader gets: what the others hold."""
        return wire.book_push(self._topic.name, "snapshot", self._topic.listing, self.image, self.number)

    def restart(self) -> None:
        """The service restarts: the next push is a snapshot with `u` 1."""
        self._starts_anew = True

    def push(self, event_ns: int) -> list[bytes]:
        """The next frame, if anything in the window has changed; one level comes whole each time."""
        now = self._world.book(self._topic.listing, self.levels)._replace(event_ns=event_ns)
        if self._starts_anew:
            self._starts_anew, self.image, self.number = False, now, 1
            return [self.snapshot()]
        bids, asks = _changes(self.image.bids, now.bids, -1), _changes(self.image.asks, now.asks, 1)
        if not bids and not asks:
            return []
        self.image, self.number = now, self.number + 1
        if self.levels == 1:
            return [self.snapshot()]
        return [wire.book_push(self._topic.name, "delta", self._topic.listing, now._replace(bids=bids, asks=asks), self.number)]

    def truth(self) -> tuple[int, BookImage] | None:
        """The world's book and the readers' number, where both stand at the same point."""
        if self._topic.listing.symbol not in self._world.listings(self._topic.listing.market):
            return None  # delisted
        now = self._world.book(self._topic.listing, self.levels)
        return (self.number, now) if (now.bids, now.asks) == (self.image.bids, self.image.asks) else None


class TickerFeed:
    """One `tickers` topic. Of contracts, what has changed comes; of pairs, everything each time."""

    def __init__(self, world: World, topic: Topic) -> None:
        self._world, self._topic = world, topic
        self.told: dict[str, str] = {}

    def snapshot(self, now_ns: int) -> list[bytes]:
        """What a new reader gets."""
        self.told = self.told or self._fields()
        return [wire.ticker_push(self._topic.name, "snapshot", self.told, now_ns)] if self.told else []

    def push(self, now_ns: int) -> list[bytes]:
        """The next frame, if there is anything new."""
        fields = self._fields()
        changed = {name: value for name, value in fields.items() if self.told.get(name) != value}
        if not changed:
            return []
        is_first, self.told = not self.told, fields
        if self._topic.listing.market == "spot" or is_first:
            return [wire.ticker_push(self._topic.name, "snapshot", fields, now_ns)]
        return [wire.ticker_push(self._topic.name, "delta", {"symbol": self._topic.listing.symbol} | changed, now_ns)]

    def _fields(self) -> dict[str, str]:
        listing = self._topic.listing
        day = self._world.day(listing)
        mark = None if listing.market == "spot" else self._world.mark(listing)
        fields = {} if day is None else wire.ticker_fields(listing, day, mark)
        return {name: text for name, text in fields.items() if self._world.mode == "market" or name not in wire.MADE_UP}


def shown_so_far(world: World, topic: Topic, now_ns: int) -> list[bytes]:
    """What a replay tells a reader who comes midway: a contract's ticker and the book. A first snapshot will come by itself."""
    if topic.kind == "tickers" and topic.listing.market != "spot":
        return TickerFeed(world, topic).snapshot(now_ns)
    image = world.book(topic.listing, _WHOLE) if topic.kind == "orderbook" and topic.detail != "1" else None
    if image is None or not image.last_id:
        return []
    return [wire.book_push(topic.name, "snapshot", topic.listing, image, image.last_id)]


def _changes(old: Levels, new: Levels, sign: int) -> Levels:
    """Levels that came or changed, and a size of 0 for those that went, best first."""
    before, after = dict(old), dict(new)
    changed = {price: size for price, size in after.items() if before.get(price) != size}
    changed |= {price: 0 for price in before if price not in after}
    return sorted(changed.items(), key=lambda level: sign * level[0])
