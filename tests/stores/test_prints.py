"""Any bit of any row is seen, and the first wrong row found, whatever was done to the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.stores.postgres.prints import Spot, digest_of, first_wrong, hash_rows, prints_of

ROWS = 60  # their prints are all different


def columns(seed: int = 1, rows: int = ROWS) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.arange(rows, dtype=np.int64) * 60_000_000, rng.normal(100, 1, rows), rng.normal(100, 1, rows).round(2)]


def spot(before: list[np.ndarray], after: list[np.ndarray]) -> Spot:
    signed, now = hash_rows(before), hash_rows(after)
    assert digest_of(signed) != digest_of(now)
    return first_wrong(prints_of(signed), now)


@given(st.integers(0, ROWS - 1), st.integers(0, 2), st.integers(0, 63))
def test_a_flipped_bit_is_found_in_its_row(row, column, bit):
    before, after = columns(), columns()
    words = after[column].view(np.uint64)
    words[row] ^= np.uint64(1 << bit)
    assert spot(before, after) in (Spot("changed", row), Spot("unnamed", 0))  # unnamed: once in 65,536


@given(st.integers(0, ROWS - 1), st.integers(1, 20))
def test_rows_that_are_gone_or_came_are_found_where_they_were(row, count):
    whole, count = columns(), min(count, ROWS - row)
    part = [np.delete(column, slice(row, row + count)) for column in whole]
    assert spot(whole, part) == Spot("missing", row, count)
    assert spot(part, whole) == Spot("added", row, count)


def test_of_several_wrong_rows_the_first_is_named():
    after = columns()
    after[1][[30, 55]] += 1
    assert spot(columns(), after) == Spot("changed", 30)
    gone = [np.delete(column, 50) for column in after]
    assert spot(columns(), gone).place == 30


def test_rows_that_changed_places_are_seen():
    after = columns()
    for column in after:
        column[[3, 4]] = column[[4, 3]]
    assert spot(columns(), after) == Spot("changed", 3)


def test_the_sign_of_zero_and_the_kind_of_nothing_count():
    plus, minus, nothing = ([np.array([value])] for value in (0.0, -0.0, float("nan")))
    assert len({int(hash_rows(column)[0]) for column in (plus, minus, nothing)}) == 3


@pytest.mark.parametrize("seed", range(3))
def test_words_are_spread_evenly(seed):
    words = hash_rows(columns(seed, 50_000))
    assert len(np.unique(words)) == 50_000
    share = np.unpackbits(words.view(np.uint8)).mean()
    assert abs(share - 0.5) < 0.01
