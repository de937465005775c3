"""One book message lost, doubled or overtaken, at every position of the first thousand, at every exchange: told with the next message,
never a wrong level served, and whole again within a second."""

from __future__ import annotations

import os

import pytest

from faults.every_venue import EVERY
from proofs.book_watch import LEVELS, Verdict, bent_at
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot
from zvt_crypto.engine.book import Book

MESSAGES, STEP = 1_000, 40
MOST_S = 1.0
# Runs with a fault at each fortieth message, beginning with this one: the suite takes one run a book, `make prove` all forty.
OFFSETS = range(STEP) if os.environ.get("ZVT_CRYPTO_PROVE_SEEDS") else range(1)
BOOKS = [(venue, which) for venue in EVERY for which in ("pair", "perp")]


def joined(venue: str, which: str, kind: str) -> list[Verdict]:
    return [bent_at(venue, which, kind, range(offset, MESSAGES, STEP), seed=1 + offset) for offset in OFFSETS]


def told(what: str, runs: list[Verdict]) -> str:
    faults = [fault for run in runs for fault in run.faults]
    return (
        f"{what}: {len(faults)} positions, {sum(run.wrong for run in runs)} wrong of {sum(run.compared for run in runs)} books of {LEVELS} "
        f"levels compared, slowest back {max(fault.back_s for fault in faults):.3f} s"
    )


def never_wrong_and_back_in_time(runs: list[Verdict], positions: int) -> None:
    faults = [fault for run in runs for fault in run.faults]
    assert sorted(fault.position for fault in faults) == sorted(p for offset in OFFSETS for p in range(offset, MESSAGES, STEP))
    assert len(faults) == positions
    for run in runs:
        assert run.wrong == 0
        assert run.unknown <= run.snapshots
        assert run.compared > 0.85 * run.messages
    assert all(fault.back_s is not None and fault.back_s <= MOST_S for fault in faults)


@pytest.mark.prove
@pytest.mark.parametrize(("venue", "which"), BOOKS)
def test_a_lost_message_is_told_with_the_next_one(venue, which, figure):
    runs = joined(venue, which, "drop")
    figure(told(f"book messages lost, {venue} {which}", runs))
    never_wrong_and_back_in_time(runs, len(OFFSETS) * MESSAGES // STEP)
    for fault in (fault for run in runs for fault in run.faults):
        if fault.found_valid:
            assert fault.told_late_ns is not None, f"position {fault.position} was never told"
            assert fault.told_late_ns <= 0, f"position {fault.position} was told {fault.told_late_ns} ns after the next message"


@pytest.mark.prove
@pytest.mark.parametrize("kind", ["duplicate", "reorder"])
@pytest.mark.parametrize(("venue", "which"), BOOKS if len(OFFSETS) > 1 else BOOKS[::2])
def test_a_doubled_or_overtaken_message_does_no_harm(venue, which, kind, figure):
    runs = joined(venue, which, kind)
    figure(told(f"book messages {'doubled' if kind == 'duplicate' else 'overtaken'}, {venue} {which}", runs))
    never_wrong_and_back_in_time(runs, len(OFFSETS) * MESSAGES // STEP)


@pytest.mark.parametrize("venue", EVERY)
def test_a_first_snapshot_that_is_lost_is_asked_for_with_the_next_message(venue):
    run = bent_at(venue, "pair", "drop", [0])
    (fault,) = run.faults
    assert not fault.found_valid
    assert fault.back_s <= MOST_S
    assert run.wrong == 0


class DeafBook(Book):
    """What a reader has who takes every delta and hears no loss."""

    def apply_event(self, event: BookEvent) -> None:
        if isinstance(event, BookDelta) or (isinstance(event, BookSnapshot) and not self.is_valid):
            super().apply_event(event)


def test_a_wrong_book_would_be_seen(monkeypatch):
    monkeypatch.setattr("proofs.book_watch.Book", DeafBook)
    assert bent_at("binance", "pair", "drop", [20, 60]).wrong > 0
