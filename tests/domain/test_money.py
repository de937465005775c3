"""Digits at the border between floats and decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.money import decimal_text, decimals_of, parse_step, round_to_step


@pytest.mark.parametrize(
    ("step", "decimals"),
    [("0.01", 2), ("0.5", 1), ("10", 0), ("1E-8", 8), ("0.00000100", 6), ("1.000", 0), ("0.025", 3)],
)
def test_a_step_needs_so_many_decimals(step: str, decimals: int) -> None:
    assert decimals_of(Decimal(step)) == decimals


def test_no_step_has_no_decimals() -> None:
    assert decimals_of(None) is None


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (60000.0, 2, "60000.00"),
        (1e-07, 8, "0.00000010"),
        (1e22, None, "10000000000000000000000"),
        (0.1, None, "0.1"),
        (0.0, None, "0"),
        (0.0, 3, "0.000"),
        (61837.635, 2, "61837.635"),  # more digits than the tick: kept
        (Decimal("1E+3"), None, "1000"),
        (Decimal("0.10"), 1, "0.1"),
        (-2.5, 2, "-2.50"),
    ],
)
def test_numbers_are_plain_digits(value: float | Decimal, decimals: int | None, text: str) -> None:
    assert decimal_text(value, decimals) == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.one_of(st.none(), st.integers(0, 12)))
def test_the_text_reads_back_as_the_same_float(value: float, decimals: int | None) -> None:
    text = decimal_text(value, decimals)
    assert float(text) == value
    assert "e" not in text.lower()


@given(st.integers(1, 10**9), st.integers(0, 8))
def test_a_venue_string_comes_back_digit_by_digit(units: int, places: int) -> None:
    venue = f"{Decimal(units).scaleb(-places):f}"
    assert Decimal(decimal_text(float(venue), places)) == Decimal(venue)


def test_sums_are_rounded_to_the_lot() -> None:
    assert round_to_step(0.1 + 0.2, Decimal("0.001")) == 0.3
    assert round_to_step(sum([0.1] * 10), Decimal("0.1")) == 1.0
    assert round_to_step(1.2345, None) == 1.2345
    assert round_to_step(17.0, Decimal(5)) == 15.0


def test_a_step_of_zero_means_none() -> None:
    assert parse_step("0.00000000", "tick") is None
    assert parse_step("0.01000000", "tick") == Decimal("0.01")


@pytest.mark.parametrize("bad", ["", "abc", "-0.1", "NaN", "Infinity", "1e400", "1e-30"])
def test_a_step_that_is_none_is_refused_by_name(bad: str) -> None:
    with pytest.raises(BadInput, match="tick"):
        parse_step(bad, "tick")
