"""What carriers and dialects say to each other: the contract of a dialect, a session's common part, and the lobby of its listeners.

A dialect is one exchange as an object without I/O: requests in, answers out; sessions in, frames out; time is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar, NamedTuple, Protocol

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.faults import Faults
from zvt_crypto.emulator.model import BarEvent, Emission, Listing, Market, World

Answer = tuple[int, dict[str, str], bytes]
END_OF_RUN = "!end"  # the stream on which a replay that repeats says that one run is over
# Frames a reader may be behind: beyond it a market cuts the connection, and a replay as fast as it is read waits.
MOST_WAITING = 20_000
_ROOM = 512  # frames that a replay as fast as it is read keeps ready for the slowest reader


class OpenRefused(Exception):
    """The handshake is answered with this status instead of 101; status 0: the connection is refused outright."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(f"handshake refused with HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Closing(NamedTuple):
    """How a connection ends; 1006: without a close frame."""

    code: int
    reason: str


class Session(Protocol):
    """One connection. `outbox` holds text frames to send, `pings` ping payloads, `closing` the end once it is due; `unread` counts
    frames that a carrier has taken from the outbox and the client has not read."""

    id: int
    outbox: deque[bytes]
    unread: int
    pings: list[bytes]
    closing: Closing | None

    def tick(self, now_ns: int) -> None:
        """Pings, pushes and ends that are due."""
        ...

    def due_ns(self) -> int:
        """When `tick` has something to do next."""
        ...


