"""How far a book is known whose snapshot was cut: never served beyond it, renewed before it gets there, stale where it is past it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.engine_recordings import INSTRUMENT, BestRow, depth_recording
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Level
from zvt_crypto.engine.book import Book, BookSync, Continuity
from zvt_crypto.venues.binance.book import SpotContinuity, UsdmContinuity

HFT = "hftbacktest/examples/spot"
BIDS: list[Level] = [(100.0 - i, 1.0) for i in range(5)]  # 100 to 96
ASKS: list[Level] = [(101.0 + i, 1.0) for i in range(5)]  # 101 to 105


def delta(last: int, bids: list[Level], asks: list[Level] | None = None, prev: int | None = None) -> BookDelta:
    return BookDelta("x", last, last, prev, bids, asks or [], event_ns=last, recv_ns=last + 1)


def cut(last_id: int, bids: list[Level] = BIDS, asks: list[Level] = ASKS) -> BookSnapshot:
    return BookSnapshot("x", last_id, bids, asks, 0, 0, bids_to=bids[-1][0], asks_to=asks[-1][0])


def synced(*, known_least: int = 2, rule: Continuity | None = None) -> BookSync:
    """Of five levels a side, cut, at id 10."""
    sync = BookSync("x", rule or SpotContinuity(), known_least=known_least)
    sync.on_delta(delta(10, []))
    assert sync.on_snapshot(cut(10)) == [cut(10)]
    return sync


def test_levels_beyond_the_end_of_a_cut_snapshot_are_never_held() -> None:
    book = Book("x")
    book.load(cut(10))
    book.apply(delta(11, [(95.5, 7.0), (96.5, 7.0), (100.0, 0.0)], [(106.0, 7.0)]))
    assert book.top(9) == ([(99.0, 1.0), (98.0, 1.0), (97.0, 1.0), (96.5, 7.0), (96.0, 1.0)], ASKS)
    assert book.known() == 5


def test_a_side_that_ends_by_itself_is_known_whole() -> None:
    book = Book("x")
    book.load(BookSnapshot("x", 10, BIDS, ASKS, 0, 0, asks_to=105.0))
    book.apply(delta(11, [(90.0, 7.0)], [(110.0, 7.0)]))
    assert book.top(9) == ([*BIDS, (90.0, 7.0)], ASKS)
    book.apply(delta(12, [(price, 0.0) for price, _ in book.top(9)[0]]))
    assert (book.is_valid, book.best()[0], book.known()) == (True, None, 5)


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_best_price_beyond_the_end_makes_the_book_stale_with_the_reason(side: str) -> None:
    sync = synced(known_least=0)
    gone = [(price, 0.0) for price, _ in (BIDS if side == "bid" else ASKS)]
    made = sync.on_delta(delta(11, gone) if side == "bid" else delta(11, [], gone))
    end = 96.0 if side == "bid" else 105.0
    assert made == [BookStale("x", f"the best {side} of update 11 lies beyond {end}, where the snapshot ended", 11, 12)]
    assert sync.wants_snapshot
    assert sync.book.top(9) == ([], [])
    assert sync.on_snapshot(cut(11)) == [cut(11)]


def test_the_next_snapshot_is_wanted_before_too_few_levels_are_known_and_the_book_goes_on() -> None:
    sync = synced(known_least=2)
    news = [delta(11, [(100.0, 0.0), (99.0, 0.0)]), delta(12, [(98.0, 0.0)]), delta(13, [(97.0, 0.0)])]
    assert sync.on_delta(news[0]) == [news[0]]
    assert not sync.wants_snapshot
    assert sync.on_delta(news[1]) == [news[1]]
    assert not sync.wants_snapshot  # two are left
    assert sync.on_delta(news[2]) == [news[2]]
    assert sync.wants_snapshot
    assert sync.book.is_valid
    assert sync.book.top(9)[0] == [(96.0, 1.0)]


LOWER: list[Level] = [(96.0, 1.0), (95.0, 2.0), (94.0, 2.0), (93.0, 2.0), (92.0, 2.0)]


def thin() -> BookSync:
    """One bid is left, at id 13."""
    sync = synced()
    for last, price in ((11, 100.0), (12, 99.0), (13, 98.0)):
        sync.on_delta(delta(last, [(price, 0.0), (97.0, 0.0)]))
    assert sync.wants_snapshot
    return sync


def test_a_snapshot_of_the_same_update_replaces_the_book_at_once() -> None:
    sync = thin()
    (whole,) = sync.on_snapshot(cut(13, LOWER))
    assert whole == BookSnapshot("x", 13, LOWER, ASKS, 0, 0, bids_to=92.0, asks_to=105.0)
    assert sync.book.top(9) == (LOWER, ASKS)
    assert not sync.wants_snapshot
    assert sync.on_delta(delta(14, [(91.0, 1.0), (95.5, 1.0)])) != []
    assert sync.book.top(3)[0] == [(96.0, 1.0), (95.5, 1.0), (95.0, 2.0)]


def test_an_older_snapshot_is_brought_up_to_the_update_that_the_book_has_reached() -> None:
    sync = thin()
    sync.on_delta(delta(14, [(95.0, 9.0)], [(101.0, 0.0)]))
    (whole,) = sync.on_snapshot(cut(13, LOWER))
    assert isinstance(whole, BookSnapshot)
    assert (whole.last_id, whole.event_ns, whole.recv_ns) == (14, 14, 15)
    assert whole.bids[:2] == [(96.0, 1.0), (95.0, 9.0)]
    assert whole.asks == ASKS[1:]
    assert sync.on_delta(delta(14, [(96.0, 0.0)])) == []  # told twice
    assert sync.book.best()[0] == (96.0, 1.0)


def test_a_newer_snapshot_waits_until_the_stream_has_come_as_far() -> None:
    sync = thin()
    assert sync.on_snapshot(cut(15, LOWER)) == []
    assert not sync.wants_snapshot
    first, second = delta(14, [(96.0, 3.0)]), delta(15, [(96.0, 4.0)])
    assert sync.on_delta(first) == [first]
    made = sync.on_delta(second)
    assert made[:-1] in ([second], [])
    assert made[-1] == BookSnapshot("x", 15, LOWER, ASKS, 0, 0, bids_to=92.0, asks_to=105.0)


def test_a_snapshot_from_before_it_was_wanted_is_refused_and_another_one_wanted() -> None:
    sync = thin()
    assert sync.on_snapshot(cut(9, LOWER)) == []
    assert sync.wants_snapshot
    assert sync.book.is_valid
    assert len(sync.on_snapshot(cut(13, LOWER))) == 1


def test_what_came_while_the_next_snapshot_was_asked_for_serves_a_book_that_broke_meanwhile() -> None:
    sync = thin()
    assert isinstance(sync.on_delta(delta(14, [(96.0, 0.0), (95.0, 5.0)]))[0], BookStale)
    made = sync.on_snapshot(cut(13, LOWER))
    assert made == [cut(13, LOWER), delta(14, [(96.0, 0.0), (95.0, 5.0)])]
    assert sync.book.best()[0] == (95.0, 5.0)


def test_a_newer_snapshot_takes_over_where_the_book_would_break() -> None:
    sync = thin()
    assert sync.on_snapshot(cut(14, LOWER[1:])) == []
    assert [type(event) for event in sync.on_delta(delta(14, [(96.0, 0.0)]))] == [BookSnapshot]
    assert sync.book.best()[0] == (95.0, 2.0)
    assert sync.book.is_valid


def test_a_gap_while_the_next_snapshot_is_asked_for_is_told_as_ever() -> None:
    sync = thin()
    (stale,) = sync.on_delta(delta(16, [(96.0, 9.0)]))
    assert isinstance(stale, BookStale)
    assert "gap after update 13" in stale.reason
    assert sync.on_snapshot(cut(15, LOWER)) == [cut(15, LOWER), delta(16, [(96.0, 9.0)])]


def test_a_reset_forgets_the_next_book_too() -> None:
    sync = thin()
    assert [type(event) for event in sync.reset("connection lost", 5)] == [BookStale]
    assert sync.wants_snapshot
    assert sync.on_delta(delta(31, [])) == []
    assert sync.on_snapshot(cut(30, LOWER)) == [cut(30, LOWER), delta(31, [])]


def test_usdm_takes_over_at_the_message_that_spans_the_snapshot() -> None:
    rule = UsdmContinuity()
    sync = BookSync("x", rule, known_least=2)
    sync.on_delta(BookDelta("x", 8, 12, 7, [], [], 0))
    assert sync.on_snapshot(cut(10)) != []
    sync.on_delta(BookDelta("x", 15, 20, 12, [(100.0, 0.0), (99.0, 0.0), (98.0, 0.0), (97.0, 0.0)], [], 0))
    assert sync.wants_snapshot
    assert sync.on_snapshot(cut(25, LOWER)) == []
    made = sync.on_delta(BookDelta("x", 22, 30, 20, [(96.0, 8.0)], [], 0))
    assert [type(event) for event in made] == [BookDelta, BookSnapshot]
    assert sync.book.best()[0] == (96.0, 8.0)


def test_a_snapshot_of_few_levels_is_not_asked_for_again_and_again() -> None:
    sync = synced(known_least=1_000)
    sync.on_delta(delta(11, [(100.0, 2.0), (99.0, 2.0), (98.0, 2.0)]))
    assert not sync.wants_snapshot


# ── A market that wanders ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_while_a_market_wanders_what_is_served_is_the_venues_own(seed: int) -> None:
    """Snapshots of 50 levels of a book of 4,000, answered some messages late: at every message all that is served is true."""
    chance = random.Random(seed)
    levels = {float(price): 1.0 for price in range(1, 4_001)}
    middle, last, asked = 2_000, 0, []
    sync, reader = BookSync("x", SpotContinuity(), known_least=20), Book("x")
    renewed = valid = 0

    def truth(depth: int) -> tuple[list[Level], list[Level]]:
        bids = sorted(((p, s) for p, s in levels.items() if p <= middle), reverse=True)
        return bids[:depth], sorted((p, s) for p, s in levels.items() if p > middle)[:depth]

    def take(events: list[BookEvent]) -> None:
        nonlocal renewed
        for event in events:
            renewed += isinstance(event, BookSnapshot) and reader.is_valid
            reader.apply_event(event)

    for _ in range(400):
        moved = min(3_900, max(100, middle + chance.randint(-9, 9) - (chance.random() < 0.01) * 90))
        bids, asks = _moved(levels, middle, moved, chance)
        middle, last = moved, last + 1
        take(sync.on_delta(delta(last, bids, asks)))
        if sync.wants_snapshot and not asked:
            asked.append((last + chance.randint(0, 3), cut(last, *truth(50))))
        while asked and asked[0][0] <= last:
            take(sync.on_snapshot(asked.pop(0)[1]))
        assert reader.is_valid == sync.book.is_valid
        valid += reader.is_valid
        if reader.is_valid:
            own, (true_bids, true_asks) = reader.top(999), truth(999)
            assert own == (true_bids[: len(own[0])], true_asks[: len(own[1])]), f"seed {seed} at {last}"
            assert min(map(len, own)) >= 1
    assert renewed >= 3, f"seed {seed}"
    assert valid > 350, f"seed {seed}"


def _moved(levels: dict[float, float], middle: int, moved: int, chance: random.Random) -> tuple[list[Level], list[Level]]:
    """Orders change near the middle, which moves: what was a bid above it is gone and an ask stands there, and the other way round."""
    bids = [(float(p), 0.0) for p in range(moved + 1, middle + 1)]
    asks = [(float(p), 0.0) for p in range(middle + 1, moved + 1)]
    bids += [(float(p), 2.0) for p in range(middle + 1, moved + 1)]
    asks += [(float(p), 2.0) for p in range(moved + 1, middle + 1)]
    bids += [(float(moved - chance.randint(0, 90)), float(chance.randint(1, 9))) for _ in range(8)]
    asks += [(float(moved + 1 + chance.randint(0, 90)), float(chance.randint(1, 9))) for _ in range(8)]
    levels.update({p: s for p, s in bids + asks if s > 0})
    return bids, asks


# ── Recorded spot BTCUSDT ─────────────────────────────────────────────────────────────────────────────────────────────


def _recorded(recorded: Path) -> tuple[list[BookDelta | BookSnapshot], dict[int, BestRow], BookSnapshot]:
    """The messages of two days, the exchange's own best quotes, and the snapshot as cut at its 1,000 levels."""
    messages, quotes = depth_recording(*(recorded / HFT / f"btcusdt_2024080{day}.gz" for day in (8, 9)))
    first = next(m for m in messages if isinstance(m, BookSnapshot))
    assert len(first.bids) == len(first.asks) == 1_000
    return messages, quotes, _cut(first.last_id, first.bids, first.asks)


