"""Binance as one object without I/O: requests in, answers out; sessions in, frames out; time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.binance import wire
from zvt_crypto.emulator.binance.limits import LIMIT, PHRASES, WeightMeter
from zvt_crypto.emulator.binance.rest import ENDPOINTS, Fault, Query, route
from zvt_crypto.emulator.binance.sessions import MOST_STREAMS, Control, Opening, Session, is_sent, opening_of, read_control, result
from zvt_crypto.emulator.dialect import Answer, Closing, Lobby, OpenRefused
from zvt_crypto.emulator.faults import Faults
from zvt_crypto.emulator.frames import data_of
from zvt_crypto.emulator.model import Emission, Listing, Market, Recorded, World

_JSON = {"Content-Type": "application/json;charset=UTF-8"}
_NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center></body></html>"


class BinanceDialect:
    """Spot and USD-M, REST and WebSocket, over a world. Carriers call `poll`, then send what stands in the sessions' outboxes.

    `weights`: request weight a minute that each market allows, in place of the real 6000 and 2400.
    """

    exchange: ClassVar[str] = "binance"
    markets: ClassVar[tuple[Market, ...]] = ("spot", "usdm")
    never: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"restart_books": "binance never restarts the ids of its books: there is no such fault to play"}
    )

    def __init__(self, world: World, faults: Faults | None = None, *, weights: Mapping[Market, int] | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self.faults.phrases = PHRASES
        self.meters: dict[Market, WeightMeter] = {market: WeightMeter(limit) for market, limit in (LIMIT | dict(weights or {})).items()}
        self.requests = 0
        self._lobby = Lobby(world, self.faults)

    @property
    def sessions(self) -> dict[int, Session]:
        """Open connections by id."""
        return self._lobby.sessions

    # ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def handle_http(self, method: str, path: str, query: str, headers: Mapping[str, str], now_ns: int, body: bytes = b"") -> Answer:
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
            "streams": self._lobby.streams,
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
        session = Session(self._lobby.next_id(), opening, now_ns)
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
        self._lobby.leave(session)

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
            if stream in session.streams:
                continue
            session.streams[stream] = None
            # An unknown name is accepted in silence, and so is one that this route does not carry.
            canonical = self._canonical(session, stream) if session.carries(stream) else None
            if canonical is not None:
                self._lobby.listen(session, session.market, canonical, stream, now_ns)

    def _unsubscribe(self, session: Session, streams: list[str]) -> None:
        for stream in streams:
            session.streams.pop(stream, None)
            canonical = self._canonical(session, stream)
            if canonical is not None:
                self._lobby.unlisten(session, session.market, canonical, stream)

    def _canonical(self, session: Session, stream: str) -> str | None:
        """The world's name of a stream; None for what Binance does not have, or keeps silent about."""
        if self.world.mode == "market" and not is_sent(session.market, stream):
            return None
        return self.world.canonical(session.market, stream)

    # ── Asked by tests and scripts ────────────────────────────────────────────────────────────────────────────────────

    def scale_limits(self, factor: float) -> None:
        """The weights a minute, from now on; exchangeInfo states them."""
        for meter in self.meters.values():
            meter.limit = max(1, int(meter.limit * factor))

    def called(self, listing: Listing) -> str:
        """Dialect.called."""
        return listing.symbol

    def restart_books(self) -> None:
        """Binance's update ids never begin anew."""
        raise BadInput(self.never["restart_books"])

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, now_ns: int) -> int:
        """Let the world move on to `now_ns`: frames go to outboxes, pings and ends become due. Returns how many events came."""
        return self._lobby.poll(now_ns, self._frames)

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, if nobody calls before."""
        return self._lobby.next_due_ns(now_ns)

    def _frames(self, emission: Emission) -> Callable[[Session, str], Iterable[bytes]]:
        fact = emission.fact
        if isinstance(fact, Recorded):
            raw, enveloped = fact.raw, fact.enveloped
        else:
            listing = self.world.listings(emission.market)[emission.symbol]
            raw, enveloped = wire.event(listing, emission.stream, fact), None

        def frames(session: Session, stream: str) -> Iterable[bytes]:
            if not session.combined:
                return (raw or data_of(enveloped or b""),)
            return (enveloped if enveloped is not None else b'{"stream":"%s","data":%s}' % (stream.encode(), raw),)

        return frames
