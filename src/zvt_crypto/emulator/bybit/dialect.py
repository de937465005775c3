"""Bybit as one object without I/O: requests in, answers out; sessions in, frames out; time is an argument."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from zvt_crypto.emulator.bybit import wire
from zvt_crypto.emulator.bybit.books import BookFeed, TickerFeed, shown_so_far
from zvt_crypto.emulator.bybit.limits import (
    CONNECTS,
    CONNECTS_WINDOW_NS,
    PHRASES,
    REQUESTS,
    SHUT_OUT_NS,
    TOO_FREQUENT,
    WINDOW_NS,
    Meter,
)
from zvt_crypto.emulator.bybit.rest import ENDPOINTS, INTERVALS, MARKETS, PREFIX, PRIVATE, Fault, Query
from zvt_crypto.emulator.bybit.sessions import MOST_CHARS, PATHS, SPOT_ARGS_MOST, Request, Session, read_request
from zvt_crypto.emulator.bybit.topics import Topic, topic_of
from zvt_crypto.emulator.dialect import Answer, Lobby, OpenRefused
from zvt_crypto.emulator.faults import Faults
from zvt_crypto.emulator.model import BarEvent, BookImage, Depth, Emission, Listing, Market, Recorded, Trade, World

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_PLAIN = {"Content-Type": "text/plain"}
_TOPIC = re.compile(rb'"topic"\s*:\s*"[^"]*"')


class BybitDialect:
    """Spot and linear perpetuals, REST and WebSocket, over a world. Carriers call `poll`, then send what stands in the outboxes."""

    exchange: ClassVar[str] = "bybit"
    markets: ClassVar[tuple[Market, ...]] = ("spot", "usdm", "coinm")
    never: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, world: World, faults: Faults | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self.faults.phrases = PHRASES
        self.meter = Meter(REQUESTS, WINDOW_NS, SHUT_OUT_NS)
        self.connects = Meter(CONNECTS, CONNECTS_WINDOW_NS)
        self.requests = 0
        self._lobby = Lobby(world, self.faults)
        self._topics: dict[tuple[str, str], Topic] = {}  # by category and name
        self._books: dict[tuple[str, str], BookFeed] = {}
        self._numbers: dict[tuple[str, str], int] = {}  # where books without readers stopped counting: none begins anew by itself
        self._tickers: dict[tuple[str, str], TickerFeed] = {}

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
        if not self.meter.spend(now_ns):
            return 403, dict(_PLAIN), TOO_FREQUENT
        name = path.removeprefix(PREFIX)
        if path.startswith(PRIVATE):
            return 401, dict(_JSON), wire.refusal(10003, "API key is invalid.", now_ns)
        if not path.startswith(PREFIX) or name not in ENDPOINTS or method != "GET":
            return 404, dict(_PLAIN), b""
        asked = Query(self.world, query, now_ns, self._rest_number)
        try:
            return 200, dict(_JSON), wire.answer(ENDPOINTS[name](asked), asked.server_ns)
        except Fault as refused:
            return 200, dict(_JSON), wire.refusal(refused.code, refused.text, asked.server_ns)

    def _rest_number(self, listing: Listing) -> int:
        """`u` by REST is that of the topic of 1000 levels."""
        feed = self._books.get((_category(listing), f"orderbook.1000.{listing.symbol}"))
        if feed is not None:
            return feed.number
        update = self.world.book(listing, 1).last_id
        return update if self.world.mode == "replay" else 1 + update % 1_000_000_000

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

    def admit(self, path: str, query: str, now_ns: int, host: str = "") -> str:
        """Judge a handshake; the category it is for. Raises OpenRefused."""
        if self.faults.refuses(now_ns):
            raise OpenRefused(0, {}, b"")
        fault = self.faults.answer(path)
        if fault is not None:
            raise OpenRefused(fault.status, fault.headers, fault.body)
        if path not in PATHS:
            raise OpenRefused(404, dict(_PLAIN), b"")
        if not self.connects.spend(now_ns):
            raise OpenRefused(403, dict(_PLAIN), TOO_FREQUENT)
        return PATHS[path]

    def begin(self, opening: str, now_ns: int) -> Session:
        """The session of a handshake that was admitted."""
        self.poll(now_ns)
        session = Session(self._lobby.next_id(), opening, now_ns)
        self.sessions[session.id] = session
        return session

    def on_text(self, session: Session, payload: bytes, now_ns: int) -> list[bytes]:
        """A text frame of the client; returns the frames to answer (they are not in the outbox)."""
        self.poll(now_ns)
        session.heard(now_ns)
        request = read_request(payload)
        if isinstance(request, str):
            return [session.answer(success=False, text=request, op="", request_id=None)]
        if request.op == "ping":
            return [session.answer(success=True, text="pong", op="ping", request_id=request.id)]
        if request.op not in ("subscribe", "unsubscribe"):
            return [session.answer(success=False, text=f"error:unknown op {request.op[:40]}", op=request.op[:40], request_id=request.id)]
        wrong = self._wrong(session, request)
        if wrong is not None:
            return [session.answer(success=False, text=wrong, op=request.op, request_id=request.id)]
        said = session.answer(success=True, text=self._ack(session, request.op), op=request.op, request_id=request.id)
        if request.op == "unsubscribe":
            for name in request.args:
                self._unsubscribe(session, name)
            return [said]
        return [said, *(frame for name in request.args for frame in self._subscribe(session, name, now_ns))]

    def _ack(self, session: Session, op: str) -> str:
        return op if session.category == "spot" else ""

    def _wrong(self, session: Session, request: Request) -> str | None:
        if not request.args:
            return "error:args is empty"
        if request.op == "unsubscribe":
            return None
        if session.category == "spot" and len(request.args) > SPOT_ARGS_MOST:
            return f"args size >{SPOT_ARGS_MOST}"
        if sum(len(name) + 3 for name in (*session.topics, *request.args)) > MOST_CHARS:
            return f"error:args length over {MOST_CHARS} characters"
        for name in request.args:
            if name in session.topics:
                return f"error:already subscribed,topic:{name}"
            if topic_of(self.world, session.category, name) is None:
                return f"Invalid topic: {name[:80]}"
        return None

    def on_control(self, session: Session, now_ns: int, *, is_pong: bool) -> None:
        """A ping or pong frame of the client."""
        session.heard(now_ns)

    def on_close(self, session: Session) -> None:
        """The connection has ended."""
        for name in list(session.topics):
            self._unsubscribe(session, name)
        self._lobby.leave(session)

    def _subscribe(self, session: Session, name: str, now_ns: int) -> list[bytes]:
        """The first frames: a book's and a ticker's snapshot, the kline now."""
        topic = topic_of(self.world, session.category, name)
        if topic is None or name in session.topics:
            return []
        key = (session.category, name)
        session.topics[name] = None
        self._topics[key] = topic
        if not topic.stream:
            return []  # it was not recorded
        self._lobby.listen(session, topic.listing.market, topic.stream, name, now_ns)
        first: list[bytes] = []
        if self.world.mode == "replay":
            first = shown_so_far(self.world, topic, self.world.server_ns(now_ns))
        elif topic.kind == "orderbook":
            if key not in self._books:
                self._books[key] = BookFeed(self.world, topic, self._numbers.get(key))
            first = [self._books[key].snapshot()]
        elif topic.kind == "tickers":
            first = self._tickers.setdefault(key, TickerFeed(self.world, topic)).snapshot(now_ns)
        elif topic.kind == "kline":
            bars = self.world.bars(topic.listing, INTERVALS[topic.detail], None, None, 1)
            first = [
                wire.kline_push(name, topic.listing, INTERVALS[topic.detail], topic.detail, BarEvent("", bar, False, now_ns))
                for bar in bars
            ]
        return [frame for frame in first if self.faults.idle or not self.faults.loses(frame)]

    def _unsubscribe(self, session: Session, name: str) -> None:
        topic = self._topics.get((session.category, name))
        if topic is None or name not in session.topics:
            return
        del session.topics[name]
        if not topic.stream:
            return
        self._lobby.unlisten(session, topic.listing.market, topic.stream, name)
        others = any(name in one.topics for one in self.sessions.values() if one is not session and one.category == session.category)
        if not others:
            feed = self._books.pop((session.category, name), None)
            if feed is not None:
                self._numbers[session.category, name] = feed.number + 1
            self._tickers.pop((session.category, name), None)

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, now_ns: int) -> int:
        """Let the world move on to `now_ns`: frames go to outboxes, ends become due. Returns how many events came."""
        return self._lobby.poll(now_ns, self._frames)

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, if nobody calls before."""
        return self._lobby.next_due_ns(now_ns)

    def _frames(self, emission: Emission) -> Callable[[Session, str], Iterable[bytes]]:
        made: dict[tuple[str, str], list[bytes]] = {}

        def frames(session: Session, name: str) -> Iterable[bytes]:
            key = (session.category, name)
            if key not in made:
                made[key] = self._encode(key, emission)
            return made[key]

        return frames

    def _encode(self, key: tuple[str, str], emission: Emission) -> list[bytes]:
        topic, fact = self._topics[key], emission.fact
        if isinstance(fact, Recorded):
            return [fact.raw if topic.name.encode() in fact.raw else _TOPIC.sub(b'"topic":"%b"' % topic.name.encode(), fact.raw, 1)]
        if isinstance(fact, Trade):
            return [wire.trades_push(topic.name, topic.listing, fact)]
        if isinstance(fact, BarEvent):
            return [wire.kline_push(topic.name, topic.listing, fact.interval, topic.detail, fact)]
        if isinstance(fact, Depth):
            return self._books[key].push(fact.event_ns)
        return self._tickers[key].push(getattr(fact, "close_ns", 0)) if key in self._tickers else []

    # ── Asked by tests and scripts ────────────────────────────────────────────────────────────────────────────────────

    def book_of(self, category: str, symbol: str, levels: int = 200) -> tuple[int, BookImage] | None:
        """The world's book and the `u` of a reader who has taken in everything; None where the world has moved on since the last frame,
        or nobody reads it."""
        feed = self._books.get((category, f"orderbook.{levels}.{symbol}"))
        return None if feed is None else feed.truth()

    def called(self, listing: Listing) -> str:
        """Dialect.called."""
        return listing.symbol

    def restart_books(self) -> None:
        """The service restarts: each book begins anew with a snapshot whose `u` is 1."""
        for feed in self._books.values():
            feed.restart()

    def scale_limits(self, factor: float) -> None:
        """The requests within five seconds, from now on."""
        self.meter.most = max(1, int(self.meter.most * factor))


def _category(listing: Listing) -> str:
    return next(name for name, market in MARKETS.items() if market == listing.market)
