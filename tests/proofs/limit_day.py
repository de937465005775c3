"""Clients of one address that always want more than an exchange allows: what was asked, what was refused, how much of the limit was used."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from faults.every_venue import SPOT, connector_of
from faults.live_market import Notes
from zvt_crypto.domain.errors import Throttled, VenueError
from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.engine.limits import UNTOLD_SHARE, OwnLimits
from zvt_crypto.venues.budget import LimitBudget

CLIENTS = 4
LATENCY_MS, JITTER_MS = 5.0, 12.0  # each way; a request may take so much longer than another
# How often the listing is asked for, with which one exchange states its limits: at noon it is not.
REFRESH_S = 3_500.0
# Refusals that say "wait", and those that shut an address out.
WAIT, SHUT_OUT = (429,), (403, 418)
# What our budget is of what the exchange allows, where that is not all: the first excess shuts out, and nothing reports how much is left.
PLANNED = {"bybit": UNTOLD_SHARE}


@dataclass
class Half:
    """Of the run: before the limits were halved, or after. In what the exchange counts, weights or requests: what it `allowed`, how much
    of that was in our `budget`, how much was `served`."""

    allowed: float = 0.0
    budget: float = 0.0
    served: float = 0.0
    asked: int = 0
    refused: int = 0
    shut_out: int = 0

    @property
    def usable(self) -> float:
        """Of our budget."""
        return self.served / self.budget


@dataclass
class Day:
    """What a run showed. `bans`: stretches of time in which the exchange shut us out, however many requests were on their way."""

    seconds: float
    halves: tuple[Half, Half] = field(default_factory=lambda: (Half(), Half()))
    bans: list[float] = field(default_factory=list)  # seconds since the start

    @property
    def asked(self) -> int:
        return sum(half.asked for half in self.halves)

    @property
    def refused(self) -> int:
        return sum(half.refused for half in self.halves)


class Ledger(LimitBudget):
    """The budget, and what was taken from it. Refused requests are taken back by who counts them."""

    def __init__(self, *args: Any, scale: float, **named: Any) -> None:
        super().__init__(*args, **named)
        self._scale = scale
        self.last: tuple[str, int] = ("", 0)
        self.stated: dict[str, tuple[int, int, bool]] = {}  # limit, window in ms, whether it slides

    async def acquire(self, bucket: str, weight: int, priority: Any) -> None:
        await super().acquire(bucket, weight, priority)
        self.last = (bucket, weight)

    def set_limit(self, bucket: str, limit: int, window_ms: int, *, slides: bool = False) -> None:
        limit = int(limit * self._scale)
        self.stated.setdefault(bucket, (limit, window_ms, slides))
        super().set_limit(bucket, limit, window_ms, slides=slides)


class Jittery:
    """ports.Transport whose requests do not all take the same time; and the statuses that came back."""

    def __init__(self, inner: Any, clock: Any, seed: int) -> None:
        self._inner, self._clock, self._rng = inner, clock, random.Random(seed)
        self.status = 0

    async def request(self, method: str, url: str, **named: Any) -> Any:
        await self._clock.sleep(self._rng.uniform(0, JITTER_MS) / 1_000)
        response = await self._inner.request(method, url, **named)
        self.status = response.status
        return response

    async def close(self) -> None:
        """The inner one is closed by who made it."""


async def run_day(venue: str, seconds: float, seed: int = 1, *, scale: float = 1.0, plan: float = 1.0) -> Day:
    """Inside a virtual loop. The limits are halved in the middle, without a word. `scale`: of the limits, before and for both sides;
    `plan`: of our budget alone."""
    clock = virtual.VirtualClock()
    start_ns = clock.now_ns()
    middle_ns, end_ns = (start_ns + int(part * seconds * NS_PER_S) for part in (0.5, 1.0))
    dialect = DIALECTS[venue](MarketWorld(seed, (SPOT,), start_ns=start_ns, events_per_s=0.01, history_days=1))
    dialect.scale_limits(scale)
    line = MemoryTransport(dialect, clock, latency_ms=LATENCY_MS)
    table, day = OwnLimits(), Day(seconds)

    def connected(number: int) -> tuple[Any, Ledger, Jittery]:
        transport, budget = Jittery(line, clock, seed + number), Ledger(clock, Notes(), table, scale=scale * plan)
        return connector_of(venue, transport, clock, budget, Notes()), budget, transport

    tasks = [asyncio.create_task(_client(connected(n), clock, day, middle_ns, end_ns, PLANNED.get(venue, 1.0))) for n in range(CLIENTS)]
    await clock.sleep(seconds / 2)
    dialect.scale_limits(0.5)
    await asyncio.gather(*tasks)
    await line.close()
    return day


async def _client(parts: tuple[Any, Ledger, Jittery], clock: Any, day: Day, middle_ns: int, end_ns: int, planned: float) -> None:
    connector, budget, transport = parts
    start_ns = clock.now_ns()
    refreshed_ns, pair = 0, ""
    while (now_ns := clock.now_ns()) < end_ns:
        half = day.halves[now_ns >= middle_ns]
        try:
            if now_ns - refreshed_ns > REFRESH_S * NS_PER_S:
                listed = await connector.fetch_instruments()
                refreshed_ns, pair = now_ns, pair or next(i.id for i in listed if isinstance(i, CryptoPair) and i.base_asset == "BTC")
                continue
            await connector.get_order_book(pair, 5)
        except VenueError as error:
            _note(day, half, transport.status, (now_ns - start_ns) / NS_PER_S)
            transport.status = 0
            await clock.sleep(error.wait_ms / 1_000 if isinstance(error, Throttled) else 1.0)
            continue
        bucket, weight = budget.last
        limit, window_ms, _ = budget.stated[bucket]
        half.asked += 1
        half.served += weight
        ours = limit / window_ms * (day.seconds / 2 * 1_000)
        half.allowed = ours / planned * (0.5 if half is day.halves[1] else 1.0)
        half.budget = min(ours, half.allowed)


def _note(day: Day, half: Half, status: int, at_s: float) -> None:
    if status == 0:
        return  # our own budget's word: nothing was sent
    half.asked += 1
    if status in SHUT_OUT:
        half.shut_out += 1
        if not day.bans or at_s - day.bans[-1] > 60.0:
            day.bans.append(at_s)
    elif status in WAIT:
        half.refused += 1
    else:
        raise AssertionError(f"an answer that nobody ordered: HTTP {status}")


__all__ = ["CLIENTS", "NS_PER_MS", "Day", "Half", "run_day"]
