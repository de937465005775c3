"""Books rebuilt from what Binance sent, held against its own bookTicker; and faults, planted or made by deleting lines, found at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.engine_recordings import FIXTURES, INSTRUMENT, BestRow, depth_recording, depth_rows
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import Interval, floor_ns
from zvt_crypto.engine.book import Book, BookSync, Continuity
from zvt_crypto.venues.binance.book import SpotContinuity, UsdmContinuity

Message = BookDelta | BookSnapshot
HFT = "hftbacktest/examples"


def replay(messages: list[Message], rule: Continuity) -> tuple[dict[int, BestRow], int, int]:
    """(best bid and ask by update id of a book that follows the events, how often it was stale, deltas given out)."""
    sync, book = BookSync(INSTRUMENT, rule), Book(INSTRUMENT)
    best: dict[int, BestRow] = {}
    stale = given_out = 0
    for message in messages:
        events = sync.on_snapshot(message) if isinstance(message, BookSnapshot) else sync.on_delta(message)
        for event in events:
            book.apply_event(event)
            stale += isinstance(event, BookStale)
            given_out += isinstance(event, BookDelta)
            if book.is_valid:
                bid, ask = book.best()
                assert bid is not None
                assert ask is not None
                best[book.last_id] = (*bid, *ask)
    return best, stale, given_out


def agreement(best: dict[int, BestRow], quotes: dict[int, BestRow]) -> tuple[int, int]:
    """(update ids that both know, those of them with equal best bid, ask and sizes)."""
    both = best.keys() & quotes.keys()
    return len(both), sum(best[i] == quotes[i] for i in both)


@pytest.mark.parametrize("name, rule", [("spot_btcusdt", SpotContinuity()), ("usdm_ethusdt", UsdmContinuity())])
def test_excerpt_rebuilds_to_the_exchanges_best_quotes(name: str, rule: Continuity) -> None:
    messages, quotes = depth_recording(FIXTURES / f"{name}.gz")
    best, stale, _ = replay(messages, rule)
    both, equal = agreement(best, quotes)
    assert (stale, both) == (0, equal)
    assert both >= 15


@pytest.mark.data
def test_spot_book_equals_book_ticker_at_every_equal_update_id_over_midnight(recorded: Path) -> None:
    days = [recorded / HFT / "spot" / f"btcusdt_2024080{day}.gz" for day in (8, 9)]
    messages, quotes = depth_recording(*days)
    best, stale, given_out = replay(messages, SpotContinuity())
    assert agreement(best, quotes) == (1072, 1072)
    assert (stale, given_out) == (0, 6493)


@pytest.mark.data
def test_usdm_book_equals_book_ticker_at_every_equal_update_id(recorded: Path) -> None:
    messages, quotes = depth_recording(recorded / HFT / "usdm" / "ethusdt_20240808.gz")
    best, stale, _ = replay(messages, UsdmContinuity())
    both, equal = agreement(best, quotes)
    assert (stale, both) == (0, equal)
    assert both >= 188


def unnoticed(messages: list[Message], rule: Continuity) -> tuple[int, list[int]]:
    """(lines deleted, those whose loss the next message did not show): each line once, from the state just before it.

    The state that continuity is judged from is the last id alone, so a book that has just taken the message before stands for the
    whole replay; `test_a_deleted_line_...` replays some of them in full.
    """
    snapshot = next(m for m in messages if isinstance(m, BookSnapshot))
    deltas = [m for m in messages if isinstance(m, BookDelta) and m.last_id > snapshot.last_id]
    missed = []
    for before, deleted, after in zip(deltas, deltas[1:], deltas[2:], strict=False):
        sync = BookSync(INSTRUMENT, rule)
        sync.on_delta(before)
        assert sync.on_snapshot(BookSnapshot(INSTRUMENT, before.last_id, [], [], 0))
        assert sync.book.is_valid
        events = sync.on_delta(after)
        told = [type(event) for event in events] == [BookStale] and events[0].event_ns == after.event_ns
        if not told or sync.book.is_valid or sync.book.top(1) != ([], []):
            missed.append(deleted.last_id)
    return len(deltas) - 2, missed


@pytest.mark.parametrize("name, rule", [("spot_btcusdt", SpotContinuity()), ("usdm_ethusdt", UsdmContinuity())])
def test_any_line_deleted_from_an_excerpt_shows_on_the_next_message(name: str, rule: Continuity) -> None:
    messages, _ = depth_recording(FIXTURES / f"{name}.gz")
    lines, missed = unnoticed(messages, rule)
    assert missed == []
    assert lines >= 200


@pytest.mark.data
@pytest.mark.parametrize(
    "files, rule, lines",
    [(("spot/btcusdt_20240808", "spot/btcusdt_20240809"), SpotContinuity(), 6491), (("usdm/ethusdt_20240808",), UsdmContinuity(), 6578)],
)
def test_any_line_deleted_shows_on_the_next_message(recorded: Path, files: tuple[str, ...], rule: Continuity, lines: int) -> None:
    messages, _ = depth_recording(*(recorded / HFT / f"{file}.gz" for file in files))
    assert unnoticed(messages, rule) == (lines, [])


@pytest.mark.parametrize("name, rule", [("spot_btcusdt", SpotContinuity()), ("usdm_ethusdt", UsdmContinuity())])
@pytest.mark.parametrize("deleted", [60, 61, 100, 170, 240])
def test_a_deleted_line_leaves_the_book_stale_until_a_snapshot_and_equal_to_the_exchange_after_it(
    name: str, rule: Continuity, deleted: int
) -> None:
    messages, quotes = depth_recording(FIXTURES / f"{name}.gz")
    undisturbed = BookSync(INSTRUMENT, rule)
    sync = BookSync(INSTRUMENT, rule)
    best: dict[int, BestRow] = {}
    for index, message in enumerate(messages):
        if isinstance(message, BookSnapshot):
            undisturbed.on_snapshot(message)
            sync.on_snapshot(message)
            continue
        undisturbed.on_delta(message)
        events = sync.on_delta(message) if index != deleted else []
        if index == deleted + 1:
            assert [type(event) for event in events] == [BookStale]
        if deleted < index <= deleted + 5:
            assert not sync.book.is_valid
        if index == deleted + 5:
            # What the exchange would answer now: the whole book at its newest id.
            bids, asks = undisturbed.book.top(100_000)
            assert sync.on_snapshot(BookSnapshot(INSTRUMENT, undisturbed.book.last_id, bids, asks, 0))
        if sync.book.is_valid and index > deleted:
            bid, ask = sync.book.best()
            assert bid is not None
            assert ask is not None
            best[sync.book.last_id] = (*bid, *ask)
    assert sync.book.top(100_000) == undisturbed.book.top(100_000)
    both, equal = agreement(best, quotes)
    assert both == equal


def faults(messages: list[BookDelta]) -> list[tuple[int, str]]:
    """(index, what) of every message that does not continue, holds a price that is none, or is not of the day of its file."""
    day = floor_ns(Interval.DAY_1, messages[0].recv_ns)
    found: list[tuple[int, str]] = []
    sync = BookSync(INSTRUMENT, SpotContinuity())
    for index, message in enumerate(messages):
        if floor_ns(Interval.DAY_1, message.event_ns) != day:
            found.append((index, "time"))
        if not sync.book.is_valid:
            # The recording has no snapshot: an empty one stands in front of it, and behind every fault.
            sync.on_snapshot(BookSnapshot(INSTRUMENT, message.first_id - 1, [], [], 0))
        events = sync.on_delta(message)
        reasons = [event.reason for event in events if isinstance(event, BookStale)]
        if reasons or not sync.book.is_valid:
            found.append((index, "gap" if reasons and reasons[0].startswith("gap") else "price"))
            sync.reset("next", 0)
    return found


def differing(clean: list[BookDelta], planted: list[BookDelta]) -> list[int]:
    assert len(clean) == len(planted)
    return [index for index, (a, b) in enumerate(zip(clean, planted, strict=True)) if a != b]


def test_planted_faults_of_the_excerpt_are_found_exactly_where_the_twins_differ() -> None:
    clean, planted = depth_rows(FIXTURES / "trxusdt_positive.csv"), depth_rows(FIXTURES / "trxusdt_negative.csv")
    assert faults(clean) == []
    assert faults(planted) == [(0, "time"), (0, "price"), (3, "gap")]
    assert differing(clean, planted) == [0, 3]


@pytest.mark.data
def test_planted_faults_are_found_exactly_where_the_twins_differ(recorded: Path) -> None:
    folder = recorded / "binance_data_processor"
    clean, planted = (depth_rows(next(folder.glob(f"test_{kind}_*.csv"))) for kind in ("positive", "negative"))
    assert faults(clean) == []
    # A time of zero and a price below zero; an id that skips one; a last row of the next day.
    last = len(planted) - 1
    assert faults(planted) == [(0, "time"), (0, "price"), (3, "gap"), (last, "time")]
    assert differing(clean, planted) == [0, 3, last]
