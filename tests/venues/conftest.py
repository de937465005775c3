"""Fakes of the ports that a connector stands on, and the recorded frames."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from zvt_crypto.domain.errors import Disconnected
from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.ports import Response
from zvt_crypto.venues.binance.symbols import parse_exchange_info

FRAMES = Path(__file__).resolve().parent.parent / "fixtures" / "binance"
START_NS = 1_723_161_255_000_000_000
RECV_NS = 1_800_000_000_000_000_000  # later than every recording that is played: nothing of them is of a time to come


class ManualClock:
    """Time that moves only by being waited for."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.ns = now_ns
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ns += int(seconds * 1e9)
        await asyncio.sleep(0)


class ListObserver:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}
        self.gauges: dict[str, float] = {}
        self.notes: list[tuple[str, str, dict]] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counted[name] = self.counted.get(name, 0) + amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name] = value

    def note(self, level: str, event: str, **fields: object) -> None:
        self.notes.append((level, event, fields))

    def noted(self, event: str) -> list[dict]:
        return [fields for _, name, fields in self.notes if name == event]


class ScriptedSocket:
    """A connection whose frames a test pushes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[dict] = []
        self.closed = False
        self.answers = True  # acknowledge subscriptions
        self._frames: list[tuple[bytes, int]] = []
        self._reason: str | None = None
        self._news = asyncio.Event()

    def push(self, *payloads: bytes | str, recv_ns: int = RECV_NS) -> None:
        self._frames += [(p.encode() if isinstance(p, str) else p, recv_ns) for p in payloads]
        self._news.set()

    def end(self, reason: str = "connection lost") -> None:
        self._reason = reason
        self._news.set()

    async def receive(self) -> list[tuple[bytes, int]]:
        while not self._frames:
            if self._reason is not None:
                raise Disconnected(self._reason)
            self._news.clear()
            await self._news.wait()
        frames, self._frames = self._frames, []
        return frames

    async def send(self, payload: bytes) -> None:
        message = json.loads(payload)
        self.sent.append(message)
        if self.answers:
            self.push(json.dumps({"result": None, "id": message["id"]}))

    async def close(self) -> None:
        self.closed = True
        self.end("closed by us")


class ScriptedTransport:
    """Answers by path. `rest[path]` is a function of the query, or a list of answers used up one by one."""

    def __init__(self) -> None:
        self.rest: dict[str, Callable[[dict[str, str]], Response | Exception] | list] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []  # host, path, query
        self.sockets: list[ScriptedSocket] = []
        self.refuse_connects: list[Exception] = []
        self._connected = asyncio.Event()

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, timeout_ms: int = 10_000
    ) -> Response:
        from urllib.parse import parse_qsl, urlsplit

        await asyncio.sleep(0)
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.asked.append((parts.netloc, parts.path, query))
        answer = self.rest[parts.path]
        made = answer.pop(0) if isinstance(answer, list) else answer(query)
        if isinstance(made, Exception):
            raise made
        return made

    async def connect(self, url: str, *, timeout_ms: int = 10_000) -> ScriptedSocket:
        if self.refuse_connects:
            raise self.refuse_connects.pop(0)
        self.sockets.append(ScriptedSocket(url))
        self._connected.set()
        return self.sockets[-1]

    async def opened(self, count: int = 1) -> None:
        """Wait until this many connections were made."""
        while len(self.sockets) < count:
            self._connected.clear()
            await self._connected.wait()

    async def close(self) -> None:
        pass


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """A Response of a JSON value (or of bytes as they are)."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, content)


def frames_of(name: str) -> list[tuple[int, bytes]]:
    """(recv_ns, raw) of a fixture file."""
    rows = (line.split(" ", 1) for line in (FRAMES / name).read_text().splitlines())
    return [(int(at), raw.encode()) for at, raw in rows]


def exchange_info_of(market: str) -> bytes:
    return gzip.decompress((FRAMES / f"{market}_exchangeInfo.json.gz").read_bytes())


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The fakes and readers above: test files of this tree import nothing from one another."""
    return SimpleNamespace(
        ManualClock=ManualClock,
        ListObserver=ListObserver,
        ScriptedTransport=ScriptedTransport,
        ScriptedSocket=ScriptedSocket,
        answer=answer,
        frames_of=frames_of,
        exchange_info_of=exchange_info_of,
        frames_dir=FRAMES,
        start_ns=START_NS,
    )


@pytest.fixture(scope="session")
def listed() -> Instruments:
    """Everything in the recorded exchangeInfo of both markets."""
    found = [i for market in ("spot", "usdm") for i in parse_exchange_info(exchange_info_of(market), market).instruments]
    return Instruments(assign_ids(found, Instruments()))


OKX_FRAMES = FRAMES.parent / "okx"


@pytest.fixture(scope="session")
def okx() -> SimpleNamespace:
    """OKX's recording: `frames` are (recv_ns, raw) in the order received, `listed` the instruments of its listing."""
    from zvt_crypto.venues.okx.symbols import parse_instruments

    rows = (line.split(" ", 1) for line in gzip.decompress((OKX_FRAMES / "frames_2022.txt.gz").read_bytes()).decode().splitlines())
    frames = [(int(at), raw.encode()) for at, raw in rows]
    bodies = {market: (OKX_FRAMES / f"instruments_{market}.json").read_bytes() for market in ("spot", "swap", "futures")}
    found = [one for market, body in bodies.items() for one in parse_instruments(body, market).instruments]
    return SimpleNamespace(frames=frames, bodies=bodies, listed=Instruments(assign_ids(found, Instruments())))
