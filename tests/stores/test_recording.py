"""What a recorder of the shared feed stores: rows and positions together, or neither."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from services.service_parts import Notes
from stores_fixtures import KNOWN, MINUTE, PAIR, START, bar, trade
from zvt_crypto.domain.errors import ConstraintViolated
from zvt_crypto.domain.events import FeedPosition
from zvt_crypto.domain.market import BookSample, BookSnapshot, Funding, Gap, MarkPrice
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.venues.clock import SystemClock

FUNDING = Funding("cryptoperp_binance_btcusdt", START, 0.0001)
MARK = MarkPrice("cryptoperp_binance_btcusdt", START, 60000.5, 60000.0, None, None)
SAMPLE = BookSample(PAIR.id, 7, [(99.0, 1.0)], [(100.0, 2.0)], START)
HOLE = Gap(PAIR.id, "trade", START, START + MINUTE, 5, 9, "lost", None, START)
WRONG = trade(5, price=-1.0)


async def test_every_noun_and_the_last_position_of_each_shard_are_stored_at_once(listed_store: PostgresStore) -> None:
    rows = [trade(0), bar(0), FUNDING, MARK, SAMPLE, HOLE]
    await listed_store.recording.record(rows, KNOWN, [FeedPosition(3, b"a"), FeedPosition(1, b"b"), FeedPosition(3, b"c")])
    assert await listed_store.trades.read(PAIR.id) == [trade(0)]
    assert await listed_store.klines.read(PAIR.id, bar(0).interval) == [bar(0)]
    assert await listed_store.facts.read_funding(FUNDING.instrument) == [FUNDING]
    assert await listed_store.facts.read_mark(MARK.instrument) == [MARK]
    assert await listed_store.facts.read_books(PAIR.id) == [BookSnapshot(PAIR.id, 7, SAMPLE.bids, SAMPLE.asks, START)]
    assert await listed_store.facts.read_gaps() == [HOLE]
    assert await listed_store.recording.positions() == [FeedPosition(1, b"b"), FeedPosition(3, b"c")]


async def test_of_a_batch_with_a_wrong_row_neither_the_others_nor_the_position_are_stored(listed_store: PostgresStore) -> None:
    await listed_store.recording.record([], KNOWN, [FeedPosition(1, b"old")])
    with pytest.raises(ConstraintViolated, match="price -1"):
        await listed_store.recording.record([trade(0), bar(0), WRONG], KNOWN, [FeedPosition(1, b"new")])
    assert await listed_store.trades.read(PAIR.id) == []
    assert await listed_store.klines.read(PAIR.id, bar(0).interval) == []
    assert await listed_store.recording.positions() == [FeedPosition(1, b"old")]


async def test_a_transaction_that_fails_after_the_trades_takes_them_back(listed_store: PostgresStore) -> None:
    with pytest.raises(ConstraintViolated, match="high"):
        await listed_store.recording.record([trade(0), bar(0, high=1.0)], KNOWN, [FeedPosition(1, b"new")])
    assert await listed_store.trades.read(PAIR.id) == []
    await listed_store.recording.record([trade(0), bar(0)], KNOWN)
    assert await listed_store.trades.read(PAIR.id) == [trade(0)], "the day that was made on the way is there, or made again"


async def test_a_day_that_retention_dropped_meanwhile_is_made_again(listed_store: PostgresStore, sql: asyncpg.Connection) -> None:
    await listed_store.recording.record([trade(0), bar(0)], KNOWN)
    await sql.execute("DROP TABLE trade_20240808, kline_1m_202408")
    await listed_store.recording.record([trade(1), bar(1)], KNOWN, [FeedPosition(1, b"x")])
    assert await listed_store.trades.read(PAIR.id) == [trade(1)]
    assert await listed_store.klines.read(PAIR.id, bar(0).interval) == [bar(1)]


async def test_a_recorder_stores_the_position_with_what_came_before_it_and_refuses_only_what_is_wrong(listed_store: PostgresStore) -> None:
    feed, notes = MemoryFeed(), Notes()
    recorder = Recorder(feed, listed_store, SystemClock(), notes, options=RecordOptions(flush_s=0.01))
    run = asyncio.create_task(recorder.run())
    for event in (trade(0), bar(0), FeedPosition(1, b"a"), trade(1), WRONG, bar(1), FeedPosition(1, b"b"), FeedPosition(2, b"c")):
        feed.publish(event)
    await recorder.drained()
    await recorder.stop()
    await run
    assert await listed_store.trades.read(PAIR.id) == [trade(0), trade(1)]
    assert await listed_store.klines.read(PAIR.id, bar(0).interval) == [bar(0), bar(1)]
    assert await listed_store.recording.positions() == [FeedPosition(1, b"b"), FeedPosition(2, b"c")]
    assert (recorder.rows, recorder.wrong) == (4, 1)
