"""Gaps of one exchange are healed whatever another does."""

from __future__ import annotations

import asyncio

import pytest

from faults.every_venue import SPOT, connector_of
from services.memory_store import MemoryStore
from services.service_parts import Notes
from zvt_crypto.domain.market import Gap
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.services.plan import plan_listed
from zvt_crypto.services.platform import Platform, PlatformOptions
from zvt_crypto.venues.budget import LimitBudget

BTC = {"binance": "cryptopair_binance_btcusdt", "okx": "cryptopair_okx_btcusdt"}


class Two:
    """Binance and OKX, each at its own emulator, followed by one platform. Made inside a virtual loop."""

    def __init__(self) -> None:
        self.clock, self.store, self.notes = VirtualClock(), MemoryStore(), Notes()
        self.faults, self.transports, connectors = {}, [], []
        for venue in BTC:
            dialect = DIALECTS[venue](MarketWorld(3, (SPOT,), start_ns=self.clock.now_ns(), history_days=1))
            self.faults[venue] = dialect.faults
            self.transports.append(MemoryTransport(dialect, self.clock, latency_ms=5.0))
            budget = LimitBudget(self.clock, self.notes)
            connectors.append(connector_of(venue, self.transports[-1], self.clock, budget, self.notes))
        self.platform = Platform(
            connectors,
            lambda connector: plan_listed(connector, [BTC[connector.exchange]], ("trade",)),
            self.store,  # type: ignore[arg-type]
            self.clock,
            self.notes,  # type: ignore[arg-type]
            options=PlatformOptions(heal_s=20.0),
        )

    async def mark_gap(self, venue: str) -> None:
        """Ten minutes of klines that were missed an hour ago."""
        end_ns = self.clock.now_ns() // NS_PER_MINUTE * NS_PER_MINUTE - 60 * NS_PER_MINUTE
        gap = Gap(BTC[venue], "kline", end_ns - 10 * NS_PER_MINUTE, end_ns, None, None, "test", None, interval=Interval.MIN_1)
        await self.store.save_gaps([gap], end_ns)

    async def open_gaps(self) -> set[str]:
        return {gap.instrument for gap in await self.store.read_gaps(open_only=True) if gap.reason == "test"}

    async def run_for(self, seconds: float) -> None:
        run = asyncio.create_task(self.platform.run())
        await self.clock.sleep(seconds)
        self.platform.stop()
        await asyncio.wait({run})
        run.result()
        for transport in self.transports:
            await transport.close()


@pytest.mark.parametrize(("away", "other"), [("binance", "okx"), ("okx", "binance")])
def test_an_exchange_that_never_came_does_not_keep_another_from_being_healed(away, other):
    async def go() -> set[str]:
        two = Two()
        two.faults[away].http(500, times=1_000)
        for venue in BTC:
            await two.mark_gap(venue)
        await two.run_for(90)
        return await two.open_gaps()

    assert virtual.run(go()) == {BTC[away]}


@pytest.mark.parametrize(("away", "other"), [("binance", "okx"), ("okx", "binance")])
def test_an_exchange_that_went_away_does_not_keep_another_from_being_healed(away, other):
    async def go() -> tuple[set[str], set[str]]:
        two = Two()
        run = asyncio.create_task(two.run_for(900))
        await two.clock.sleep(30)
        two.faults[away].http(500, times=1_000)
        for venue in BTC:
            await two.mark_gap(venue)
        await two.clock.sleep(60)
        meanwhile = await two.open_gaps()
        two.faults[away]._answers.clear()
        await run
        return meanwhile, await two.open_gaps()

    assert virtual.run(go()) == ({BTC[away]}, set())
