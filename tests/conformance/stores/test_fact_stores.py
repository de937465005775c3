"""What every store of funding, mark prices, books and gaps does. A new one joins by a line in `fact_store`."""

from __future__ import annotations

import msgspec
import pytest

from stores_fixtures import KNOWN, MINUTE, PAIR, PERP, START
from zvt_crypto.domain.errors import ConstraintViolated
from zvt_crypto.domain.market import BookSnapshot, Funding, Gap, MarkPrice
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import FactStore, Written

HOURS = 60 * MINUTE
NOBODY = "cryptoperp_binance_nobody"


@pytest.fixture(params=["postgres"])
def fact_store(request, listed_store) -> FactStore:
    return {"postgres": listed_store.facts}[request.param]


def funding(n: int = 0, **changed: object) -> Funding:
    return msgspec.structs.replace(Funding(PERP.id, START + n * 8 * HOURS, 0.0001, 60000.5), **changed)


def mark(n: int = 0, **changed: object) -> MarkPrice:
    return msgspec.structs.replace(MarkPrice(PERP.id, START + n * MINUTE, 60000.5, 60001.25, 0.0001, START + 8 * HOURS), **changed)


def book(n: int = 0, **changed: object) -> BookSnapshot:
    made = BookSnapshot(PERP.id, 100 + n, [(99.5, 1.0), (99.0, 2.5)], [(100.0, 0.25)], START + n * MINUTE + 7)
    return msgspec.structs.replace(made, **changed)


def gap(**changed: object) -> Gap:
    return msgspec.structs.replace(Gap(PAIR.id, "trade", START, START + MINUTE, 11, 20, "reconnect", None, START), **changed)


async def test_funding_comes_back_and_is_stored_once(fact_store):
    rows = [funding(n) for n in range(3)]
    assert await fact_store.save_funding(rows, KNOWN) == Written(3)
    assert await fact_store.save_funding(rows, KNOWN) == Written(0, 0, 3)
    assert await fact_store.read_funding(PERP.id) == rows
    assert await fact_store.read_funding(PERP.id, rows[1].event_ns, rows[2].event_ns) == rows[1:2]


async def test_a_settled_rate_stays_and_a_missing_mark_price_is_filled(fact_store):
    await fact_store.save_funding([funding(mark_price=None)], KNOWN)
    assert await fact_store.save_funding([funding(rate=0.5)], KNOWN) == Written(0, 1, 0)
    assert await fact_store.read_funding(PERP.id) == [funding()]


@pytest.mark.parametrize("count", [3, 500], ids=["few", "many"])
async def test_mark_prices_come_back_and_are_stored_once(fact_store, count):
    rows = [mark(n) for n in range(count)]
    assert await fact_store.save_mark(rows, KNOWN) == Written(count)
    assert await fact_store.save_mark(rows, KNOWN) == Written(0, 0, count)
    assert await fact_store.read_mark(PERP.id) == rows
    assert await fact_store.read_mark(PERP.id, limit=2) == rows[-2:]
    assert await fact_store.read_mark(PERP.id, rows[0].event_ns, limit=2) == rows[:2]


async def test_what_a_mark_price_lacked_is_filled(fact_store):
    await fact_store.save_mark([mark(index_price=None, funding_rate=None, next_funding_ns=None)], KNOWN)
    assert await fact_store.save_mark([mark(mark_price=1.0)], KNOWN) == Written(0, 1, 0)
    assert await fact_store.read_mark(PERP.id) == [mark()]


async def test_books_come_back_with_nanoseconds_and_are_stored_once(fact_store):
    rows = [book(0), book(1, bids=[]), book(2, asks=[])]
    await fact_store.save_books(rows[:1], KNOWN)
    await fact_store.save_books([*rows, *rows], KNOWN)
    assert await fact_store.read_books(PERP.id) == rows
    assert await fact_store.read_books(PERP.id, START + MINUTE, START + 2 * MINUTE) == rows[1:2]


