"""The crowd and the past: plausible, seeded, and the same every time."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from zvt_crypto.sim.chance import Chance, generator
from zvt_crypto.sim.crowd import Crowd, Temper
from zvt_crypto.sim.matching import Fill, MatchingBook
from zvt_crypto.sim.past import DAY_NS, MINUTE_NS, Past


def trade(seed: int, events: int) -> tuple[Crowd, MatchingBook, list[Fill]]:
    book = MatchingBook()
    crowd = Crowd(book, Chance(generator(seed, "crowd")), Temper(10.0), 6_000_000, 0)
    fills: list[Fill] = []
    for _ in range(events):
        fills += crowd.act()
    return crowd, book, fills


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_market_has_two_sides_and_trades_near_its_fair_price(seed: int) -> None:
    crowd, book, fills = trade(seed, 5_000)
    bid, ask = book.best("buy"), book.best("sell")
    assert bid is not None
    assert ask is not None
    assert bid < ask
    assert min(len(book.top("buy", 100)), len(book.top("sell", 100))) >= 20
    assert len(fills) > 500
    assert abs(fills[-1].price - crowd.fair) / crowd.fair < 0.005


def test_the_rate_of_events_is_about_the_one_asked_for() -> None:
    crowd, _, _ = trade(4, 20_000)
    assert 20_000 / (crowd.next_ns / 1e9) == pytest.approx(10, rel=0.25)


def test_activity_comes_in_bursts() -> None:
    """Waiting times spread wider than those of a constant rate, whose deviation equals their mean."""
    book = MatchingBook()
    crowd = Crowd(book, Chance(generator(5, "crowd")), Temper(10.0), 6_000_000, 0)
    waits = []
    for _ in range(20_000):
        before = crowd.next_ns
        crowd.act()
        waits.append(crowd.next_ns - before)
    assert statistics.stdev(waits) > 1.02 * statistics.mean(waits)


def test_resting_orders_are_bounded() -> None:
    _, book, _ = trade(6, 30_000)
    assert len(book) <= 900


def past(days: int = 3, seed: int = 9) -> Past:
    return Past(
        lambda day: generator(seed, "past", day), days=days, end_ns=100 * DAY_NS, end_price=50_000, end_id=1_000_000, trades_per_minute=4
    )


def test_the_past_ends_where_the_present_begins() -> None:
    last = past().day(2)
    assert last.price[-1] == 50_000
    assert last.first_id + len(last.price) == 1_000_000
    assert last.time_ns[-1] < 100 * DAY_NS


def test_days_join_without_a_hole_in_ids_or_time() -> None:
    days = [past().day(index) for index in range(3)]
    for before, after in pairwise(days):
        assert before.first_id + len(before.price) == after.first_id
        assert before.open_ns + DAY_NS == after.open_ns


def test_trades_stand_in_order_and_in_their_minutes() -> None:
    day = past().day(1)
    assert (day.time_ns[1:] >= day.time_ns[:-1]).all()
    for minute in range(0, 1440, 97):
        within = day.time_ns[day.starts[minute] : day.starts[minute + 1]]
        assert ((within - day.open_ns) // MINUTE_NS == minute).all()


def test_a_day_is_the_same_in_whatever_order_days_are_asked_for() -> None:
    forwards, backwards = past(), past()
    a = [forwards.day(index).price.tolist() for index in range(3)]
    b = [backwards.day(index).price.tolist() for index in (2, 1, 0)]
    assert a == b[::-1]


def test_some_minutes_are_empty_but_never_a_days_first_or_last() -> None:
    day = past().day(0)
    counts = day.starts[1:] - day.starts[:-1]
    assert (counts == 0).any()
    assert counts[0] > 0
    assert counts[-1] > 0


def test_another_seed_is_another_past() -> None:
    assert past(seed=1).day(0).price.tolist() != past(seed=2).day(0).price.tolist()
