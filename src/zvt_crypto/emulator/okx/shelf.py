"""The books in use: which readers hold which picture of them, under which id."""

from __future__ import annotations

from collections.abc import Iterable

from zvt_crypto.emulator.model import BookImage, Depth, Fact, Market, World
from zvt_crypto.emulator.okx import wire
from zvt_crypto.emulator.okx.books import LEVELS, BestFeed, BookFeed
from zvt_crypto.emulator.okx.channels import BEST, Topic, best_of
from zvt_crypto.emulator.okx.names import Instrument
from zvt_crypto.emulator.okx.sessions import Session

_ALL = 1_000_000  # levels: the whole book


class Shelf:
    """The feeds of `books`, `books5` and `bbo-tbt` that somebody reads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._books: dict[str, tuple[Topic, BookFeed]] = {}  # by instId
        self._best: dict[tuple[str, str], tuple[Topic, BestFeed]] = {}  # by channel and instId
        self._shifts: dict[tuple[Market, str], int] = {}  # what is taken off the world's ids

    def take_up(self, session: Session, topic: Topic, now_ns: int) -> list[bytes] | None:
        """A new reader and its first frames; None for what is no book. It gets what the others hold, and goes on with them."""
        one = topic.one
        if topic.channel == "books":
            if one.id not in self._books:
                self._books[one.id] = (topic, BookFeed(self._world.book(one.listing, _ALL), self._shift(one), now_ns))
            feed = self._books[one.id][1]
            feed.readers[session.id] = topic.arg
            return [wire.book_push(topic.arg, "snapshot", one, feed.image(feed.quiet_ns), -1, feed.id)]
        if topic.channel in BEST:
            key = (topic.channel, one.id)
            if key not in self._best:
                self._best[key] = (topic, BestFeed(self._world.book(one.listing, BEST[topic.channel])))
            best = self._best[key][1]
            best.readers[session.id] = topic.arg
            return [self._best_frame(topic, best.last)]
        return None

    def shown_so_far(self, topic: Topic) -> list[bytes]:
        """What a replay tells a new reader of `books` midway; before the first snapshot, that one will come by itself."""
        image = self._world.book(topic.one.listing, LEVELS) if topic.channel == "books" else None
        if image is None or image.last_id == 0:
            return []
        return [wire.book_push(topic.arg, "snapshot", topic.one, image, -1, image.last_id)]

    def put_down(self, session: Session, topic: Topic | None) -> None:
        """A reader goes; a feed without readers is forgotten."""
        if topic is None:
            return
        book, best = self._books.get(topic.one.id), self._best.get((topic.channel, topic.one.id))
        if topic.channel == "books" and book is not None:
            book[1].readers.pop(session.id, None)
            if not book[1].readers:
                del self._books[topic.one.id]
        elif best is not None:
            best[1].readers.pop(session.id, None)
            if not best[1].readers:
                del self._best[topic.channel, topic.one.id]

    def frames(self, topic: Topic, fact: Fact) -> Iterable[bytes] | None:
        """The frames of an event; None for what is no book."""
        if topic.channel == "books":
            assert isinstance(fact, Depth), "books come as differences"
            told = self._books[topic.one.id][1].update(fact)
            return [] if told is None else [wire.book_push(topic.arg, "update", topic.one, *told)]
        image = best_of(fact)
        if topic.channel not in BEST or image is None:
            return None
        self._best[topic.channel, topic.one.id][1].last = image
        return [self._best_frame(topic, image)]

    def _best_frame(self, topic: Topic, image: BookImage) -> bytes:
        return wire.best_push(topic.arg, topic.one, image, image.last_id - self._shift(topic.one), named=topic.channel == "books5")

    def quiet(self, now_ns: int) -> Iterable[tuple[int, bytes]]:
        """(session id, frame) for readers of books that have not changed for a minute: same id twice, no levels."""
        for topic, feed in self._books.values():
            if now_ns >= feed.due_ns():
                feed.quiet_ns = now_ns
                for session_id, arg in feed.readers.items():
                    yield session_id, wire.book_push(arg, "update", topic.one, BookImage(feed.id, now_ns, [], []), feed.id, feed.id)

    def due_ns(self) -> int | None:
        """When `quiet` has something to say next."""
        return min((feed.due_ns() for _, feed in self._books.values()), default=None)

    def book_of(self, inst_id: str, channel: str) -> tuple[int, BookImage] | None:
        """The world's book and the id of a reader, where both stand at the same point."""
        topic, _ = self._books.get(inst_id) or self._best.get((channel, inst_id)) or (None, None)
        if topic is None or topic.one.listing.symbol not in self._world.listings(topic.one.listing.market):
            return None  # nobody reads it, or it was delisted
        if channel == "books" and inst_id in self._books:
            topic, feed = self._books[inst_id]
            truth, held, seq_id = self._world.book(topic.one.listing, LEVELS), feed.image(0), feed.id
        elif (channel, inst_id) in self._best:
            topic, best = self._best[channel, inst_id]
            truth, held = self._world.book(topic.one.listing, BEST[channel]), best.last
            seq_id = held.last_id - self._shift(topic.one)
        else:
            return None
        return (seq_id, truth) if (truth.bids, truth.asks) == (held.bids, held.asks) else None

    def restart(self) -> None:
        """Ids go on from a small number."""
        for topic, feed in self._books.values():
            self._shifts[topic.one.listing.market, topic.one.listing.symbol] = feed.restart()

    def _shift(self, one: Instrument) -> int:
        return self._shifts.get((one.listing.market, one.listing.symbol), 0)
