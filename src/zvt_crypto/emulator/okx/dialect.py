"""OKX as one object without I/O: requests in, answers out; sessions in, frames out; time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.dialect import Answer, Lobby, OpenRefused
from zvt_crypto.emulator.faults import Faults
from zvt_crypto.emulator.model import BookImage, Emission, Listing, Market, Recorded, World
from zvt_crypto.emulator.okx import wire
from zvt_crypto.emulator.okx.channels import LOGIN_ONLY, Topic, arg_text, first_rows, retold, rows_of, topic_of
from zvt_crypto.emulator.okx.limits import PHRASES, TOO_MANY, Meter, Window
from zvt_crypto.emulator.okx.names import instrument_of, instruments
from zvt_crypto.emulator.okx.rest import ENDPOINTS, PREFIX, PRIVATE, RATES, Fault, Query
from zvt_crypto.emulator.okx.sessions import CONNECTS_PER_S, PATHS, REQUESTS_PER_HOUR, Illegal, Path, Session, read_request
from zvt_crypto.emulator.okx.shelf import Shelf

_JSON = {"Content-Type": "application/json"}
_WRONG = "Please use the correct URL, channel and parameters referring to API document."


class OkxDialect:
    """Spot and linear perpetuals, REST and WebSocket, over a world. Carriers call `poll`, then send what stands in the outboxes.

    `rates` (endpoint → requests within two seconds), `connects_per_s` and `requests_per_hour` may be changed at any time.
    """

    exchange: ClassVar[str] = "okx"
    markets: ClassVar[tuple[Market, ...]] = ("spot", "usdm", "coinm")
    never: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, world: World, faults: Faults | None = None, *, rates: Mapping[str, int] | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self.faults.phrases = PHRASES
        self.rates = RATES | dict(rates or {})
        self.connects_per_s = CONNECTS_PER_S
        self.requests_per_hour = REQUESTS_PER_HOUR
        self.requests = 0
        self._meter = Meter(self.rates)
        self._connects = Window(NS_PER_S)
        self._lobby = Lobby(world, self.faults)
        self._topics: dict[str, Topic] = {}
        self._shelf = Shelf(world)

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
        name = path.removeprefix(PREFIX)
        if path.startswith(PREFIX) and name.startswith(PRIVATE):
            return 401, dict(_JSON), b'{"msg":"Request header OK-ACCESS-KEY can not be empty.","code":"50103"}'
        if not path.startswith(PREFIX) or name not in ENDPOINTS:
            return 404, dict(_JSON), b'{"msg":"Invalid request path","code":"404"}'
        if method != "GET":
            return 405, dict(_JSON), wire.refusal(50115, "Invalid request method")
        return self._serve(name, Query(self.world, query, now_ns))

    def _serve(self, name: str, asked: Query) -> Answer:
        endpoint = ENDPOINTS[name]
        if not self._meter.spend(name, asked.values.get("instType", "") if endpoint.by_kind else "", asked.now_ns):
            return 429, dict(_JSON), TOO_MANY
        try:
            return 200, dict(_JSON), wire.answer(endpoint.answer(asked))
        except Fault as fault:
            return fault.status, dict(_JSON), fault.body

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

    def admit(self, path: str, query: str, now_ns: int, host: str = "") -> Path:
        """Judge a handshake. Raises OpenRefused."""
        if self.faults.refuses(now_ns):
            raise OpenRefused(0, {}, b"")
        fault = self.faults.answer(path)
        if fault is not None:
            raise OpenRefused(fault.status, fault.headers, fault.body)
        if path not in PATHS:
            raise OpenRefused(404, dict(_JSON), b'{"msg":"Invalid request path","code":"404"}')
        if not self._connects.count(now_ns, self.connects_per_s):
            raise OpenRefused(429, dict(_JSON), TOO_MANY)
        return PATHS[path]

    def begin(self, opening: Path, now_ns: int) -> Session:
        """The session of a handshake that was admitted."""
        self.poll(now_ns)
        session = Session(self._lobby.next_id(), opening, now_ns)
        self.sessions[session.id] = session
        return session

    def on_text(self, session: Session, payload: bytes, now_ns: int) -> list[bytes]:
        """A text frame of the client; returns the frames to answer (they are not in the outbox)."""
        self.poll(now_ns)
        session.moved(now_ns)
        if payload == b"ping":
            return [b"pong"]
        try:
            request = read_request(payload)
        except Illegal as refusal:
            return [session.error(refusal.code, refusal.text, refusal.request_id)]
        if not session.may_ask(now_ns, self.requests_per_hour):
            return [session.error(60014, "Requests too frequent.", request.id)]
        if request.op == "login":
            return [session.error(60005, "Invalid apiKey", request.id)]
        answers: list[bytes] = []
        for arg in request.args:
            answers += self._obey(session, request.op, arg, request.id, now_ns)
        return answers

    def on_control(self, session: Session, now_ns: int, *, is_pong: bool) -> None:
        """A ping or pong frame of the client: traffic."""
        session.moved(now_ns)

    def on_close(self, session: Session) -> None:
        """The connection has ended."""
        self._lobby.leave(session)
        for arg in session.args:
            self._shelf.put_down(session, self._topics.get(arg))

    def _obey(self, session: Session, op: str, arg: dict[str, str], request_id: str | None, now_ns: int) -> list[bytes]:
        text = arg_text(arg)
        if arg.get("channel") == "instruments" and arg.get("instType") in ("SPOT", "SWAP") and session.path == "public":
            rows = map(wire.instrument_row, instruments(self.world, arg["instType"]).values())
            return [session.event(op, text, request_id), *([wire.push(text, rows)] if op == "subscribe" else [])]
        if arg.get("channel") in LOGIN_ONLY and session.path == "public":
            return [session.error(60011, "Please log in", request_id)]
        topic = topic_of(self.world, session.path, arg)
        if topic is None:
            named = ",".join(f"{key}:{value}" for key, value in arg.items())
            return [session.error(60018, f"Wrong URL or {named} doesn't exist. {_WRONG}", request_id)]
        told = [session.event(op, text, request_id)]
        if op == "subscribe":
            return told + self._subscribe(session, topic, now_ns)
        if text in session.args:
            del session.args[text]
            self._lobby.unlisten(session, topic.one.listing.market, topic.stream, text)
            self._shelf.put_down(session, topic)
        return told

    def _subscribe(self, session: Session, topic: Topic, now_ns: int) -> list[bytes]:
        """The first frames: a book's snapshot, the newest of all else. A second subscription tells nothing new."""
        if topic.arg in session.args:
            return []
        session.args[topic.arg] = None
        self._topics[topic.arg] = topic
        if not topic.stream:
            return []
        self._lobby.listen(session, topic.one.listing.market, topic.stream, topic.arg, now_ns)
        is_replay = self.world.mode == "replay"
        first = self._shelf.shown_so_far(topic) if is_replay else self._shelf.take_up(session, topic, now_ns)
        if first is None:
            rows = list(first_rows(self.world, topic))
            first = [wire.push(topic.arg, rows)] if rows else []
        return [frame for frame in first if self.faults.idle or not self.faults.loses(frame)]

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, now_ns: int) -> int:
        """Let the world move on to `now_ns`: frames go to outboxes, keep-alives and ends become due. Returns how many events came."""
        came = self._lobby.poll(now_ns, self._frames)
        for session_id, frame in self._shelf.quiet(now_ns):
            self._lobby.send(self.sessions[session_id], (frame,))
        return came

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, if nobody calls before."""
        times = [due for due in (self._lobby.next_due_ns(now_ns), self._shelf.due_ns()) if due is not None]
        return min(times, default=None)

    def _frames(self, emission: Emission) -> Callable[[Session, str], Iterable[bytes]]:
        made: dict[str, tuple[bytes, ...]] = {}

        def frames(session: Session, arg: str) -> Iterable[bytes]:
            if arg not in made:
                made[arg] = tuple(self._encode(self._topics[arg], emission))
            return made[arg]

        return frames

    def _encode(self, topic: Topic, emission: Emission) -> Iterable[bytes]:
        if isinstance(emission.fact, Recorded):
            return retold(topic, emission.fact.raw)
        frames = self._shelf.frames(topic, emission.fact)
        if frames is not None:
            return frames
        rows = list(rows_of(self.world, topic, emission))
        return (wire.push(topic.arg, rows),) if rows else ()

    # ── Asked by tests and scripts ────────────────────────────────────────────────────────────────────────────────────

    def book_of(self, inst_id: str, channel: str = "books") -> tuple[int, BookImage] | None:
        """The world's book and the seqId of a reader of the channel who has taken in everything; None where the world has moved on
        since the last frame, or nobody reads the channel."""
        return self._shelf.book_of(inst_id, channel)

    def called(self, listing: Listing) -> str:
        """Dialect.called."""
        return instrument_of(listing).id

    def restart_books(self) -> None:
        """Maintenance: the books' ids go on from a small number, smaller than the `prevSeqId` beside it."""
        self._shelf.restart()

    def scale_limits(self, factor: float) -> None:
        """The requests within two seconds of every endpoint, from now on."""
        for name, rate in self.rates.items():
            self.rates[name] = max(1, int(rate * factor))

    def announce_restart(self, now_ns: int) -> None:
        """Tell every connection that it ends in a minute (64008)."""
        for session in self.sessions.values():
            session.warn(now_ns)
