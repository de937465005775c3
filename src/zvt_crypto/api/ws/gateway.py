"""The WebSocket server at /ws/v1: sockets on one side, the feed on the other, the hub between.

Events are taken from the feed and flushed at most once in `flush_ms`: the first after a quiet moment goes out at once, and under
load everything of one interval goes to a client in one write, since the cost of fan-out is per write (8 µs) and not per message.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from zvt_crypto.api.access import host_allowed, origin_allowed
from zvt_crypto.api.deps import AccessRules
from zvt_crypto.api.errors import FRAMEWORK_CODES, MEDIA_TYPE, title_of
from zvt_crypto.api.server import listen
from zvt_crypto.api.shapes import Problem
from zvt_crypto.api.ws.hub import KINDS, Hub
from zvt_crypto.api.ws.protocol import MOST_FRAME
from zvt_crypto.api.ws.session import MOST_SUBSCRIPTIONS, Session
from zvt_crypto.domain.errors import shown
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Clock, Feed, LiveState, Observer

PATH = "/ws/v1"
READER_BOUND = 100_000  # events between two flushes; a hundred times the busiest market's
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024  # bytes that wait in our own buffer: from there a client counts as slow, and no longer
SEND_BUFFER = 256 * 1024  # bytes of the kernel's, which would otherwise grow to megabytes and hide that a client does not read
PING_S = 20
FAREWELL_S = 1.0
MOST_REQUESTS_A_SECOND = 200  # a client may subscribe to all it is allowed at once


@dataclass(frozen=True, kw_only=True)
class GatewayOptions:
    """Bounds and timing. `flush_ms`: the longest that an event waits for company. `farewell_s`: how long a client that is closed may
    take to read why."""

    flush_ms: float = 3.0
    most_clients: int = 2_000
    most_subscriptions: int = MOST_SUBSCRIPTIONS
    ping_s: float = PING_S
    farewell_s: float = FAREWELL_S
    access: AccessRules = field(default_factory=AccessRules)


class Gateway:
    """Serves /ws/v1 until stopped."""

    def __init__(
        self,
        feed: Feed,
        live: LiveState,
        instruments: Callable[[], Instruments],
        clock: Clock,
        observer: Observer,
        *,
        host: str = "127.0.0.1",
        port: int = 8001,
        options: GatewayOptions | None = None,
        follows: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.options = options or GatewayOptions()
        self.hub = Hub(live, instruments)
        self.instruments = instruments
        self.follows = follows  # whether anything of this instrument is expected to come
        self.clock = clock
        self.observer = observer
        self._feed = feed
        self._host, self._port = host, port
        self._clients: dict[Client, None] = {}
        self._server: asyncio.Server | None = None
        self._pump: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; returns the port (chosen by the system for port 0). Raises PortTaken."""
        sock = listen(self._host, self._port)
        self._server = await ws_create_server(
            self._accept,
            sock=sock,
            max_frame_size=MOST_FRAME,
            enable_auto_ping=True,
            auto_ping_idle_timeout=self.options.ping_s,
            auto_ping_reply_timeout=self.options.ping_s,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        )
        self._pump = asyncio.create_task(self._run(), name="ws gateway")
        port: int = sock.getsockname()[1]
        return port

    async def wait(self) -> None:
        """Until it ends; raises what ended it."""
        if self._pump is not None:
            await asyncio.shield(self._pump)

    async def stop(self) -> None:
        """Say goodbye to all and end. Safe to call twice."""
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.close(WSCloseCode.GOING_AWAY, "the server stops")
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        leaving = [asyncio.create_task(client.gone.wait()) for client in list(self._clients)]
        if leaving:
            _, late = await asyncio.wait(leaving, timeout=2 * self.options.farewell_s)
            for task in late:
                task.cancel()

    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def joined(self, client: Client) -> None:
        """A connection is open."""
        self._clients[client] = None
        self.observer.gauge("ws.clients", len(self._clients))

    def left(self, client: Client) -> None:
        """A connection is closed."""
        self._clients.pop(client, None)
        self.observer.gauge("ws.clients", len(self._clients))

    async def _run(self) -> None:
        reader = self._feed.subscribe("ws", bound=READER_BOUND, when_full="drop", kinds=KINDS)
        dropped = 0
        try:
            while True:
                events = await reader.receive()
                if reader.dropped != dropped:
                    dropped = reader.dropped
                    self.hub.lost()
                began = time.perf_counter()
                self.hub.take(events)
                self._flush()
                # With so many clients that a flush takes long, the next waits as long: half of the time is left for all else.
                await self.clock.sleep(max(self.options.flush_ms / 1000, time.perf_counter() - began))
        finally:
            reader.close()

    def _flush(self) -> None:
        handed = self.hub.flush()
        if not handed:
            return
        self.observer.count("ws.messages", handed)
        for client in list(self._clients):
            client.write()

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        refusal = self._refusal(request)
        if refusal is not None:
            self.observer.count("ws.refused", status=str(refusal[0]))
            return _refuse(*refusal)
        # Firefox asks with `Connection: keep-alive, Upgrade`, which picows reads as a whole.
        if "upgrade" in [part.strip().lower() for part in request.headers.get("Connection", "").split(",")]:
            request.headers["Connection"] = "Upgrade"
        return Client(self)

    def _refusal(self, request: WSUpgradeRequest) -> tuple[int, str, str] | None:
        """(status, code, detail) of a connection that is not wanted."""
        path = request.path.partition(b"?")[0].decode("latin-1")
        access, headers = self.options.access, request.headers
        if not host_allowed(headers.get("Host"), access):
            return 421, FRAMEWORK_CODES[421], f"host {shown(headers.get('Host', ''))} is not one of ours"
        if path != PATH:
            return 404, FRAMEWORK_CODES[404], f"there is nothing at {shown(path)}; the WebSocket is at {PATH}"
        if not origin_allowed(headers.get("Origin"), access):
            return 403, FRAMEWORK_CODES[403], f"pages of {shown(headers.get('Origin', ''))} may not connect"
        if len(self._clients) >= self.options.most_clients:
            return 503, "too_many", f"{self.options.most_clients} clients are connected already"
        return None


