"""What every store of trades does. A new one joins by a line in `trade_store`."""

from __future__ import annotations

import random

import asyncpg
import pytest

from stores_fixtures import KNOWN, PAIR, PERP, START, TRADE, trade
from zvt_crypto.domain.errors import ConstraintViolated
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MS
from zvt_crypto.ports import TradeStore, Written


@pytest.fixture(params=["postgres"])
def trade_store(request, listed_store) -> TradeStore:
    return {"postgres": listed_store.trades}[request.param]


@pytest.mark.parametrize("count", [1, 199, 200, 1500], ids=str)
async def test_the_same_trades_twice_are_there_once(trade_store, count):
    rows = [trade(n) for n in range(count)]
    assert await trade_store.append(rows, KNOWN) == Written(count)
    assert await trade_store.append(rows, KNOWN) == Written(0, 0, count)
    assert await trade_store.read(PAIR.id) == rows


async def test_a_trade_twice_in_one_batch_is_there_once(trade_store):
    assert await trade_store.append([trade(1), trade(1)], KNOWN) == Written(1, 0, 1)


async def test_a_known_trade_is_left_as_it_is(trade_store):
    await trade_store.append([trade()], KNOWN)
    await trade_store.append([trade(price=1.0)], KNOWN)
    assert await trade_store.read(PAIR.id) == [trade()]


@pytest.mark.parametrize("count", [3, 500], ids=str)
@pytest.mark.parametrize("live_first", [True, False])
async def test_live_milliseconds_and_the_microseconds_of_a_file_are_one_trade(trade_store, sql, count, live_first):
    live = [trade(n) for n in range(count)]
    file = [trade(n, event_ns=START + n * NS_PER_MS + 456_000) for n in range(count)]
    first, second = (live, file) if live_first else (file, live)
    assert await trade_store.append(first, KNOWN) == Written(count)
    assert await trade_store.append(second, KNOWN) == Written(0, 0, count)
    assert await trade_store.read(PAIR.id) == first
    assert await sql.fetchval("SELECT sum(quantity) FROM trade") == pytest.approx(count * 0.00123)


async def test_of_one_id_within_a_millisecond_the_first_of_a_batch_stays(trade_store):
    rows = [trade(1, event_ns=START + 456_000), trade(2), trade(1, event_ns=START), trade(1, event_ns=START + 999_999)]
    assert await trade_store.append(rows, KNOWN) == Written(2, 0, 2)
    assert await trade_store.read(PAIR.id) == [rows[0], rows[1]]


async def test_the_edges_of_a_millisecond_and_other_streams_and_instruments_are_other_trades(trade_store):
    await trade_store.append([trade(event_ns=START + 999_000)], KNOWN)
    others = [
        trade(event_ns=START + NS_PER_MS),
        trade(event_ns=START - 1_000),
        trade(stream="agg"),
        trade(instrument=PERP.id),
        trade(7),
    ]
    assert await trade_store.append([*others, trade()], KNOWN) == Written(5, 0, 1)
    assert len(await trade_store.read(PAIR.id)) == 5


async def test_a_batch_over_midnight_finds_what_either_day_holds(trade_store):
    midnight = START + 120 * 10**9
    live = [trade(n, event_ns=midnight + (n - 2) * NS_PER_MS) for n in range(4)]
    await trade_store.append(live[1:3], KNOWN)
    file = [trade(n, event_ns=t.event_ns + 999_000) for n, t in enumerate(live)]
    assert await trade_store.append(file, KNOWN) == Written(2, 0, 2)
    assert await trade_store.read(PAIR.id) == [file[0], live[1], live[2], file[3]]


async def test_two_streams_of_one_instrument_do_not_mix(trade_store):
    await trade_store.append([trade(), trade(stream="agg"), trade(1, stream="agg")], KNOWN)
    assert await trade_store.read(PAIR.id, stream="trade") == [trade()]
    assert await trade_store.read(PAIR.id, stream="agg") == [trade(stream="agg"), trade(1, stream="agg")]
    assert await trade_store.last(PAIR.id, "trade") == trade()
    assert await trade_store.last(PAIR.id, "agg") == trade(1, stream="agg")


