"""Klines as columns are the klines of the store, and a copy is served only while it is what the store holds."""

from __future__ import annotations

import random

import msgspec
import polars as pl
import pytest

from stores_fixtures import BAR, KNOWN, PAIR, PERP, START, bar
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, Interval, floor_ns, next_ns, parse_time
from zvt_crypto.services.research import Research
from zvt_crypto.stores.files.columns import ColumnCache
from zvt_crypto.stores.files.frames import kline_frame, named_klines
from zvt_crypto.stores.postgres.compact import compact, uncompact

MIN_1 = Interval.MIN_1
AUGUST = parse_time("2024-08-01")
SEED_COUNT = 60


async def rows_as_frame(store, interval=MIN_1, start=None, end=None) -> pl.DataFrame:
    return kline_frame(await store.klines.read(PAIR.id, interval, start, end))


def named(frame: pl.DataFrame, interval=MIN_1) -> pl.DataFrame:
    return named_klines(frame, PAIR.id, interval)


async def test_columns_say_what_rows_say(listed_store):
    bars = [bar(0), bar(1, turnover=None, trades=None, source="import"), bar(5, final=False, source="trades"), bar(7, source="derived")]
    await listed_store.klines.upsert([*bars, bar(3, instrument=PERP.id)], KNOWN)
    assert named(await listed_store.frames.klines(PAIR.id, MIN_1)).equals(kline_frame(bars))
    part = await listed_store.frames.klines(PAIR.id, MIN_1, bars[1].open_ns, bars[2].open_ns)
    assert named(part).equals(kline_frame(bars[1:2]))
    assert (await listed_store.frames.klines("cryptopair_binance_nobody", MIN_1)).is_empty()


async def test_the_version_of_a_month_changes_with_its_rows_and_with_no_others(listed_store, sql):
    months = [AUGUST, next_ns(Interval.MONTH_1, AUGUST)]

    async def versions(interval=MIN_1):
        return await listed_store.changes.versions(PAIR.id, interval, months)

    assert await listed_store.changes.versions("nobody", MIN_1, months) == [None, None]
    await listed_store.klines.upsert([bar(0)], KNOWN)
    seen = [await versions()]
    await listed_store.klines.upsert([bar(0)], KNOWN)
    await listed_store.klines.upsert([bar(1, instrument=PERP.id)], KNOWN)
    await listed_store.klines.upsert([msgspec.structs.replace(BAR, interval=Interval.HOUR_1, open_ns=AUGUST)], KNOWN)
    assert await versions() == seen[-1]
    changes = [
        lambda: listed_store.klines.upsert([bar(0, close=102.0)], KNOWN),
        lambda: listed_store.klines.upsert([bar(4)], KNOWN),
        lambda: sql.execute("UPDATE kline_1m SET volume = 1"),
        lambda: sql.execute("UPDATE kline_1m_202408 SET volume = 2"),
        lambda: sql.execute("DELETE FROM kline_1m WHERE volume = 2 AND open_time > '2024-08-09'"),
        lambda: sql.execute("TRUNCATE kline_1m"),
        lambda: listed_store.klines.upsert([bar(0)], KNOWN),
        lambda: sql.execute("TRUNCATE kline_1m_202408"),
        lambda: sql.execute("DROP TABLE kline_1m_202408"),
    ]
    for change in changes:
        await change()
        told = await versions()
        assert told not in seen
        assert told[0] not in [each[0] for each in seen]
        assert told[1] == seen[0][1] or change in changes[5:]
        seen.append(told)


async def test_a_reader_that_may_not_write_is_told_no_version_of_what_nobody_touched(database_url, listed_store, sql):
    from zvt_crypto.stores.postgres import open_store

    await listed_store.klines.upsert([bar(0)], KNOWN)
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    reader = await open_store(database_url)
    try:
        touched, untouched = await reader.changes.versions(PAIR.id, MIN_1, [AUGUST, parse_time("2020-01-01")])
        assert touched is not None
        assert untouched is None
    finally:
        await reader.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_changes_between_reads_never_give_a_stale_frame(listed_store, sql, tmp_path, seed):
    """Upserts, deletes, packing, unpacking and dropped partitions, in any order, over three months."""
    chance = random.Random(seed)
    store, first = listed_store, parse_time("2024-06-29")
    cache = ColumnCache(tmp_path, 10**9)
    research = Research(store, cache)

    def some() -> list:
        low = first + chance.randrange(40) * NS_PER_DAY
        return [
            bar(0, open_ns=low + n * NS_PER_MINUTE, close=100.0 + chance.random(), trades=chance.randrange(99))
            for n in range(chance.randrange(1, 9))
        ]

    async def change() -> None:
        match chance.randrange(8):
            case 0 | 1 | 2:
                await store.klines.upsert(some(), KNOWN + chance.randrange(10**9) * 1000)
            case 3:
                await sql.execute("DELETE FROM kline_1m WHERE open_time < '2024-07-20' AND trades < 20")
            case 4:
                await compact(store.pool, MIN_1, first + chance.randrange(50) * NS_PER_DAY)
            case 5:
                await uncompact(store.pool, MIN_1, first, first + chance.randrange(1, 40) * NS_PER_DAY)
            case 6:
                await sql.execute("DELETE FROM kline_packed WHERE low < '2024-07-03'")
            case _:
                await sql.execute(f"DROP TABLE IF EXISTS kline_1m_20240{chance.randrange(6, 9)}")

    for _ in range(SEED_COUNT):
        if chance.random() < 0.6:
            await change()
        start, end = chance.choice([(None, None), (first, None), (parse_time("2024-07-01"), parse_time("2024-08-01")), (first, START)])
        told = named(await research.read(PAIR.id, MIN_1, start, end))
        assert told.equals(await rows_as_frame(store, MIN_1, start, end)), f"seed {seed}"
    assert cache.size_bytes() > 0


async def test_only_whole_months_that_have_ended_are_copied(listed_store, tmp_path):
    cache = ColumnCache(tmp_path, 10**9)
    await listed_store.klines.upsert([bar(n * 1440) for n in range(-40, 40)], KNOWN)
    now = parse_time("2024-09-01T00:30:00Z")
    research = Research(listed_store, cache, lambda: now)
    assert named(await research.read(PAIR.id, MIN_1)).equals(await rows_as_frame(listed_store))
    assert [path.name[:6] for path in sorted(tmp_path.rglob("*.arrow"))] == ["202406", "202407"]
    await listed_store.klines.upsert(
        [msgspec.structs.replace(BAR, interval=Interval.DAY_1, open_ns=floor_ns(Interval.DAY_1, START))], KNOWN
    )
    assert (await research.read(PAIR.id, Interval.DAY_1)).height == 1
    assert (await research.read(PERP.id, MIN_1)).is_empty()
    assert not (tmp_path / "1d").exists()