class Client(WSListener):
    """A socket, its session, and what happens when it does not read."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.gone = asyncio.Event()
        self._gateway = gateway
        self._session = Session(gateway.hub, gateway.instruments, gateway.options.most_subscriptions, gateway.follows)
        self._transport: WSTransport | None = None
        self._parts: bytearray | None = None  # a fragmented text message under way
        self._second, self._requests = 0, 0
        self._closing = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        raw = transport.underlying_transport
        raw.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        raw.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._gateway.joined(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection is gone, whoever ended it."""
        self._session.end()
        self._gateway.left(self)
        self.gone.set()

    def pause_writing(self) -> None:
        """More waits for this client than we want to hold: from now on it gets the newest only."""
        self._session.outbox.slow = True
        self._gateway.observer.count("ws.slow")

    def resume_writing(self) -> None:
        """It reads again."""
        self._session.outbox.catch_up()
        self.write()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame of the client; pings are answered before they come here."""
        if self._closing or transport.is_close_frame_sent:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            return
        if frame.msg_type == WSMsgType.PONG:
            return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(WSCloseCode.PROTOCOL_ERROR, "reserved bits are set, but no extension was agreed")
        elif frame.msg_type == WSMsgType.CLOSE:
            self._goodbye(frame)
        elif not self._within_rate():
            self.close(WSCloseCode.POLICY_VIOLATION, f"more than {MOST_REQUESTS_A_SECOND} requests in a second")
        else:
            self._data(frame)
            self.write()

    def write(self) -> None:
        """Hand what is ready to the socket, in one piece."""
        outbox = self._session.outbox
        if outbox.overflow is not None and not self._closing:
            self.close(WSCloseCode.POLICY_VIOLATION, outbox.overflow)
        if outbox.ready and self._transport is not None:
            data = outbox.take()
            if not self._transport.is_close_frame_sent and not self._transport.is_disconnected:
                self._transport.underlying_transport.write(data)

    def close(self, code: WSCloseCode, reason: str) -> None:
        """Say why, and end the connection a moment later, read or not."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._gateway.observer.count("ws.closed", code=str(code.value))
        self._session.end()
        self._transport.send_close(code, reason.encode()[:120])
        self._abort_later(self._transport)

    def _goodbye(self, frame: WSFrame) -> None:
        assert self._transport is not None
        self._closing = True
        code = frame.get_close_code()
        self._transport.send_close(WSCloseCode.OK if code == WSCloseCode.NO_INFO else code)
        self._session.end()
        # Not graceful for ever: a peer that neither reads nor resets would keep its place until the kernel gives up.
        self._transport.disconnect()
        self._abort_later(self._transport)

    def _abort_later(self, transport: WSTransport) -> None:
        asyncio.get_running_loop().call_later(self._gateway.options.farewell_s, transport.disconnect, False)

    def _within_rate(self) -> bool:
        second = self._gateway.clock.now_ns() // 1_000_000_000
        if second != self._second:
            self._second, self._requests = second, 0
        self._requests += 1
        return self._requests <= MOST_REQUESTS_A_SECOND

    def _data(self, frame: WSFrame) -> None:
        payload: bytes = frame.get_payload_as_bytes()
        if frame.msg_type == WSMsgType.BINARY and frame.fin and self._parts is None:
            self._session.refuse("binary messages are not read: send JSON as text")
        elif frame.msg_type == WSMsgType.BINARY:
            self.close(WSCloseCode.UNSUPPORTED_DATA, "binary messages are not read: send JSON as text")
        elif (frame.msg_type == WSMsgType.CONTINUATION) != (self._parts is not None):
            self.close(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
        elif self._parts is None and frame.fin:
            self._text(payload)
        else:
            self._fragment(payload, frame.fin)

    def _fragment(self, payload: bytes, is_last: bool) -> None:
        parts = self._parts = self._parts if self._parts is not None else bytearray()
        parts += payload
        if len(parts) > MOST_FRAME:
            self.close(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {MOST_FRAME} bytes")
        elif is_last:
            self._parts = None
            self._text(bytes(parts))

    def _text(self, payload: bytes) -> None:
        try:
            payload.decode()
        except UnicodeDecodeError:
            self.close(WSCloseCode.INVALID_TEXT, "a text message that is not UTF-8")
            return
        self._session.receive(payload)


def _refuse(status: int, code: str, detail: str) -> WSUpgradeResponseWithListener:
    body = msgspec.json.encode(Problem(f"/docs#{code}", title_of(status), status, detail, code, PATH))
    response = WSUpgradeResponse.create_error_response(status, body, {"Content-Type": MEDIA_TYPE})
    return WSUpgradeResponseWithListener(response, None)
