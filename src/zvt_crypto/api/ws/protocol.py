"""The WebSocket protocol without sockets: bytes → request, values → frames. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadFrame, BadInput, OutOfRange, UnknownChannel, UnknownMethod, ZvtCryptoError, shown
from zvt_crypto.domain.instrument import Instruments, check_exchange
from zvt_crypto.domain.time import Interval, parse_interval

METHODS = ("subscribe", "unsubscribe", "ping")
CHANNELS = ("kline", "trade", "depth")
MOST_FRAME = 16 * 1024  # bytes of a client's message, fragments together
MOST_ID = 64
DEFAULT_DEPTH = 20
MOST_DEPTH = 100

RequestId = int | str | None
encode = msgspec.json.Encoder().encode


class Topic(msgspec.Struct, frozen=True, order=True):
    """What one subscribes to. `symbol` is an entity id; `interval` for klines only, `depth` for depth only."""

    channel: Literal["kline", "trade", "depth"]
    symbol: str
    interval: Interval | None = None
    depth: int | None = None

    def words(self) -> dict[str, str | int]:
        """The keys that stand in acknowledgements and envelopes; those that do not apply are left out."""
        made: dict[str, str | int] = {"channel": self.channel, "symbol": self.symbol}
        if self.interval is not None:
            made["interval"] = self.interval.value
        if self.depth is not None:
            made["depth"] = self.depth
        return made


class Params(msgspec.Struct, frozen=True):
    """The parameters of subscribe and unsubscribe, as given."""

    channel: str | None = None
    symbol: str | None = None
    exchange: str | None = None
    interval: str | None = None
    depth: int | None = None


class Request(msgspec.Struct, frozen=True):
    """A request that can be read. `id` is the client's own, or None."""

    id: RequestId
    method: Literal["subscribe", "unsubscribe", "ping"]
    params: Params


class Refusal(msgspec.Struct, frozen=True):
    """A request that cannot be read, and the id under which to say so."""

    id: RequestId
    error: ZvtCryptoError


class _Envelope(msgspec.Struct):
    method: str
    id: msgspec.Raw = msgspec.Raw(b"null")
    params: msgspec.Raw = msgspec.Raw(b"{}")


_envelope = msgspec.json.Decoder(_Envelope)
_id = msgspec.json.Decoder(int | str | None)
_params = msgspec.json.Decoder(Params | None)


def parse_request(payload: bytes) -> Request | Refusal:
    """A client's text message → what it asks for, or why it cannot be read."""
    try:
        envelope = _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refusal(None, BadFrame(f"not a request: {_reason(error)}"))
    try:
        given_id = _id.decode(envelope.id)
    except (msgspec.DecodeError, RecursionError):
        return Refusal(None, BadFrame("id must be an integer or a string"))
    if isinstance(given_id, str) and len(given_id) > MOST_ID:
        return Refusal(None, BadFrame(f"id {shown(given_id)} is longer than {MOST_ID} characters"))
    if envelope.method not in METHODS:
        return Refusal(given_id, UnknownMethod(envelope.method, METHODS))
    try:
        params = _params.decode(envelope.params) or Params()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refusal(given_id, BadFrame(f"params cannot be read: {_reason(error)}"))
    return Request(given_id, envelope.method, params)  # type: ignore[arg-type]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return shown(str(error), 200)[1:-1]


def topic_of(params: Params, instruments: Instruments) -> Topic:
    """The topic that the parameters name. Raises BadInput and its kin."""
    channel = _given("channel", params.channel)
    make = _TOPICS.get(channel)
    if make is None:
        raise UnknownChannel(channel, CHANNELS)
    exchange = check_exchange(params.exchange) if params.exchange is not None else None
    return make(params, instruments.resolve(_given("symbol", params.symbol), exchange).id)


def _kline_topic(params: Params, symbol: str) -> Topic:
    return Topic("kline", symbol, interval=parse_interval(_given("interval", params.interval)))


def _trade_topic(_: Params, symbol: str) -> Topic:
    return Topic("trade", symbol)


def _depth_topic(params: Params, symbol: str) -> Topic:
    depth = DEFAULT_DEPTH if params.depth is None else params.depth
    if not 1 <= depth <= MOST_DEPTH:
        raise OutOfRange("depth", depth, 1, MOST_DEPTH)
    return Topic("depth", symbol, depth=depth)


_TOPICS: dict[str, Callable[[Params, str], Topic]] = {"kline": _kline_topic, "trade": _trade_topic, "depth": _depth_topic}


def _given(name: str, value: str | None) -> str:
    if not value:
        raise BadInput(f"params.{name} is missing")
    return value


def result_message(request_id: RequestId, result: object) -> bytes:
    """`{"id", "result"}`."""
    return encode({"id": request_id, "result": result})


def error_message(request_id: RequestId, error: ZvtCryptoError) -> bytes:
    """`{"id", "error": {"code", "message"}}`."""
    return encode({"id": request_id, "error": {"code": error.code, "message": str(error)}})


def envelope_head(topic: Topic) -> bytes:
    """The constant beginning of a topic's messages, up to the value of seq."""
    return encode(topic.words())[:-1] + b',"seq":'


def envelope(head: bytes, seq: int, kind: Literal["update", "snapshot", "delta", "stale"], data: bytes) -> bytes:
    """A channel's message. `data` is JSON already."""
    return b'%b%d,"type":"%b","data":%b}' % (head, seq, kind.encode(), data)


def text_frame(payload: bytes) -> bytes:
    """A server's whole text frame (RFC 6455: final, not masked), made once and sent to all."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
