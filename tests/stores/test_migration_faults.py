"""A migration on a busy database: nobody waits long for it, and one that is killed half-way leaves nothing half-done."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest

from stores_fixtures import KNOWN, PAIR, bar, pack_all, trade, url_of
from zvt_crypto.domain.errors import StoreError, StoreUnavailable
from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres import downgrade, head_revision, migrate, open_store, schema
from zvt_crypto.stores.postgres.bars import pack, unpack
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.klines import PostgresKlines
from zvt_crypto.stores.postgres.pool import connect_pool
from zvt_crypto.stores.postgres.trades import PostgresTrades

MIGRATE = "import asyncio, sys; from zvt_crypto.stores.postgres import migrate; asyncio.run(migrate(sys.argv[1]))"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'zvt-crypto migrate' AND wait_event_type = 'Lock'"
OBJECTS = """
    SELECT relkind::text, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'f', proname || md5(prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 't', tgrelid::regclass || ' ' || tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"""


@pytest.fixture
async def old_url(pg_server_url: str) -> AsyncIterator[str]:
    """A database at revision 0004, with a pair."""
    admin = await asyncpg.connect(pg_server_url)
    await admin.execute("CREATE DATABASE old_one")
    url = url_of(pg_server_url, "old_one")
    await migrate(url)
    store = await open_store(url)
    await store.instruments.save([PAIR], KNOWN)
    await store.close()
    await downgrade(url, "0004")
    yield url
    await admin.execute("DROP DATABASE old_one WITH (FORCE)")
    await admin.close()


async def until_it_waits(sql: asyncpg.Connection) -> None:
    while not await sql.fetchval(WAITS):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


async def test_a_migration_beside_writers_loses_none_of_their_rows(old_url):
    pool, over, written = await connect_pool(old_url, 2, None), asyncio.Event(), 0
    klines, trades = PostgresKlines(pool, keys := Keys()), PostgresTrades(pool, keys)

    async def write() -> None:
        nonlocal written
        while not over.is_set():
            await klines.upsert([bar(n) for n in range(written, written + 20)], KNOWN)
            await trades.append([trade(n) for n in range(written, written + 20)], KNOWN)
            written += 20

    writer = asyncio.create_task(write())
    while not written:  # noqa: ASYNC110 - a counter
        await asyncio.sleep(0)
    await migrate(old_url)
    at_the_end = written
    while written == at_the_end:  # noqa: ASYNC110 - a counter
        await asyncio.sleep(0.01)
    over.set()
    await writer
    assert len(await klines.read(PAIR.id, Interval.MIN_1)) == len(await trades.read(PAIR.id)) == written
    await pool.close()


async def test_nobody_queues_for_long_behind_a_migration_that_waits(old_url, monkeypatch):
    """A long read of `gap` stops revision 0005; others still write there meanwhile, between its turns."""
    monkeypatch.setattr(schema, "_LOCK_MS", 50)
    reader, writer = await asyncpg.connect(old_url), await asyncpg.connect(old_url)
    reading = reader.transaction()
    await reading.start()
    await reader.fetch("SELECT * FROM gap")
    migration = asyncio.create_task(migrate(old_url))
    await until_it_waits(writer)
    row = "SELECT 1, 'trade', now() + $1 * interval '1 s', now() + interval '1 h', '', now(), now()"
    for n in range(5):
        await writer.execute(f"INSERT INTO gap (instrument_id, channel, start_time, end_time, reason, event_time, known_at) {row}", n)
    assert not migration.done()
    await reading.rollback()
    await migration
    assert await writer.fetchval("SELECT version_num FROM alembic_version") == head_revision()
    assert await writer.fetchval("SELECT count(*) FROM gap") == 5
    for each in (reader, writer):
        await each.close()


async def test_a_migration_that_never_gets_its_lock_says_so(old_url, monkeypatch):
    for name, value in (("_LOCK_MS", 10), ("_TRIES", 2), ("_PAUSE_S", 0.0)):
        monkeypatch.setattr(schema, name, value)
    reader = await asyncpg.connect(old_url)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM gap")
        with pytest.raises(StoreUnavailable, match="somebody holds a lock on a table that changes"):
            await migrate(old_url)
    await migrate(old_url)
    await reader.close()


async def test_a_migration_killed_in_the_middle_goes_through_the_next_time(old_url, database_url):
    holder, watcher = await asyncpg.connect(old_url), await asyncpg.connect(old_url)
    holding = holder.transaction()
    await holding.start()
    await holder.execute("LOCK TABLE gap IN SHARE MODE")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, old_url)
    await until_it_waits(watcher)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await holding.rollback()
    assert await watcher.fetchval("SELECT version_num FROM alembic_version") == "0004"
    await migrate(old_url)
    fresh = await asyncpg.connect(database_url)
    assert await watcher.fetch(OBJECTS) == await fresh.fetch(OBJECTS)
    for each in (holder, watcher, fresh):
        await each.close()


async def test_packed_rows_return_to_their_tables_on_the_way_back(database_url):
    store = await open_store(database_url)
    await store.instruments.save([PAIR], KNOWN)
    bars = [bar(n, turnover=None if n % 2 else 7.5, trades=None if n % 3 else 4) for n in range(10)]
    hours = [bar(0, interval=Interval.HOUR_1, open_ns=bar(2).open_ns)]
    await store.klines.upsert([*bars, *hours], KNOWN)
    sql = await asyncpg.connect(database_url)
    before = [await sql.fetch(f"SELECT * FROM kline_{slug} ORDER BY open_time") for slug in ("1m", "1h")]
    assert (await pack_all(store)).rows == 11
    await store.close()
    await downgrade(database_url, "0006")
    assert [await sql.fetch(f"SELECT * FROM kline_{slug} ORDER BY open_time") for slug in ("1m", "1h")] == before
    await migrate(database_url)
    await sql.close()


async def test_the_way_back_makes_no_rows_of_a_chunk_that_is_not_what_was_packed(database_url):
    store = await open_store(database_url)
    await store.instruments.save([PAIR], KNOWN)
    await store.klines.upsert([bar(n) for n in range(3)], KNOWN)
    await pack_all(store)
    await store.close()
    sql = await asyncpg.connect(database_url)
    data = await sql.fetchval("SELECT data FROM kline_packed ORDER BY low LIMIT 1")
    rows = unpack(data)
    await sql.execute("UPDATE kline_packed SET data = $1 WHERE data = $2", pack(rows._replace(close=rows.close + 0.25)), data)
    with pytest.raises(StoreError, match="not those that were packed"):
        await downgrade(database_url, "0006")
    assert await sql.fetchval("SELECT sum(row_count) FROM kline_packed") == 3
    await sql.close()
