"""Old klines are packed beside readers and writers, and whoever is killed: each bar is there once, in its right version."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys

import asyncpg
import msgspec
import pytest

from stores_fixtures import BAR, KNOWN, MINUTE, PAIR, PERP, pack_all
from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.ports import Written
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.postgres.archive import archive
from zvt_crypto.stores.postgres.bars import pack, unpack
from zvt_crypto.stores.postgres.chunks import packed_until, thaw
from zvt_crypto.stores.postgres.compact import LEAST_DAYS, compact, cutoff_ns, uncompact
from zvt_crypto.stores.postgres.partitions import list_partitions
from zvt_crypto.stores.postgres.policies import TARGETS

MIN_1 = Interval.MIN_1
JULY, AUGUST, SEPTEMBER = (parse_time(f"2024-0{month}-01") for month in (7, 8, 9))


def minutes(start_ns: int, count: int, instrument: str = PAIR.id, **changed: object):
    return [msgspec.structs.replace(BAR, instrument=instrument, open_ns=start_ns + n * MINUTE, **changed) for n in range(count)]


async def held(sql: asyncpg.Connection) -> tuple[int, int]:
    """(rows of the table, packed rows)."""
    return tuple(await sql.fetchrow("SELECT (SELECT count(*) FROM kline_1m), (SELECT coalesce(sum(row_count), 0) FROM kline_packed)"))


async def test_whole_months_are_packed_their_partitions_go_and_the_rest_stays(listed_store, sql):
    await listed_store.klines.upsert([*minutes(AUGUST - 5 * MINUTE, 10), *minutes(JULY, 3, PERP.id)], KNOWN)
    done = await compact(listed_store.pool, MIN_1, AUGUST)
    assert (done.rows, done.chunks, done.dropped, done.left) == (8, 2, 1, 0)
    assert await held(sql) == (5, 8)
    assert [each.name for each in await list_partitions(sql, "kline_1m")] == ["kline_1m_202408"]
    assert await listed_store.klines.read(PAIR.id, MIN_1) == minutes(AUGUST - 5 * MINUTE, 10)
    assert await listed_store.klines.read(PAIR.id, MIN_1, limit=7) == minutes(AUGUST - 2 * MINUTE, 7)
    assert await compact(listed_store.pool, MIN_1, AUGUST) == (0, 0, 0, 0, 0)


async def test_the_catalogue_says_what_a_chunk_holds(listed_store, sql):
    await listed_store.klines.upsert([*minutes(JULY, 2), *minutes(JULY + 5 * MINUTE, 1, source="trades")], KNOWN)
    await compact(listed_store.pool, MIN_1, AUGUST)
    row = await sql.fetchrow(
        "SELECT slug, row_count, by_source, low::text, high::text, first_open::text, last_open::text, length(digest) FROM kline_packed"
    )
    day = ("2024-07-01 00:00:00+00", "2024-07-02 00:00:00+00")
    assert tuple(row) == ("1m", 3, [0, 1, 0, 2], *day, "2024-07-01 00:00:00+00", "2024-07-01 00:05:00+00", 16)


async def test_writes_that_change_nothing_leave_a_chunk_packed(listed_store, sql):
    bars = minutes(JULY, 5)
    await listed_store.klines.upsert(bars, KNOWN)
    await compact(listed_store.pool, MIN_1, AUGUST)
    forming = [msgspec.structs.replace(each, final=False, close=99.0) for each in bars]
    lesser = [msgspec.structs.replace(each, source="trades") for each in bars]
    for again in (bars, forming, lesser):
        assert (await listed_store.klines.upsert(again, KNOWN + 1)).known == 5
    assert await held(sql) == (0, 5)
    assert await sql.fetchval("SELECT count(*) FROM kline_revision") == 0


async def test_a_correction_unpacks_its_day_alone_and_keeps_the_version_before(listed_store, sql):
    await listed_store.klines.upsert([*minutes(JULY, 3), *minutes(JULY + NS_PER_DAY, 3)], KNOWN)
    await compact(listed_store.pool, MIN_1, AUGUST)
    wrong = msgspec.structs.replace(minutes(JULY, 3)[1], close=100.5)
    fresh = minutes(SEPTEMBER, 1)[0]
    assert await listed_store.klines.upsert([wrong, fresh], KNOWN + 1) == Written(1, 1)
    assert await held(sql) == (4, 3)
    assert await sql.fetchval("SELECT close FROM kline_revision WHERE served") == 101.0
    assert (await listed_store.klines.read(PAIR.id, MIN_1))[1] == wrong
    await compact(listed_store.pool, MIN_1, AUGUST)
    assert (await listed_store.klines.read(PAIR.id, MIN_1))[1] == wrong
    assert await held(sql) == (1, 6)


async def test_a_late_row_joins_the_chunk_of_its_day(listed_store, sql):
    late = minutes(JULY + 9 * MINUTE, 1)
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    forming = [msgspec.structs.replace(late[0], final=False)]
    await listed_store.klines.upsert(forming, KNOWN)
    assert (await compact(listed_store.pool, MIN_1, AUGUST)).left == 1  # the partition still holds what forms
    await sql.execute("UPDATE kline_1m SET final = true")
    assert (await compact(listed_store.pool, MIN_1, AUGUST)).dropped == 1
    assert await held(sql) == (0, 4)
    assert await listed_store.klines.read(PAIR.id, MIN_1) == [*minutes(JULY, 3), *late]


async def test_no_other_program_can_write_a_bar_beside_its_chunk(listed_store, sql):
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    await compact(listed_store.pool, MIN_1, AUGUST)
    await sql.execute("SELECT zvt_add_partition('kline_1m', 'kline_1m_202407', '2024-07-01', '2024-08-01')")
    row = "SELECT 1, NULL, $1::timestamptz, now(), 10, 12, 9, 11, 1, 1, 4, true"
    for table in ("kline_1m", "kline_1m_202407"):
        with pytest.raises(asyncpg.PostgresError, match="range that is packed") as refused:
            await sql.execute(f"INSERT INTO {table} {row.replace('$1', repr('2024-07-01 12:00+00'))}")
        assert refused.value.sqlstate == "ZP001"
    await sql.execute(f"INSERT INTO kline_1m {row.replace('$1', repr('2024-07-02 12:00+00'))}")  # its day is not packed


async def test_unpacking_gives_back_every_row_with_when_it_was_known(listed_store, sql):
    await listed_store.klines.upsert(minutes(JULY, 3, turnover=None, trades=None), KNOWN)
    before = await sql.fetch("SELECT * FROM kline_1m ORDER BY open_time")
    await compact(listed_store.pool, MIN_1, AUGUST)

    async def work(connection) -> int:
        await connection.execute("SELECT zvt_add_partition('kline_1m', 'kline_1m_202407', $1, $2)", JULY, AUGUST)
        return await thaw(connection, 1, MIN_1, JULY, AUGUST)

    assert await listed_store.pool.write("unpack", work) == 3
    assert await sql.fetch("SELECT * FROM kline_1m ORDER BY open_time") == before
    assert await held(sql) == (3, 0)


async def test_a_damaged_chunk_is_named_and_never_served(listed_store, sql):
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    await compact(listed_store.pool, MIN_1, AUGUST)
    await sql.execute("UPDATE kline_packed SET data = substr(data, 1, length(data) - 9)")
    with pytest.raises(StoreError, match=rf"chunk of kline_1m, {PAIR.id}, 2024-07-01.* packed chunk cannot be read"):
        await listed_store.klines.read(PAIR.id, MIN_1)


@pytest.fixture
async def lying(listed_store, sql):
    """A chunk that unpacks without a word, into rows that nobody packed."""
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    await compact(listed_store.pool, MIN_1, AUGUST)
    rows = unpack(await sql.fetchval("SELECT data FROM kline_packed"))
    await sql.execute("UPDATE kline_packed SET data = $1", pack(rows._replace(close=rows.close + 0.25)))
    return listed_store


@pytest.mark.parametrize(
    "use",
    [
        lambda store, _: store.klines.read(PAIR.id, MIN_1),
        lambda store, _: store.frames.klines(PAIR.id, MIN_1),
        lambda store, _: store.klines.upsert([msgspec.structs.replace(BAR, open_ns=JULY, close=100.5)], KNOWN + 1),
        lambda store, _: uncompact(store.pool, MIN_1, JULY, AUGUST),
        lambda store, folder: archive(store.pool, TARGETS["kline_1m"], (JULY, AUGUST), folder, remove=True),
    ],
    ids=["read", "frame", "correction", "unpack", "archive"],
)
async def test_a_chunk_whose_rows_are_not_those_that_were_packed_is_never_believed(lying, sql, tmp_path, use):
    said = rf"chunk of kline_1m, {PAIR.id}, 2024-07-01T00:00:00.000Z to 2024-07-02T00:00:00.000Z: .*not those that were packed"
    with pytest.raises(StoreError, match=said):
        await use(lying, tmp_path)
    assert await held(sql) == (0, 3)
    assert list(tmp_path.rglob("*.parquet")) == []


async def test_late_rows_join_no_chunk_that_is_not_what_was_packed(lying, sql):
    await sql.execute("SELECT zvt_add_partition('kline_1m', 'kline_1m_202407', '2024-07-01', '2024-08-01')")
    await sql.execute("UPDATE kline_packed SET low = '2024-07-01 00:00:00+00', high = '2024-07-01 00:03:00+00'")
    await lying.klines.upsert(minutes(JULY + 9 * MINUTE, 1), KNOWN)
    with pytest.raises(StoreError, match="not those that were packed"):
        await compact(lying.pool, MIN_1, AUGUST)
    assert await held(sql) == (1, 3)


def test_a_policy_cannot_pack_what_everybody_still_writes():
    assert cutoff_ns(SEPTEMBER, 1) == SEPTEMBER - LEAST_DAYS * NS_PER_DAY
    assert cutoff_ns(SEPTEMBER, 31) == AUGUST


async def test_reads_and_writes_beside_a_compactor_see_each_bar_once(database_url, listed_store):
    """Seeded: 4 writers correct, add and repeat; 2 readers look; one packs all the time. Then everything is as the last write said."""
    chance, told = random.Random(4), {each.open_ns: each for each in minutes(JULY, 300)}
    await listed_store.klines.upsert(list(told.values()), KNOWN)
    other = await open_store(database_url)
    over = asyncio.Event()

    async def write(first: int) -> None:
        for turn in range(12):
            chosen = [JULY + n * MINUTE for n in chance.sample(range(first, 400, 4), 8)]
            new = [msgspec.structs.replace(BAR, open_ns=at, close=99.0 + chance.randrange(4)) for at in chosen]
            await chance.choice([other, listed_store]).klines.upsert(new, KNOWN + turn + 1)
            told.update((each.open_ns, each) for each in new)

    async def look() -> None:
        while not over.is_set():
            opens = [each.open_ns for each in await other.klines.read(PAIR.id, MIN_1)]
            assert opens == sorted(set(opens))
            assert len(opens) >= 300
            assert await other.klines.missing(PAIR.id, MIN_1, JULY, JULY + 300 * MINUTE) == []
            newest = await other.klines.read(PAIR.id, MIN_1, end_ns=JULY + 300 * MINUTE, limit=50)
            assert [each.open_ns for each in newest] == [JULY + n * MINUTE for n in range(250, 300)]

    async def pack() -> None:
        while not over.is_set():
            await pack_all(listed_store)

    beside = [asyncio.create_task(each) for each in (look(), look(), pack())]
    await asyncio.gather(*(write(first) for first in range(4)))
    over.set()
    await asyncio.gather(*beside)
    assert await other.klines.read(PAIR.id, MIN_1) == [told[at] for at in sorted(told)]
    await other.close()


PACKER = """
import asyncio, sys
from zvt_crypto.domain.time import Interval, parse_time
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.postgres.compact import compact
async def main():
    store = await open_store(sys.argv[1])
    print("ready", flush=True)
    await compact(store.pool, Interval.MIN_1, parse_time("2024-09-01"), lambda text: print(text, flush=True))
    print("done", flush=True)
    await store.close()
