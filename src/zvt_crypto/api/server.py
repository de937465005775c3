"""The REST application on a port: uvicorn with uvloop's loop and httptools, inside a loop that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from zvt_crypto.domain.errors import BadConfig, PortTaken, shown

BACKLOG = 2_048
GRACE_S = 3  # how long answers under way may take when we stop
KEEP_ALIVE_S = 30
FIRST_FREE_PORT = 1_024  # those below are for root alone
MOST_REQUESTS = 1_000  # at once; beyond it uvicorn answers 503 at the door


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is known before anything starts. Raises PortTaken, and BadConfig for what can never be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(BACKLOG)  # SO_REUSEADDR lets two bind the same port; only one may listen
    except OSError as error:
        made.close()
        raise listening_error(host, port, error) from error
    made.setblocking(False)
    return made


def listening_error(host: str, port: int, error: OSError) -> Exception:
    """Why nobody can listen there, in words that say what to change; the system's own error where that is not known."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(host, port)
    if error.errno in (errno.EACCES, errno.EPERM):
        why = "ports below 1024 are the system's: choose a higher one" if port < FIRST_FREE_PORT else "the system does not let us"
        return BadConfig(f"cannot listen on {host} port {port}: permission denied; {why}")
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return BadConfig(f"cannot listen on {host} port {port}: no interface of this machine has that address")
    if isinstance(error, socket.gaierror):
        return BadConfig(f"cannot listen on {shown(host)}: it is neither an address nor a name that is known")
    return error


class _Server(uvicorn.Server):
    """Signals belong to whoever runs the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestServer:
    """Serves an ASGI application until stopped."""

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 8000) -> None:
        self._config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_REQUESTS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._host, self._port = host, port
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; returns the port (chosen by the system for port 0). Raises PortTaken, BadConfig."""
        sock = listen(self._host, self._port)
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]), name="rest")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait([up, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            await self._task  # raises what kept it from starting
        port: int = sock.getsockname()[1]
        return port

    async def wait(self) -> None:
        """Until it ends; raises what ended it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Let answers under way finish, then end. Safe to call twice."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2 * GRACE_S)
