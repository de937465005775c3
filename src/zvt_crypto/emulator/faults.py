"""What may go wrong on purpose. A dialect asks here before it answers; scripts of faults plug in at the same four questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from zvt_crypto.domain.time import NS_PER_S

_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr><center>nginx</center></body></html>"
_BODIES: dict[int, bytes] = {
    429: b'{"code":-1003,"msg":"Too many requests; please use the websocket for live updates."}',
    418: b'{"code":-1003,"msg":"Way too much request weight used; IP banned."}',
    451: b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\'."}',
    503: b'{"code":-1008,"msg":"Request throttled by system-level protection."}',
}


class HttpAnswer(NamedTuple):
    """An answer in place of the real one."""

    status: int
    headers: dict[str, str]
    body: bytes
    prefix: str


class Faults:
    """The faults in force. Times are the carrier's `now_ns`; nothing here looks at a clock."""

    def __init__(self) -> None:
        self.dropped = 0
        self._drops: list[tuple[Callable[[bytes], bool], int | None]] = []
        self._answers: deque[HttpAnswer] = deque()
        self._refused_for_s: float | None = None
        self._refused_until_ns = 0
        self._cut_asked = False
        self._stalled = False

    # ── Told by tests and scripts ─────────────────────────────────────────────────────────────────────────────────────

    def drop_frame(self, predicate: Callable[[bytes], bool], times: int | None = 1) -> None:
        """Lose the next `times` frames (None: every one) whose payload the predicate picks. Each session's copy is a frame of its own."""
        self._drops.append((predicate, times))

    def cut_all(self) -> None:
        """End every connection without a close frame."""
        self._cut_asked = True

    def refuse_connections(self, seconds: float) -> None:
        """Refuse new WebSocket connections for that long, from the next poll or attempt on."""
        self._refused_for_s = seconds

    def stall(self) -> None:
        """Half-open: connections stand, nothing comes through, what would have come is lost."""
        self._stalled = True

    def resume(self) -> None:
        """End a stall."""
        self._stalled = False

    def http(
        self, status: int, times: int = 1, *, headers: dict[str, str] | None = None, body: bytes | None = None, path: str = ""
    ) -> None:
        """Answer the next `times` requests and handshakes whose path begins with `path` like this.

        Bodies default to what Binance sends; to an HTML page where it sends one.
        """
        text = body if body is not None else _BODIES.get(status, _PAGE % (status, status))
        given = dict(headers or {})
        if status in (418, 429):
            given.setdefault("Retry-After", "1")
        given.setdefault("Content-Type", "application/json" if text.startswith(b"{") else "text/html")
        self._answers.extend([HttpAnswer(status, given, text, path)] * times)

    # ── Asked by a dialect ────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, path: str) -> HttpAnswer | None:
        """The answer to give instead, if one is due for this path."""
        for index, one in enumerate(self._answers):
            if path.startswith(one.prefix):
                del self._answers[index]
                return one
        return None

    def refuses(self, now_ns: int) -> bool:
        """Whether a new connection is refused now."""
        if self._refused_for_s is not None:
            self._refused_until_ns = now_ns + int(self._refused_for_s * NS_PER_S)
            self._refused_for_s = None
        return now_ns < self._refused_until_ns

    def takes_cut(self) -> bool:
        """Whether all connections end now; asked once for each cut."""
        asked, self._cut_asked = self._cut_asked, False
        return asked

    @property
    def stalled(self) -> bool:
        """Whether nothing comes through."""
        return self._stalled

    @property
    def idle(self) -> bool:
        """Whether `loses` can only say no."""
        return not self._drops and not self._stalled

    def loses(self, payload: bytes) -> bool:
        """Whether this frame is lost on its way."""
        if self._stalled:
            self.dropped += 1
            return True
        for index, (predicate, times) in enumerate(self._drops):
            if predicate(payload):
                self.dropped += 1
                if times is not None:
                    if times == 1:
                        del self._drops[index]
                    else:
                        self._drops[index] = (predicate, times - 1)
                return True
        return False
