"""Archives that several write, that are written again, and of which rows come back: no row is lost, and none is there twice."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from stores_fixtures import BAR, KNOWN, MINUTE, PAIR, PERP, TRADE, pack_all
from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.market import BookSnapshot, Kline, Trade
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.stores.postgres.alone import alone
from zvt_crypto.stores.postgres.archive import archive, archive_old, list_units
from zvt_crypto.stores.postgres.archivefolder import verify_archive
from zvt_crypto.stores.postgres.policies import TARGETS
from zvt_crypto.stores.postgres.retain import forget, plan_retention

MIN_1 = Interval.MIN_1
JULY, AUGUST, SEPTEMBER = (parse_time(f"2024-0{month}-01") for month in (7, 8, 9))
BARS, TRADES = TARGETS["kline_1m"], TARGETS["trade"]
S = 10**9


def minutes(start_ns: int, count: int, instrument: str = PAIR.id, **changed: object) -> list[Kline]:
    return [msgspec.structs.replace(BAR, instrument=instrument, open_ns=start_ns + n * MINUTE, **changed) for n in range(count)]


def trades(start_ns: int, count: int) -> list[Trade]:
    return [msgspec.structs.replace(TRADE, trade_id=f"{start_ns}-{n}", event_ns=start_ns + n * 1001) for n in range(count)]


def rows_in(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "**" / "*.parquet", hive_partitioning=False)


# ── Several at once ──

ARCHIVER = """
import asyncio, pathlib, sys
from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.time import parse_time
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.postgres.archive import archive, list_units
from zvt_crypto.stores.postgres.policies import TARGETS
async def main():
    store = await open_store(sys.argv[1])
    units = await list_units(store.pool, TARGETS["kline_1m"], parse_time("2024-09-01"))
    print("ready", flush=True)
    sys.stdin.readline()
    for unit in units:
        try:
            await archive(store.pool, TARGETS["kline_1m"], unit, pathlib.Path(sys.argv[2]), remove=True)
        except StoreError:
            pass
    await store.close()
