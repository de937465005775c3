"""A WebSocket session as Binance keeps it: routes, control frames, limits, pings. Pure."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

import msgspec

from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S
from zvt_crypto.emulator.dialect import Closing
from zvt_crypto.emulator.model import Market

Route = Literal["spot", "public", "market", "legacy"]
_PUBLIC = ("bookTicker", "depth", "rpiDepth")
_MARKET = ("aggTrade", "kline_", "markPrice", "ticker", "miniTicker", "forceOrder")
MOST_STREAMS = 1024
LIFE_NS = 24 * 3600 * NS_PER_S
PING_NS: dict[Market, int] = {"spot": 20 * NS_PER_S, "usdm": 3 * NS_PER_MINUTE}
PONG_NS: dict[Market, int] = {"spot": 60 * NS_PER_S, "usdm": 10 * NS_PER_MINUTE}
MESSAGES_PER_S: dict[Market, int] = {"spot": 5, "usdm": 10}
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Opening(NamedTuple):
    """What a URL asks for."""

    market: Market
    route: Route
    combined: bool
    streams: tuple[str, ...]


class Session:
    """One connection. `outbox` holds text frames to send, `pings` ping payloads, `closing` the end once it is due."""

    def __init__(self, session_id: int, opening: Opening, now_ns: int) -> None:
        self.id = session_id
        self.market = opening.market
        self.route = opening.route
        self.combined = opening.combined
        self.streams: dict[str, None] = {}
        self.outbox: deque[bytes] = deque()
        self.unread = 0  # frames that a carrier has taken from the outbox and the client has not read
        self.pings: list[bytes] = []
        self.closing: Closing | None = None
        self.ends_ns = now_ns + LIFE_NS
        self.ping_ns = now_ns + PING_NS[opening.market]
        self.pong_due_ns: int | None = None
        self._arrivals: deque[int] = deque()

    def arrived(self, now_ns: int) -> bool:
        """Count an incoming frame (pings and pongs too); False if there were too many within a second."""
        arrivals = self._arrivals
        while arrivals and arrivals[0] <= now_ns - NS_PER_S:
            arrivals.popleft()
        arrivals.append(now_ns)
        if len(arrivals) <= MESSAGES_PER_S[self.market]:
            return True
        self.closing = self.closing or Closing(1008, "Too many requests")
        return False

    def ponged(self) -> None:
        """The client answered the last ping."""
        self.pong_due_ns = None

    def tick(self, now_ns: int) -> None:
        """Pings and ends that are due."""
        if now_ns >= self.ends_ns:
            self.closing = self.closing or Closing(1001, "24 hours are over")
        elif self.pong_due_ns is not None and now_ns >= self.pong_due_ns:
            self.closing = self.closing or Closing(1008, "Pong timeout")
        elif now_ns >= self.ping_ns:
            self.pings.append(str(now_ns // 1_000_000).encode())
            self.ping_ns = now_ns + PING_NS[self.market]
            if self.pong_due_ns is None:
                self.pong_due_ns = now_ns + PONG_NS[self.market]

    def due_ns(self) -> int:
        """When `tick` has something to do next."""
        due = min(self.ends_ns, self.ping_ns)
        return due if self.pong_due_ns is None else min(due, self.pong_due_ns)

    def carries(self, stream: str) -> bool:
        """Whether this route carries a stream: USD-M divides them between /public and /market."""
        if self.route == "spot":
            return True
        if self.route == "legacy":
            return False
        name = stream.partition("@")[2]
        kinds = _MARKET if self.route == "public" else _PUBLIC
        return not name.startswith(kinds)


# Update speeds of depth streams; none named: a second on spot, 250 ms on USD-M.
_SPEEDS: dict[Market, tuple[str, ...]] = {"spot": ("", "100ms"), "usdm": ("", "100ms", "250ms", "500ms")}


def is_sent(market: Market, stream: str) -> bool:
    """Whether Binance sends anything on a stream of this name. USD-M accepts `trade` and `kline_1s`, and stays silent."""
    _, _, rest = stream.partition("@")
    name, _, speed = rest.partition("@")
    if name in ("trade", "kline_1s"):
        return market == "spot" and not speed
    return speed in _SPEEDS[market] if name.startswith("depth") else not speed or name == "markPrice"


def opening_of(path: str, query: str, host: str = "") -> Opening | None:
    """What a URL asks for; None: there is no such path. The retired USD-M roots are told by their host, or by `/legacy`."""
    route: Route = "legacy" if host.startswith("fstream.") else "spot"
    for prefix, name in (("/public", "public"), ("/market", "market"), ("/legacy", "legacy")):
        if path.startswith(prefix + "/"):
            route = "public" if name == "public" else "market" if name == "market" else "legacy"
            path = path[len(prefix) :]
            break
    market: Market = "spot" if route == "spot" else "usdm"
    if path in ("/stream", "/stream/"):
        named = [part[8:] for part in query.split("&") if part.startswith("streams=")]
        return Opening(market, route, True, tuple(one for one in "/".join(named).replace("%40", "@").split("/") if one))
    if path == "/ws" or path.startswith("/ws/"):
        return Opening(market, route, False, tuple(one for one in path[4:].replace("%40", "@").split("/") if one))
    return None


class Control(NamedTuple):
    """A control frame that is well formed."""

    method: str
    params: list[str]
    id: int | str | None
    value: bool | None = None


def read_control(payload: bytes) -> Control | bytes:
    """The control frame of a client, or the error frame to answer."""
    try:
        message = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return b'{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}'
    if not isinstance(message, dict):
        return _invalid("expected an object")
    method, params, request_id = message.get("method"), message.get("params", []), message.get("id")
    if method is None:
        return _invalid("missing field `method` at line 1")
    if method not in _METHODS:
        return _invalid(f"unknown variant `{_plain(method)}`, expected one of {', '.join(f'`{one}`' for one in _METHODS)} at line 1")
    if isinstance(request_id, bool) or not (request_id is None or isinstance(request_id, int | str)) or _is_negative(request_id):
        return _invalid("request ID must be an unsigned integer")
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        if not isinstance(params, list) or not params or not all(isinstance(one, str) for one in params):
            return _invalid("params must be a list of stream names", request_id)
        if len(params) > MOST_STREAMS:
            return _invalid("too many parameters", request_id)
        return Control(method, params, request_id)
    if method == "LIST_SUBSCRIPTIONS":
        return Control(method, [], request_id)
    return _property(method, params, request_id)


def _property(method: str, params: object, request_id: int | str | None) -> Control | bytes:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        return _invalid("property name must be a string", request_id)
    if params[0] != "combined":
        return b'{"code":0,"msg":"Unknown property"%s}' % _id_tail(request_id)
    if method == "GET_PROPERTY":
        return Control(method, ["combined"], request_id)
    if len(params) != 2 or not isinstance(params[1], bool):
        return b'{"code":1,"msg":"Invalid value type: expected Boolean"%s}' % _id_tail(request_id)
    return Control(method, ["combined"], request_id, params[1])


def result(value: object, request_id: int | str | None) -> bytes:
    """`{"result":…,"id":…}`."""
    return b'{"result":%s,"id":%s}' % (msgspec.json.encode(value), msgspec.json.encode(request_id))


def _invalid(text: str, request_id: int | str | None = None) -> bytes:
    return b'{"code":2,"msg":%s%s}' % (msgspec.json.encode(f"Invalid request: {text}"), _id_tail(request_id))


def _id_tail(request_id: int | str | None) -> bytes:
    return b"" if request_id is None else b',"id":%s' % msgspec.json.encode(request_id)


def _is_negative(request_id: object) -> bool:
    return isinstance(request_id, int) and request_id < 0


def _plain(value: object) -> str:
    return str(value)[:40]
