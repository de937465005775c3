"""Whatever arrives in place of a frame: an event that can be, or Malformed, and soon."""

from __future__ import annotations

import os

import pytest

from faults.every_venue import EVERY
from proofs.frame_fuzz import POOLS, fuzz

LONG = bool(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS"))
# tests/venues holds 12,000 to 20,000 frames of each exchange beside these.
SEEDS, FRAMES = (10, 100_000) if LONG else (1, 3_000)
MOST_CPU_S = 1.0  # a frame; the slowest that is real, a whole book, takes some 20 ms


def test_every_exchange_is_fuzzed():
    assert set(POOLS) >= set(EVERY)


@pytest.mark.prove
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("venue", EVERY)
def test_a_wrong_frame_gives_what_can_be_or_malformed(venue, figure):
    made = [fuzz(venue, FRAMES, seed) for seed in range(1, SEEDS + 1)]
    undeclared = [one for run in made for one in run.undeclared]
    frames, malformed = sum(run.frames for run in made), sum(run.malformed for run in made)
    slowest_s = max(run.slowest_s for run in made)
    figure(
        f"fuzz, {venue}: {frames} frames, {malformed} malformed, {sum(sum(run.events.values()) for run in made)} events, "
        f"{len(undeclared)} undeclared errors or impossible events, slowest {slowest_s * 1000:.1f} ms"
    )
    assert undeclared == []
    assert slowest_s < MOST_CPU_S
    assert frames == SEEDS * FRAMES
    assert 0.2 * frames < malformed < 0.95 * frames
