"""Who hears what. No sockets: events go in, frames come out into outboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zvt_crypto.api.rows import digits_of
from zvt_crypto.api.ws.outbox import Outbox
from zvt_crypto.api.ws.protocol import Topic
from zvt_crypto.api.ws.streams import DepthStream, KlineStream, Stream, TradeStream
from zvt_crypto.domain.errors import UnknownSymbol
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Kline, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import LiveState

KINDS = (Trade, Kline, BookSnapshot, BookDelta, BookStale)


class Hub:
    """The streams that somebody listens to; a stream without listeners is forgotten.

    The live state must have taken an event in before the hub is given it: books are read from there.
    """

    def __init__(self, live: LiveState, instruments: Callable[[], Instruments]) -> None:
        self._live = live
        self._instruments = instruments
        self._trades: dict[str, TradeStream] = {}
        self._klines: dict[tuple[str, Interval], KlineStream] = {}
        self._books: dict[str, dict[int, DepthStream]] = {}
        self._changed: dict[Stream, None] = {}

    def streams(self) -> int:
        """How many streams have listeners."""
        return len(self._trades) + len(self._klines) + sum(map(len, self._books.values()))

    def join(self, topic: Topic, outbox: Outbox) -> None:
        """Begin to listen: the newest state at once, then every message. Joining again repeats the newest state."""
        stream = self._find(topic) or self._open(topic)
        stream.listeners[outbox] = None
        stream.greet(outbox)

    def leave(self, topic: Topic, outbox: Outbox) -> None:
        """Stop listening; does nothing where one did not."""
        stream = self._find(topic)
        if stream is None:
            return
        stream.listeners.pop(outbox, None)
        outbox.forget(topic, stream if isinstance(stream, DepthStream) else None)
        if not stream.listeners:
            self._close(topic)
            self._changed.pop(stream, None)

    def take(self, events: Iterable[Event]) -> None:
        """What happened, in order. Nothing is sent before `flush`."""
        for event in events:
            match event:
                case Trade():
                    trades = self._trades.get(event.instrument)
                    if trades is not None:
                        trades.take(event)
                        self._changed[trades] = None
                case Kline():
                    klines = self._klines.get((event.instrument, event.interval))
                    if klines is not None:
                        klines.take(event)
                        self._changed[klines] = None
                case BookDelta() | BookSnapshot() | BookStale():
                    for book in self._books.get(event.instrument, {}).values():
                        if not isinstance(event, BookDelta):
                            book.restart()
                        self._changed[book] = None
                case _:
                    pass

    def lost(self) -> None:
        """Events were dropped before they reached us. Books are read from the live state and klines repeat themselves; trades do not."""
        for stream in self._trades.values():
            stream.skip()

    def flush(self) -> int:
        """One frame for every changed stream, into the outboxes; returns how many frames were handed over in all."""
        changed, self._changed = self._changed, {}
        return sum(stream.flush() for stream in changed)

    def _find(self, topic: Topic) -> Stream | None:
        match topic.channel:
            case "trade":
                return self._trades.get(topic.symbol)
            case "kline":
                assert topic.interval is not None
                return self._klines.get((topic.symbol, topic.interval))
            case "depth":
                assert topic.depth is not None
                return self._books.get(topic.symbol, {}).get(topic.depth)

    def _open(self, topic: Topic) -> Stream:
        instrument = self._instruments().get(topic.symbol)
        if instrument is None:
            raise UnknownSymbol(topic.symbol)
        digits = digits_of(instrument)
        match topic.channel:
            case "trade":
                trades = self._trades[topic.symbol] = TradeStream(topic, digits)
                return trades
            case "kline":
                assert topic.interval is not None
                klines = self._klines[(topic.symbol, topic.interval)] = KlineStream(topic, digits, self._live)
                return klines
            case "depth":
                assert topic.depth is not None
                book = DepthStream(topic, digits, self._live)
                self._books.setdefault(topic.symbol, {})[topic.depth] = book
                return book

    def _close(self, topic: Topic) -> None:
        match topic.channel:
            case "trade":
                del self._trades[topic.symbol]
            case "kline":
                assert topic.interval is not None
                del self._klines[(topic.symbol, topic.interval)]
            case "depth":
                assert topic.depth is not None
                of_symbol = self._books[topic.symbol]
                del of_symbol[topic.depth]
                if not of_symbol:
                    del self._books[topic.symbol]
