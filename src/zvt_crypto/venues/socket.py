"""WebSocket connections of ours to venues, over picows: bounded, stamped on arrival, ended with a reason."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from zvt_crypto.domain.errors import Banned, Disconnected, GeoBlocked, Refused, Throttled, Unreachable, VenueError, shown
from zvt_crypto.venues.causes import cause_of, place_of
from zvt_crypto.venues.quiet import quieten
from zvt_crypto.venues.region import refuses_region

FRAME_BYTES_MOST = 32 * 1024 * 1024  # the largest message known is Coinbase's whole book: 5 MB on a quiet day
QUEUED_FRAMES_MOST = 100_000
QUEUED_BYTES_MOST = 128 * 1024 * 1024
THROTTLED_MS = 60_000


class NetSocket(WSListener):
    """One connection (ports.Socket). Frames wait in a bounded queue; one task receives."""

    def __init__(self, url: str, now_ns: Callable[[], int], frames_most: int, bytes_most: int) -> None:
        super().__init__()
        self._url, self._now_ns = url, now_ns
        self._frames_most, self._bytes_most = frames_most, bytes_most
        self._transport: WSTransport | None = None
        self._frames: list[tuple[bytes, int]] = []
        self._bytes = 0
        self._parts: list[bytes] = []  # of a fragmented message
        self._ended: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    # picows calls these three.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame arrived. Its payload lives in picows' buffer until we return: it is copied. Pings are answered by picows itself."""
        recv_ns = self._now_ns()
        kind = frame.msg_type
        if kind == WSMsgType.TEXT or kind == WSMsgType.BINARY or kind == WSMsgType.CONTINUATION:
            self._take(frame.get_payload_as_bytes(), frame.fin, recv_ns)
        elif kind == WSMsgType.CLOSE:
            code, why = frame.get_close_code(), frame.get_close_message() or b""
            self._end(f"closed by the venue: code {getattr(code, 'value', code)} {shown(bytes(why).decode(errors='replace'))}")
            transport.send_close(code)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        self._end("connection lost")

    async def receive(self) -> list[tuple[bytes, int]]:
        """All frames that wait. Raises Disconnected once everything that came before the end has been given out."""
        while not self._frames:
            if self._ended is not None:
                raise Disconnected(f"{self._url}: {self._ended}")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frames, self._frames, self._bytes = self._frames, [], 0
        return frames

    async def send(self, payload: bytes) -> None:
        """A text frame. Raises Disconnected."""
        if self._ended is not None or self._transport is None:
            raise Disconnected(f"{self._url}: {self._ended or 'not connected'}")
        self._transport.send(WSMsgType.TEXT, payload)

    async def close(self) -> None:
        """End the connection."""
        self._end("closed by us")
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()

    def _take(self, part: bytes, is_last: bool, recv_ns: int) -> None:
        if self._ended is not None:
            return
        if len(part) > FRAME_BYTES_MOST:  # picows bounds frames too, but lets pass what came whole with the handshake
            self._cut(f"a frame of {len(part)} bytes is beyond {FRAME_BYTES_MOST}")
            return
        if self._parts or not is_last:
            self._parts.append(part)
            if sum(map(len, self._parts)) > FRAME_BYTES_MOST:
                self._cut(f"a fragmented message grew beyond {FRAME_BYTES_MOST} bytes")
                return
            if not is_last:
                return
            part, self._parts = b"".join(self._parts), []
        self._frames.append((part, recv_ns))
        self._bytes += len(part)
        self._wake()
        if len(self._frames) >= self._frames_most or self._bytes >= self._bytes_most:
            self._cut(f"receive queue full: {len(self._frames)} frames, {self._bytes} bytes wait")

    def _cut(self, reason: str) -> None:
        self._end(reason)
        if self._transport is not None:
            self._transport.disconnect()

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(
    url: str,
    *,
    timeout_ms: int,
    tls: ssl.SSLContext,
    now_ns: Callable[[], int],
    frames_most: int = QUEUED_FRAMES_MOST,
    bytes_most: int = QUEUED_BYTES_MOST,
) -> NetSocket:
    """Open a WebSocket: TLS verified, no redirects followed. Raises Unreachable, Throttled, Banned, GeoBlocked or Refused."""
    shown_url = url.partition("?")[0]
    quieten(asyncio.get_running_loop())
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            _, socket = await picows.ws_connect(
                lambda: NetSocket(shown_url, now_ns, frames_most, bytes_most),
                url,
                ssl_context=tls,
                websocket_handshake_timeout=None,  # the timeout around it covers all
                enable_auto_pong=True,
                max_frame_size=FRAME_BYTES_MOST,
                max_redirects=0,
            )
    except picows.WSHandshakeError as error:
        raise _refusal(shown_url, place_of(url), error) from None
    except TimeoutError:
        raise Unreachable(f"{shown_url}: no connection within {timeout_ms} ms") from None
    except (OSError, picows.WSError) as error:
        raise Unreachable(f"{shown_url}: {cause_of(error, place_of(url))}") from None
    if socket is None:  # picows returns, too, where the other side went before it answered
        raise Unreachable(f"{shown_url}: {place_of(url)} closed the connection without an answer")
    assert isinstance(socket, NetSocket)
    return socket


def handshake_fate(url: str, status: int, headers: Mapping[str, str], body: bytes) -> VenueError:
    """The error of a handshake that was answered by something other than 101."""
    said = f"{url}: HTTP {status} {shown(body[:200].decode(errors='replace'), 120)}"
    stated = headers.get("retry-after", "")
    wait_ms = int(stated[:7]) * 1000 if stated.isascii() and stated.isdigit() else THROTTLED_MS
    if refuses_region(status, body):
        return GeoBlocked(f"{said}. This region is not served")
    if status == 418:
        return Banned(said, wait_ms)
    if status in (403, 429):
        return Throttled(said, wait_ms)
    return Unreachable(said) if status >= 500 else Refused(said)


def _refusal(url: str, place: str, error: picows.WSHandshakeError) -> VenueError:
    response = error.response
    if response is None:
        return Unreachable(f"{url}: {cause_of(error, place)}")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return handshake_fate(url, int(response.status), headers, error.raw_body or b"")
