"""The emulator carried by real sockets: REST on one port, WebSocket on another."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from picows import (
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

from zvt_crypto.domain.errors import BadInput, PortTaken
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.dialect import Dialect, OpenRefused, Session
from zvt_crypto.emulator.doors import ListeningDoor, tls_context
from zvt_crypto.emulator.faults import Door
from zvt_crypto.emulator.market import SLICE_ORDERS, MarketWorld

_HIGH_WATER = 256 * 1024  # bytes unsent at which a reader counts as full
_MOST_FRAME = 1 << 20  # bytes of a client's frame
_LONGEST_WAIT_S = 1.0  # between two polls, so that a fault ordered meanwhile takes effect


class _Listener(WSListener):
    """One client's connection."""

    def __init__(self, server: EmulatorServer, opening: object) -> None:
        super().__init__()
        self._server = server
        self._opening = opening
        self._transport: WSTransport | None = None
        self._session: Session | None = None
        self._paused = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._session = self._server.dialect.begin(self._opening, self._server.now_ns())
        self._server.listeners.add(self)
        self._server.ring()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._server.listeners.discard(self)
        if self._session is not None:
            self._server.dialect.on_close(self._session)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._session is None:
            return
        dialect, now_ns, kind = self._server.dialect, self._server.now_ns(), frame.msg_type
        if kind == WSMsgType.TEXT:
            answers = dialect.on_text(self._session, frame.get_payload_as_bytes(), now_ns)
            if not dialect.faults.stalled:
                self._session.outbox.extend(answers)
        elif kind in (WSMsgType.PING, WSMsgType.PONG):
            dialect.on_control(self._session, now_ns, is_pong=kind == WSMsgType.PONG)
            if kind == WSMsgType.PING and not dialect.faults.stalled:
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        self._server.ring()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._server.ring()

    def flush(self) -> None:
        """Send what is due, as far as the reader takes it."""
        session, transport = self._session, self._transport
        if session is None or transport is None:
            return
        if self._server.dialect.faults.stalled:
            session.pings.clear()
        for payload in session.pings:
            transport.send_ping(payload)
        session.pings.clear()
        outbox = session.outbox
        while outbox and not self._paused:
            transport.send(WSMsgType.TEXT, outbox.popleft())
        if session.closing is not None and (not outbox or session.closing.code != 1001):
            self._end(session.closing.code, session.closing.reason)

    def _end(self, code: int, reason: str) -> None:
        assert self._transport is not None, "a connection that never was does not end"
        if code == WSCloseCode.ABNORMAL_CLOSURE.value:
            self._transport.underlying_transport.abort()
        else:
            self._transport.send_close(WSCloseCode(code), reason.encode())
            self._transport.disconnect()