async def test_ids_may_be_uuids_or_19_digits(trade_store):
    rows = [trade(trade_id="7f2e1d8c-52b1-4f0e-9d2e-0a3b5c7d9e1f"), trade(1, trade_id="9223372036854775807")]
    await trade_store.append(rows, KNOWN)
    assert await trade_store.read(PAIR.id) == rows


async def test_at_one_time_numbers_are_ordered_as_numbers(trade_store):
    rows = [trade(trade_id=name) for name in ("9", "10", "99", "100")]
    await trade_store.append(random.Random(7).sample(rows, len(rows)), KNOWN)
    assert await trade_store.read(PAIR.id) == rows
    assert await trade_store.last(PAIR.id, "trade") == rows[-1]


async def test_nanoseconds_are_kept_and_order(trade_store):
    rows = [trade(trade_id=name, event_ns=START + rest) for name, rest in (("b", 1), ("a", 7), ("c", 999), ("d", 1000))]
    await trade_store.append(rows, KNOWN)
    assert await trade_store.read(PAIR.id) == rows
    assert await trade_store.read(PAIR.id, START + 7, START + 1000) == rows[1:3]
    assert await trade_store.read(PAIR.id, START + 8) == rows[2:]


async def test_reads_a_range_half_open_over_midnight_and_limits_from_the_right_end(trade_store):
    rows = [trade(n, event_ns=START + n * 60_000_000_000) for n in range(6)]  # 23:58 to 00:03
    await trade_store.append(rows, KNOWN)
    assert await trade_store.read(PAIR.id, rows[1].event_ns, rows[4].event_ns) == rows[1:4]
    assert await trade_store.read(PAIR.id, rows[1].event_ns, limit=2) == rows[1:3]
    assert await trade_store.read(PAIR.id, limit=2) == rows[4:]
    assert await trade_store.read(PAIR.id, end_ns=rows[4].event_ns, limit=2) == rows[2:4]


async def test_nobody_has_no_trades(trade_store):
    assert await trade_store.append([], KNOWN) == Written(0)
    assert await trade_store.read("cryptopair_binance_nobody") == []
    assert await trade_store.last(PERP.id, "trade") is None


WRONG = [
    ({"price": 0.0}, "price_above_zero"),
    ({"price": float("nan")}, "price_above_zero"),
    ({"quantity": -1.0}, "quantity_above_zero"),
    ({"trade_id": ""}, "trade_id_given"),
]


@pytest.mark.parametrize("wrong, rule", WRONG)
@pytest.mark.parametrize("others", [1, 300], ids=["few", "many"])
async def test_a_wrong_trade_is_named_and_nothing_of_its_batch_is_kept(trade_store, wrong, rule, others):
    with pytest.raises(ConstraintViolated, match=rule) as refused:
        await trade_store.append([*(trade(n + 1) for n in range(others)), trade(**wrong)], KNOWN)
    assert PAIR.id in str(refused.value)
    assert await trade_store.read(PAIR.id) == []


async def test_an_unknown_instrument_is_named(trade_store):
    with pytest.raises(ConstraintViolated, match="'cryptopair_binance_nobody'"):
        await trade_store.append([trade(instrument="cryptopair_binance_nobody")], KNOWN)


async def test_a_day_is_a_partition_and_a_dropped_one_comes_back(listed_store, sql: asyncpg.Connection):
    rows = [trade(n, event_ns=START + n * NS_PER_DAY) for n in range(2)]
    await listed_store.trades.append(rows, KNOWN)
    held = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE 'trade%' ORDER BY 1"
    assert [row[0] for row in await sql.fetch(held)] == ["trade_20240808", "trade_20240809"]
    await sql.execute("DROP TABLE trade_20240808")
    assert await listed_store.trades.append(rows, KNOWN) == Written(1, 0, 1)
    assert await listed_store.trades.read(PAIR.id) == rows
    assert TRADE.instrument == PAIR.id
