"""The whole live path at any exchange, in memory on virtual time or over real sockets: its emulator, our connector, our services, a store in
memory; and what the exchange itself says happened, to hold against what we published and stored."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from faults.every_venue import PERP, SPOT, connector_of
from faults.live_market import Notes
from services.memory_store import MemoryStore
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp
from zvt_crypto.domain.market import BookSnapshot, BookStale, Gap, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from zvt_crypto.emulator.dialect import Closing
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld, Symbol
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.server import EmulatorServer
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.engine.limits import OwnLimits
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.plan import plan_listed
from zvt_crypto.services.platform import Platform, PlatformOptions
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.clock import SystemClock
from zvt_crypto.venues.http import NetTransport

Which = Literal["pair", "perp"]
Key = tuple[int, float, float, str]
E8 = 1e8
CALM_NS = 3 * NS_PER_S  # a new listener may be told of older trades
_BEFORE_NS = 4 * NS_PER_MINUTE  # the emulated market trades that long before its first listener
SYMBOLS = {"pair": SPOT, "perp": PERP}
BESIDE = {
    "pair": Symbol("spot", "ETH", "USDT", "2500", "0.01", "0.0001", 4000),
    "perp": Symbol("usdm", "ETH", "USDT", "2500.5", "0.01", "0.001", 400, "20"),
}
KINDS = {"pair": CryptoPair, "perp": CryptoPerp}
# What a trade may be later than the latest before any fault without having been missed: where ids have no order, the first one after a
# new connection waits a tenth of a second for the exchange's answer; on real sockets the machine may be busy.
MORE_LATE_NS = {True: 150 * NS_PER_MS, False: 500 * NS_PER_MS}


@dataclass
class Loss:
    """Trades that the exchange made and we did not get: between which of ours."""

    after: Trade
    before: Trade
    count: int


@dataclass
class Account:
    """Our trades against the exchange's, from our first to our last."""

    received: int = 0
    true: int = 0
    losses: list[Loss] = field(default_factory=list)
    foreign: list[Trade] = field(default_factory=list)  # not the exchange's, twice, or out of order


