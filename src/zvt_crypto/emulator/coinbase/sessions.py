"""A WebSocket connection as Coinbase keeps it: numbered messages, heartbeats, and the cut of who says or hears nothing. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Literal

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.coinbase.wire import moment
from zvt_crypto.emulator.dialect import Closing
from zvt_crypto.emulator.faults import Faults

Api = Literal["advanced", "exchange"]
SUBSCRIBE_NS = 5 * NS_PER_S
IDLE_NS = 75 * NS_PER_S  # between 60 and 90 s without a message, the connection is closed
HEARTBEAT_NS = NS_PER_S
_CATCH_UP = 60  # heartbeats that are made up for where nobody polled for long
_NEVER_NS = 1 << 62
_NUMBER = re.compile(rb'("sequence_num"\s*:\s*)\d+')


class Session:
    """One connection. `outbox` holds text frames to send, `closing` the end once it is due; Coinbase sends no control pings.

    `beats(session, at_ns)` makes the heartbeats of a second: they go on whatever happens to market data.
    """

    def __init__(self, session_id: int, api: Api, now_ns: int, faults: Faults, beats: Callable[[Session, int], list[bytes]]) -> None:
        self.id, self.api = session_id, api
        self.subscriptions: dict[str, dict[str, None]] = {}  # channel → products, as they were asked for
        self.outbox: deque[bytes] = deque()
        self.unread = 0  # frames that a carrier has taken from the outbox and the client has not read
        self.pings: list[bytes] = []
        self.closing: Closing | None = None
        self.number = -1  # of the newest message
        self.beating = False
        self.opened_ns = now_ns
        self._faults, self._beats = faults, beats
        self._is_welcome = False
        self._told_ns = now_ns
        self._beat_ns = _NEVER_NS

    def message(self, channel: str, events: str, at_ns: int) -> bytes:
        """A message of Advanced, with the next number of the connection, which it has used up even if it is lost on its way."""
        self.number += 1
        self._told_ns = max(self._told_ns, at_ns)
        return f'{{"channel":"{channel}","timestamp":"{moment(at_ns)}","sequence_num":{self.number},"events":[{events}]}}'.encode()

    def renumbered(self, raw: bytes, at_ns: int) -> bytes:
        """A recorded message under this connection's next number."""
        self.number += 1
        self._told_ns = max(self._told_ns, at_ns)
        return _NUMBER.sub(rb"\g<1>%d" % self.number, raw, count=1)

    def welcome(self) -> None:
        """A subscription has come in time."""
        self._is_welcome = True

    def beat(self, now_ns: int, *, wanted: bool) -> None:
        """Begin or end the heartbeats."""
        if wanted != self.beating:
            self.beating = wanted
            self._beat_ns = now_ns + HEARTBEAT_NS if wanted else _NEVER_NS

    def tick(self, now_ns: int) -> None:
        """Heartbeats and ends that are due. Of market data's faults only a half-open connection concerns them."""
        self._beat_ns = max(self._beat_ns, now_ns - _CATCH_UP * HEARTBEAT_NS)
        while self._beat_ns <= now_ns:
            frames = self._beats(self, self._beat_ns)
            if not self._faults.stalled:
                self.outbox.extend(frames)
            self._beat_ns += HEARTBEAT_NS
        if now_ns >= self._late_ns():
            self.closing = self.closing or Closing(1008, "no subscription within 5 seconds")
        elif now_ns >= self._idle_ns():
            self.closing = self.closing or Closing(1000, "idle")

    def due_ns(self) -> int:
        """When `tick` has something to do next."""
        return min(self._beat_ns, self._late_ns(), self._idle_ns())

    def _late_ns(self) -> int:
        return _NEVER_NS if self._is_welcome else self.opened_ns + SUBSCRIBE_NS

    def _idle_ns(self) -> int:
        return self._told_ns + IDLE_NS if self.api == "advanced" and self._is_welcome else _NEVER_NS
