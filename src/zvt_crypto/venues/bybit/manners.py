"""How Bybit is spoken to on one connection (venues.inband.StreamManners)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

import msgspec

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.venues.bybit import spec
from zvt_crypto.venues.bybit.fields import frame_kind
from zvt_crypto.venues.bybit.parse import FrameParser, topic_of
from zvt_crypto.venues.bybit.spec import Category
from zvt_crypto.venues.inband import Message
from zvt_crypto.venues.parsed import Ask, Broken, Parsed, Reply
from zvt_crypto.venues.span import chunks

# A ticker whose beginning is missing is asked for again this long after the last time.
RENEW_NS = 5 * NS_PER_S


class BybitManners:
    """One connection to a category. `topics` in order, each once; `books` and `trades`: entity id → topic."""

    exchange = spec.EXCHANGE
    ping: bytes | None = b'{"req_id":"ping","op":"ping"}'
    ping_s = spec.PING_S
    messages_per_s = spec.MESSAGES_PER_S
    kind_of = staticmethod(frame_kind)

    def __init__(
        self, category: Category, parser: FrameParser, topics: Sequence[str], books: Mapping[str, str], trades: Mapping[str, str]
    ) -> None:
        self._category, self._parser, self._topics = category, parser, topics
        self._books, self._trades = books, trades
        self._numbers = count(1)
        self._waiting: list[str] = []  # requests of the first subscription without an answer, in the order they were sent
        self._renewed_ns: dict[str, int] = {}
        parser.answered, parser.lost = self._answered, self._ask_ticker
        parser.expect(topics)
        # What a frame holds; raises Malformed. The parser's own, without a call between: it is asked for every frame.
        self.parse: Callable[[bytes, int], Sequence[Parsed]] = parser.parse

    def subscribe(self) -> list[Message]:
        """In requests as large as the category takes them."""
        made = []
        for part in chunks(self._topics, spec.SUBSCRIBE_MOST[self._category]):
            number = str(next(self._numbers))
            self._waiting.append(number)
            made.append(Message(_request(number, "subscribe", part), (number,)))
        return made

    def renew(self, instrument: str) -> list[Message]:
        """The venue sends a snapshot only to a new subscription of the topic."""
        return [Message(payload) for payload in self._anew(self._books[instrument])]

    def doubted(self, payload: bytes) -> Sequence[str] | None:
        """The book whose topic the frame names; where it names none that we subscribed to, it may have been any of them."""
        topic = topic_of(payload).decode(errors="replace")
        if topic not in self._topics:
            self._parser.doubt_tickers()
            return None
        return tuple(instrument for instrument, of_book in self._books.items() if of_book == topic)

    def doubted_trades(self, payload: bytes) -> Sequence[str]:
        """Those of the topic that the frame names; where it names none that we subscribed to, all."""
        topic = topic_of(payload).decode(errors="replace")
        return tuple(instrument for instrument, of in self._trades.items() if of == topic or topic not in self._topics)

    def _answered(self, reply: Reply) -> Reply | Broken:
        """Some answers name no request: then it is the oldest that waits."""
        number = reply.id if reply.id in self._waiting else None
        if number is None and reply.id is None and self._waiting:
            number = self._waiting[0]
        if number is None:  # to a subscription that was made anew
            return reply if reply.error is None else Broken(f"a topic could not be subscribed anew: {reply.error}")
        self._waiting.remove(str(number))
        return Reply(number, reply.error)

    def _ask_ticker(self, native: str, recv_ns: int) -> Sequence[Ask]:
        """What brings its beginning, unless that was asked for just now."""
        if recv_ns - self._renewed_ns.get(native, -RENEW_NS) < RENEW_NS:
            return ()
        self._renewed_ns[native] = recv_ns
        return (Ask(self._anew(spec.topic_name(native, "ticker", None, 0))),)

    def _anew(self, topic: str) -> tuple[bytes, ...]:
        return tuple(_request(str(next(self._numbers)), op, [topic]) for op in ("unsubscribe", "subscribe"))


def _request(number: str, op: str, topics: Sequence[str]) -> bytes:
    return msgspec.json.encode({"req_id": number, "op": op, "args": topics})
