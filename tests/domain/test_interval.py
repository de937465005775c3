"""Calendar-true floor and next."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.errors import UnknownInterval
from zvt_crypto.domain.time import (
    FIXED_NS,
    INTERVALS,
    MAX_NS,
    Interval,
    count_opens,
    floor_ns,
    from_datetime,
    is_aligned,
    next_ns,
    parse_interval,
    to_datetime,
)

TIMES = st.integers(min_value=0, max_value=MAX_NS - 40 * 86_400 * 10**9)


def at(text: str) -> int:
    return from_datetime(dt.datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("interval", "moment", "opened", "following"),
    [
        ("1m", "2024-02-29T23:59:59.999999+00:00", "2024-02-29T23:59:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("5m", "2024-08-08T23:57:00+00:00", "2024-08-08T23:55:00+00:00", "2024-08-09T00:00:00+00:00"),
        ("15m", "2024-08-08T23:44:59+00:00", "2024-08-08T23:30:00+00:00", "2024-08-08T23:45:00+00:00"),
        ("30m", "2024-08-08T00:30:00+00:00", "2024-08-08T00:30:00+00:00", "2024-08-08T01:00:00+00:00"),
        ("1h", "2024-12-31T23:00:00+00:00", "2024-12-31T23:00:00+00:00", "2025-01-01T00:00:00+00:00"),
        ("4h", "2024-03-31T03:59:00+00:00", "2024-03-31T00:00:00+00:00", "2024-03-31T04:00:00+00:00"),
        ("1d", "2024-03-31T03:59:00+00:00", "2024-03-31T00:00:00+00:00", "2024-04-01T00:00:00+00:00"),
        ("1w", "2024-08-08T12:00:00+00:00", "2024-08-05T00:00:00+00:00", "2024-08-12T00:00:00+00:00"),  # a Thursday
        ("1w", "2024-08-11T23:59:59+00:00", "2024-08-05T00:00:00+00:00", "2024-08-12T00:00:00+00:00"),  # a Sunday
        ("1w", "2024-08-12T00:00:00+00:00", "2024-08-12T00:00:00+00:00", "2024-08-19T00:00:00+00:00"),  # a Monday
        ("1M", "2024-02-29T12:00:00+00:00", "2024-02-01T00:00:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("1M", "2023-02-28T12:00:00+00:00", "2023-02-01T00:00:00+00:00", "2023-03-01T00:00:00+00:00"),
        ("1M", "2024-12-31T23:59:59+00:00", "2024-12-01T00:00:00+00:00", "2025-01-01T00:00:00+00:00"),
    ],
)
def test_a_kline_opens_and_closes_on_the_calendar(interval: str, moment: str, opened: str, following: str) -> None:
    chosen = parse_interval(interval)
    assert floor_ns(chosen, at(moment)) == at(opened)
    assert next_ns(chosen, at(opened)) == at(following)


def test_weeks_open_on_monday_before_the_first_monday_of_the_epoch() -> None:
    assert to_datetime(floor_ns(Interval.WEEK_1, 0)) == dt.datetime(1969, 12, 29, tzinfo=dt.UTC)


@given(TIMES, st.sampled_from(INTERVALS))
def test_every_moment_lies_in_exactly_one_kline(moment: int, interval: Interval) -> None:
    opened = floor_ns(interval, moment)
    assert opened <= moment < next_ns(interval, opened)
    assert is_aligned(interval, opened)
    assert floor_ns(interval, next_ns(interval, opened)) == next_ns(interval, opened)


@given(TIMES, st.sampled_from([i for i in INTERVALS if i is not Interval.MONTH_1]))
def test_klines_of_a_fixed_length_have_it(moment: int, interval: Interval) -> None:
    opened = floor_ns(interval, moment)
    assert next_ns(interval, opened) - opened == FIXED_NS[interval]


@given(TIMES)
def test_a_month_agrees_with_the_standard_library(moment: int) -> None:
    opened = to_datetime(floor_ns(Interval.MONTH_1, moment))
    assert opened == to_datetime(moment).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert to_datetime(next_ns(Interval.MONTH_1, moment)).day == 1


@given(TIMES, st.integers(0, 400), st.sampled_from(INTERVALS))
def test_the_count_of_opens_is_the_count_of_steps(start: int, hours: int, interval: Interval) -> None:
    end = start + hours * 3_600 * 10**9
    counted, at_ns = 0, floor_ns(interval, start)
    while at_ns < end and counted <= 24_001:
        counted += at_ns >= start
        at_ns = next_ns(interval, at_ns)
    assert count_opens(interval, start, end) == counted


def test_the_month_is_1mon_where_case_folds() -> None:
    assert Interval.MONTH_1.slug == "1mon"
    assert parse_interval("1mon") is Interval.MONTH_1
    assert parse_interval("1m") is Interval.MIN_1
    assert len({i.slug.lower() for i in INTERVALS}) == len(INTERVALS) == 9


@pytest.mark.parametrize("bad", ["3m", "1H", "", "1 m", None, 60, "1mm"])
def test_an_unknown_interval_is_named(bad: object) -> None:
    with pytest.raises(UnknownInterval, match=r"unknown interval .*: known are 1m 5m 15m 30m 1h 4h 1d 1w 1M"):
        parse_interval(bad)