asyncio.run(main())
"""


async def test_archivers_on_one_folder_at_once_lose_no_row(database_url, listed_store, tmp_path):
    months = [parse_time(f"2024-{month:02d}-01") for month in range(1, 7)]
    for month in months:
        await listed_store.klines.upsert([*minutes(month, 50), *minutes(month, 50, PERP.id)], KNOWN)
    piped = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    workers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", ARCHIVER, database_url, str(tmp_path / "archive"), **piped)
        for _ in range(3)
    ]
    for worker in workers:
        assert await worker.stdout.readline() == b"ready\n"
    for worker in workers:
        worker.stdin.write(b"go\n")
    for worker in workers:
        await worker.communicate()
        assert worker.returncode == 0
    await archive_old(listed_store.pool, BARS, SEPTEMBER, tmp_path / "archive", remove=True)
    assert len(rows_in(tmp_path / "archive")) == len(rows_in(tmp_path / "archive").select("instrument_id", "open_time").unique()) == 600
    assert verify_archive(tmp_path / "archive") == []


async def test_who_comes_second_is_told_so(database_url, listed_store, tmp_path, monkeypatch):
    monkeypatch.setattr("zvt_crypto.stores.postgres.alone._WAIT_MS", 50)
    await listed_store.trades.append(trades(JULY, 3), KNOWN)
    planned = [(loss, AUGUST) for loss in await plan_retention(listed_store.pool, TRADES, AUGUST)]

    async def meanwhile() -> None:
        with pytest.raises(StoreError, match="another one archives or forgets"):
            await archive_old(listed_store.pool, TRADES, AUGUST, tmp_path, remove=True)
        with pytest.raises(StoreError, match="another one archives or forgets"):
            await forget(listed_store.pool, planned)

    await alone(listed_store.pool, meanwhile)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="another archiver is at work there"):
        await archive(listed_store.pool, TRADES, (JULY, JULY + NS_PER_DAY), tmp_path, remove=True)
    os.close(handle)
    assert (await archive(listed_store.pool, TRADES, (JULY, JULY + NS_PER_DAY), tmp_path, remove=False)).rows == 3
    assert await forget(listed_store.pool, planned) == 3


# ── Again ──


async def test_rows_that_came_back_are_in_the_folder_once(listed_store, tmp_path):
    """Told at another time by another source: it is the same row."""
    for source, known_ns in (("venue", KNOWN), ("import", KNOWN + S), ("trades", KNOWN + 2 * S)):
        await listed_store.klines.upsert([*minutes(JULY, 5, source=source), *minutes(JULY, 2, PERP.id, turnover=None)], known_ns)
        await listed_store.trades.append(trades(JULY, 3), known_ns)
        if source == "trades":
            await pack_all(listed_store)
        done = await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path / "bars", remove=True)
        assert (done.files, done.rows, done.removed, done.differing) == (2, 7, 7, 0)
        assert (await archive(listed_store.pool, TRADES, (JULY, JULY + NS_PER_DAY), tmp_path / "trades", remove=True)).removed == 3
    assert (len(rows_in(tmp_path / "bars")), len(rows_in(tmp_path / "trades"))) == (7, 3)
    assert await listed_store.klines.bounds(PAIR.id, MIN_1) is None


async def test_a_row_with_another_value_stays_in_the_database_and_is_told(listed_store, tmp_path):
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    again = [*minutes(JULY, 1), *minutes(JULY + MINUTE, 1, close=100.5), *minutes(JULY + 5 * MINUTE, 1)]
    await listed_store.klines.upsert([*again, *minutes(JULY, 2, PERP.id)], KNOWN + S)
    for files in (3, 3):
        told: list[str] = []
        done = await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True, tell=told.append)
        assert (done.files, done.differing) == (files, 1)
        place = f"kline_1m/instrument={PAIR.id}/month=2024-07"
        assert f"{place}: 1 rows differ from what earlier parts hold: the rows of this month stay in the database" in told
    assert await listed_store.klines.read(PAIR.id, MIN_1) == again
    assert await listed_store.klines.read(PERP.id, MIN_1) == []
    assert sorted(rows_in(tmp_path)["close"].to_list()) == [101.0] * 6


async def test_an_archive_stays_whole_when_its_rows_were_forgotten(listed_store, tmp_path):
    """Archived, then forgotten by a policy: the file is the only place of its rows when a late one is archived."""
    book = BookSnapshot(PAIR.id, 7, ((99.0, 1.0), (98.5, 2.0)), ((100.0, 3.0),), JULY + 123)
    books = TARGETS["book_snapshot"]
    for number in (7, 8, 8):
        await listed_store.facts.save_books([msgspec.structs.replace(book, last_id=number)], KNOWN)
        await archive(listed_store.pool, books, (JULY, AUGUST), tmp_path, remove=False)
        await forget(listed_store.pool, [(loss, AUGUST) for loss in await plan_retention(listed_store.pool, books, AUGUST)])
    assert rows_in(tmp_path)["last_id"].to_list() == [7, 8]


async def test_a_part_that_no_manifest_names_is_kept_and_named(listed_store, tmp_path):
    """What a killed archiver leaves: a whole part, a name that was only taken, and a half that nobody ends."""
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=False)
    (part,) = tmp_path.rglob("*.parquet")
    (tmp_path / "kline_1m" / "manifest-2024-07.json").unlink()
    part.with_name("part-2.parquet").touch()
    part.with_name(".part-3.parquet.0a.half").write_bytes(b"PAR1")
    before = part.read_bytes()
    await listed_store.klines.upsert(minutes(JULY, 4), KNOWN)
    done = await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    assert (done.files, done.removed) == (2, 4)
    assert sorted(path.name for path in part.parent.iterdir()) == ["part-1.parquet", "part-2.parquet"]
    assert part.read_bytes() == before
    assert len(rows_in(tmp_path)) == 4
    assert verify_archive(tmp_path) == []
    part.with_name("part-3.parquet").write_bytes(b"no Parquet")
    await listed_store.klines.upsert(minutes(JULY, 4), KNOWN)
    with pytest.raises(StoreError, match=r"part-3\.parquet is named by no manifest, and cannot be read"):
        await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    assert len(await listed_store.klines.read(PAIR.id, MIN_1)) == 4


# ── Which units ──


async def test_only_days_and_months_that_hold_rows_are_archived(listed_store, sql, tmp_path):
    await listed_store.trades.append([*trades(JULY, 2), *trades(JULY + 40 * NS_PER_DAY, 2)], KNOWN)
    await sql.execute("DELETE FROM trade WHERE event_time < '2024-07-01 00:00:00.000001+00'")
    assert await list_units(listed_store.pool, TRADES, SEPTEMBER) == [(day, day + NS_PER_DAY) for day in (JULY, JULY + 40 * NS_PER_DAY)]
    done = await archive_old(listed_store.pool, TRADES, SEPTEMBER, tmp_path, remove=True)
    assert [each.rows for each in done] == [1, 2]
    assert await sql.fetchval("SELECT count(*) FROM archived") == 2
    hours = [msgspec.structs.replace(BAR, interval=Interval.HOUR_1, open_ns=at) for at in (parse_time("2023-01-05"), JULY)]
    await listed_store.klines.upsert(hours, KNOWN)
    assert [low for low, _ in await list_units(listed_store.pool, TARGETS["kline_1h"], SEPTEMBER)] == [parse_time("2023-01-01"), JULY]
    assert (await archive(listed_store.pool, TARGETS["kline_1h"], (AUGUST, SEPTEMBER), tmp_path, remove=True)).files == 0
    assert await sql.fetchval("SELECT count(*) FROM archived") == 2


# ── What was known ──


@pytest.mark.parametrize("packed", [False, True])
async def test_a_superseded_version_is_no_answer_once_its_successor_was_archived(listed_store, tmp_path, packed):
    await listed_store.klines.upsert(minutes(JULY, 3, close=100.5), KNOWN)
    await listed_store.klines.upsert([*minutes(JULY, 3), *minutes(AUGUST, 1)], KNOWN + 2 * S)
    await listed_store.klines.upsert(minutes(JULY, 1, source="trades", close=102.0), KNOWN + 3 * S)
    if packed:
        await pack_all(listed_store)
    read = listed_store.versions.read_as_of
    assert [k.close for k in await read(PAIR.id, MIN_1, KNOWN + 5 * S)] == [101.0] * 4
    await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    for shift in (2, 5):
        assert await read(PAIR.id, MIN_1, KNOWN + shift * S) == minutes(AUGUST, 1)
    await listed_store.klines.upsert(minutes(JULY, 3, close=103.0), KNOWN + 9 * S)
    assert [k.close for k in await read(PAIR.id, MIN_1, KNOWN + S)] == [100.5] * 3
    assert await read(PAIR.id, MIN_1, KNOWN + 5 * S) == minutes(AUGUST, 1)
    assert [k.close for k in await read(PAIR.id, MIN_1, KNOWN + 9 * S)] == [103.0] * 3 + [101.0]
