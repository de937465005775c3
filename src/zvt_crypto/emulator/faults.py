"""What may go wrong on purpose. A dialect asks here before it answers; scripts of faults plug in at the same four questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import count
from types import MappingProxyType
from typing import Literal, NamedTuple

from zvt_crypto.domain.errors import BadInput
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


Bend = Literal["drop", "delay", "duplicate", "reorder", "corrupt", "truncate"]
Door = Literal["ws", "rest"]
What = Literal["ws", "rest", "all"]
DOORS: Mapping[What, tuple[Door, ...]] = {"ws": ("ws",), "rest": ("rest",), "all": ("ws", "rest")}
_Bar = Literal["refuse", "tls"]  # how a new connection fails


class _Rule(NamedTuple):
    """What happens to the next `times` frames (None: to every one) that are picked."""

    kind: Bend
    picks: Callable[[bytes], bool]
    times: int | None
    by_s: float


class Faults:
    """The faults in force. Times are the carrier's `now_ns`; nothing here looks at a clock.

    `phrases` is set by the dialect: status → what its exchange says with it; an HTML page for every other status. `on_failure` hears of
    a planned fault that could not be done when its time came.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.on_failure: Callable[[str], None] = lambda _: None
        self._failed: set[int] = set()
        self.phrases: Mapping[int, Phrase] = MappingProxyType({})
        self.bent: dict[str, int] = {}  # kind → frames that it happened to
        self.skew_ns = 0  # the exchange's clock against the machine's
        self._rules: list[_Rule] = []
        self._mute = False
        self._closing: tuple[int, str] | None = None
        self._late_klines, self._late_by_s = 0, 0.0
        self._agenda: list[tuple[int, int, Callable[[int], None], int | None]] = []
        self._numbers = count()
        self._answers: deque[_Ordered] = deque()
        self.needs_tls = ""  # the first entry of a script that only means something over TLS
        self._barring: list[tuple[_Bar, Door, float]] = []  # ordered, and not yet begun
        self._barred_until_ns: dict[tuple[_Bar, Door], int] = {}
        self._stalled = False

    # ── Told by tests and scripts ─────────────────────────────────────────────────────────────────────────────────────

    def drop_frame(self, predicate: Callable[[bytes], bool], times: int | None = 1) -> None:
        """Lose the next `times` frames (None: every one) whose payload the predicate picks. Each session's copy is a frame of its own."""
        self.bend_frame("drop", predicate, times)

    def bend_frame(self, kind: Bend, predicate: Callable[[bytes], bool], times: int | None = 1, *, by_s: float = 0.0) -> None:
        """As `drop_frame`, for everything that may happen to a frame. `by_s`: how late a delayed one is."""
        self._rules.append(_Rule(kind, predicate, times, by_s))

    def skew(self, seconds: float) -> None:
        """Set the exchange's clock before (or behind) the machine's. Set back while it runs, it stands still until it is right."""
        self.skew_ns = int(seconds * NS_PER_S)

    def late_klines(self, times: int, by_s: float) -> None:
        """The next closing klines come late by so many seconds."""
        self._late_klines, self._late_by_s = times, by_s

    def cut_all(self) -> None:
        """End every connection without a close frame."""
        self.close_all(1006, "cut")

    def close_all(self, code: int, reason: str) -> None:
        """End every connection with a close frame of that code."""
        self._closing = (code, reason)

    def refuse_connections(self, seconds: float, what: What = "ws") -> None:
        """Let nobody connect for that long, from the next poll or attempt on, as if nobody listened."""
        self._barring += [("refuse", door, seconds) for door in DOORS[what]]

    def fail_tls(self, seconds: float, what: What = "ws") -> None:
        """Let every new TLS handshake fail for that long, from the next poll or attempt on; sockets without TLS do not notice."""
        self._barring += [("tls", door, seconds) for door in DOORS[what]]

    def let_in(self) -> None:
        """End refusals and failing handshakes."""
        self._barring.clear()
        self._barred_until_ns.clear()

    def stall(self) -> None:
        """Half-open: connections stand, nothing comes through, what would have come is lost."""
        self._stalled = True

    def resume(self) -> None:
        """End a stall or a silence."""
        self._stalled = self._mute = False

    def mute(self) -> None:
        """Heartbeats only: connections live, pings and answers come, market data does not."""
        self._mute = True

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
        headers = {"Content-Type": kind, **phrase.headers, **one.headers}
        return HttpAnswer(one.status, {name: value for name, value in headers.items() if value}, body)

    def refuses(self, now_ns: int, door: Door = "ws") -> bool:
        """Whether a new connection is refused now."""
        return self._bars(("refuse", door), now_ns)

    def fails_tls(self, now_ns: int, door: Door = "ws") -> bool:
        """Whether a new TLS handshake fails now."""
        return self._bars(("tls", door), now_ns)

    def _bars(self, what: tuple[_Bar, Door], now_ns: int) -> bool:
        for bar, door, seconds in self._barring:
            until_ns = max(self._barred_until_ns.get((bar, door), 0), now_ns + int(seconds * NS_PER_S))
            self._barred_until_ns[bar, door] = until_ns
            self.plan(until_ns, lambda _: None)  # carriers look again then
        self._barring.clear()
        return now_ns < self._barred_until_ns.get(what, 0)

    def takes_closing(self) -> tuple[int, str] | None:
        """(code, reason) where all connections end now; asked once for each order."""
        asked, self._closing = self._closing, None
        return asked

    @property
    def stalled(self) -> bool:
        """Whether nothing comes through."""
        return self._stalled

    @property
    def idle(self) -> bool:
        """Whether `pass_on` can only pass a frame on as it is."""
        return not self._rules and not self._stalled and not self._mute

    def loses(self, payload: bytes) -> bool:
        """Whether this frame is lost on its way; for frames that cannot be bent otherwise."""
        return not self.pass_on(payload)

    def pass_on(self, payload: bytes) -> list[tuple[bytes, float]]:
        """What arrives of a market frame, each with the seconds that it is late: nothing, itself, or something else. A frame that comes
        after the next one is late by -1."""
        if self._stalled or self._mute:
            self.dropped += 1
            return []
        for index, rule in enumerate(self._rules):
            if rule.picks(payload):
                if rule.times == 1:
                    del self._rules[index]
                elif rule.times is not None:
                    self._rules[index] = rule._replace(times=rule.times - 1)
                self.dropped += rule.kind == "drop"
                self.bent[rule.kind] = self.bent.get(rule.kind, 0) + 1
                return _bent(payload, rule)
        return [(payload, 0.0)]

    def takes_late_kline(self) -> float:
        """By how many seconds the next closing kline is late; 0 for in time."""
        if self._late_klines <= 0:
            return 0.0
        self._late_klines -= 1
        return self._late_by_s

    # ── The agenda: what a script has planned ─────────────────────────────────────────────────────────────────────────

    def plan(self, at_ns: int, action: Callable[[int], None], every_ns: int | None = None) -> None:
        """Call `action(now_ns)` at a time of the emulator's clock, and then every so often."""
        heappush(self._agenda, (at_ns, next(self._numbers), action, every_ns))

    def run_due(self, now_ns: int) -> None:
        """Do what is due. What cannot be done is told and left out: a fault of the script is none of the exchange's own."""
        while self._agenda and self._agenda[0][0] <= now_ns:
            at_ns, number, action, every_ns = heappop(self._agenda)
            try:
                action(now_ns)
            except BadInput as error:
                self._tell_once(number, str(error))
            if every_ns is not None:
                heappush(self._agenda, (max(at_ns + every_ns, now_ns + 1), number, action, every_ns))

    def _tell_once(self, number: int, why: str) -> None:
        """One that repeats fails a thousand times a second, if its script says so."""
        if number not in self._failed:
            self._failed.add(number)
            self.on_failure(why)

    def due_ns(self) -> int | None:
        """When something is due next."""
        return self._agenda[0][0] if self._agenda else None


def _bent(payload: bytes, rule: _Rule) -> list[tuple[bytes, float]]:
    half = len(payload) // 2
    match rule.kind:
        case "drop":
            return []
        case "delay":
            return [(payload, rule.by_s)]
        case "duplicate":
            return [(payload, 0.0), (payload, 0.0)]
        case "reorder":
            return [(payload, -1.0)]
        case "corrupt":  # a control character in the middle: no longer JSON
            return [(payload[:half] + b"\x00#" + payload[half + 2 :], 0.0)]
        case "truncate":
            return [(payload[:half], 0.0)]
