"""Times as users write them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.errors import BadTime
from zvt_crypto.domain.time import MAX_NS, parse_time, to_datetime, to_rfc3339

NEW_YEAR_2024_NS = 1_704_067_200_000_000_000


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-01T00:00:00Z",
        "2024-01-01T01:00:00+01:00",
        "2024-01-01T00:00:00.000Z",
        "2024-01-01T00:00:00.000000000Z",
        "2024-01-01",
        "20240101",
        "2024-01",
        "2024",
        2024,
        dt.date(2024, 1, 1),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2023, 12, 31, 19, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
        1_704_067_200,
        1_704_067_200_000,
        1_704_067_200_000_000,
        1_704_067_200_000_000_000,
        "1704067200000",
    ],
)
def test_one_moment_in_every_form(written: object) -> None:
    assert parse_time(written) == NEW_YEAR_2024_NS


def test_nanoseconds_survive() -> None:
    assert parse_time("2024-01-01T00:00:00.123456789Z") == NEW_YEAR_2024_NS + 123_456_789
    assert parse_time("2024-01-01T00:00:00.5+00:00") == NEW_YEAR_2024_NS + 500_000_000


@pytest.mark.parametrize(
    "bad",
    [
        "yesterday",
        "",
        "2024-13-01",
        "2024-01-01T00:00:00",
        "2024-02-30T00:00:00Z",
        None,
        True,
        1.5,
        -1,
        "99999999999999999999",
        [],
        "1969-12-31T23:59:59Z",
        "2024-13",
        "2024-00",
        "2024-1",
        "20241301",
        "9999",
        "1969",
        7,
        "202405",
        86_400,
        1_230_767_999,
        1_230_767_999_999,
        4_102_444_801,
        "4102444800001",
        99_999_999_999,
        "٢٠٢٤",
    ],
)
def test_what_is_no_time_is_refused_by_name(bad: object) -> None:
    with pytest.raises(BadTime, match="time"):
        parse_time(bad)


def test_a_number_of_no_known_unit_is_refused_with_what_would_be_one() -> None:
    for number in (202_405, "202405"):
        with pytest.raises(BadTime, match=r"time '202405' is no epoch number: .*2009 to 2100.*\(2024-08-08, 2024\)"):
            parse_time(number)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-05", "2024-05-01T00:00:00.000Z"),
        ("1970", "1970-01-01T00:00:00.000Z"),
        ("2024-02-29", "2024-02-29T00:00:00.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        ("0", "1970-01-01T00:00:00.000Z"),
        (1_230_768_000, "2009-01-01T00:00:00.000Z"),
        (4_102_444_800_000_000_000, "2100-01-01T00:00:00.000Z"),
        ("1234567890", "2009-02-13T23:31:30.000Z"),
    ],
)
def test_short_dates_are_their_first_midnight_and_borders_belong_to_the_range(written: object, meant: str) -> None:
    assert to_rfc3339(parse_time(written)) == meant


def test_a_datetime_without_a_zone_is_refused_not_guessed() -> None:
    with pytest.raises(BadTime, match=r"2024-01-01T00:00:00 has no zone"):
        parse_time(dt.datetime(2024, 1, 1))  # noqa: DTZ001


@given(st.integers(0, MAX_NS))
def test_rfc_3339_reads_back_to_the_millisecond(moment: int) -> None:
    text = to_rfc3339(moment)
    assert parse_time(text) == moment // 1_000_000 * 1_000_000
    assert dt.datetime.fromisoformat(text) == to_datetime(moment // 1_000_000 * 1_000_000)
