"""A running gateway on the loopback, and clients: a polite one (aiohttp) and a raw socket that may send anything."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass
from typing import Any

import aiohttp

from api.api_parts import HandClock
from zvt_crypto.api.ws.gateway import Gateway
from zvt_crypto.domain.events import Event
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.telemetry.metrics import PrometheusObserver

HELLO = (
    b"GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: %s\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)


@dataclass
class Hall:
    """The parts of a running gateway."""

    gateway: Gateway
    feed: MemoryFeed
    live: MemoryLiveState
    clock: HandClock
    observer: PrometheusObserver
    port: int
    http: aiohttp.ClientSession

    def happen(self, *events: Event) -> None:
        """As the ingest does it: the live state first, then everybody."""
        for event in events:
            self.live.apply(event)
            self.feed.publish(event)

    async def connect(self, **more: Any) -> Polite:
        return Polite(await self.http.ws_connect(f"http://127.0.0.1:{self.port}/ws/v1", **more))

    async def raw(self, path: bytes = b"/ws/v1", host: bytes = b"127.0.0.1", connection: bytes = b"Upgrade", extra: bytes = b"") -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        writer.write(HELLO % (path, host, connection, extra))
        return Raw(reader, writer, await reader.readuntil(b"\r\n\r\n"))


class Polite:
    """A client that speaks JSON."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def hear(self) -> Any:
        message = await self.socket.receive(timeout=5)
        assert message.type == aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def hears_nothing(self) -> None:
        """A ping is answered before anything else comes."""
        await self.say(id="nothing", method="ping")
        assert await self.hear() == {"id": "nothing", "result": "pong"}

    async def subscribe(self, channel: str, **more: Any) -> Any:
        await self.say(method="subscribe", params={"channel": channel, "symbol": "cryptopair_binance_btcusdt", **more})
        answer = await self.hear()
        assert "result" in answer, answer
        return answer["result"]


@dataclass
class Raw:
    """A client that may break every rule."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes

    def send(self, opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> None:
        first = (0x80 if fin else 0) | rsv << 4 | opcode
        size = len(payload)
        length = bytes((size,)) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
        if masked:
            length = bytes((length[0] | 0x80,)) + length[1:]
            # A mask of zeros leaves the payload as it is.
            self.writer.write(bytes((first,)) + length + b"\0\0\0\0" + payload)
        else:
            self.writer.write(bytes((first,)) + length + payload)

    async def frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame of the server."""
        async with asyncio.timeout(5):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def closed(self) -> tuple[int, str]:
        """(code, reason) of the close frame, whatever comes before it; the connection then ends."""
        opcode, payload = 0, b""
        while opcode != 8:
            opcode, payload = await self.frame()
        async with asyncio.timeout(5):
            assert await self.reader.read() == b""
        self.writer.close()
        return struct.unpack(">H", payload[:2])[0], payload[2:].decode()
