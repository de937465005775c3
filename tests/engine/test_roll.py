"""Roll: longer klines from shorter ones, final only when all they are made of is."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import FIXED_NS, NS_PER_DAY, NS_PER_MINUTE, Interval, floor_ns, from_datetime, next_ns
from zvt_crypto.engine.bars import ROLL_BASE, Roll, roll_up

HOUR = from_datetime(dt.datetime(2024, 2, 28, 10, tzinfo=dt.UTC))


def minute(
    at: int, price: float = 10.0, volume: float = 1.0, *, final: bool = True, high: float | None = None, low: float | None = None
) -> Kline:
    """The minute `at` minutes after HOUR: open = close = price."""
    trades = 2 if volume else 0
    return Kline(
        "x",
        Interval.MIN_1,
        HOUR + at * NS_PER_MINUTE,
        price,
        high or price,
        low or price,
        price,
        volume,
        volume * price,
        trades,
        final,
        "venue",
    )


def day(text: str, price: float = 10.0, *, final: bool = True) -> Kline:
    open_ns = from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC))
    return Kline("x", Interval.DAY_1, open_ns, price, price, price, price, 1.0, None, None, final, "venue")


def brief(kline: Kline | None) -> tuple[int, float, float, float, float, float, bool]:
    assert kline is not None
    at = (kline.open_ns - HOUR) // NS_PER_MINUTE
    return at, kline.open, kline.high, kline.low, kline.close, kline.volume, kline.final


def test_comes_out_final_with_the_last_minute_of_its_span() -> None:
    roll = Roll("x", Interval.MIN_5)
    assert roll.forming is None
    for kline in (minute(0, 10.0), minute(1, 12.0, high=13.0), minute(2, 9.0, low=8.5), minute(3, 11.0)):
        assert roll.on_kline(kline) == []
    (made,) = roll.on_kline(minute(4, 10.5, 2.5))
    assert brief(made) == (0, 10.0, 13.0, 8.5, 10.5, 6.5, True)
    assert (made.interval, made.source, made.trades, made.turnover) == (Interval.MIN_5, "derived", 10, 68.25)
    assert roll.forming is None


def test_shows_what_forms_with_the_minute_that_forms() -> None:
    roll = Roll("x", Interval.MIN_5)
    roll.on_kline(minute(0, 10.0))
    assert brief(roll.forming) == (0, 10.0, 10.0, 10.0, 10.0, 1.0, False)
    roll.on_kline(minute(1, 12.0, 0.5, final=False))
    assert brief(roll.forming) == (0, 10.0, 12.0, 10.0, 12.0, 1.5, False)
    roll.on_kline(minute(1, 11.0, 0.75, final=False))
    assert brief(roll.forming) == (0, 10.0, 11.0, 10.0, 11.0, 1.75, False)
    roll.on_kline(minute(1, 11.5, 0.8))
    assert brief(roll.forming) == (0, 10.0, 11.5, 10.0, 11.5, 1.8, False)


def test_a_forming_first_minute_shows_too() -> None:
    roll = Roll("x", Interval.HOUR_1)
    roll.on_kline(minute(7, 10.0, final=False))
    assert brief(roll.forming) == (0, 10.0, 10.0, 10.0, 10.0, 1.0, False)


def test_opens_at_its_first_traded_minute_and_takes_extremes_from_traded_ones_only() -> None:
    quiet = [minute(0, 20.0, 0.0), minute(1, 10.0), minute(2, 11.0), minute(3, 11.0, 0.0), minute(4, 11.0, 0.0)]
    assert brief(roll_up(quiet, Interval.MIN_5)[0]) == (0, 10.0, 11.0, 10.0, 11.0, 2.0, True)


def test_a_span_without_trades_carries_the_price() -> None:
    (made,) = roll_up([minute(i, 20.0, 0.0) for i in range(5)], Interval.MIN_5)
    assert brief(made) == (0, 20.0, 20.0, 20.0, 20.0, 0.0, True)
    assert made.trades == 0


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_a_missing_minute_leaves_its_span_not_final(missing: int) -> None:
    made = roll_up([minute(i) for i in range(10) if i != missing], Interval.MIN_5)
    assert [(brief(kline)[0], kline.final, kline.volume) for kline in made] == [(0, False, 4.0), (5, True, 5.0)]


@pytest.mark.parametrize("torn", [0, 2, 4])
def test_a_minute_that_closed_without_being_final_leaves_its_span_not_final(torn: int) -> None:
    made = roll_up([minute(i, final=i != torn) for i in range(10)], Interval.MIN_5)
    assert [(brief(kline)[0], kline.final, kline.volume) for kline in made] == [(0, False, 5.0), (5, True, 5.0)]


def test_a_hole_over_whole_spans_makes_nothing_for_them() -> None:
    made = roll_up([*(minute(i) for i in range(3)), *(minute(i) for i in range(20, 25))], Interval.MIN_5)
    assert [(brief(kline)[0], kline.final) for kline in made] == [(0, False), (20, True)]


def test_a_forming_minute_left_behind_by_a_hole_ends_its_span_not_final() -> None:
    roll = Roll("x", Interval.MIN_5)
    assert roll.on_kline(minute(3, final=False)) == []
    assert [brief(kline)[::6] for kline in roll.on_kline(minute(7, final=False))] == [(0, False)]


def test_starting_amid_a_span_is_final_only_for_a_listing() -> None:
    klines = [minute(i) for i in range(3, 10)]
    assert [kline.final for kline in roll_up(klines, Interval.MIN_5)] == [False, True]
    assert [kline.final for kline in roll_up(klines, Interval.MIN_5, complete_from_ns=0)] == [True, True]
    assert [kline.final for kline in roll_up(klines, Interval.MIN_5, complete_from_ns=HOUR + 1)] == [False, True]


def test_complete_from_excuses_the_start_alone_not_a_hole_later() -> None:
    klines = [*(minute(i) for i in range(5)), *(minute(i) for i in range(7, 10))]
    assert [kline.final for kline in roll_up(klines, Interval.MIN_5, complete_from_ns=0)] == [True, False]


def test_a_final_minute_that_comes_again_changed_makes_its_span_not_final() -> None:
    roll = Roll("x", Interval.MIN_5)
    for kline in (minute(0), minute(1), minute(1)):
        roll.on_kline(kline)
    assert roll.on_kline(minute(0, 10.0, 7.0)) == []
    made = [kline for at in (2, 3, 4) for kline in roll.on_kline(minute(at))]
    assert [kline.final for kline in made] == [False]


def test_the_newest_final_minute_given_again_unchanged_is_harmless() -> None:
    roll = Roll("x", Interval.MIN_5)
    made = [kline for at in (0, 1, 1, 2, 3, 3, 4, 4) for kline in roll.on_kline(minute(at))]
    assert [(kline.final, kline.volume) for kline in made] == [(True, 5.0)]


def test_turnover_and_trades_are_unknown_when_those_of_one_minute_are() -> None:
    bare = Kline("x", Interval.MIN_1, HOUR, 10.0, 10.0, 10.0, 10.0, 1.0, None, None, True, "import")
    (made,) = roll_up([bare, *(minute(i) for i in range(1, 5))], Interval.MIN_5)
    assert (made.turnover, made.trades, made.volume) == (None, None, 5.0)


def test_a_week_opens_on_monday_and_a_month_on_its_first_day() -> None:
    days = [day(f"2024-02-{d:02d}", price=float(d)) for d in range(26, 30)] + [
        day(f"2024-03-{d:02d}", price=100.0 + d) for d in range(1, 4)
    ]
    (week,) = roll_up(days, Interval.WEEK_1)
    assert (week.open_ns, week.open, week.close, week.volume, week.final) == (days[0].open_ns, 26.0, 103.0, 7.0, True)
    february, march = roll_up([day(f"2024-02-{d:02d}") for d in range(1, 30)] + days[-3:], Interval.MONTH_1)
    assert (february.open_ns, february.volume, february.final) == (day("2024-02-01").open_ns, 29.0, True)
    assert (march.open_ns, march.volume, march.final) == (day("2024-03-01").open_ns, 3.0, False)


@pytest.mark.parametrize("interval", [Interval.WEEK_1, Interval.MONTH_1])
def test_days_of_two_years_roll_into_unbroken_final_spans(interval: Interval) -> None:
    first = day("2023-12-01").open_ns
    days = [Kline("x", Interval.DAY_1, first + i * NS_PER_DAY, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, True, "venue") for i in range(800)]
    made = roll_up(days, interval)
    whole = [kline for kline in made if kline.final]
    assert len(made) - len(whole) <= 2
    assert len(whole) >= 24
    for kline, following in pairwise(made):
        assert floor_ns(interval, kline.open_ns) == kline.open_ns
        assert next_ns(interval, kline.open_ns) == following.open_ns
    lengths = {Interval.WEEK_1: {7.0}, Interval.MONTH_1: {28.0, 29.0, 30.0, 31.0}}[interval]
    assert {kline.volume for kline in whole} == lengths


@pytest.mark.parametrize("interval", [i for i in ROLL_BASE if i in FIXED_NS])
def test_rolling_step_by_step_equals_rolling_at_once(interval: Interval) -> None:
    monday = from_datetime(dt.datetime(2024, 2, 26, tzinfo=dt.UTC))
    minutes = [
        Kline(
            "x",
            Interval.MIN_1,
            monday + i * NS_PER_MINUTE,
            10.0 + i % 7,
            20.0 + i % 11,
            5.0 - i % 3,
            9.0 + i % 5,
            0.1 * (i % 4),
            0.3,
            i % 9,
            True,
            "venue",
        )
        for i in range(7 * 1_440)
    ]
    base = ROLL_BASE[interval]
    by_steps = roll_up(minutes if base is Interval.MIN_1 else roll_up(minutes, base), interval)
    at_once = roll_up(minutes, interval)
    assert by_steps == at_once
    assert all(kline.final for kline in at_once)
    assert len(at_once) == 7 * NS_PER_DAY // FIXED_NS[interval]


def test_takes_klines_of_its_own_base_only_and_no_base_that_does_not_nest() -> None:
    with pytest.raises(AssertionError):
        Roll("x", Interval.MIN_15, base=Interval.MIN_5).on_kline(minute(0))
    with pytest.raises(AssertionError):
        Roll("x", Interval.MONTH_1, base=Interval.WEEK_1)
    with pytest.raises(AssertionError):
        Roll("x", Interval.MIN_5, base=Interval.MIN_5)
