"""Live state holds the newest of everything, and gives only bars that follow each other without a hole."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores_fixtures import MINUTE, PAIR, PERP, START, bar, trade
from zvt_crypto.domain.events import StreamStatus
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, BookStale, Kline, Ticker
from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.live.bars import RecentBars

MIN_1 = Interval.MIN_1


@pytest.fixture
def live() -> MemoryLiveState:
    return MemoryLiveState()


def applied(*events: object) -> MemoryLiveState:
    live = MemoryLiveState()
    for event in events:
        live.apply(event)
    return live


def newest(live: MemoryLiveState, limit: int = 100) -> list[Kline]:
    return live.klines(PAIR.id, MIN_1, limit)


def test_nothing_is_known_at_first(live):
    assert live.book(PAIR.id) is live.ticker(PAIR.id) is live.last_trade(PAIR.id) is live.forming(PAIR.id, MIN_1) is None
    assert newest(live) == []


def test_bars_come_oldest_first_and_the_forming_one_last():
    live = applied(bar(0), bar(1), bar(2, final=False, close=100.1), bar(2, final=False, close=100.2))
    assert newest(live) == [bar(0), bar(1), bar(2, final=False, close=100.2)]
    assert newest(live, 2) == [bar(1), bar(2, final=False, close=100.2)]
    assert newest(live, 1) == [live.forming(PAIR.id, MIN_1)]
    assert newest(live, 0) == []


def test_a_final_bar_ends_the_forming_one_and_a_late_forming_one_is_ignored():
    live = applied(bar(0), bar(1, final=False), bar(1), bar(1, final=False), bar(0, final=False))
    assert newest(live) == [bar(0), bar(1)]
    assert live.forming(PAIR.id, MIN_1) is None


def test_only_the_run_without_a_hole_is_given():
    assert newest(applied(bar(0), bar(1), bar(3), bar(4))) == [bar(3), bar(4)]
    assert newest(applied(bar(0), bar(2, final=False))) == [bar(2, final=False)]


def test_a_hole_that_is_filled_joins_the_runs():
    assert newest(applied(bar(0), bar(1), bar(3), bar(2))) == [bar(0), bar(1), bar(2), bar(3)]
    assert newest(applied(bar(0), bar(3), bar(2))) == [bar(2), bar(3)]


def test_a_better_source_replaces_and_a_lesser_one_does_not():
    built, told = bar(0, source="trades", close=100.5), bar(0)
    assert newest(applied(built, told)) == newest(applied(told, built)) == [told]
    assert newest(applied(bar(0, close=100.5), told)) == [told]


def test_a_forming_bar_of_a_lesser_source_does_not_replace():
    told, built = bar(0, final=False), bar(0, final=False, source="trades")
    assert newest(applied(told, built)) == newest(applied(built, told)) == [told]


def test_at_most_1500_finals_are_held():
    live = applied(*(bar(n) for n in range(1_600)), bar(1_600, final=False))
    assert newest(live, 10_000) == [*(bar(n) for n in range(100, 1_600)), bar(1_600, final=False)]


def test_months_follow_each_other_by_the_calendar():
    months = (1704067200, 1706745600, 1709251200)  # January, February (29 days), March 2024
    rows = [bar(interval=Interval.MONTH_1, open_ns=at * 1_000_000_000) for at in months]
    assert applied(*rows).klines(PAIR.id, Interval.MONTH_1, 10) == rows


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 12))
def test_any_order_gives_the_same_run_as_a_plain_reading(minutes, most):
    """The reference: sort what the last `most` distinct opens are, walk back from the newest while minutes are adjacent."""
    bars = RecentBars(MIN_1, most)
    held: set[int] = set()
    for minute in minutes:
        bars.apply(bar(minute))
        held.add(minute)
        held = set(sorted(held)[-most:])
    run: list[int] = []
    for minute in sorted(held, reverse=True):
        if run and run[-1] != minute + 1:
            break
        run.append(minute)
    assert bars.newest(100) == [bar(minute) for minute in reversed(run)]


def test_instruments_and_intervals_do_not_mix():
    hour = bar(interval=Interval.HOUR_1, open_ns=START // (60 * MINUTE) * 60 * MINUTE)
    live = applied(bar(0), bar(0, instrument=PERP.id, close=100.7), hour)
    assert newest(live) == [bar(0)]
    assert live.klines(PAIR.id, Interval.HOUR_1, 5) == [hour]


def test_tickers_and_trades_keep_the_newest_by_event_time():
    rows = [trade(n) for n in range(5)]
    random.Random(3).shuffle(rows)
    live = applied(*rows)
    assert live.last_trade(PAIR.id) == trade(4)
    ticker = Ticker(PAIR.id, 1.0, None, None, None, None, None, None, None, 10)
    live = applied(ticker, msgspec.structs.replace(ticker, price=2.0, event_ns=9))
    assert live.ticker(PAIR.id) == ticker


def test_a_time_that_was_wrong_does_not_hold_the_price_for_long():
    """The frame's own check lets a little ahead pass: what comes later is then believed by when it came."""
    second = 1_000_000_000
    wrong = msgspec.structs.replace(trade(1), price=1e9, event_ns=START + 500 * second, recv_ns=START)
    right = [msgspec.structs.replace(trade(2), event_ns=START + n * second, recv_ns=START + n * second) for n in (1, 10, 11, 12)]
    assert applied(wrong, *right[:2]).last_trade(PAIR.id) == wrong
    assert applied(wrong, *right[:3]).last_trade(PAIR.id) == right[2]
    assert applied(wrong, *right).last_trade(PAIR.id) == right[3]


def test_a_book_is_valid_from_its_snapshot_until_it_is_stale():
    live = applied(BookDelta(PAIR.id, 1, 1, None, [(99.0, 1.0)], [], 1))
    assert not live.book(PAIR.id).is_valid
    live.apply(BookSnapshot(PAIR.id, 5, [(99.0, 1.0)], [(100.0, 2.0)], 2))
    live.apply(BookDelta(PAIR.id, 6, 6, None, [(99.5, 3.0)], [], 3))
    book = live.book(PAIR.id)
    assert (book.is_valid, book.last_id, book.top(1)) == (True, 6, ([(99.5, 3.0)], [(100.0, 2.0)]))
    live.apply(BookStale(PAIR.id, "gap", 4))
    assert not live.book(PAIR.id).is_valid


def test_other_events_change_nothing(live):
    live.apply(BestQuote(PAIR.id, 1, 1.0, 1.0, 2.0, 1.0, 1))
    live.apply(StreamStatus("binance", "spot 1", "live", "", 1))
    assert live.book(PAIR.id) is None
