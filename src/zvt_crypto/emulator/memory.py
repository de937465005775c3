"""The emulator carried in memory: a Transport (structurally that of the ports) without sockets, on whatever clock it is given."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from zvt_crypto.domain.errors import Banned, Disconnected, GeoBlocked, Refused, Throttled, Unreachable
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.emulator.dialect import Dialect, OpenRefused, Session
from zvt_crypto.emulator.faults import Door


class Clock(Protocol):
    """Wall time and waiting."""

    def now_ns(self) -> int: ...

    def sleep(self, seconds: float) -> Awaitable[None]: ...


class MemoryResponse(msgspec.Struct, frozen=True):
    """An HTTP answer. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class MemorySocket:
    """The client's end of a session."""

    def __init__(self, line: _Line, session: Session, latency_ns: int) -> None:
        self._line = line
        self._session = session
        self._latency_ns = latency_ns
        self._arriving: deque[tuple[bytes, int]] = deque()
        self._bell = asyncio.Event()
        self._closed = False

    async def receive(self) -> list[tuple[bytes, int]]:
        """All frames that have arrived, at least one: (payload, recv_ns). Raises Disconnected."""
        while True:
            self._line.pump()
            now_ns = self._line.clock.now_ns()
            frames: list[tuple[bytes, int]] = []
            while self._arriving and self._arriving[0][1] <= now_ns:
                frames.append(self._arriving.popleft())
            if frames:
                self._session.unread = len(self._arriving)
                self._line.pump()  # there is room again: a replay as fast as it is read goes on
                return frames
            if self._closed:
                raise Disconnected("the emulated connection has ended")
            self._bell.clear()
            if self._arriving:
                await self._line.clock.sleep((self._arriving[0][1] - now_ns) / NS_PER_S)
            else:
                await self._bell.wait()

    async def send(self, payload: bytes) -> None:
        """A text frame. Raises Disconnected."""
        if self._latency_ns:
            await self._line.clock.sleep(self._latency_ns / NS_PER_S)
        if self._closed or self._session.closing:
            raise Disconnected("the emulated connection has ended")
        answers = self._line.dialect.on_text(self._session, payload, self._line.now_ns())
        if not self._line.dialect.faults.stalled:
            self._session.outbox.extend(answers)
        self._line.changed()

    async def close(self) -> None:
        """End the connection; safe to call twice."""
        if not self._closed:
            self._line.dialect.on_close(self._session)
        self.end()

    def end(self) -> None:
        """The connection is over; frames that arrived stay readable."""
        self._closed = True
        self._line.sockets.pop(self._session.id, None)
        self._bell.set()

    def take(self, now_ns: int) -> None:
        """Move what the dialect has for this session onto the wire."""
        session = self._session
        if session.pings and not self._line.dialect.faults.stalled:
            self._line.dialect.on_control(session, self._line.now_ns(), is_pong=True)
        session.pings.clear()
        if session.outbox:
            arrives_ns = now_ns + self._latency_ns
            self._arriving.extend((frame, arrives_ns) for frame in session.outbox)
            session.outbox.clear()
            session.unread = len(self._arriving)
            self._bell.set()
        if session.closing is not None:
            self._line.dialect.on_close(session)
            self.end()


class _Line:
    """One dialect, its sockets, and the task that wakes when something is due."""

    def __init__(self, dialect: Dialect, clock: Clock) -> None:
        self.dialect = dialect
        self.clock = clock
        self.sockets: dict[int, MemorySocket] = {}
        self._task: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()

    def now_ns(self) -> int:
        """The exchange's clock: ours, and a skew where a fault set one."""
        return self.clock.now_ns() + self.dialect.faults.skew_ns

    def pump(self) -> None:
        """Poll the dialect and move frames."""
        now_ns = self.clock.now_ns()
        self.dialect.poll(self.now_ns())
        for socket in list(self.sockets.values()):
            socket.take(now_ns)

    def changed(self) -> None:
        """A subscription or a fault may have made something due earlier."""
        self.pump()
        self._bell.set()
        if self._task is None and self.sockets:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self.sockets:
            self.pump()
            self._bell.clear()
            now_ns = self.now_ns()
            due_ns = self.dialect.next_due_ns(now_ns)
            wait_s = 3600.0 if due_ns is None else max((due_ns - now_ns) / NS_PER_S, 1e-9)
            await _either(self._bell, wait_s)
        self._task = None

    async def stop(self) -> None:
        for socket in list(self.sockets.values()):
            await socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