async def test_a_gap_is_one_row_that_is_filled(fact_store):
    await fact_store.save_gaps([gap(), gap(first_id=None, last_id=None), gap(channel="kline", first_id=None, last_id=None)], KNOWN)
    assert len(await fact_store.read_gaps(open_only=True)) == 3
    await fact_store.save_gaps([gap(filled_from="rest", end_ns=START + 2 * MINUTE)], KNOWN)
    open_ones = await fact_store.read_gaps(PAIR.id, open_only=True)
    assert open_ones == [gap(first_id=None, last_id=None), gap(channel="kline", first_id=None, last_id=None)]
    assert gap(filled_from="rest", end_ns=START + 2 * MINUTE) in await fact_store.read_gaps(PAIR.id)
    assert await fact_store.read_gaps(PERP.id) == []


async def test_gaps_of_klines_are_told_apart_by_interval(fact_store):
    rows = [gap(channel="kline", first_id=None, last_id=None, interval=i) for i in (None, Interval.MIN_1, Interval.MONTH_1)]
    await fact_store.save_gaps(rows, KNOWN)
    filled = msgspec.structs.replace(rows[1], filled_from="rest")
    await fact_store.save_gaps([filled], KNOWN)
    assert sorted(await fact_store.read_gaps(), key=str) == sorted([rows[0], filled, rows[2]], key=str)
    assert await fact_store.read_gaps(open_only=True) == [rows[0], rows[2]]


async def test_ids_that_nobody_has_stay_open_beside_those_that_were_filled_after_them(fact_store):
    lost = gap(first_id=101, last_id=110, end_ns=START + 11)
    filled = gap(first_id=111, last_id=150, end_ns=START + 50, filled_from="rest")
    for rows in ([lost, filled], [filled, lost]):
        await fact_store.save_gaps(rows, KNOWN)
        assert [g.first_id for g in await fact_store.read_gaps(open_only=True)] == [101]


@pytest.mark.parametrize("further", [{"end_ns": START + 9 * MINUTE}, {"last_id": 999}])
async def test_a_filled_gap_that_reaches_further_now_is_open_again(fact_store, further):
    await fact_store.save_gaps([gap(filled_from="rest")], KNOWN)
    await fact_store.save_gaps([gap(**further)], KNOWN)
    assert await fact_store.read_gaps(open_only=True) == [gap(**further)]


async def test_a_filled_gap_that_is_told_again_stays_filled(fact_store):
    await fact_store.save_gaps([gap(filled_from="rest")], KNOWN)
    await fact_store.save_gaps([gap()], KNOWN)
    assert await fact_store.read_gaps() == [gap(filled_from="rest")]


async def test_a_hole_between_microseconds_stays_inside(fact_store):
    await fact_store.save_gaps([gap(start_ns=START + 1, end_ns=START + 1001)], KNOWN)
    (held,) = await fact_store.read_gaps()
    assert (held.start_ns, held.end_ns) == (START, START + 2000)


async def test_nothing_is_nothing_and_nobody_has_none(fact_store):
    assert await fact_store.save_funding([], KNOWN) == Written(0)
    assert await fact_store.save_mark([], KNOWN) == Written(0)
    await fact_store.save_gaps([], KNOWN)
    await fact_store.save_books([], KNOWN)
    assert await fact_store.read_funding(NOBODY) == []
    assert await fact_store.read_mark(NOBODY) == []
    assert await fact_store.read_books(NOBODY) == []


async def test_wrong_facts_are_named(fact_store):
    with pytest.raises(ConstraintViolated, match=f"rate_finite.*{PERP.id}"):
        await fact_store.save_funding([funding(), funding(1, rate=float("nan"))], KNOWN)
    with pytest.raises(ConstraintViolated, match=f"mark_above_zero.*{PERP.id}"):
        await fact_store.save_mark([mark(mark_price=0.0)], KNOWN)
    with pytest.raises(ConstraintViolated, match=f"book_not_crossed.*{PERP.id}"):
        await fact_store.save_books([book(1), book(bids=[(100.0, 1.0)])], KNOWN)
    with pytest.raises(ConstraintViolated, match=f"gap_range.*{PAIR.id}"):
        await fact_store.save_gaps([gap(end_ns=START - MINUTE)], KNOWN)
    with pytest.raises(ConstraintViolated, match=f"gap_interval_of_klines.*{PAIR.id}"):
        await fact_store.save_gaps([gap(interval=Interval.MIN_1)], KNOWN)
    with pytest.raises(ConstraintViolated, match=NOBODY):
        await fact_store.save_funding([funding(instrument=NOBODY)], KNOWN)