class VenueLive:
    """Made inside a loop: with `is_virtual` a virtual one. `events`: everything that was published, with the time of publishing.
    `beside`: a second instrument is followed as well, and may go. `ahead_s`: the exchange's clock minus ours.
    `tls`: certificate and key, over real sockets."""

    def __init__(
        self,
        venue: str,
        seed: int,
        which: Which = "pair",
        *,
        channels: Sequence[Literal["trade", "kline", "depth"]] = ("trade", "kline", "depth"),
        events_per_s: float = 40.0,
        is_virtual: bool = True,
        ingest: IngestOptions | None = None,
        heal_s: float = 300.0,
        beside: bool = False,
        ahead_s: float = 0.0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.venue, self.which, self.seed, self.is_virtual = venue, which, seed, is_virtual
        self.clock: Any = VirtualClock() if is_virtual else SystemClock()
        self.start_ns = self.clock.now_ns() + int(ahead_s * NS_PER_S)
        symbols = (SYMBOLS[which], BESIDE[which]) if beside else (SYMBOLS[which],)
        self.world = MarketWorld(seed, symbols, start_ns=self.start_ns, events_per_s=events_per_s, history_days=1)
        self.dialect = DIALECTS[venue](self.world)
        self.faults = self.dialect.faults
        self.faults.skew(ahead_s)
        self.listing = self.world.listings(SYMBOLS[which].market)["BTCUSDT"]
        self._beside = beside
        self.notes, self.store, self.live = Notes(), MemoryStore(), MemoryLiveState()
        self.limits = OwnLimits()
        self.events: list[tuple[int, Event]] = []
        self.instrument = ""
        self.connector: Any = None
        self.platform: Any = None
        self._channels = channels
        self._options = PlatformOptions(ingest=ingest or IngestOptions(), heal_s=heal_s)
        self._tls = tls
        self._server: EmulatorServer | None = None
        self._transport: Any = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[VenueLive]:
        """The platform runs; at the end it is stopped in good order, and everything is stored."""
        rest, ws = "http://emulator", "ws://emulator"
        if self.is_virtual:
            self._transport = MemoryTransport(self.dialect, self.clock, latency_ms=5.0)
        else:
            self._server, self._transport = EmulatorServer(self.dialect), NetTransport()
            rest, ws = await self._server.start(tls=self._tls)
        budget = LimitBudget(self.clock, self.notes, self.limits)
        self.connector = connector_of(self.venue, self._transport, self.clock, budget, self.notes, rest, ws)
        self.platform = Platform(
            [self.connector],
            self._wanted,
            self.store,  # type: ignore[arg-type]
            self.clock,
            self.notes,
            live=self.live,
            options=self._options,
            rng=random.Random(self.seed),
        )
        reader = self.platform.feed.subscribe("test", bound=10_000_000, when_full="fail")
        run = asyncio.create_task(self.platform.run())
        collect = asyncio.create_task(self._collect(reader))
        try:
            await self.platform.ready()
            yield self
        finally:
            self.platform.stop()
            await asyncio.wait({run})
            await asyncio.sleep(0)
            collect.cancel()
            await asyncio.wait({collect})
            await self.connector.close()
            await self._transport.close()
            if self._server is not None:
                await self._server.stop()
            if not run.cancelled():
                run.result()

    def _wanted(self, connector: Any) -> Any:
        """The one instrument of the market: the exchange's own table says what it is called."""
        kind = KINDS[self.which]
        listed = [one for one in connector.instruments if isinstance(one, kind) and one.base_asset == "BTC"]
        quoted = [one for one in listed if one.quote_asset == self.listing.quote] or listed
        self.instrument = quoted[0].id
        others = [one.id for one in connector.instruments if isinstance(one, kind) and one.base_asset == "ETH"]
        return plan_listed(connector, [self.instrument, *others[: int(self._beside)]], self._channels)

    async def _collect(self, reader: Any) -> None:
        while True:
            events = await reader.receive()
            now_ns = self.clock.now_ns()
            self.events += [(now_ns, event) for event in events]

    def neighbour(self) -> Any:
        """A connector of another program at the same address, which shares the table of limits; on virtual time. Close nothing of it."""
        return connector_of(self.venue, self._transport, self.clock, LimitBudget(self.clock, Notes(), self.limits), Notes())

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    # ── Faults ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> None:
        """Faults that were just ordered take effect."""
        if self._server is not None:
            self._server.ring()
        else:
            self._transport.cut()

    def cut(self) -> None:
        """Every connection ends without a word."""
        self.faults.cut_all()
        self.now()

    async def half_open(self) -> None:
        """Every connection that stands now says nothing any more; new ones are served. Returns once ours has been given up."""
        old = set(self.dialect.sessions)
        self.faults.stall()
        self.now()
        while old <= set(self.dialect.sessions):
            await self.sleep(0.01)
        for number in old & set(self.dialect.sessions):
            self.dialect.sessions[number].closing = Closing(1006, "half open")
        self.now()
        self.faults.resume()
        self.now()

    # ── What was published ────────────────────────────────────────────────────────────────────────────────────────────

    def of(self, *kinds: type) -> list[tuple[int, Any]]:
        return [(at, e) for at, e in self.events if isinstance(e, kinds) and getattr(e, "instrument", None) == self.instrument]

    def open_gaps(self) -> list[Gap]:
        """Of trades, as published."""
        return [e for _, e in self.of(Gap) if e.channel in ("trade", "agg") and e.filled_from is None]

    # ── The exchange's own word ───────────────────────────────────────────────────────────────────────────────────────

    def true_trades(self, stream: str) -> list[Key]:
        """All since shortly before the start (some exchanges tell a new listener of the last trade), in order."""
        made: list[Any] = []
        at = 0
        while True:
            if stream == "agg":
                page: list[Any] = self.world.aggs(self.listing, at or None, None if at else self.start_ns - _BEFORE_NS, None, 1000)
            else:
                page = self.world.trades(self.listing, at or self._first_id(), 1000)
            if not page:
                break
            made += page
            at = page[-1].id + 1
        return [(t.time_ns // NS_PER_MS, t.price / E8, round(t.size / E8, 8), "sell" if t.buyer_is_maker else "buy") for t in made]

    def _first_id(self) -> int:
        bars = self.world.bars(self.listing, "1m", self.start_ns - _BEFORE_NS, self.clock.now_ns(), 1000)
        return min((bar.first_id for bar in bars if bar.first_id >= 0), default=1)

    def account(self, trades: Sequence[Trade], *, in_order: bool = True) -> Account:
        """Walk both in order, or where that is not promised both sorted by time. Needs one stream."""
        made = Account(received=len(trades))
        if not trades:
            return made
        truth = self.true_trades(trades[0].stream)
        if not in_order:
            first_ms = min(key_of(trade)[0] for trade in trades)  # our first may be one of several of its millisecond
            truth = sorted(key for key in truth if key[0] > first_ms)
            trades = sorted((trade for trade in trades if key_of(trade)[0] > first_ms), key=key_of)
        ids = Counter(trade.trade_id for trade in trades)
        at, previous = truth.index(key_of(trades[0])), None
        first = at
        for trade in trades:
            key, skipped = key_of(trade), at
            while at < len(truth) and truth[at] != key:
                at += 1
            if at == len(truth) or ids[trade.trade_id] > 1:
                made.foreign.append(trade)
                at = skipped
                continue
            if at > skipped:
                assert previous is not None, "the walk begins at our first"
                made.losses.append(Loss(previous, trade, at - skipped))
            at, previous = at + 1, trade
        made.true = at - first
        return made

    def doubted_minutes(self) -> set[int]:
        """Opens of those whose sum of our trades is not what the exchange says: both versions are published, and kept."""
        finals = [k for _, k in self.of(Kline) if k.final and k.interval is Interval.MIN_1]
        ours, theirs = ({k.open_ns: values_of(k) for k in finals if k.source == source} for source in ("trades", "venue"))
        return {open_ns for open_ns in ours.keys() & theirs.keys() if ours[open_ns] != theirs[open_ns]}

    def wrong_minutes(self) -> tuple[int, list[str]]:
        """(minutes looked at, what is missing or not as the exchange has it), of the final klines that are served."""
        end_ns = (self.clock.now_ns() + self.faults.skew_ns) // NS_PER_MINUTE * NS_PER_MINUTE
        first_ns = -(-self.start_ns // NS_PER_MINUTE) * NS_PER_MINUTE
        truth = {b.open_ns: b for b in self.world.bars(self.listing, "1m", first_ns, end_ns - 1, 1000) if b.open_ns < end_ns}
        wrong = []
        for open_ns, bar in truth.items():
            ours = self.store.bars.get((self.instrument, Interval.MIN_1, open_ns))
            wanted = (bar.open / E8, bar.high / E8, bar.low / E8, bar.close / E8, round(bar.size / E8, 8))
            if ours is None or not ours.final:
                wrong.append(f"{self.venue} {self.which} seed {self.seed}: minute {open_ns} is missing")
            elif (held := values_of(ours)) != wanted:
                wrong.append(f"{self.venue} {self.which} seed {self.seed}: minute {open_ns} is {held}, not {wanted} ({ours.source})")
        return len(truth), wrong

    async def book_equals(self, depth: int = 20) -> bool:
        """Whether our book comes to be the exchange's: looked at whenever nothing has happened between the exchange and us."""
        for _ in range(2_000):
            await self.sleep(0.007)
            ours, theirs = self.live.book(self.instrument), self.world.book(self.listing, depth)
            if ours is not None and ours.is_valid:
                sides = tuple([(price / E8, size / E8) for price, size in side[:depth]] for side in (theirs.bids, theirs.asks))
                if tuple(ours.top(depth)) == sides:
                    return True
        return False

    # ── How long it took ──────────────────────────────────────────────────────────────────────────────────────────────

    def back_s(self, begins: Sequence[int]) -> list[float]:
        """For each fault the seconds until books were valid and trades complete (or flagged) for good, before the next one. `begins`: of
        each fault, and the end."""
        heard = self.of(Trade, Gap, BookSnapshot, BookStale)
        late_ns = max((at - e.event_ns for at, e in heard if isinstance(e, Trade) and self._is_calm(at, begins)), default=0)
        late_ns += MORE_LATE_NS[self.is_virtual]
        return [_back_s(begin, [(at, e) for at, e in heard if begin <= at < end], late_ns) for begin, end in pairwise(begins)]

    def _is_calm(self, at: int, begins: Sequence[int]) -> bool:
        return self.start_ns + CALM_NS < at < begins[0]


def _back_s(begin: int, heard: Sequence[tuple[int, Any]], late_ns: int) -> float:
    back_ns, is_valid = begin, True
    for at, event in heard:
        if isinstance(event, BookStale):
            is_valid = False
        elif isinstance(event, BookSnapshot):
            is_valid, back_ns = True, at
        elif (isinstance(event, Trade) and at - event.event_ns > late_ns) or (isinstance(event, Gap) and event.channel in ("trade", "agg")):
            back_ns = at
    return (back_ns - begin) / NS_PER_S if is_valid else float("inf")


def key_of(trade: Trade) -> Key:
    """What a trade is, whatever its id."""
    return (trade.event_ns // NS_PER_MS, trade.price, round(trade.quantity, 8), trade.side)


def values_of(kline: Kline) -> tuple[float, float, float, float, float]:
    return (kline.open, kline.high, kline.low, kline.close, round(kline.volume, 8))
