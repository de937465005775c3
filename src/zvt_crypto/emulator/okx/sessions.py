"""A WebSocket session as OKX keeps it: paths, requests, text pings, the cut of who is idle. Pure."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

import msgspec

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.dialect import Closing
from zvt_crypto.emulator.okx.limits import Window

Path = Literal["public", "private", "business"]
PATHS: dict[str, Path] = {"/ws/v5/public": "public", "/ws/v5/private": "private", "/ws/v5/business": "business"}
IDLE_NS = 30 * NS_PER_S
NOTICE_NS = 60 * NS_PER_S  # between the notice of a restart and the cut
REQUESTS_PER_HOUR = 480
MOST_ARGS = 64 * 1024  # bytes of a request
CONNECTS_PER_S = 3
_NEVER_NS = 1 << 62


class Session:
    """One connection. `outbox` holds text frames to send, `closing` the end once it is due; OKX sends no control pings."""

    def __init__(self, session_id: int, path: Path, now_ns: int) -> None:
        self.id = session_id
        self.path = path
        self.name = f"{0xA4D3AE00 + session_id:08x}"  # connId
        self.args: dict[str, None] = {}  # what it has subscribed to, as OKX writes it back
        self.outbox: deque[bytes] = deque()
        self.unread = 0  # frames that a carrier has taken from the outbox and the client has not read
        self.pings: list[bytes] = []
        self.closing: Closing | None = None
        self._ends_ns = _NEVER_NS
        self._moved_ns = now_ns
        self._requests = Window(3600 * NS_PER_S)

    def moved(self, now_ns: int) -> None:
        """Something came or went."""
        self._moved_ns = now_ns

    def may_ask(self, now_ns: int, most: int) -> bool:
        """Count a request of the hour; whether it is within the limit."""
        return self._requests.count(now_ns, most)

    def warn(self, now_ns: int) -> None:
        """The service restarts soon: tell, and end in a minute."""
        self.outbox.append(
            b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.",'
            b'"connId":"%s"}' % self.name.encode()
        )
        self._ends_ns = now_ns + NOTICE_NS

    def tick(self, now_ns: int) -> None:
        """Ends that are due. Frames in the outbox are traffic."""
        if self.outbox:
            self._moved_ns = now_ns
        if now_ns >= self._ends_ns:
            self.closing = self.closing or Closing(1001, "service upgrade")
        elif now_ns >= self._moved_ns + IDLE_NS:
            self.closing = self.closing or Closing(4004, "No data received in 30s.")

    def due_ns(self) -> int:
        """When `tick` has something to do next."""
        return min(self._ends_ns, self._moved_ns + IDLE_NS)

    def error(self, code: int, text: str, request_id: str | None = None) -> bytes:
        """An error frame."""
        named = b"" if request_id is None else b'"id":%s,' % msgspec.json.encode(request_id)
        return b'{%s"event":"error","msg":%s,"code":"%d","connId":"%s"}' % (named, msgspec.json.encode(text), code, self.name.encode())

    def event(self, event: str, arg: str, request_id: str | None) -> bytes:
        """The acknowledgement of one arg."""
        named = "" if request_id is None else f'"id":{msgspec.json.encode(request_id).decode()},'
        return f'{{{named}"event":"{event}","arg":{arg},"connId":"{self.name}"}}'.encode()


class Request(NamedTuple):
    """A request that is well formed."""

    op: str
    args: list[dict[str, str]]
    id: str | None


class Illegal(Exception):
    """A request that OKX answers with an error frame."""

    def __init__(self, code: int, text: str, request_id: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.request_id = request_id


def read_request(payload: bytes) -> Request:
    """The request of a client. Raises Illegal."""
    shown = payload[:200].decode("utf-8", "replace")
    try:
        message = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        raise Illegal(60012, f"Illegal request: {shown}") from None
    if not isinstance(message, dict) or not isinstance(message.get("op"), str) or len(payload) > MOST_ARGS:
        raise Illegal(60012, f"Illegal request: {shown}")
    request_id, args = message.get("id"), message.get("args")
    if request_id is not None and not (
        isinstance(request_id, str) and request_id.isascii() and request_id.isalnum() and len(request_id) <= 32
    ):
        raise Illegal(60012, f"Illegal request: {shown}")
    op = message["op"]
    if op not in ("subscribe", "unsubscribe", "login"):
        raise Illegal(60019, f"Invalid op: {op[:40]}", request_id)
    if not isinstance(args, list) or not args or not all(_is_flat(arg) for arg in args):
        raise Illegal(60013, f"Invalid args: {shown}", request_id)
    return Request(op, args, request_id)


def _is_flat(arg: object) -> bool:
    return isinstance(arg, dict) and all(isinstance(value, str) for value in arg.values())
