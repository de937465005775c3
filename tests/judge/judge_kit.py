"""A dialect on real sockets whose clock the test holds, for a client that nobody here has written: ccxt, unmodified but for its URLs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from math import ceil
from typing import Any

from zvt_crypto.emulator.dialect import Dialect
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld, Symbol
from zvt_crypto.emulator.model import E8, Bar, BookImage
from zvt_crypto.emulator.server import EmulatorServer

START_NS = 1_735_689_600_000_000_000  # 2025-01-01T00:00:00Z
STEP_NS = 100_000_000
MINUTE_MS = 60_000


class Bench:
    """A server over a world, and its clock: time passes in `until` and `pass_s` alone."""

    def __init__(self, dialect: Any) -> None:
        self.dialect = dialect
        self.world: MarketWorld = dialect.world
        self.now_ns = START_NS
        self.server = EmulatorServer(dialect, lambda: self.now_ns)

    def step(self) -> None:
        """A tenth of a second passes."""
        self.now_ns += STEP_NS
        self.dialect.poll(self.now_ns)
        self.server.ring()

    async def until(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let time pass until the work is done; its result."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait([task], timeout=0.01)
            self.step()
        return task.result()

    async def pass_s(self, seconds: float) -> None:
        """Let time pass; the client reads meanwhile."""
        for _ in range(ceil(seconds * 1e9 / STEP_NS)):
            self.step()
            await asyncio.sleep(0.001)

    async def holds(self, claim: Callable[[], bool]) -> None:
        """Wait, while time stands still, until the client has read what makes the claim true; the test's timeout ends a wait in vain."""
        while not claim():  # noqa: ASYNC110 - the client rings no bell
            await asyncio.sleep(0.005)


@asynccontextmanager
async def bench(
    make: Callable[[MarketWorld], Dialect], *, events_per_s: float = 4.0, symbols: Sequence[Symbol] = DEFAULT_SYMBOLS
) -> AsyncIterator[tuple[Bench, str, str]]:
    """A bench that serves, its REST base and its WebSocket base."""
    held = Bench(make(MarketWorld(7, symbols, start_ns=START_NS, events_per_s=events_per_s, history_days=3)))
    rest_url, ws_url = await held.server.start()
    try:
        yield held, rest_url, ws_url
    finally:
        await held.server.stop()


def number(value_e8: int) -> float:
    """The double that is nearest to a number of 1e-8."""
    return value_e8 / E8


def ohlcv(bars: Iterable[Bar]) -> list[list[float]]:
    """Bars as ccxt has them: milliseconds, prices, base volume."""
    return [[bar.open_ns // 1_000_000, *(number(value) for value in bar[1:6])] for bar in bars]


def levels(rows: Iterable[tuple[int, int]], unit_e8: int = E8) -> list[list[float]]:
    """Levels as ccxt has them, sizes counted in units."""
    return [[number(price), number(size * E8 // unit_e8)] for price, size in rows]


def book(image: BookImage, unit_e8: int = E8) -> tuple[list[list[float]], list[list[float]]]:
    """(bids, asks) as ccxt has them."""
    return levels(image.bids, unit_e8), levels(image.asks, unit_e8)


def shown(orderbook: Any) -> tuple[list[list[float]], list[list[float]]]:
    """(bids, asks) of ccxt's order book."""
    return [list(row[:2]) for row in orderbook["bids"]], [list(row[:2]) for row in orderbook["asks"]]


class BenchClock:
    """ports.Clock of a bench: waiting lets its time pass."""

    def __init__(self, held: Bench) -> None:
        self._held = held

    def now_ns(self) -> int:
        return self._held.now_ns

    async def sleep(self, seconds: float) -> None:
        await self._held.pass_s(seconds)


class Silent:
    """ports.Observer that hears nothing."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...

    def note(self, level: str, event: str, **fields: object) -> None: ...
