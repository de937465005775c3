"""The schema on TimescaleDB. `ZVT_CRYPTO_TIMESCALE_URL` names a server where databases may be made; without it, what can be said without
one is tested. (Any PostgreSQL 14 to 17 with the extension in shared_preload_libraries, either edition.)"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from stores_fixtures import BAR, KNOWN, MINUTE, PAIR, bar, pack_all, trade
from zvt_crypto.domain.errors import Unsupported
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
from zvt_crypto.stores.postgres.features import find_features
from zvt_crypto.stores.postgres.hypertables import _without_deleted_rows, apply_policies, compress_old, make_aggregates, make_hypertables
from zvt_crypto.stores.postgres.partitions import list_partitions
from zvt_crypto.stores.postgres.policies import TARGETS, Policy, set_policy
from zvt_crypto.stores.postgres.retain import lose, plan_retention
from zvt_crypto.stores.postgres.status import read_status

MIN_1 = Interval.MIN_1
LATER = parse_time("2025-01-01")
SERVER = os.environ.get("ZVT_CRYPTO_TIMESCALE_URL")
real = pytest.mark.skipif(SERVER is None, reason="set ZVT_CRYPTO_TIMESCALE_URL to a server that has TimescaleDB")


@pytest.fixture
async def hyper() -> AsyncIterator[PostgresStore]:
    """A store over hypertables."""
    assert SERVER is not None
    admin = await asyncpg.connect(SERVER)
    await admin.execute("DROP DATABASE IF EXISTS zvt_timescale WITH (FORCE)")
    await admin.execute("CREATE DATABASE zvt_timescale")
    url = f"{SERVER.partition('?')[0].rpartition('/')[0]}/zvt_timescale"
    sql = await asyncpg.connect(url)
    await sql.execute("CREATE EXTENSION timescaledb")
    await sql.close()
    await migrate(url)
    store = await open_store(url)
    assert await make_hypertables(store.pool) == ["kline_1m", "kline_5m", "kline_15m", "kline_30m", "trade", "book_log"]
    assert await make_hypertables(store.pool) == []
    await store.instruments.save([PAIR], KNOWN)
    yield store
    await store.close()
    await admin.execute("DROP DATABASE zvt_timescale WITH (FORCE)")
    await admin.close()


@real
async def test_a_hypertable_takes_the_place_of_a_divided_table(hyper):
    await hyper.klines.upsert([bar(n) for n in range(130)], KNOWN)
    assert (await hyper.klines.upsert([bar(3, close=100.0)], KNOWN + 1)).changed == 1
    await hyper.trades.append([trade(n) for n in range(300)], KNOWN)
    assert (await hyper.trades.append([trade(n) for n in range(300)], KNOWN)).known == 300

    async def work(connection) -> None:
        assert await connection.fetchval("SELECT count(*) FROM kline_revision") == 1
        assert await connection.fetchval("SELECT count(*) FROM cryptopair_1m_kdata") == 130
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(
                "INSERT INTO kline_1m SELECT 99, trades, open_time, known_at, open, high, low, close, volume, turnover, source, final FROM kline_1m LIMIT 1"
            )

    await hyper.pool.run("look", work)
    assert (await hyper.klines.bounds(PAIR.id, MIN_1)) == (bar(0).open_ns, bar(129).open_ns)


@real
async def test_packing_retention_and_status_see_chunks_as_partitions(hyper):
    await hyper.klines.upsert([bar(n) for n in range(130)] + [bar(60 * 24 * 40 + n) for n in range(50)], KNOWN)
    table = next(each for each in (await read_status(hyper.pool)).tables if each.target == "kline_1m")
    assert (table.hot_rows, table.partitions) == (180, 2)
    assert table.hot_bytes > 8192
    done = await pack_all(hyper)
    assert (done.rows, done.dropped) == (180, 2)
    assert len(await hyper.klines.read(PAIR.id, MIN_1)) == 180
    assert (await hyper.klines.upsert([bar(3, close=99.5)], KNOWN + 2)).changed == 1
    await hyper.trades.append([trade(n) for n in range(5)], KNOWN)
    (loss,) = await plan_retention(hyper.pool, TARGETS["trade"], BAR.open_ns + 2 * NS_PER_DAY)
    assert await lose(hyper.pool, loss, BAR.open_ns + 2 * NS_PER_DAY) == 5


@real
async def test_policies_are_the_extension_s_own_where_the_edition_has_them(hyper):
    features = await hyper.pool.run("ask", find_features)

    async def work(connection) -> list[Policy]:
        await set_policy(connection, TARGETS["kline_1m"], "compact", 90)
        await set_policy(connection, TARGETS["trade"], "retain", 30)
        return await apply_policies(connection)

    applied = await hyper.pool.write("set", work)
    await hyper.klines.upsert([bar(n) for n in range(3000)], KNOWN)
    if not features.compresses:
        assert applied == []
        with pytest.raises(Unsupported, match="no continuous aggregates"):
            await make_aggregates(hyper.pool)
        return
    assert applied == [Policy("kline_1m", "compact", 90), Policy("trade", "retain", 30)]
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_name IN ('kline_1m', 'trade')"
    assert await hyper.pool.run("ask", lambda connection: connection.fetchval(jobs)) == 2
    assert await make_aggregates(hyper.pool) == ["kline_1m_as_1h", "kline_1m_as_1d"]
    before = await hyper.klines.read(PAIR.id, MIN_1)
    assert await compress_old(hyper.pool, TARGETS["kline_1m"], LATER) >= 1
    assert await compress_old(hyper.pool, TARGETS["kline_1m"], LATER) == 0
    assert await hyper.klines.read(PAIR.id, MIN_1) == before
    assert (await hyper.klines.upsert([bar(7, close=99.5)], KNOWN + 2)).changed == 1  # in a compressed chunk
    assert (await pack_all(hyper)).rows == 3000
    assert len(await hyper.klines.read(PAIR.id, MIN_1)) == 3000
    assert await hyper.pool.run("list", lambda connection: list_partitions(connection, "kline_1m")) == []


async def test_without_the_extension_tables_stay_divided_and_it_is_said(listed_store):
    with pytest.raises(Unsupported, match="no TimescaleDB: this server does not have it"):
        await make_hypertables(listed_store.pool)
    with pytest.raises(Unsupported, match="no continuous aggregates"):
        await make_aggregates(listed_store.pool)
    assert await listed_store.pool.run("apply", apply_policies) == []
    await listed_store.klines.upsert([bar(0), bar(1)], KNOWN)
    assert bar(1).open_ns - bar(0).open_ns == MINUTE


def test_a_trigger_that_is_shown_deleted_rows_does_what_it_does_when_all_go():
    inserts = "CREATE TRIGGER a AFTER INSERT ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION f('x')"
    deletes = "CREATE TRIGGER d AFTER DELETE ON t REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION f('x')"
    empties = "CREATE TRIGGER e AFTER TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION g('x')"
    changed = "CREATE TRIGGER d AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION g('x')"
    assert _without_deleted_rows([inserts, deletes, empties]) == [inserts, changed, empties]
    assert _without_deleted_rows([inserts, deletes]) == [inserts, deletes]
