"""Who hears which channel of which product, and what: subscriptions of both WebSocket APIs over the world's streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from zvt_crypto.emulator.coinbase import exchange_feeds, feeds
from zvt_crypto.emulator.coinbase.feed_recorded import RETOLD
from zvt_crypto.emulator.coinbase.feeds import ALL, Feed, Level2
from zvt_crypto.emulator.coinbase.names import FEED, FEED_ASKED, L2_DATA, RECORDED, Product, find
from zvt_crypto.emulator.coinbase.sessions import Api, Session
from zvt_crypto.emulator.dialect import Lobby
from zvt_crypto.emulator.model import BookImage, Emission, Recorded, World

_FEEDS: dict[Api, dict[str, Callable[[World, Product], Feed]]] = {"advanced": feeds.FEEDS, "exchange": exchange_feeds.FEEDS}
# channel → the world's stream whose rhythm it has; in a recording, the stream that was recorded.
_LIVE: dict[Api, dict[str, str]] = {
    "advanced": {
        "level2": "depth@50ms",
        "market_trades": "ticker@250ms",
        "ticker": "depth1@50ms",
        "ticker_batch": "ticker@5000ms",
        "candles": "kline_5m@1000ms",
    },
    "exchange": {"level2_batch": "depth@50ms", "matches": "trade", "ticker": "trade", "ticker_batch": "ticker@5000ms"},
}


# How a book is shown so far.
_BOOKS: dict[str, Callable[[World, Product], Feed]] = {"level2": Level2, "level2_batch": exchange_feeds.Level2Batch}


class Line(NamedTuple):
    """One channel of one product. `stream`: what it hears of the world, empty where that tells nothing."""

    api: Api
    channel: str
    product: Product
    stream: str

    @property
    def tag(self) -> str:
        """Its name among listeners."""
        return f"{self.api} {self.channel} {self.product.book_id}"


class Switchboard:
    """Lines that somebody listens to, and what they have shown. `now_ns` is the time of the newest poll."""

    def __init__(self, world: World, lobby: Lobby) -> None:
        self._world, self._lobby = world, lobby
        self.now_ns = 0
        self._lines: dict[str, Line] = {}
        self._feeds: dict[str, Feed] = {}
        self._readers: dict[str, dict[int, int]] = {}  # tag → session → number of its newest message

    def line(self, api: Api, channel: str, product: Product) -> Line:
        """The line of a channel and product. It stays silent where a recording has no such frames."""
        rhythms = _recorded(api, channel) if self._world.mode == "replay" else [_LIVE[api].get(channel)]
        asked = [f"{product.listing.symbol.lower()}@{rhythm}" for rhythm in rhythms if rhythm]
        streams = (self._world.canonical(product.listing.market, name) for name in asked)
        return Line(api, channel, product, next((stream for stream in streams if stream), ""))

    def connect(self, session: Session, line: Line, now_ns: int) -> list[bytes]:
        """A new reader of a line, and what it hears first; once more is the same as once."""
        tag = line.tag
        if not line.stream or session.id in self._readers.get(tag, ()):
            return []
        self._lines[tag] = line
        self._readers.setdefault(tag, {})[session.id] = -1
        self._lobby.listen(session, line.product.listing.market, line.stream, tag, now_ns)
        if self._world.mode == "replay":
            told = self._so_far(line, now_ns)
        else:
            if tag not in self._feeds:
                self._feeds[tag] = _FEEDS[line.api][line.channel](self._world, line.product)
            told = self._feeds[tag].first(now_ns)
        faults = self._lobby.faults
        return [frame for frame in self._framed(session, line, told, now_ns) if faults.idle or not faults.loses(frame)]

    def _so_far(self, line: Line, now_ns: int) -> list[str]:
        """What a replay tells who comes midway: the book. Before the first snapshot, that one will come by itself."""
        image = self._world.book(line.product.listing, ALL) if line.channel in _BOOKS else None
        return _BOOKS[line.channel](self._world, line.product).first(now_ns) if image is not None and image.last_id else []

    def disconnect(self, session: Session, line: Line) -> None:
        """A reader goes; a line without readers is forgotten."""
        readers = self._readers.get(line.tag, {})
        if readers.pop(session.id, None) is not None:
            self._lobby.unlisten(session, line.product.listing.market, line.stream, line.tag)
        if not readers:
            self._readers.pop(line.tag, None)
            self._feeds.pop(line.tag, None)

    def leave(self, session: Session) -> None:
        """The connection has ended."""
        for tag in [tag for tag, readers in self._readers.items() if session.id in readers]:
            self.disconnect(session, self._lines[tag])

    def frames(self, emission: Emission) -> Callable[[Session, str], Iterable[bytes]]:
        """What each reader of a line hears of an event: the same, each under the next number of its own connection."""
        made: dict[str, list[str]] = {}

        def told(session: Session, tag: str) -> Iterable[bytes]:
            fact, line = emission.fact, self._lines[tag]
            if isinstance(fact, Recorded):
                return self._recorded_frames(session, line, fact.raw)
            if tag not in made:
                made[tag] = self._feeds[tag].next(fact)
            return self._framed(session, line, made[tag], time_of(fact))

        return told

    def _recorded_frames(self, session: Session, line: Line, raw: bytes) -> list[bytes]:
        """A recorded message: as it was on the API that it is of, told again in Advanced's words where it was Exchange's."""
        if line.api == "exchange":
            return [raw]
        if FEED not in line.stream:
            return [session.renumbered(raw, self.now_ns)]
        at_ns = self._world.server_ns(self.now_ns)
        try:
            text = RETOLD[line.channel](raw, line.product, at_ns)
        except (ValueError, msgspec.MsgspecError):
            return []  # what cannot be read cannot be told in other words
        return self._framed(session, line, [text], at_ns)

    def _framed(self, session: Session, line: Line, texts: list[str], at_ns: int) -> list[bytes]:
        if line.api == "exchange":
            return [text.encode() for text in texts]
        frames = [session.message(_spoken(line.channel), text, at_ns) for text in texts]
        if frames:
            self._readers[line.tag][session.id] = session.number
        return frames

    def book_of(self, product_id: str, channel: str = "level2") -> tuple[int, BookImage] | None:
        """The world's book of a product, and the number of the newest message about it on the newest connection that reads it
        (-1 on Exchange's feed, which numbers nothing); None where the world has moved on since, or nobody reads."""
        product = find(self._world, product_id)
        api: Api = "exchange" if channel == "level2_batch" else "advanced"
        tag = "" if product is None else f"{api} {channel} {product.book_id}"
        feed, readers = self._feeds.get(tag), self._readers.get(tag)
        if product is None or feed is None or not readers:
            return None
        image = self._world.book(product.listing, ALL)
        assert isinstance(feed, Level2 | exchange_feeds.Level2Batch), "a channel of books"
        return (readers[max(readers)], image) if feed.shown.is_now(image) else None


def _spoken(channel: str) -> str:
    """What messages of a channel call it."""
    return L2_DATA if channel == "level2" else channel


def _recorded(api: Api, channel: str) -> list[str | None]:
    """The recorded streams that a channel may come from, the best one first."""
    own = RECORDED.get(_spoken(channel)) if api == "advanced" else None
    return [own, FEED_ASKED.get(channel)]


def time_of(fact: object) -> int:
    """When an event happened."""
    for name in ("event_ns", "close_ns", "time_ns"):
        at_ns: int | None = getattr(fact, name, None)
        if at_ns is not None:
            return at_ns
    raise AssertionError(f"an event without a time: {fact!r}")
