"""The revisions of books in full and of checksums go back and forward over rows that stay."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from stores_fixtures import MINUTE, PAIR, PERP, START, bar, trade, url_of
from zvt_crypto.domain.market import BookSnapshot
from zvt_crypto.engine.booklog import SegmentLog
from zvt_crypto.stores.postgres import downgrade, migrate, open_store

DAY = 24 * 60 * MINUTE
LEFT = """SELECT (SELECT count(*) FROM kline_1m), (SELECT count(*) FROM kline_revision), (SELECT count(*) FROM trade),
    (SELECT count(*) FROM instrument_fact WHERE field = 'status' AND value = 'delisted')"""


@pytest.fixture
async def filled_url(pg_server_url: str) -> AsyncIterator[str]:
    """A database with rows in every table of these revisions."""
    admin = await asyncpg.connect(pg_server_url)
    await admin.execute("CREATE DATABASE filled_one")
    url = url_of(pg_server_url, "filled_one")
    await migrate(url)
    store = await open_store(url)
    await store.instruments.save([PAIR, PERP], START)
    await store.instruments.rename(PERP.id, PAIR.id, START + DAY)
    await store.klines.upsert([bar(n) for n in range(50)], START)
    await store.klines.upsert([bar(3, close=102.0)], START + DAY)
    await store.trades.append([trade(n) for n in range(50)], START + DAY)
    log = SegmentLog(BookSnapshot(PAIR.id, 1, [(99.0, 1.0)], [(101.0, 1.0)], START, START), START)
    await store.book_log.save([log.close(START + MINUTE)], START)
    assert (await store.checksums.sign()).signed == 2
    await store.close()
    yield url
    await admin.execute("DROP DATABASE filled_one WITH (FORCE)")
    await admin.close()


@pytest.mark.parametrize("back", ["0007", "0008"])
async def test_rows_of_other_tables_stay_and_what_is_new_begins_empty(filled_url, back):
    sql = await asyncpg.connect(filled_url)
    before = await sql.fetchrow(LEFT)
    assert tuple(before) == (50, 1, 50, 1)
    await downgrade(filled_url, back)
    assert await sql.fetchrow(LEFT) == before
    assert await sql.fetchval("SELECT count(*) FROM instrument_fact WHERE field = 'renamed_to'") == 0
    kept = await sql.fetchval("SELECT to_regclass('book_log') IS NOT NULL")
    assert kept == (back == "0008")
    await migrate(filled_url)
    assert await sql.fetchrow(LEFT) == before
    await sql.close()
    store = await open_store(filled_url)
    assert (await store.book_log.segment_at(PAIR.id, START) is not None) == kept
    await store.trades.append([trade(70)], START + DAY)
    assert await store.trades.late("binance", 5) != []
    assert (await store.checksums.sign()).signed == 2
    await store.klines.upsert([bar(60)], START + 2 * DAY)
    assert (await store.checksums.verify()).touched == 1
    await store.close()