class Dialect(Protocol):
    """One exchange's protocol. Carriers call `poll`, then send what stands in the sessions' outboxes.

    `exchange` is its name, `markets` what it lists, and `never` the kinds of faults that it never has, with the reason.
    """

    exchange: ClassVar[str]
    markets: ClassVar[tuple[Market, ...]]
    never: ClassVar[Mapping[str, str]]
    world: World
    faults: Faults

    @property
    def sessions(self) -> Mapping[int, Any]:
        """By id."""
        ...

    def handle_http(self, method: str, path: str, query: str, headers: Mapping[str, str], now_ns: int, body: bytes = b"") -> Answer:
        """One request: (status, headers, body)."""
        ...

    def admit(self, path: str, query: str, now_ns: int, host: str = "") -> Any:
        """Judge a handshake; what it asks for. Raises OpenRefused."""
        ...

    def begin(self, opening: Any, now_ns: int) -> Any:
        """The session of a handshake that was admitted."""
        ...

    def on_text(self, session: Any, payload: bytes, now_ns: int) -> list[bytes]:
        """A text frame of the client; returns the frames to answer (they are not in the outbox)."""
        ...

    def on_control(self, session: Any, now_ns: int, *, is_pong: bool) -> None:
        """A ping or pong frame of the client."""
        ...

    def on_close(self, session: Any) -> None:
        """The connection has ended."""
        ...

    def scale_limits(self, factor: float) -> None:
        """Multiply every limit of requests by a factor, from now on."""
        ...

    def called(self, listing: Listing) -> str:
        """The exchange's own name of an instrument."""
        ...

    def restart_books(self) -> None:
        """Begin the sequence numbers of books anew, as the exchange does after maintenance. Raises BadInput where it never does."""
        ...

    def poll(self, now_ns: int) -> int:
        """Let the world move on to `now_ns`. Returns how many events came."""
        ...

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, if nobody calls before."""
        ...


class Lobby:
    """A dialect's sessions, and who of them listens to what. A listener is a session and a `tag`: the dialect's own name for it."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.world, self.faults = world, faults
        self.sessions: dict[int, Any] = {}
        self._listening: dict[tuple[Market, str], dict[tuple[int, str], None]] = {}
        self._next_id = 1
        self._now_ns = 0
        self._numbers = count()
        self._late: list[tuple[int, int, int, bytes]] = []  # (due, number, session, frame)
        self._late_bars: list[tuple[int, int, Emission]] = []
        self._behind: dict[int, list[bytes]] = {}  # session → frames that come after its next one

    @property
    def streams(self) -> int:
        """How many of the world's streams somebody listens to."""
        return len(self._listening)

    def next_id(self) -> int:
        """The number of the next session."""
        self._next_id += 1
        return self._next_id - 1

    def listen(self, session: Session, market: Market, stream: str, tag: str, now_ns: int) -> None:
        """Hear the world's canonical `stream` from now on; once more is the same as once."""
        key = (market, stream)
        if key not in self._listening:
            self._listening[key] = {}
            self.world.watch(market, stream, now_ns)
        self._listening[key][session.id, tag] = None

    def unlisten(self, session: Session, market: Market, stream: str, tag: str) -> None:
        """Hear it no more."""
        key = (market, stream)
        listening = self._listening.get(key, {})
        listening.pop((session.id, tag), None)
        if key in self._listening and not listening:
            del self._listening[key]
            self.world.unwatch(market, stream)

    def leave(self, session: Session) -> None:
        """The connection has ended: nothing of it is heard any more."""
        self.sessions.pop(session.id, None)
        self._behind.pop(session.id, None)
        for (market, stream), listening in list(self._listening.items()):
            for one, tag in [key for key in listening if key[0] == session.id]:
                assert one == session.id, "only its own"
                self.unlisten(session, market, stream, tag)

    def poll(self, now_ns: int, frames_of: Callable[[Emission], Callable[[Any, str], Iterable[bytes]]]) -> int:
        """Let the world move on: `frames_of(emission)` gives, for a session and tag, the frames it hears. Returns how many events came."""
        self.faults.run_due(now_ns)
        closing = self.faults.takes_closing()
        if closing is not None:
            self.close_all(Closing(*closing))
        self._release(now_ns)
        waiting = max((len(session.outbox) + session.unread for session in self.sessions.values()), default=0)
        emissions = self.world.poll(now_ns, max(0, _ROOM - waiting))
        for emission in self._in_time(emissions, now_ns):
            if emission.stream == END_OF_RUN:
                self.close_all(Closing(1001, "the recording begins anew"))
                continue
            listening = self._listening.get((emission.market, emission.stream))
            if listening:
                frames = frames_of(emission)
                for session_id, tag in listening:
                    self.send(self.sessions[session_id], frames(self.sessions[session_id], tag))
        for session in self.sessions.values():
            session.tick(now_ns)
            if len(session.outbox) + session.unread > MOST_WAITING:
                session.closing = session.closing or Closing(1008, "Too slow")
        return len(emissions)

    def send(self, session: Session, frames: Iterable[bytes]) -> None:
        """Put market frames into the outbox, as far as faults let them through."""
        if self.faults.idle and not self._behind:
            session.outbox.extend(frames)
            return
        for frame in frames:
            for arriving, late_s in self.faults.pass_on(frame):
                self._put(session, arriving, late_s)

    def _put(self, session: Session, frame: bytes, late_s: float) -> None:
        if late_s < 0:
            self._behind.setdefault(session.id, []).append(frame)
        elif late_s > 0:
            heappush(self._late, (self._now_ns + int(late_s * NS_PER_S), next(self._numbers), session.id, frame))
        else:
            session.outbox.append(frame)
            session.outbox.extend(self._behind.pop(session.id, ()))

    def _release(self, now_ns: int) -> None:
        """Frames whose delay is over."""
        self._now_ns = now_ns
        while self._late and self._late[0][0] <= now_ns:
            _, _, session_id, frame = heappop(self._late)
            if session_id in self.sessions:
                self.sessions[session_id].outbox.append(frame)

    def _in_time(self, emissions: list[Emission], now_ns: int) -> list[Emission]:
        """The emissions without closing klines that are made late, and with those whose time has come."""
        kept = []
        while self._late_bars and self._late_bars[0][0] <= now_ns:
            kept.append(heappop(self._late_bars)[2])
        for emission in emissions:
            late_s = self.faults.takes_late_kline() if isinstance(emission.fact, BarEvent) and emission.fact.is_final else 0.0
            if late_s:
                heappush(self._late_bars, (now_ns + int(late_s * NS_PER_S), next(self._numbers), emission))
            else:
                kept.append(emission)
        return kept

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next."""
        times = [session.due_ns() for session in self.sessions.values()]
        times += [due for due in (self.world.next_ns(now_ns), self.faults.due_ns()) if due is not None]
        times += [held[0][0] for held in (self._late, self._late_bars) if held]
        return min(times, default=None)

    def close_all(self, closing: Closing) -> None:
        """End every connection."""
        for session in self.sessions.values():
            session.closing = session.closing or closing