class EmulatorServer:
    """A dialect on two ports of this machine. `now_ns` is the clock, UTC; loopback unless a host is given."""

    def __init__(self, dialect: Dialect, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.dialect = dialect
        if isinstance(dialect.world, MarketWorld):
            dialect.world.most_orders = SLICE_ORDERS
        self._clock = now_ns
        self.listeners: set[_Listener] = set()
        self._bell = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._doors: dict[Door, ListeningDoor] = {}
        self._is_tls = False
        self._task: asyncio.Task[None] | None = None

    async def start(
        self, host: str = "127.0.0.1", rest_port: int = 0, ws_port: int = 0, tls: tuple[Path, Path] | None = None
    ) -> tuple[str, str]:
        """Listen; port 0 takes a free one. `tls`: the files of a certificate and its key (PEM), for https and wss.

        Returns (REST base URL, WebSocket base URL). Raises PortTaken and BadInput.
        """
        if self.dialect.faults.needs_tls and tls is None:
            raise BadInput(f"{self.dialect.faults.needs_tls} needs TLS: serve with a certificate (--tls-cert and --tls-key)")
        self._is_tls, context = tls is not None, tls and tls_context(*tls)
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        serve_rest = partial(asyncio.get_running_loop().create_server, self._runner.server, ssl=context)
        serve_ws = partial(ws_create_server, self._admit, ssl=context, enable_auto_pong=False, max_frame_size=_MOST_FRAME)
        self._doors = {"rest": ListeningDoor(serve_rest), "ws": ListeningDoor(serve_ws)}
        ports: dict[Door, int] = {"rest": rest_port, "ws": ws_port}
        for name, door in self._doors.items():
            try:
                ports[name] = await door.open(host, ports[name])
            except OSError as error:
                await self.stop()
                raise _taken(error, host, ports[name]) from error
        self._task = asyncio.get_running_loop().create_task(self._pump(), name="emulator")
        named, s = f"[{host}]" if ":" in host else host, "s" if tls else ""
        return f"http{s}://{named}:{ports['rest']}", f"ws{s}://{named}:{ports['ws']}"

    async def stop(self) -> None:
        """Close every connection and both ports, and save the world's position; safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for listener in list(self.listeners):
            listener._end(1001, "shutting down")
        for door in self._doors.values():
            door.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.dialect.world.save()

    async def failed(self) -> None:
        """Never returns while it serves; raises what ended that."""
        assert self._task is not None, "started"
        await asyncio.shield(self._task)

    def now_ns(self) -> int:
        """The exchange's clock: the machine's, and a skew where a fault set one."""
        return self._clock() + self.dialect.faults.skew_ns

    def ring(self) -> None:
        """Something may be due: the pump looks now."""
        self._bell.set()

    async def _pump(self) -> None:
        while True:
            now_ns = self.now_ns()
            came = self.dialect.poll(now_ns)
            await self._tend_doors(now_ns)
            for listener in list(self.listeners):
                listener.flush()
            if came:  # a replay as fast as it is read may have more; a market tells its next instant below
                await asyncio.sleep(0)
                continue
            due_ns = self.dialect.next_due_ns(now_ns)
            wait_s = _LONGEST_WAIT_S if due_ns is None else min(_LONGEST_WAIT_S, max(0.0, (due_ns - self.now_ns()) / NS_PER_S))
            self._bell.clear()
            timer = asyncio.get_running_loop().call_later(wait_s, self._bell.set)
            try:
                await self._bell.wait()
            finally:
                timer.cancel()

    async def _tend_doors(self, now_ns: int) -> None:
        """Let nobody in where a fault says so, and everybody once its time is over."""
        faults = self.dialect.faults
        for name, door in self._doors.items():
            fails_tls = self._is_tls and faults.fails_tls(now_ns, name)
            await door.turn("nobody" if faults.refuses(now_ns, name) else "alert" if fails_tls else "service")
        if self._doors["rest"].behind != "service":
            self._end_kept()

    def _end_kept(self) -> None:
        """Clients keep connections of REST for their next request: without new ones they would not notice."""
        if self._runner is not None and self._runner.server is not None:
            for connection in self._runner.server.connections:
                connection.force_close()

    async def _serve(self, request: web.Request) -> web.Response:
        if request.path == "/emulator/cut":
            return self._cut(request)
        status, headers, body = self.dialect.handle_http(
            request.method, request.path, request.query_string, request.headers, self.now_ns(), await request.read()
        )
        self.ring()
        return web.Response(status=status, headers=headers, body=body)

    def _cut(self, request: web.Request) -> web.Response:
        """End all connections, as a failing network would; for callers on this machine only."""
        if request.method != "POST":
            return web.Response(status=405, text="POST cuts every connection\n")
        if not request.remote or not ip_address(request.remote).is_loopback:
            return web.Response(status=403, text="only from this machine\n")
        self.dialect.faults.cut_all()
        self.ring()
        return web.json_response({"cut": len(self.listeners)})

    def _admit(self, request: WSUpgradeRequest) -> _Listener | WSUpgradeResponseWithListener:
        path, _, query = request.path.decode("ascii", "replace").partition("?")
        try:
            opening = self.dialect.admit(path, query, self.now_ns(), request.headers.get("Host", ""))
        except OpenRefused as refusal:
            response = WSUpgradeResponse.create_error_response(refusal.status or 503, refusal.body, refusal.headers)
            return WSUpgradeResponseWithListener(response, None)
        return _Listener(self, opening)


def _taken(error: OSError, host: str, port: int) -> Exception:
    return PortTaken(host, port) if error.errno == errno.EADDRINUSE else error