def _cut(last_id: int, bids: list[Level], asks: list[Level]) -> BookSnapshot:
    return BookSnapshot(INSTRUMENT, last_id, bids, asks, 0, 0, bids[-1][0], asks[-1][0])


@pytest.mark.data
def test_recorded_prices_that_leave_the_snapshot_make_the_book_stale_and_nothing_beyond_it_is_ever_served(recorded: Path) -> None:
    messages, quotes, first = _recorded(recorded)
    whole, sync = BookSync(INSTRUMENT, SpotContinuity()), BookSync(INSTRUMENT, SpotContinuity())
    beyond = after = 0
    for message in messages:
        if isinstance(message, BookSnapshot):
            whole.on_snapshot(message)
            sync.on_snapshot(first)
            continue
        whole.on_delta(message)
        sync.on_delta(message)
        bid = whole.book.best()[0]
        beyond += bid is not None and bid[0] < first.bids[-1][0]
        after += whole.book.is_valid and not sync.book.is_valid
        if sync.book.is_valid:
            bids, asks = sync.book.top(5_000)
            assert bids[-1][0] >= first.bids[-1][0]
            assert asks[-1][0] <= first.asks[-1][0]
            if message.last_id in quotes:
                assert (*bids[0], *asks[0]) == quotes[message.last_id]
    assert beyond > 900
    assert after >= beyond  # stale from the first of them on, since no other snapshot comes
    assert sync.book.stale_reason is not None
    assert not sync.book.is_valid


