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


def price(volume):
    return st.tuples(DECIMAL if volume else DECIMAL.filter(lambda v: v > 0), st.floats(1e-9, 1e15)).flatmap(st.sampled_from)


@st.composite
def chunks(draw):
    rows = draw(st.integers(0, 30))
    steps = draw(st.lists(st.integers(1, 5), min_size=rows, max_size=rows))
    opens = np.cumsum(np.array(steps, np.int64)) * 60_000_000 + 1_700_000_000_000_000
    floats = [np.array(draw(st.lists(price(name == 4), min_size=rows, max_size=rows)), np.float64) for name in range(5)]
    turnover = np.array(draw(st.lists(st.one_of(st.just(float("nan")), price(True)), min_size=rows, max_size=rows)), np.float64)
    known = opens + np.array(draw(st.lists(st.integers(0, 10**15), min_size=rows, max_size=rows)), np.int64)
    trades = np.array(draw(st.lists(st.integers(-1, 2**31 - 1), min_size=rows, max_size=rows)), np.int64)
    source = np.array(draw(st.lists(st.integers(1, 4), min_size=rows, max_size=rows)), np.int64)
    return Bars(opens, known, *floats, turnover, trades, source)


@given(chunks())
def test_a_chunk_comes_back_with_every_column(bars):
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
