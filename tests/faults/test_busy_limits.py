"""What the live path lost is asked for before what a backfill wants: at the limit of an exchange, and while it answers 429."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from faults.every_venue import EVERY
from faults.outages import WARM_S, Outcome, judge
from faults.venue_live import VenueLive
from zvt_crypto.domain.errors import Throttled, VenueError
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S
from zvt_crypto.emulator import virtual

GREEDY = 4
# A refusal says that no more fits into the window; Binance's is a minute, all others' are of some seconds.
WINDOW_S = {"binance": 60.0}
# Where requests go, and no handshakes.
REST = {"binance": "/api/", "bybit": "/v5/market", "coinbase": "/products", "okx": "/api/"}


@contextlib.asynccontextmanager
async def backfill_beside(live: VenueLive) -> AsyncIterator[list[int]]:
    """Another program that always wants more of the past. Yields when it was answered."""
    connector, answered = live.neighbour(), []
    await connector.fetch_instruments()

    async def want() -> None:
        while True:
            try:
                await connector.fetch_trades(live.instrument, limit=1_000)
                answered.append(live.clock.now_ns())
            except VenueError as error:
                await live.sleep(error.wait_ms / 1_000 if isinstance(error, Throttled) else 1.0)

    tasks = [asyncio.create_task(want()) for _ in range(GREEDY)]
    try:
        yield answered
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def cuts_beside_a_backfill(venue: str, cuts: int, pause_s: float, *, storm: int) -> tuple[Outcome, int]:
    """With each cut, the exchange answers the next `storm` requests with 429."""
    live = VenueLive(venue, 1, events_per_s=20.0)
    made, begins = Outcome(venue, "pair", 1), []
    async with live.running():
        await live.sleep(WARM_S)
        async with backfill_beside(live) as answered:
            await live.sleep(65.0)
            for _ in range(cuts):
                begins.append(live.clock.now_ns())
                if storm:
                    live.faults.http(429, times=storm, headers={"Retry-After": "1"}, path=REST[venue])
                live.cut()
                await live.sleep(pause_s)
            begins.append(live.clock.now_ns())
        await live.sleep((-live.clock.now_ns() % NS_PER_MINUTE) / NS_PER_S + 20.0)
        await live.platform.drained()
    made.back_s = live.back_s(begins)
    judge(live, made)
    return made, len(answered)


def told(figure, venue: str, outcome: Outcome, answered: int, storm: int) -> None:
    figure(
        f"recovery beside a backfill, {venue}, {storm} x 429 with each cut: {len(outcome.back_s)} cuts, back within "
        f"{max(outcome.back_s):.2f} s, {answered} answers to the backfill"
    )


@pytest.mark.parametrize("venue", EVERY)
def test_the_live_path_recovers_while_a_backfill_is_at_the_limit(venue, figure):
    """Four cuts at a pace that meets all quarters of a minute."""
    made, answered = virtual.run(cuts_beside_a_backfill(venue, 4, 16.0, storm=0))
    told(figure, venue, made, answered, 0)
    assert made.wrong == []
    assert answered > 20
    assert max(made.back_s) <= 2.0


@pytest.mark.parametrize("venue", EVERY)
def test_the_live_path_recovers_when_both_are_answered_429(venue, figure):
    made, answered = virtual.run(cuts_beside_a_backfill(venue, 2, 76.0, storm=5))
    told(figure, venue, made, answered, 5)
    assert made.wrong == []
    assert answered > 20
    assert max(made.back_s) <= 5.0 + WINDOW_S.get(venue, 5.0)
