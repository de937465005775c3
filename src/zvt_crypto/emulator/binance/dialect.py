"""Binance as one object without I/O: requests in, answers out; sessions in, frames out; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zvt_crypto.emulator.binance import wire
from zvt_crypto.emulator.binance.limits import LIMIT, WeightMeter
from zvt_crypto.emulator.binance.rest import ENDPOINTS, Fault, Query, route
from zvt_crypto.emulator.binance.sessions import MOST_STREAMS, Closing, Control, Opening, Session, opening_of, read_control, result
from zvt_crypto.emulator.capture import data_of
from zvt_crypto.emulator.faults import Faults
from zvt_crypto.emulator.model import Emission, Market, Recorded, World

Answer = tuple[int, dict[str, str], bytes]
_JSON = {"Content-Type": "application/json;charset=UTF-8"}
END_OF_RUN = "!end"  # the stream on which a replay that repeats says that one run is over
_NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center></body></html>"
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


class BinanceDialect:
    """Spot and USD-M, REST and WebSocket, over a world. Carriers call `poll`, then send what stands in the sessions' outboxes.

    `weights`: request weight a minute that each market allows, in place of the real 6000 and 2400.
    """

    def __init__(self, world: World, faults: Faults | None = None, *, weights: Mapping[Market, int] | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self.meters: dict[Market, WeightMeter] = {market: WeightMeter(limit) for market, limit in (LIMIT | dict(weights or {})).items()}
        self.sessions: dict[int, Session] = {}
        self.requests = 0
        self._subscribers: dict[tuple[Market, str], dict[int, str]] = {}
        self._next_session = 1

    # ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle_http(self, method: str, path: str, query: str, headers: Mapping[str, str], now_ns: int) -> Answer:
        """One request: (status, headers, body)."""
        if path == "/emulator/status":
            return 200, dict(_JSON), msgspec.json.encode(self.status(now_ns))
        self.requests += 1
        self.poll(now_ns)
        fault = self.faults.answer(path)
        if fault is not None:
            return fault.status, dict(fault.headers), fault.body
        found = route(path)
        if found is None or found[1] not in ENDPOINTS[found[0]]:
            return 404, {"Content-Type": "text/html"}, _NOT_FOUND
        if method != "GET":
            return 405, dict(_JSON), b'{"code":-1000,"msg":"Request method not supported."}'
        return self._serve(found[0], found[1], query, now_ns)

    def _serve(self, market: Market, name: str, query: str, now_ns: int) -> Answer:
        asked = Query(self.world, market, query, now_ns, self.meters[market].limit)
        endpoint = ENDPOINTS[market][name]
        meter = self.meters[market]
        refusal = meter.spend(endpoint.weight(asked), now_ns)
        used = {**_JSON, "X-MBX-USED-WEIGHT": str(meter.used), "X-MBX-USED-WEIGHT-1M": str(meter.used)}
        if refusal is not None:
            return refusal[0], used | refusal[1], refusal[2]
        try:
            return 200, used, endpoint.answer(asked).encode()
        except Fault as fault:
            return fault.status, used, fault.body

    def status(self, now_ns: int) -> dict[str, object]:
        """What `GET /emulator/status` says."""
        self.poll(now_ns)
        return {
            **self.world.status(),
            "now_ns": self.world.server_ns(now_ns),
            "sessions": len(self.sessions),
            "streams": len(self._subscribers),
            "requests": self.requests,
            "dropped": self.faults.dropped,
        }

    # ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str, query: str, now_ns: int, host: str = "") -> Session:
        """A handshake and its session. Raises OpenRefused."""
        return self.begin(self.admit(path, query, now_ns, host), now_ns)

    def admit(self, path: str, query: str, now_ns: int, host: str = "") -> Opening:
        """Judge a handshake. Raises OpenRefused."""
        if self.faults.refuses(now_ns):
            raise OpenRefused(0, {}, b"")
        fault = self.faults.answer(path)
        if fault is not None:
            raise OpenRefused(fault.status, fault.headers, fault.body)
        opening = opening_of(path, query, host)
        if opening is None:
            raise OpenRefused(404, {"Content-Type": "text/html"}, _NOT_FOUND)
        return opening

    def begin(self, opening: Opening, now_ns: int) -> Session:
        """The session of a handshake that was admitted."""
        self.poll(now_ns)
        session = Session(self._next_session, opening, now_ns)
        self._next_session += 1
        self.sessions[session.id] = session
        self._subscribe(session, opening.streams, now_ns)
        return session

    def on_text(self, session: Session, payload: bytes, now_ns: int) -> list[bytes]:
        """A text frame of the client; returns the frames to answer (they are not in the outbox)."""
        self.poll(now_ns)
        if not session.arrived(now_ns):
            return []
        control = read_control(payload)
        return [control] if isinstance(control, bytes) else [self._obey(session, control, now_ns)]

    def on_control(self, session: Session, now_ns: int, *, is_pong: bool) -> None:
        """A ping or pong of the client: both count as messages."""
        if is_pong:
            session.ponged()
        session.arrived(now_ns)

    def on_close(self, session: Session) -> None:
        """The connection has ended."""
        self.sessions.pop(session.id, None)
        self._unsubscribe(session, list(session.streams))

    def _obey(self, session: Session, control: Control, now_ns: int) -> bytes:
        value: object = None
        if control.method == "SUBSCRIBE":
            if len(session.streams) + len(control.params) > MOST_STREAMS:
                session.closing = session.closing or Closing(1008, "Too many streams")
            else:
                self._subscribe(session, tuple(control.params), now_ns)
        elif control.method == "UNSUBSCRIBE":
            self._unsubscribe(session, control.params)
        elif control.method == "LIST_SUBSCRIPTIONS":
            value = list(session.streams)
        elif control.method == "SET_PROPERTY":
            session.combined = bool(control.value)
        else:
            value = session.combined
        return result(value, control.id)

    def _subscribe(self, session: Session, streams: tuple[str, ...], now_ns: int) -> None:
        for stream in streams[:MOST_STREAMS]:
            session.streams[stream] = None
            # An unknown name is accepted in silence, and so is one that this route does not carry.
            canonical = self.world.canonical(session.market, stream) if session.carries(stream) else None
            if canonical is None:
                continue
            key = (session.market, canonical)
            if key not in self._subscribers:
                self._subscribers[key] = {}
                self.world.watch(session.market, canonical, now_ns)
            self._subscribers[key].setdefault(session.id, stream)

    def _unsubscribe(self, session: Session, streams: list[str]) -> None:
        for stream in streams:
            session.streams.pop(stream, None)
            canonical = self.world.canonical(session.market, stream)
            if canonical is None:
                continue
            key = (session.market, canonical)
            listening = self._subscribers.get(key, {})
            listening.pop(session.id, None)
            if key in self._subscribers and not listening:
                del self._subscribers[key]
                self.world.unwatch(session.market, canonical)

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, now_ns: int) -> int:
        """Let the world move on to `now_ns`: frames go to outboxes, pings and ends become due. Returns how many events came."""
        if self.faults.takes_cut():
            self._close_all(Closing(1006, "cut"))
        waiting = max((len(session.outbox) + session.unread for session in self.sessions.values()), default=0)
        emissions = self.world.poll(now_ns, max(0, _ROOM - waiting))
        for emission in emissions:
            if emission.stream == END_OF_RUN:
                self._close_all(Closing(1001, "the recording begins anew"))
            else:
                self._fan_out(emission)
        for session in self.sessions.values():
            session.tick(now_ns)
            if len(session.outbox) + session.unread > MOST_WAITING:
                session.closing = session.closing or Closing(1008, "Too slow")
        return len(emissions)

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, if nobody calls before."""
        times = [session.due_ns() for session in self.sessions.values()]
        due = self.world.next_ns(now_ns)
        if due is not None:
            times.append(due)
        return min(times, default=None)

    def _close_all(self, closing: Closing) -> None:
        for session in self.sessions.values():
            session.closing = session.closing or closing

    def _fan_out(self, emission: Emission) -> None:
        listening = self._subscribers.get((emission.market, emission.stream))
        if not listening:
            return
        fact = emission.fact
        if isinstance(fact, Recorded):
            raw, enveloped = fact.raw, fact.enveloped
            if not raw and any(not self.sessions[one].combined for one in listening):
                raw = data_of(fact.enveloped or b"")
        else:
            listing = self.world.listings(emission.market)[emission.symbol]
            raw, enveloped = wire.event(listing, emission.stream, fact), None
        faults = None if self.faults.idle else self.faults
        for session_id, stream in listening.items():
            session = self.sessions[session_id]
            if session.combined:
                frame = enveloped if enveloped is not None else b'{"stream":"%s","data":%s}' % (stream.encode(), raw)
            else:
                frame = raw
            if faults is None or not faults.loses(frame):
                session.outbox.append(frame)
