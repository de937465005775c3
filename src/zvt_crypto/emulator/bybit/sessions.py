"""A WebSocket session as Bybit keeps it: one category, requests, JSON pings, the cut of who is idle. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec

from zvt_crypto.domain.time import NS_PER_MINUTE
from zvt_crypto.emulator.dialect import Closing

PATHS = {f"/v5/public/{category}": category for category in ("spot", "linear", "inverse", "option")}
IDLE_NS = 10 * NS_PER_MINUTE
MOST_CHARS = 21_000
SPOT_ARGS_MOST = 10
_NEVER_NS = 1 << 62


class Session:
    """One connection. `outbox` holds text frames to send, `closing` the end once it is due; Bybit sends no control pings."""

    def __init__(self, session_id: int, category: str, now_ns: int) -> None:
        self.id = session_id
        self.category = category
        self.name = f"d9avt8shteepr00gfc{session_id:04x}-emu"
        self.topics: dict[str, None] = {}
        self.outbox: deque[bytes] = deque()
        self.unread = 0  # frames that a carrier has taken from the outbox and the client has not read
        self.pings: list[bytes] = []
        self.closing: Closing | None = None
        self._heard_ns = now_ns

    def heard(self, now_ns: int) -> None:
        """The client said something."""
        self._heard_ns = now_ns

    def tick(self, now_ns: int) -> None:
        """The cut of a client that says nothing for ten minutes."""
        if now_ns >= self.due_ns():
            self.closing = self.closing or Closing(1006, "idle")

    def due_ns(self) -> int:
        """When `tick` has something to do next."""
        return self._heard_ns + IDLE_NS

    def answer(self, *, success: bool, text: str, op: str, request_id: str | None) -> bytes:
        """What Bybit says to a request."""
        named = "" if request_id is None else f'"req_id":{msgspec.json.encode(request_id).decode()},'
        said = msgspec.json.encode(text).decode()
        flag = "true" if success else "false"
        return f'{{"success":{flag},"ret_msg":{said},"conn_id":"{self.name}",{named}"op":"{op}"}}'.encode()


class Request(NamedTuple):
    """A request that is well formed."""

    op: str
    args: list[str]
    id: str | None


def read_request(payload: bytes) -> Request | str:
    """The request of a client, or what is wrong with it."""
    try:
        message = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return "Request not in JSON format"
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        return "error:unknown op"
    request_id, args = message.get("req_id"), message.get("args", [])
    if not isinstance(args, list) or not all(isinstance(one, str) for one in args):
        return "error:args is not a list of topics"
    return Request(message["op"], args, None if request_id is None else str(request_id)[:64])