@pytest.mark.data
def test_recorded_with_snapshots_to_be_had_the_book_is_always_valid_and_the_exchanges_own(recorded: Path) -> None:
    messages, quotes, first = _recorded(recorded)
    whole, sync, reader = BookSync(INSTRUMENT, SpotContinuity()), BookSync(INSTRUMENT, SpotContinuity()), Book(INSTRUMENT)
    renewals = stale = compared = 0
    fewest = 1_000
    for message in messages:
        if isinstance(message, BookSnapshot):
            whole.on_snapshot(message)
            events = sync.on_snapshot(first)
        else:
            whole.on_delta(message)
            events = sync.on_delta(message)
        if sync.wants_snapshot and sync.book.is_valid:
            renewals += 1
            events += sync.on_snapshot(_cut(whole.book.last_id, *whole.book.top(1_000)))
        for event in events:
            reader.apply_event(event)
            stale += isinstance(event, BookStale)
        if reader.is_valid and reader.last_id in quotes:
            compared += 1
            (bid, ask), known = reader.best(), reader.known()
            assert bid is not None
            assert ask is not None
            assert known is not None
            assert (*bid, *ask) == quotes[reader.last_id]
            fewest = min(fewest, known)
            assert reader.top(50) == whole.book.top(50)
    assert (stale, compared) == (0, 1072)
    assert 1 <= renewals <= 30
    assert fewest >= 180
