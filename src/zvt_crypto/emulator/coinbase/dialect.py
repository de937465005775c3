"""Coinbase as one object without I/O: requests in, answers out; sessions in, frames out; time is an argument.

Both of its public APIs stand on the same ports. By REST their paths differ (`/api/v3/brokerage/…` and `/products/…`); a WebSocket is
Exchange's feed where its host begins with `ws-feed` or `ws-direct`, or its path is `/ws-feed`, and Advanced Trade's otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.coinbase import advanced, exchange, limits
from zvt_crypto.emulator.coinbase.exchange_feeds import heartbeat
from zvt_crypto.emulator.coinbase.limits import PHRASES, TOO_MANY, TOO_MANY_EXCHANGE, Bucket
from zvt_crypto.emulator.coinbase.names import product_of, products
from zvt_crypto.emulator.coinbase.query import Fault, Query
from zvt_crypto.emulator.coinbase.requests import HEARTBEATS, error, obey
from zvt_crypto.emulator.coinbase.sessions import Api, Session
from zvt_crypto.emulator.coinbase.switchboard import Switchboard
from zvt_crypto.emulator.coinbase.wire import moment
from zvt_crypto.emulator.dialect import Answer, Lobby, OpenRefused
from zvt_crypto.emulator.faults import Faults
from zvt_crypto.emulator.model import BookImage, Listing, Market, World

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_PLAIN = {"Content-Type": "text/plain"}
_UP_S = 41_690  # how long the exchange has been up when the emulator starts: heartbeats count its seconds


class CoinbaseDialect:
    """Advanced Trade and Exchange over a world. Carriers call `poll`, then send what stands in the outboxes.

    `meters` (requests of each API), `messages` and `connects` are the limits; their rates may be changed at any time.
    """

    exchange: ClassVar[str] = "coinbase"
    markets: ClassVar[tuple[Market, ...]] = ("spot", "usdm")
    never: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"restart_books": "coinbase never restarts the numbers of its books: they belong to the connection"}
    )

    def __init__(self, world: World, faults: Faults | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self.faults.phrases = PHRASES
        self.meters: dict[Api, Bucket] = {
            "advanced": Bucket(limits.REQUESTS_PER_S, limits.REQUESTS_BURST),
            "exchange": Bucket(limits.REQUESTS_PER_S, limits.REQUESTS_BURST),
        }
        self.messages = Bucket(limits.MESSAGES_PER_S, limits.MESSAGES_BURST)
        self.connects = Bucket(limits.CONNECTS_PER_S, limits.CONNECTS_BURST)
        self.requests = 0
        self._lobby = Lobby(world, self.faults)
        self._board = Switchboard(world, self._lobby)
        self._first_ns: int | None = None

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
        if path.startswith(advanced.PREFIX):
            return self._advanced(method, path.removeprefix(advanced.PREFIX), Query(self.world, query, now_ns))
        return self._exchange(method, path.lstrip("/"), Query(self.world, query, now_ns, exchange.refused))

    def _advanced(self, method: str, path: str, asked: Query) -> Answer:
        if path != "time" and not path.startswith("market/"):
            return 401, dict(_PLAIN), b"Unauthorized\n"
        meter = self.meters["advanced"]
        is_served = meter.spend(asked.now_ns)
        told = _JSON | meter.headers()
        if not is_served:
            return 429, told, TOO_MANY
        if method != "GET":
            return 405, dict(_PLAIN), b"Method Not Allowed\n"
        try:
            return 200, told, advanced.answer(path, asked)
        except Fault as refused:
            return refused.status, told, refused.body

    def _exchange(self, method: str, path: str, asked: Query) -> Answer:
        if not self.meters["exchange"].spend(asked.now_ns):
            return 429, dict(_JSON), TOO_MANY_EXCHANGE
        try:
            if method != "GET" and path.partition("/")[0] not in exchange.PRIVATE:
                raise exchange.refused("MethodNotAllowed", 405)
            body, headers = exchange.answer(path, asked)
        except Fault as refused:
            return refused.status, dict(_JSON), refused.body
        return 200, _JSON | headers, body

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

    def admit(self, path: str, query: str, now_ns: int, host: str = "") -> Api:
        """Judge a handshake; the API it is for. Raises OpenRefused."""
        if self.faults.refuses(now_ns):
            raise OpenRefused(0, {}, b"")
        fault = self.faults.answer(path)
        if fault is not None:
            raise OpenRefused(fault.status, fault.headers, fault.body)
        if not self.connects.spend(now_ns):
            raise OpenRefused(429, dict(_JSON), TOO_MANY)
        return "exchange" if host.startswith(("ws-feed", "ws-direct")) or path.startswith("/ws-feed") else "advanced"

    def begin(self, opening: Api, now_ns: int) -> Session:
        """The session of a handshake that was admitted."""
        self.poll(now_ns)
        session = Session(self._lobby.next_id(), opening, now_ns, self.faults, self._beats)
        self.sessions[session.id] = session
        return session

    def on_text(self, session: Session, payload: bytes, now_ns: int) -> list[bytes]:
        """A text frame of the client; returns the frames to answer (they are not in the outbox)."""
        self.poll(now_ns)
        if not self.messages.spend(now_ns):
            return [error("rate limit exceeded")]
        return obey(self.world, self._board, session, payload, now_ns)

    def on_control(self, session: Session, now_ns: int, *, is_pong: bool) -> None:
        """A ping or pong frame of the client: nothing follows."""

    def on_close(self, session: Session) -> None:
        """The connection has ended."""
        self._board.leave(session)
        self._lobby.leave(session)

    def _beats(self, session: Session, at_ns: int) -> list[bytes]:
        if session.api == "exchange":
            listed = products(self.world)
            held = [listed[name] for name in session.subscriptions.get("heartbeat", ()) if name in listed]
            return [heartbeat(self.world, product, at_ns) for product in held]
        assert self._first_ns is not None, "a session lives, so time has passed"
        up_ns = at_ns - self._first_ns + _UP_S * NS_PER_S
        time = moment(at_ns - 1).removesuffix("Z").replace("T", " ")
        told = f'{{"current_time":"{time} +0000 UTC m=+{up_ns / NS_PER_S:.9f}","heartbeat_counter":{up_ns // NS_PER_S}}}'
        return [session.message(HEARTBEATS, told, at_ns)]

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, now_ns: int) -> int:
        """Let the world move on to `now_ns`: frames go to outboxes, ends become due. Returns how many events came."""
        self._first_ns = now_ns if self._first_ns is None else self._first_ns
        self._board.now_ns = now_ns
        return self._lobby.poll(now_ns, self._board.frames)

    def next_due_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, if nobody calls before."""
        return self._lobby.next_due_ns(now_ns)

    # ── Asked by tests and scripts ────────────────────────────────────────────────────────────────────────────────────

    def book_of(self, product_id: str, channel: str = "level2") -> tuple[int, BookImage] | None:
        """The world's book of a product, and the `sequence_num` of the newest message about it on the newest connection that reads it:
        where a client who has taken in everything stands. None where the world has moved on since, or nobody reads it."""
        return self._board.book_of(product_id, channel)

    def called(self, listing: Listing) -> str:
        """Dialect.called."""
        return product_of(listing).id if listing.market in self.markets else listing.symbol

    def restart_books(self) -> None:
        """Raises BadInput: numbers are the connection's, and begin anew with every one."""
        raise BadInput(self.never["restart_books"])

    def scale_limits(self, factor: float) -> None:
        """The requests a second of both APIs, from now on."""
        for meter in self.meters.values():
            meter.scale(factor)
