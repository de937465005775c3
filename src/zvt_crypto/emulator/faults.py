"""What may go wrong on purpose. A dialect asks here before it answers; scripts of faults plug in at the same four questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from zvt_crypto.domain.time import NS_PER_S

_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr><center>nginx</center></body></html>"


class Phrase(NamedTuple):
    """What an exchange says with an HTTP status of trouble."""

    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class HttpAnswer(NamedTuple):
    """An answer in place of the real one."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Ordered(NamedTuple):
    """An answer that somebody asked for; without a body, the exchange's own."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    prefix: str


class Faults:
    """The faults in force. Times are the carrier's `now_ns`; nothing here looks at a clock.

    `phrases` is set by the dialect: status → what its exchange says with it; an HTML page for every other status.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.phrases: Mapping[int, Phrase] = MappingProxyType({})
        self._drops: list[tuple[Callable[[bytes], bool], int | None]] = []
        self._answers: deque[_Ordered] = deque()
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

        Bodies default to what the exchange sends; to an HTML page where it sends one.
        """
        self._answers.extend([_Ordered(status, dict(headers or {}), body, path)] * times)

    # ── Asked by a dialect ────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, path: str) -> HttpAnswer | None:
        """The answer to give instead, if one is due for this path."""
        for index, one in enumerate(self._answers):
            if path.startswith(one.prefix):
                del self._answers[index]
                return self._said(one)
        return None

    def _said(self, one: _Ordered) -> HttpAnswer:
        phrase = self.phrases.get(one.status, Phrase(_PAGE % (one.status, one.status)))
        body = phrase.body if one.body is None else one.body
        kind = "application/json" if body.startswith(b"{") else "text/html"
        return HttpAnswer(one.status, {"Content-Type": kind, **phrase.headers, **one.headers}, body)

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
