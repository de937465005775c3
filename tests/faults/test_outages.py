"""Connections cut, closed and half open at random, at every exchange: books valid and trades complete within five seconds, what the exchange
does not give again flagged exactly, every minute true."""

from __future__ import annotations

import asyncio
import os

import pytest

from faults.every_venue import EVERY
from faults.outages import Outcome, outages
from faults.venue_live import VenueLive
from zvt_crypto.emulator import virtual

LONG = bool(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS"))
# Faults in all: the suite takes a sample, `make prove` 500 on virtual time and more than 50 on the machine's.
RUNS, A_RUN = (-(-500 // (len(EVERY) * 2 * 12)), 12) if LONG else (1, 3)
REAL_A_VENUE = -(-56 // len(EVERY)) if LONG else 1
MOST_S = 5.0


def figures(what: str, made: list[Outcome]) -> str:
    times = sorted(t for one in made for t in one.back_s)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    lost, gaps = sum(one.lost for one in made), sum(one.gaps for one in made)
    return (
        f"{what}: {len(times)} faults, back after {p99:.2f} s p99, {times[-1]:.2f} s at most; {sum(one.trades for one in made)} trades, "
        f"{lost} the exchange does not give again, all within {gaps} gaps flagged; {sum(one.minutes for one in made)} minutes; "
        f"{sum(len(one.wrong) for one in made)} wrong or missing"
    )


@pytest.mark.prove
@pytest.mark.parametrize("venue", EVERY)
def test_after_each_outage_all_is_back_in_five_seconds_once_in_order_and_true(venue, figure):
    made: list[Outcome] = []
    for seed in range(1, RUNS + 1):
        for which in ("pair", "perp"):

            async def go(seed: int = seed, which: str = which) -> Outcome:
                return await outages(VenueLive(venue, seed, which), A_RUN)  # type: ignore[arg-type]

            made.append(virtual.run(go()))
    figure(figures(f"outages, {venue}", made))
    assert [wrong for one in made for wrong in one.wrong] == []
    assert len([t for one in made for t in one.back_s]) == RUNS * 2 * A_RUN
    assert max(t for one in made for t in one.back_s) <= MOST_S
    assert sum(one.minutes for one in made) >= 2 * RUNS


@pytest.mark.alone
@pytest.mark.prove
async def test_over_real_sockets_nothing_is_missed_either(figure):
    """All exchanges at once, each on ports of its own. How long it took is told, not asserted: the machine may be busy."""
    kinds = ("cut", "close", "half open") if LONG else ("cut", "close")
    pause_s = (4.0, 9.0) if LONG else (1.5, 2.0)
    lives = [VenueLive(venue, 1 + number, "pair", is_virtual=False) for number, venue in enumerate(EVERY)]
    warm_s = 120.0 if LONG else 4.0
    made = await asyncio.gather(*(outages(live, REAL_A_VENUE, pause_s=pause_s, kinds=kinds, real_warm_s=warm_s) for live in lives))
    figure(figures(f"outages over real sockets, {', '.join(EVERY)}", list(made)))
    assert [wrong for one in made for wrong in one.wrong] == []
    assert sum(one.trades for one in made) > 50 * len(made)
    assert all(one.lost == 0 or one.gaps for one in made)
