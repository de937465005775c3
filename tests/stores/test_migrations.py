"""Every revision goes forward and back, on a database with rows in it, and several programs may try at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from stores_fixtures import BAR, KNOWN, PAIR, PERP, TRADE, url_of
from zvt_crypto.domain.errors import BadConfig, StoreUnavailable
from zvt_crypto.domain.market import Funding
from zvt_crypto.stores.postgres import downgrade, head_revision, migrate, open_store, schema

OBJECTS = """
    SELECT relkind::text, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p', 'i', 'I', 'S')
    UNION ALL SELECT 'f', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'c', conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 't', tgrelid::regclass || ' ' || tgname FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1, 2"""
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")


@pytest.fixture
async def empty_url(pg_server_url: str) -> AsyncIterator[str]:
    admin = await asyncpg.connect(pg_server_url)
    await admin.execute("CREATE DATABASE empty_one")
    yield url_of(pg_server_url, "empty_one")
    await admin.execute("DROP DATABASE empty_one WITH (FORCE)")
    await admin.close()


async def objects(url: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(url)
    found = [tuple(row) for row in await connection.fetch(OBJECTS)]
    await connection.close()
    return [row for row in found if "alembic" not in row[1] and "_2024" not in row[1]]  # partitions come and go with rows


async def fill(url: str) -> None:
    store = await open_store(url)
    await store.instruments.save([PAIR, PERP], KNOWN)
    await store.klines.upsert([BAR], KNOWN)
    await store.trades.append([TRADE], KNOWN)
    await store.facts.save_funding([Funding(PERP.id, KNOWN, 0.0001)], KNOWN)
    await store.close()


def test_the_head_is_the_newest_revision_that_ships():
    assert head_revision() == REVISIONS[-1] == ScriptDirectory.from_config(schema._config()).get_current_head()


def test_a_program_that_only_reads_does_not_import_the_migration_tools():
    asked = "import sys, zvt_crypto.stores.postgres; print([m for m in ('alembic', 'sqlalchemy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout == "[]\n"


async def test_each_revision_goes_back_and_forward_on_a_filled_database(empty_url):
    made = {}
    for revision in REVISIONS:
        await migrate(empty_url, revision)
        made[revision] = await objects(empty_url)
    await fill(empty_url)
    for back in reversed(REVISIONS[:-1]):
        await downgrade(empty_url, back)
        assert await objects(empty_url) == made[back]
    await migrate(empty_url)
    assert await objects(empty_url) == made[REVISIONS[-1]]
    await fill(empty_url)
    await downgrade(empty_url, "base")
    assert await objects(empty_url) == []


async def test_views_come_back_over_rows_that_stayed(empty_url):
    await migrate(empty_url)
    await fill(empty_url)
    await downgrade(empty_url, "0003")
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT count(*) FROM cryptopair_1m_kdata") == 1
    await connection.close()


async def test_a_gap_of_klines_learns_its_interval_from_the_reason_that_named_it(empty_url):
    await migrate(empty_url, "0004")
    connection = await asyncpg.connect(empty_url)
    await connection.execute("""
        INSERT INTO asset (id, exchange, symbol, created_at) VALUES ('a', 'binance', 'A', now()), ('b', 'binance', 'B', now());
        INSERT INTO instrument (id, kind, exchange, native_symbol, base_asset, quote_asset, created_at)
            SELECT 'x', 'pair', 'binance', 'AB', min(asset_key), max(asset_key), now() FROM asset;
        INSERT INTO gap (instrument_id, channel, start_time, end_time, reason, event_time, known_at)
            SELECT instrument_id, c, now(), now(), r, now(), now() FROM instrument,
                (VALUES ('kline', '1M: the venue does not have it'), ('trade', '1m: x'), ('book', 'lost')) v(c, r)""")
    await migrate(empty_url)
    found = await connection.fetch("SELECT channel, kline_interval FROM gap ORDER BY gap_id")
    assert [tuple(row) for row in found] == [("kline", "1M"), ("trade", None), ("book", None)]
    copied = "instrument_id, channel, start_time, end_time, reason, event_time, known_at"
    await connection.execute(f"INSERT INTO gap ({copied}, kline_interval) SELECT {copied}, '1m' FROM gap WHERE channel = 'kline'")
    await downgrade(empty_url, "0004")
    assert (
        await connection.fetchval("SELECT string_agg(reason, ' ' ORDER BY gap_id) FROM gap") == "1M: the venue does not have it 1m: x lost"
    )
    await connection.close()


async def test_migrating_again_changes_nothing(database_url):
    before = await objects(database_url)
    await migrate(database_url)
    assert await objects(database_url) == before


async def test_three_programs_that_migrate_at_once_all_succeed(empty_url):
    await asyncio.gather(*(migrate(empty_url) for _ in range(3)))
    await fill(empty_url)


async def test_a_store_refuses_a_schema_of_another_build_by_name(empty_url):
    with pytest.raises(BadConfig, match="schema is at none, this build needs 0012"):
        await open_store(empty_url)
    await migrate(empty_url, "0002")
    with pytest.raises(BadConfig, match="schema is at 0002"):
        await open_store(empty_url)


async def test_a_database_that_is_not_there_is_named(pg_server_url, tmp_path):
    with pytest.raises(BadConfig, match="no_such_database"):
        await migrate(url_of(pg_server_url, "no_such_database"))
    with pytest.raises(StoreUnavailable):
        await migrate(f"postgresql://postgres@/x?host={tmp_path}")
    with pytest.raises(BadConfig):
        await migrate("mysql://somewhere/else")