asyncio.run(main())
"""


async def test_a_compactor_killed_at_any_moment_loses_and_doubles_nothing(database_url, listed_store, sql):
    months = [parse_time(f"2024-{month:02d}-01") for month in range(1, 9)]
    told = {name: [each for month in months for each in minutes(month, 300, name)] for name in (PAIR.id, PERP.id)}
    for bars in told.values():
        await listed_store.klines.upsert(bars, KNOWN)
    chance, kills = random.Random(7), 0
    for _ in range(12):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PACKER, database_url, stdout=asyncio.subprocess.PIPE)
        assert await process.stdout.readline() == b"ready\n"
        for _ in range(chance.randrange(3)):
            await process.stdout.readline()
        await asyncio.sleep(chance.uniform(0, 0.01))
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        kills += b"done" not in await process.stdout.read()
        await process.wait()
        assert sum(await held(sql)) == 4800
        for name, bars in told.items():
            assert await listed_store.klines.read(name, MIN_1) == bars
        if (await held(sql))[0] == 0:
            break
    await compact(listed_store.pool, MIN_1, SEPTEMBER)
    assert await held(sql) == (0, 4800)
    assert await listed_store.pool.run("ask", lambda connection: packed_until(connection, MIN_1)) == SEPTEMBER
    assert kills >= 3
