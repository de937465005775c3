"""The whole live path on virtual time: the emulator's market in memory, Binance's connector, our services, a store in memory."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from services.memory_store import MemoryStore
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S, Interval
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.market import MarketWorld, Symbol
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.plan import plan_subscriptions
from zvt_crypto.services.platform import Platform, PlatformOptions
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.venues.binance import BinanceConnector
from zvt_crypto.venues.binance.spec import BinanceHosts, BinanceOptions
from zvt_crypto.venues.budget import LimitBudget

BTC = "cryptopair_binance_btcusdt"
PERP = "cryptoperp_binance_btcusdt"
SPOT = Symbol("spot", "BTC", "USDT", "60000", "0.01", "0.00001", 1500)
USDM = Symbol("usdm", "BTC", "USDT", "60010", "0.1", "0.001", 20, "100")


class Notes:
    """ports.Observer that remembers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.notes: list[tuple[str, str, dict[str, object]]] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counts[name] += amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name] = value

    def note(self, level: str, event: str, **fields: object) -> None:
        self.notes.append((level, event, fields))

    def noted(self, event: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.notes if name == event]


class Live:
    """Made inside a virtual loop. `events`: everything that was published, in order, with the time of publishing."""

    def __init__(
        self,
        seed: int = 1,
        *,
        symbols: Sequence[Symbol] = (SPOT,),
        channels: Sequence[str] = ("trade", "kline", "depth"),
        ingest: IngestOptions | None = None,
        store: MemoryStore | None = None,
        world: MarketWorld | None = None,
        events_per_s: float = 4.0,
        latency_ms: float = 5.0,
        intervals: Sequence[Interval] = (Interval.MIN_1,),
    ) -> None:
        self.clock = VirtualClock()
        self.start_ns = self.clock.now_ns()
        self.world = world or MarketWorld(seed, symbols, start_ns=self.clock.now_ns(), events_per_s=events_per_s, history_days=2)
        self.dialect = BinanceDialect(self.world)
        self.faults = self.dialect.faults
        self.transport = MemoryTransport(self.dialect, self.clock, latency_ms=latency_ms)
        self.notes = Notes()
        self.store = store or MemoryStore()
        markets = tuple(dict.fromkeys(s.market for s in symbols))
        self.connector = BinanceConnector(
            self.transport,
            self.clock,
            LimitBudget(self.clock, self.notes),
            self.notes,
            hosts=BinanceHosts.local("http://emulator", "ws://emulator"),
            options=BinanceOptions(markets=markets),
        )
        self.live = MemoryLiveState()
        self.events: list[tuple[int, Event]] = []
        wanted = [BTC] * ("spot" in markets) + [PERP] * ("usdm" in markets)
        self.platform = Platform(
            [self.connector],
            lambda connector: plan_subscriptions(connector, wanted, channels, intervals),  # type: ignore[arg-type]
            self.store,  # type: ignore[arg-type]
            self.clock,
            self.notes,
            live=self.live,
            options=PlatformOptions(ingest=ingest or IngestOptions()),
            rng=random.Random(seed),
        )
        self._reader = self.platform.feed.subscribe("test", bound=10_000_000, when_full="fail")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Live]:
        """The platform runs; at the end it is stopped in good order, and everything is stored."""
        run = asyncio.create_task(self.platform.run())
        collect = asyncio.create_task(self._collect())
        try:
            yield self
        finally:
            self.platform.stop()
            await asyncio.wait({run})
            collect.cancel()
            await self.transport.close()
            await asyncio.wait({collect})
            if not run.cancelled():
                run.result()

    async def _collect(self) -> None:
        while True:
            events = await self._reader.receive()
            self.events += [(self.clock.now_ns(), event) for event in events]

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def books(self, instrument: str = BTC, market: str = "spot", depth: int = 20) -> tuple[object, object]:
        """Our book and the exchange's own, at the same update id."""
        listing = self.world.listings(market)["BTCUSDT"]  # type: ignore[arg-type]
        # Longer than the longest wait between two tries to connect: one that is answered 429 after many closes the window of five minutes.
        for _ in range(45_000):
            await self.sleep(0.007)
            ours, theirs = self.live.book(instrument), self.world.book(listing, depth)
            if ours is not None and ours.is_valid and ours.last_id == theirs.last_id:
                sides = tuple([(price / 1e8, size / 1e8) for price, size in side[:depth]] for side in (theirs.bids, theirs.asks))
                return ours.top(depth), sides
        raise AssertionError("our book never came to the exchange's update")

    def of(self, kind: type, instrument: str = BTC) -> list:  # type: ignore[type-arg]
        return [e for _, e in self.events if isinstance(e, kind) and getattr(e, "instrument", None) == instrument]

    def trade_ids(self, instrument: str = BTC) -> list[int]:
        return [int(t.trade_id) for t in self.of(Trade, instrument)]

    def true_ids(self, first: int, last: int, market: str = "spot") -> list[int]:
        """What the exchange itself says traded, from its own books."""
        listing = self.world.listings(market)["BTCUSDT"]  # type: ignore[arg-type]
        made: list[int] = []
        at = first
        while at <= last:
            page = self.world.trades(listing, at, 1000)
            made += [t.id for t in page if t.id <= last]
            if not page:
                break
            at = page[-1].id + 1
        return made

    def true_bars(self, start_ns: int, end_ns: int, interval: str = "1m", market: str = "spot") -> dict[int, tuple[float, ...]]:
        """Open → (open, high, low, close, volume, trades) of the exchange's own bars."""
        listing = self.world.listings(market)["BTCUSDT"]  # type: ignore[arg-type]
        rows = self.world.bars(listing, interval, start_ns, end_ns - 1, 1000)
        return {b.open_ns: (b.open / 1e8, b.high / 1e8, b.low / 1e8, b.close / 1e8, b.size / 1e8, b.trades) for b in rows}

    def stored_bars(
        self, source: str | None = None, interval: Interval = Interval.MIN_1, instrument: str = BTC
    ) -> dict[int, tuple[float, ...]]:
        rows = [k for k in self.store.bars.values() if k.instrument == instrument and k.interval == interval and source in (None, k.source)]
        return {k.open_ns: shape(k) for k in rows}


def shape(k: Kline) -> tuple[float, ...]:
    return (k.open, k.high, k.low, k.close, k.volume, k.trades or 0)


def seconds(ns: int) -> float:
    return ns / NS_PER_S


__all__ = ["BTC", "NS_PER_MS", "PERP", "SPOT", "USDM", "Live", "Notes", "msgspec", "seconds", "shape"]
