"""Packing gives every bit back, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.stores.postgres.bars import Bars, no_bars, pack, unpack
from zvt_crypto.stores.postgres.codec import pack_floats, pack_ints, unpack_floats, unpack_ints

INT64 = st.integers(-(2**63), 2**63 - 1)
ANY_FLOAT = st.floats(width=64)
DECIMAL = st.tuples(st.integers(1, 10**12), st.integers(0, 9)).map(lambda each: each[0] / 10 ** each[1])


@given(st.lists(INT64, max_size=40))
def test_any_integers_come_back(values):
    column = np.array(values, np.int64)
    assert unpack_ints(pack_ints(column), len(values)).tolist() == values


@given(st.lists(st.one_of(ANY_FLOAT, DECIMAL, st.just(-0.0)), max_size=40))
def test_any_floats_come_back_bit_for_bit(values):
    column = np.array(values, np.float64)
    assert unpack_floats(pack_floats(column), len(values)).tobytes() == column.tobytes()


def test_a_few_odd_values_do_not_cost_a_decimal_column_its_form():
    column = np.round(np.random.default_rng(1).uniform(1, 1000, 1000), 2)
    plain = len(pack_floats(column))
    column[[3, 500]] = 1 / 3, -0.0
    packed = pack_floats(column)
    assert len(packed) < plain + 100
    assert unpack_floats(packed, 1000).tobytes() == column.tobytes()


def some_floats(rng: np.random.Generator, rows: int, *, may_lack: bool = False) -> np.ndarray:
    """Decimals, floats of every size, or a mixture; with holes where there may be some."""
    decimals = np.round(rng.uniform(0.0001, 10.0 ** rng.integers(0, 9), rows), int(rng.integers(0, 9))) + 10.0**-8
    values = np.where(rng.random(rows) < rng.choice([0.0, 0.1, 1.0]), 10.0 ** rng.uniform(-9, 15, rows), decimals)
    return np.where(rng.random(rows) < 0.3, np.nan, values) if may_lack and rng.random() < 0.5 else values


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_a_chunk_comes_back_with_every_column(seed, rows):
    rng = np.random.default_rng(seed)
    opens = np.cumsum(rng.integers(1, 5, rows)) * 60_000_000 + 1_700_000_000_000_000
    known = opens + rng.integers(0, 10 ** int(rng.integers(1, 15)), rows)
    prices = [some_floats(rng, rows) for _ in range(4)]
    volume = some_floats(rng, rows) * (rng.random(rows) < 0.8)
    turnover = some_floats(rng, rows, may_lack=True)
    if rng.random() < 0.5:
        turnover = volume * prices[0]
    bars = Bars(opens, known, *prices, volume, turnover, rng.integers(-1, 2**31 - 1, rows), rng.integers(1, 5, rows))
    back = unpack(pack(bars))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(back, bars, strict=True))
    assert back.digest() == bars.digest()


def test_sums_that_are_no_decimals_come_back():
    rng = np.random.default_rng(2)
    rows = 1440
    price_ = np.round(60_000 + rng.normal(0, 10, rows).cumsum(), 2)
    volume = np.round(rng.lognormal(1, 1, rows), 5)
    turnover = volume * price_ * (1 + rng.normal(0, 1e-4, rows))
    opens = np.arange(rows, dtype=np.int64) * 60_000_000
    ones = np.ones(rows, np.int64)
    bars = Bars(opens, opens + 60_000_000, price_, price_ + 1, price_ - 1, price_, volume, turnover, ones, ones)
    packed = pack(bars)
    assert unpack(packed).digest() == bars.digest()
    assert len(packed) < 14 * rows


def test_no_rows_are_a_chunk_too():
    assert unpack(pack(no_bars())).rows() == 0


def test_the_digest_tells_one_bit():
    bars = unpack(pack(Bars(*([np.zeros(3, np.int64)] * 2), *([np.ones(3)] * 6), *([np.ones(3, np.int64)] * 2))))
    assert bars._replace(volume=np.nextafter(bars.volume, 2)).digest() != bars.digest()


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x93\x01\x01\x01", pack(no_bars())[:-3], b"\x99\x07" + pack(no_bars())[2:]])
def test_what_is_no_chunk_is_refused(data):
    with pytest.raises(StoreError, match="packed chunk"):
        unpack(data)
