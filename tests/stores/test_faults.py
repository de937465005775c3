"""When the database dies, is full, or two writers want the same: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from stores_fixtures import KNOWN, MINUTE, PAIR, PERP, START, bar, trade
from zvt_crypto.domain.errors import (
    BadConfig,
    ConstraintViolated,
    StoreError,
    StoreFull,
    StoreUnavailable,
    ZvtCryptoError,
)
from zvt_crypto.domain.time import NS_PER_DAY, Interval
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.stores.postgres.errors import mapped, ours


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that a test may kill. Without fsync: what it acknowledged is with the kernel, which a killed process does not take along."""
    folder = Path(tempfile.mkdtemp(prefix="zvt-killed-"))
    with EmbeddedServer(folder / "database", settings={"fsync": "off"}) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_server_killed_in_the_middle_of_writes_keeps_every_acknowledged_row_once(own_server):
    await migrate(own_server.url)
    store = await open_store(own_server.url)
    await store.instruments.save([PAIR], START)
    acknowledged: list[int] = []
    five = asyncio.Event()

    async def write(first: int) -> None:
        for batch in range(first, first + 500):
            rows = [trade(batch * 250 + n) for n in range(250)]
            await store.trades.append(rows, KNOWN)
            await store.klines.upsert([bar(batch * 250 + n) for n in range(250)], KNOWN)
            acknowledged.append(batch)
            if len(acknowledged) == 5:
                five.set()

    writer = asyncio.create_task(write(0))
    await five.wait()
    os.kill(own_server.pid(), signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        await writer
    died_at = len(acknowledged)
    assert died_at < 500
    await asyncio.to_thread(own_server.start)

    await store.ping()  # the same pool, over the new server
    kept = {t.trade_id for t in await store.trades.read(PAIR.id)}
    assert {trade(n).trade_id for n in range(died_at * 250)} <= kept
    assert len(await store.klines.read(PAIR.id, Interval.MIN_1)) >= died_at * 250
    again = range(died_at + 2)  # whoever was not told "stored" writes again
    for batch in again:
        await store.trades.append([trade(batch * 250 + n) for n in range(250)], KNOWN)
        await store.klines.upsert([bar(batch * 250 + n) for n in range(250)], KNOWN)
    assert [t.trade_id for t in await store.trades.read(PAIR.id)] == [trade(n).trade_id for n in range(len(again) * 250)]
    assert await store.klines.read(PAIR.id, Interval.MIN_1) == [bar(n) for n in range(len(again) * 250)]
    await store.close()


async def test_a_stopped_server_is_unavailable_and_a_started_one_is_used_again(own_server):
    await migrate(own_server.url)
    store = await open_store(own_server.url)
    own_server.stop()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await store.trades.append([trade()], KNOWN)
    own_server.start()
    await store.ping()
    await store.close()


async def test_connections_that_were_cut_are_replaced_without_a_word(listed_store, sql):
    await listed_store.klines.upsert([bar()], KNOWN)
    await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'zvt-crypto'")
    assert await listed_store.klines.read(PAIR.id, Interval.MIN_1) == [bar()]


async def raised(sql: asyncpg.Connection, state: str) -> ZvtCryptoError:
    with pytest.raises(ZvtCryptoError) as caught, mapped("store 1 kline"):
        await sql.execute(f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$")
    return caught.value


STATES = [
    ("53100", StoreFull),
    ("53200", StoreUnavailable),
    ("53300", StoreUnavailable),
    ("57014", StoreUnavailable),
    ("57P01", StoreUnavailable),
    ("08006", StoreUnavailable),
    ("25006", StoreUnavailable),
    ("58030", StoreUnavailable),
    ("XX001", StoreUnavailable),
    ("40P01", StoreUnavailable),
    ("22003", ConstraintViolated),
    ("23503", ConstraintViolated),
    ("23505", ConstraintViolated),
    ("28000", BadConfig),
    ("3D000", BadConfig),
    ("42P01", StoreError),
]


@pytest.mark.parametrize("state, kind", STATES)
async def test_each_state_of_the_server_has_its_fate(sql, state, kind):
    error = await raised(sql, state)
    assert isinstance(error, kind)
    assert str(error) == f"cannot store 1 kline: as told [{state}]"
    if kind is StoreError:
        assert not isinstance(error, (StoreUnavailable, ConstraintViolated))


def test_what_never_reached_a_server_is_unavailable():
    for error in (ConnectionRefusedError(), TimeoutError(), FileNotFoundError("no socket"), asyncpg.InterfaceError("connection is closed")):
        assert isinstance(ours(error, "ping"), StoreUnavailable)


async def test_a_full_disk_keeps_nothing_and_the_same_rows_are_stored_later(listed_store, sql):
    await sql.execute("""
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON kline_1m FOR EACH STATEMENT EXECUTE FUNCTION full_disk()""")
    rows = [bar(n) for n in range(300)]
    with pytest.raises(StoreFull, match="No space left"):
        await listed_store.klines.upsert(rows, KNOWN)
    await sql.execute("DROP TRIGGER full_disk ON kline_1m")
    assert (await listed_store.klines.upsert(rows, KNOWN)).inserted == 300


async def test_writers_at_once_make_each_partition_and_each_row_once(database_url, listed_store, sql):
    other = await open_store(database_url)
    days = [trade(n, event_ns=START + n % 10 * NS_PER_DAY + n) for n in range(1000)]
    bars = [bar(n * 60 * 24 * 3, instrument=i.id) for n in range(100) for i in (PAIR, PERP)]
    stores = [listed_store, other] * 3
    counts = await asyncio.gather(
        *(s.trades.append(days[n::2] + days[:100], KNOWN) for n, s in enumerate(stores)),
        *(s.klines.upsert(bars[::-1] if n % 2 else bars, KNOWN) for n, s in enumerate(stores)),
    )
    assert sum(c.inserted for c in counts[:6]) == 1000
    assert sum(c.inserted for c in counts[6:]) == 200
    assert await sql.fetchval("SELECT count(*) FROM trade") == 1000
    await other.close()


async def test_writers_that_replace_the_same_bars_in_opposite_order_all_succeed(database_url, listed_store):
    other = await open_store(database_url)
    bars = [bar(n) for n in range(400)]
    await listed_store.klines.upsert(bars, KNOWN)
    for turn in range(5):
        up = [bar(n, close=100.0 + turn / 10) for n in range(400)]
        await asyncio.gather(listed_store.klines.upsert(up, KNOWN + turn), other.klines.upsert(up[::-1], KNOWN + turn))
    assert [k.close for k in await listed_store.klines.read(PAIR.id, Interval.MIN_1)] == [100.4] * 400
    await other.close()


async def test_a_deadlock_is_tried_again(listed_store, sql, database_url):
    """A transaction of somebody else takes bar 1, then wants bar 0, while ours holds bar 0 and wants bar 1."""
    await listed_store.klines.upsert([bar(0), bar(1)], KNOWN)
    await sql.execute("SET deadlock_timeout = '10s'")  # so that ours is the one that is told
    theirs = sql.transaction()
    await theirs.start()
    await sql.execute("SELECT FROM kline_1m WHERE open_time = '2024-08-08 23:59:00+00' FOR UPDATE")
    ours_task = asyncio.create_task(listed_store.klines.upsert([bar(0, close=100.1), bar(1, close=100.1)], KNOWN))
    watch = await asyncpg.connect(database_url)
    while not await watch.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await watch.execute("SELECT pg_sleep(0.005)")
    await sql.execute("SELECT FROM kline_1m WHERE open_time = '2024-08-08 23:58:00+00' FOR UPDATE")
    await theirs.commit()
    assert (await ours_task).changed == 2
    assert [k.close for k in await listed_store.klines.read(PAIR.id, Interval.MIN_1)] == [100.1, 100.1]
    await watch.close()


async def test_a_cancelled_write_leaves_nothing_and_the_pool_usable(listed_store):
    rows = [bar(n) for n in range(20_000)]
    task = asyncio.create_task(listed_store.klines.upsert(rows, KNOWN))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await listed_store.klines.read(PAIR.id, Interval.MIN_1)) in (0, 20_000)
    assert (await listed_store.klines.upsert(rows[:1], KNOWN)).changed == 0


async def test_closing_waits_for_nobody_for_long(database_url):
    store = await open_store(database_url)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()


async def test_the_newest_are_read_by_the_key_alone(listed_store, sql):
    """No sort of a whole instrument, no index on time alone."""
    rows = [bar(n * 60 * 24) for n in range(300)]
    await listed_store.klines.upsert(rows, KNOWN)
    await sql.execute("ANALYZE kline_1m")
    await sql.execute("SET enable_seqscan = off")
    plan = await sql.fetch("EXPLAIN SELECT * FROM kline_1m WHERE instrument_id = 1 ORDER BY open_time DESC LIMIT 100")
    text = "\n".join(row[0] for row in plan)
    assert "Sort" not in text
    assert "Index Scan Backward" in text
    assert START % MINUTE == 0
