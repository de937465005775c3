"""The store in memory that other tests use answers as PostgreSQL's does."""

from __future__ import annotations

import msgspec
import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, PAIR_OF, START, kline, trade
from zvt_crypto.domain.market import BookSnapshot, Funding, Gap, MarkPrice
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval

MIN = NS_PER_MINUTE


@pytest.fixture(params=["memory", "postgres"])
def any_store(request, listed_store):
    made = MemoryStore()
    made.table[BTC] = PAIR_OF
    return {"memory": made, "postgres": listed_store}[request.param]


async def test_trades(any_store):
    rows = [trade(n) for n in (2, 1, 10, 9)]
    assert (await any_store.trades.append(rows, START)).inserted == 4
    again = await any_store.trades.append([trade(9), trade(11)], START)
    assert (again.inserted, again.known) == (1, 1)
    read = any_store.trades.read
    assert [t.trade_id for t in await read(BTC)] == ["1", "2", "9", "10", "11"]
    assert [t.trade_id for t in await read(BTC, START, limit=2)] == ["1", "2"]
    assert [t.trade_id for t in await read(BTC, end_ns=trade(10).event_ns, limit=1)] == ["9"]
    assert [t.trade_id for t in await read(BTC, trade(2).event_ns, trade(10).event_ns, stream="trade")] == ["2", "9"]
    assert await read(BTC, stream="agg") == []
    assert (await any_store.trades.last(BTC, "trade")).trade_id == "11"
    assert await any_store.trades.last(BTC, "agg") is None


async def test_klines(any_store):
    store = any_store.klines
    await store.upsert([kline(0), kline(1, source="trades"), kline(3), kline(4, final=False)], START)
    await store.upsert([kline(0, source="trades", close=1.9), kline(1, close=1.8), kline(3, final=False, close=1.9)], START + 1)
    rows = await store.read(BTC, Interval.MIN_1)
    assert [((k.open_ns - START) // MIN, k.close, k.source, k.final) for k in rows] == [
        (0, 1.5, "venue", True),
        (1, 1.8, "venue", True),
        (3, 1.5, "venue", True),
        (4, 1.5, "venue", False),
    ]
    assert await store.bounds(BTC, Interval.MIN_1) == (START, START + 3 * MIN)
    assert await store.bounds(BTC, Interval.MIN_5) is None
    assert await store.missing(BTC, Interval.MIN_1, START, START + 6 * MIN) == [
        (START + 2 * MIN, START + 3 * MIN),
        (START + 4 * MIN, START + 6 * MIN),
    ]


async def test_facts(any_store):
    facts = any_store.facts
    await facts.save_funding([Funding(BTC, START, 0.1)], START)
    await facts.save_mark([MarkPrice(BTC, START + n * MIN, 1.0, 1.0, None, None) for n in range(3)], START)
    assert [m.event_ns for m in await facts.read_mark(BTC, START + MIN, START + 2 * MIN)] == [START + MIN]
    book = BookSnapshot(BTC, 7, [(1.0, 2.0)], [(1.5, 1.0)], START)
    for _ in range(2):
        await facts.save_books([book, msgspec.structs.replace(book, last_id=8, event_ns=START + MIN)], START)
    assert await facts.read_books(BTC, START, START + MIN) == [book]
    assert len(await facts.read_books(BTC)) == 2
    gap = Gap(BTC, "trade", START, START + MIN, 1, 2, "why", None, START)
    await facts.save_gaps([gap], START)
    assert await facts.read_gaps(open_only=True) == [gap]
    await facts.save_gaps([Gap(BTC, "trade", START, START + MIN, 1, 2, "why", "rest", START)], START)
    assert await facts.read_gaps(open_only=True) == []
    assert [g.filled_from for g in await facts.read_gaps(BTC)] == ["rest"]
