"""The network as venue clients see it (ports.Transport): aiohttp for REST, picows for WebSockets."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from zvt_crypto.domain.errors import BadInput, Malformed, Unreachable
from zvt_crypto.ports import Response
from zvt_crypto.venues import socket
from zvt_crypto.venues.causes import cause_of, place_of
from zvt_crypto.venues.socket import NetSocket

# Binance's exchangeInfo is the largest answer known, some 15 MB.
BODY_BYTES_MOST = 64 * 1024 * 1024
CONNECTIONS_MOST = 20
CHUNK_BYTES = 64 * 1024


class NetTransport:
    """Real sockets. TLS certificates are verified, redirects are not followed, bodies and frames are bounded.

    `now_ns` stamps frames as they arrive. Use it within one running loop, and close it there.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        tls: ssl.SSLContext | None = None,
        body_bytes_most: int = BODY_BYTES_MOST,
        queued_frames_most: int = socket.QUEUED_FRAMES_MOST,
        queued_bytes_most: int = socket.QUEUED_BYTES_MOST,
    ) -> None:
        self._now_ns = now_ns
        self._tls = tls or ssl.create_default_context()
        self._body_bytes_most = body_bytes_most
        self._frames_most, self._bytes_most = queued_frames_most, queued_bytes_most
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, timeout_ms: int = 10_000
    ) -> Response:
        """One HTTP exchange; the URL goes out as it is given. Raises Unreachable, and Malformed for a body beyond the bound."""
        where = url.partition("?")[0]
        limit = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        try:
            async with self._open().request(
                method, URL(url, encoded=True), headers=headers, data=body, timeout=limit, allow_redirects=False
            ) as answer:
                content = await self._read(answer, where)
                names = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status, names, content)
        except TimeoutError:
            raise Unreachable(f"{where}: no answer within {timeout_ms} ms") from None
        except aiohttp.InvalidURL:
            raise BadInput(f"{where} is no URL") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise Unreachable(f"{where}: {cause_of(error, place_of(url))}") from None

    async def connect(self, url: str, *, timeout_ms: int = 10_000) -> NetSocket:
        """Open a WebSocket."""
        return await socket.connect(
            url,
            timeout_ms=timeout_ms,
            tls=self._tls,
            now_ns=self._now_ns,
            frames_most=self._frames_most,
            bytes_most=self._bytes_most,
        )

    async def close(self) -> None:
        """Release the pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS_MOST)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse, where: str) -> bytes:
        """The body, whole. Bounded while it comes, after decompression too: nobody fills our memory with zeros."""
        parts, size = [], 0
        async for part in answer.content.iter_chunked(CHUNK_BYTES):
            size += len(part)
            if size > self._body_bytes_most:
                answer.close()
                raise Malformed(f"{where}: the answer is larger than {self._body_bytes_most} bytes")
            parts.append(part)
        return b"".join(parts)
