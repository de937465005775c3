"""Book: holds what it was told, best first, and knows when it cannot be right."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Level
from zvt_crypto.engine.book import Book


def snapshot(bids: list[Level], asks: list[Level], last_id: int = 10) -> BookSnapshot:
    return BookSnapshot("x", last_id, bids, asks, event_ns=1_000, recv_ns=1_001)


def delta(bids: list[Level], asks: list[Level], last_id: int = 11) -> BookDelta:
    return BookDelta("x", last_id, last_id, None, bids, asks, event_ns=2_000, recv_ns=2_001)


def loaded(bids: list[Level], asks: list[Level]) -> Book:
    book = Book("x")
    book.load(snapshot(bids, asks))
    return book


def test_is_not_valid_before_its_first_snapshot() -> None:
    book = Book("x")
    book.apply(delta([(1.0, 1.0)], []))
    assert not book.is_valid
    assert book.stale_reason == "no snapshot yet"
    assert book.best() == (None, None)
    assert book.top(5) == ([], [])


def test_sorts_both_sides_best_first_whatever_the_order_given() -> None:
    book = loaded([(98.0, 1.0), (99.0, 2.0), (97.0, 3.0)], [(103.0, 1.0), (101.0, 2.0), (102.0, 3.0)])
    assert book.best() == ((99.0, 2.0), (101.0, 2.0))
    assert book.top(2) == ([(99.0, 2.0), (98.0, 1.0)], [(101.0, 2.0), (102.0, 3.0)])
    assert book.top(9) == ([(99.0, 2.0), (98.0, 1.0), (97.0, 3.0)], [(101.0, 2.0), (102.0, 3.0), (103.0, 1.0)])
    assert book.top(0) == book.top(-1) == ([], [])


def test_a_delta_sets_adds_and_removes_levels_and_carries_its_ids_and_times() -> None:
    book = loaded([(99.0, 2.0), (98.0, 1.0)], [(101.0, 2.0)])
    book.apply(delta([(99.0, 0.0), (98.0, 7.0), (98.5, 1.0)], [(100.5, 4.0)], last_id=12))
    assert book.top(9) == ([(98.5, 1.0), (98.0, 7.0)], [(100.5, 4.0), (101.0, 2.0)])
    assert (book.last_id, book.event_ns, book.recv_ns) == (12, 2_000, 2_001)


def test_removing_a_level_that_it_does_not_hold_is_normal() -> None:
    book = loaded([(99.0, 2.0)], [(101.0, 2.0)])
    book.apply(delta([(50.0, 0.0)], [(150.0, 0.0)]))
    assert book.is_valid
    assert book.top(9) == ([(99.0, 2.0)], [(101.0, 2.0)])


def test_a_level_told_twice_in_one_message_has_the_last_size() -> None:
    book = loaded([(99.0, 2.0)], [(101.0, 2.0)])
    book.apply(delta([(98.0, 5.0), (98.0, 6.0)], [(102.0, 5.0), (102.0, 0.0)]))
    assert book.top(9) == ([(99.0, 2.0), (98.0, 6.0)], [(101.0, 2.0)])


def test_an_emptied_side_has_no_best_and_is_not_crossed() -> None:
    book = loaded([(99.0, 2.0)], [(101.0, 2.0)])
    book.apply(delta([], [(101.0, 0.0)]))
    assert book.is_valid
    assert book.best() == ((99.0, 2.0), None)


@pytest.mark.parametrize("bid", [101.0, 101.5])
def test_a_bid_at_or_above_the_best_ask_makes_it_stale_and_empty(bid: float) -> None:
    book = loaded([(99.0, 2.0)], [(101.0, 2.0)])
    book.apply(delta([(bid, 1.0)], [], last_id=77))
    assert not book.is_valid
    assert book.stale_reason == f"crossed at update 77: bid {bid} at or above ask 101.0"
    assert book.top(5) == ([], [])


def test_a_crossed_snapshot_is_not_valid() -> None:
    assert not loaded([(101.0, 2.0)], [(100.0, 2.0)]).is_valid


@pytest.mark.parametrize("price", [math.nan, -1.0, 0.0, math.inf])
def test_refuses_a_price_that_is_none(price: float) -> None:
    for bids, asks in (([(price, 1.0)], []), ([], [(price, 1.0)])):
        book = loaded([(99.0, 2.0)], [(101.0, 2.0)])
        book.apply(delta(bids, asks, last_id=5))
        assert not book.is_valid
        assert book.stale_reason == "update 5 holds a price that is none"
        assert not loaded([(99.0, 2.0), *bids], [(101.0, 2.0), *asks]).is_valid


@pytest.mark.parametrize("price", [math.nan, -1.0, 0.0, math.inf])
def test_refuses_a_price_that_is_none_where_the_side_is_full_too(price: float) -> None:
    for bids, asks in (([(price, 1.0)], []), ([], [(price, 1.0)])):
        book = Book("x", max_levels=2)
        book.load(snapshot([(99.0, 2.0), (98.0, 1.0)], [(101.0, 2.0), (102.0, 1.0)]))
        book.apply(delta(bids, asks, last_id=5))
        assert book.stale_reason == "update 5 holds a price that is none"


@pytest.mark.parametrize("size", [math.nan, -1.0])
def test_a_size_that_is_none_is_never_served(size: float) -> None:
    book = loaded([(99.0, 2.0), (98.0, 1.0)], [(101.0, 2.0)])
    book.apply(delta([(99.0, size), (97.0, size)], []))
    assert book.top(9) == ([(98.0, 1.0)], [(101.0, 2.0)])
    assert loaded([(99.0, size), (98.0, 1.0)], []).top(9) == ([(98.0, 1.0)], [])


def test_marked_stale_it_holds_nothing_ignores_deltas_and_is_healed_by_a_snapshot() -> None:
    book = loaded([(99.0, 2.0)], [(101.0, 2.0)])
    book.apply_event(BookStale("x", "connection lost", 3_000))
    book.apply_event(delta([(98.0, 1.0)], []))
    assert (book.is_valid, book.stale_reason, book.event_ns) == (False, "connection lost", 3_000)
    assert book.best() == (None, None)
    book.apply_event(snapshot([(97.0, 1.0)], [], last_id=30))
    book.apply_event(delta([(96.0, 1.0)], [], last_id=31))
    assert (book.is_valid, book.stale_reason, book.last_id) == (True, None, 31)
    assert book.top(9) == ([(97.0, 1.0), (96.0, 1.0)], [])


def test_a_side_beyond_its_bound_forgets_its_farthest_quarter() -> None:
    book = Book("x", max_levels=100)
    book.load(snapshot([(1000.0 - i, 1.0) for i in range(100)], [(2000.0, 1.0)]))
    assert len(book.top(1_000)[0]) == 100
    book.apply(delta([(1001.0, 1.0)], []))
    assert book.top(1_000)[0] == [(1001.0 - i, 1.0) for i in range(75)]
    assert book.is_valid


def test_a_snapshot_beyond_the_bound_is_cut_at_once() -> None:
    book = Book("x", max_levels=40)
    book.load(snapshot([], [(1000.0 + i, 1.0) for i in range(60)]))
    assert book.top(1_000)[1] == [(1000.0 + i, 1.0) for i in range(30)]


class Model:
    """The same as plainly as can be: a dict a side, sorted when asked."""

    def __init__(self, first: BookSnapshot) -> None:
        self.bids, self.asks = dict(first.bids), dict(first.asks)

    def apply(self, news: BookDelta) -> None:
        for side, told in ((self.bids, news.bids), (self.asks, news.asks)):
            for price, size in told:
                if size > 0:
                    side[price] = size
                else:
                    side.pop(price, None)

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        return sorted(self.bids.items(), reverse=True)[:depth], sorted(self.asks.items())[:depth]


# Few prices that overlap in the middle, so that levels come, go, come back and cross.
_LEVELS = st.lists(st.tuples(st.integers(1, 30).map(float), st.sampled_from([0.0, 0.0, 1.0, 2.5])), max_size=6)


@given(st.lists(st.tuples(_LEVELS, _LEVELS), max_size=30))
def test_equals_a_plain_model_after_any_deltas_and_is_stale_exactly_when_that_is_crossed(
    news: list[tuple[list[Level], list[Level]]],
) -> None:
    first = snapshot([(14.0, 1.0), (13.0, 1.0)], [(16.0, 1.0)])
    book, model = loaded(first.bids, first.asks), Model(first)
    for bids, asks in news:
        book.apply(delta(bids, asks))
        model.apply(delta(bids, asks))
        if model.bids and model.asks and max(model.bids) >= min(model.asks):
            assert not book.is_valid
            return
        assert book.is_valid
        assert book.top(50) == model.top(50)
        assert book.best() == tuple(side[0] if side else None for side in model.top(1))


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_model_while_a_wide_book_wanders(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of levels, the middle moving far: the borders of what is kept at hand are crossed many times both ways."""
    monkeypatch.setattr("zvt_crypto.engine.side._NEAR", 4 if seed % 2 else 16)
    chance = random.Random(seed)
    first = snapshot([(5_000.0 - i, 1.0) for i in range(2_000)], [(5_001.0 + i, 1.0) for i in range(2_000)])
    book, model, middle = loaded(first.bids, first.asks), Model(first), 5_000
    for step in range(600):
        moved = min(9_000, max(1_000, middle + chance.randint(-40, 40)))
        bids = [(float(p), 0.0) for p in range(moved + 1, middle + 1)] + [(float(moved - chance.randint(0, 90)), 3.0) for _ in range(25)]
        asks = [(float(p), 0.0) for p in range(middle + 1, moved + 1)] + [
            (float(moved + 1 + chance.randint(0, 90)), 3.0) for _ in range(25)
        ]
        middle = moved
        book.apply(delta(bids, asks, last_id=step))
        model.apply(delta(bids, asks, last_id=step))
        assert book.is_valid, f"seed {seed} step {step}: {book.stale_reason}"
        if step % 10 == 0 or seed == 4:
            depth = chance.choice([1, 20, 31, 100, 300, 5_000])
            assert book.top(depth) == model.top(depth), f"seed {seed} step {step} depth {depth}"
