"""A port at which for a while nobody listens, as where a process is down, or no TLS handshake succeeds; the port stays ours."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, cast

from zvt_crypto.domain.errors import BadInput, shown

Listen = Callable[..., Awaitable[asyncio.Server]]
Behind = Literal["service", "alert", "nobody"]  # who meets a new connection
# RFC 8446, 6: a fatal handshake_failure (40), as a record of its own before there are keys.
HANDSHAKE_FAILURE = bytes((21, 3, 3, 0, 2, 2, 40))


class ListeningDoor:
    """`serve` makes a server of `host=` and `port=`, or of a bound `sock=`."""

    def __init__(self, serve: Listen) -> None:
        self._serve = serve
        self._servers: list[asyncio.Server] = []
        self._held: list[socket.socket] = []
        self.behind: Behind = "service"

    async def open(self, host: str, port: int) -> int:
        """Listen; port 0 takes a free one. Returns the port. Raises OSError."""
        self._servers = [await self._serve(host=host, port=port)]
        taken: int = self._servers[0].sockets[0].getsockname()[1]
        return taken

    async def turn(self, behind: Behind) -> None:
        """Let new connections meet the service, a TLS alert, or nobody; those that stand go on. Raises OSError."""
        if behind == self.behind:
            return
        self._hold()
        self.behind = behind
        if behind != "nobody":
            listen = self._serve if behind == "service" else _serve_alerts
            held, self._held = self._held, []
            self._servers = [await listen(sock=one) for one in held]

    def close(self) -> None:
        """Give the port back; safe to call twice."""
        self._stop_listening()
        for one in self._held:
            one.close()
        self._held = []

    def _hold(self) -> None:
        """The port is bound at once to a socket that does not listen: the kernel then gives it to nobody else."""
        places = [(one.family, one.getsockname()) for server in self._servers for one in server.sockets]
        self._stop_listening()
        self._held += [_bound(family, address) for family, address in places]

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []


class _Alert(asyncio.Protocol):
    """Answers a client's hello with an alert. By hand, since asyncio closes a handshake that its side ends without sending why."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(HANDSHAKE_FAILURE)
        self._transport.close()


def _serve_alerts(sock: socket.socket) -> Awaitable[asyncio.Server]:
    return asyncio.get_running_loop().create_server(_Alert, sock=sock)


def _bound(family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that stand hold the port too
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 with this certificate (PEM). Raises BadInput, naming the file."""
    for what, file in (("certificate", cert), ("key", key)):
        if not file.is_file():
            raise BadInput(f"TLS {what} {shown(str(file))} does not exist")

    def locked() -> str:
        raise BadInput(f"TLS key {shown(str(key))} is locked with a passphrase")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(cert, key, password=locked)
    except ssl.SSLError as error:
        raise BadInput(_why_not(cert, key, error)) from None
    except OSError as error:
        raise BadInput(f"TLS certificate {shown(str(cert))} and key {shown(str(key))} cannot be read: {error.strerror}") from None
    return context


def _why_not(cert: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"TLS key {shown(str(key))} is not that of the certificate {shown(str(cert))}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert)
    except ssl.SSLError:
        return f"TLS certificate {shown(str(cert))} holds no certificate in PEM"
    return f"TLS key {shown(str(key))} holds no private key in PEM that fits: {error.reason or error.strerror}"