async def _either(bell: asyncio.Event, seconds: float) -> None:
    """Until the bell rings or the time is over."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, bell.set)
    try:
        await bell.wait()
    finally:
        timer.cancel()


class MemoryTransport:
    """ports.Transport over dialects by host name; `"*"` answers for every other host. Unknown hosts are Unreachable.

    `latency_ms` passes each way, on every frame and request.
    """

    def __init__(self, dialects: Dialect | Mapping[str, Dialect], clock: Clock, *, latency_ms: float = 0.0) -> None:
        self._clock = clock
        self._latency_ns = int(latency_ms * NS_PER_MS)
        table = {"*": dialects} if not isinstance(dialects, Mapping) else dict(dialects)
        self._lines = {host: _Line(dialect, clock) for host, dialect in table.items()}

    def _line(self, host: str) -> _Line:
        line = self._lines.get(host) or self._lines.get("*")
        if line is None:
            raise Unreachable(f"no route to {host}")
        return line

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, timeout_ms: int = 10_000
    ) -> Any:
        """One HTTP exchange: a MemoryResponse, which has the shape of ports.Response. Raises Unreachable."""
        parts = urlsplit(url)
        line = self._line(parts.hostname or "")
        await self._travel(timeout_ms, url)
        _knock(line, "rest", url)
        status, answered, content = line.dialect.handle_http(method, parts.path, parts.query, headers or {}, line.now_ns(), body or b"")
        await self._travel(timeout_ms, url)
        return MemoryResponse(status, {name.lower(): value for name, value in answered.items()}, content)

    async def connect(self, url: str, *, timeout_ms: int = 10_000) -> MemorySocket:
        """Open a WebSocket. Raises Unreachable, or the refusal as Throttled, GeoBlocked or Refused."""
        parts = urlsplit(url)
        line = self._line(parts.hostname or "")
        await self._travel(timeout_ms, url)
        _knock(line, "ws", url)
        try:
            session = line.dialect.begin(line.dialect.admit(parts.path, parts.query, line.now_ns(), parts.hostname or ""), line.now_ns())
        except OpenRefused as refusal:
            raise _refused(refusal, url) from None
        socket = line.sockets[session.id] = MemorySocket(line, session, self._latency_ns)
        line.changed()
        return socket

    async def close(self) -> None:
        """End every connection."""
        for line in self._lines.values():
            await line.stop()

    def cut(self) -> None:
        """Make faults that were just ordered take effect now (a cut, a stall): as if the pump had come by."""
        for line in self._lines.values():
            line.changed()

    async def _travel(self, timeout_ms: int, url: str) -> None:
        if self._latency_ns > timeout_ms * NS_PER_MS:
            await self._clock.sleep(timeout_ms / 1000)
            raise Unreachable(f"{url} gave no answer within {timeout_ms} ms")
        if self._latency_ns:
            await self._clock.sleep(self._latency_ns / NS_PER_S)


def _knock(line: _Line, door: Door, url: str) -> None:
    """Connect, where a fault lets it. Raises Unreachable."""
    faults, now_ns = line.dialect.faults, line.now_ns()
    faults.run_due(now_ns)
    if faults.refuses(now_ns, door):
        raise Unreachable(f"{url} refused the connection")
    if faults.fails_tls(now_ns, door):
        raise Unreachable(f"{url}: TLS failed: handshake failure")


def _refused(refusal: OpenRefused, url: str) -> Exception:
    if refusal.status == 0 or refusal.status >= 500:
        return Unreachable(f"{url} refused the connection")
    if refusal.status in (418, 429):
        wait_ms = int(refusal.headers.get("Retry-After", "1")) * 1000
        fate = Banned if refusal.status == 418 else Throttled
        return fate(f"{url} answered HTTP {refusal.status}", wait_ms)
    if refusal.status == 451 or (refusal.status == 403 and b"country" in refusal.body):
        return GeoBlocked(f"{url} answered HTTP {refusal.status}")
    if refusal.status == 403:  # too often, says a firewall, or the exchange itself
        return Throttled(f"{url} answered HTTP 403", 60_000)
    return Refused(f"{url} answered HTTP {refusal.status}")
