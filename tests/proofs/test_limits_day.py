"""Four clients of one address that always want more than is allowed, and limits that are halved at noon without a word: nobody is banned,
next to nothing is refused, and nine tenths of what is allowed can be used."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from faults.every_venue import EVERY, SPOT
from proofs import limit_worker
from proofs.limit_day import CLIENTS, run_day
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.server import EmulatorServer
from zvt_crypto.venues.clock import SystemClock

LONG = bool(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS"))
SECONDS = 86_400.0 if LONG else 1_800.0
# Bybit takes 600 requests in five seconds: the suite's half hour is played with a tenth of them.
SCALE = {} if LONG else {"bybit": 0.1}


@pytest.mark.prove
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("venue", EVERY)
def test_a_day_at_the_limit_which_is_halved_at_noon(venue, figure):
    day = virtual.run(run_day(venue, SECONDS, scale=SCALE.get(venue, 1.0)))
    before, after = day.halves
    figure(
        f"limits, {venue}: {SECONDS / 3600:g} h, {CLIENTS} clients, {day.asked} requests, {day.refused} answered 429 "
        f"({day.refused / day.asked:.4%}), {len(day.bans)} bans, used {before.usable:.1%} of the budget before the halving and "
        f"{after.usable:.1%} after ({before.served / before.allowed:.1%} and {after.served / after.allowed:.1%} of what is allowed)"
    )
    assert day.bans == [], "shut out, s"
    assert day.refused <= 0.001 * day.asked
    assert min(before.usable, after.usable) >= 0.9
    assert max(half.served / half.allowed for half in day.halves) <= 1.0


def test_a_halving_without_a_word_would_ban_who_plans_with_all_that_bybit_allows():
    """Why half of it is planned with; and the proof above would see a ban."""
    day = virtual.run(run_day("bybit", 60.0, scale=0.1, plan=2.0))
    assert len(day.bans) == 1
    assert 30.0 <= day.bans[0] < 36.0


async def together(venue: str, seconds: float, folder: Path) -> list[dict[str, Any]]:
    """Four processes at one emulator: what each of them says it did."""
    dialect = DIALECTS[venue](MarketWorld(1, (SPOT,), start_ns=SystemClock().now_ns(), events_per_s=0.1, history_days=1))
    server = EmulatorServer(dialect)
    rest, ws = await server.start()
    command = [sys.executable, limit_worker.__file__, venue, rest, ws, str(folder / f"{venue}.json"), str(seconds)]
    pipe = asyncio.subprocess.PIPE
    workers = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(CLIENTS)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert (await worker.stdout.readline()).strip() == b"ready"
        return [json.loads(out) for out, _ in await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))]
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
        await server.stop()


def usable(told: list[dict[str, Any]], seconds: float) -> float:
    """The share of our budget that they used together: of all windows that they met, where windows begin by the clock."""
    limit, window_ms, slides = told[0]["stated"]
    began_ms = min(one["began_ms"] for one in told)
    ended_ms = began_ms + int(seconds * 1_000)
    windows = (ended_ms - began_ms) / window_ms if slides else ended_ms // window_ms - began_ms // window_ms + 1
    return float(sum(one["weight"] for one in told) / (limit * windows))


@pytest.mark.alone
@pytest.mark.prove
@pytest.mark.timeout(7_200)
async def test_four_processes_that_share_a_table_are_never_banned(tmp_path, figure):
    """Over real sockets. How much they used is told, and asserted of the long run only: seconds are too few, and a machine may be busy."""
    venues = EVERY if LONG else tuple(venue for venue in EVERY if venue == "coinbase")
    seconds = 600.0 if LONG else 8.0
    made = await asyncio.gather(*(together(venue, seconds, tmp_path) for venue in venues))
    shares = {}
    for venue, told in zip(venues, made, strict=True):
        count = {name: sum(one[name] for one in told) for name in ("asked", "served", "refused", "shut_out")}
        shares[venue] = usable(told, seconds)
        figure(
            f"limits, {CLIENTS} processes, {venue}: {seconds:g} s, {count['asked']} requests, {count['refused']} answered 429 "
            f"({count['refused'] / count['asked']:.4%}), {count['shut_out']} of a ban, used {shares[venue]:.1%} of the budget"
        )
        assert count["shut_out"] == 0
        assert count["refused"] <= max(1, 0.001 * count["asked"])
        assert count["served"] >= CLIENTS * 4
    assert not LONG or min(shares.values()) >= 0.9, shares
