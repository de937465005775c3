"""Policies, retention and archives: what is said is what is done, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from stores_fixtures import BAR, KNOWN, MINUTE, PAIR, PERP, TRADE, pack_all
from zvt_crypto.domain.errors import BadInput, OutOfRange, StoreError
from zvt_crypto.domain.market import BookSnapshot, Funding
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.stores.postgres.archive import archive, list_units
from zvt_crypto.stores.postgres.archivefolder import verify_archive
from zvt_crypto.stores.postgres.features import Features, find_features
from zvt_crypto.stores.postgres.policies import TARGETS, Policy, drop_policy, parse_target, read_policies, set_policy
from zvt_crypto.stores.postgres.retain import lose, plan_retention
from zvt_crypto.stores.postgres.status import read_status

MIN_1 = Interval.MIN_1
JULY, AUGUST, SEPTEMBER = (parse_time(f"2024-0{month}-01") for month in (7, 8, 9))
BARS, TRADES = TARGETS["kline_1m"], TARGETS["trade"]


def minutes(start_ns: int, count: int, instrument: str = PAIR.id, **changed: object):
    return [msgspec.structs.replace(BAR, instrument=instrument, open_ns=start_ns + n * MINUTE, **changed) for n in range(count)]


def trades(start_ns: int, count: int):
    return [msgspec.structs.replace(TRADE, trade_id=str(n), event_ns=start_ns + n * 1001) for n in range(count)]


# ── Policies ──


@pytest.mark.parametrize(
    "text, table", [("1m", "kline_1m"), ("1M", "kline_1mon"), ("kline_4h", "kline_4h"), ("trade", "trade"), ("book", "book_snapshot")]
)
def test_a_target_is_an_interval_a_channel_or_a_table(text, table):
    assert parse_target(text).table == table


def test_what_is_no_target_is_named():
    with pytest.raises(BadInput, match=r"storage target '2m' is neither an interval nor one of kline_1m, .* trade, .* book"):
        parse_target("2m")


async def test_policies_lie_in_the_database(listed_store):
    async def work(connection) -> list[Policy]:
        await set_policy(connection, BARS, "compact", 90)
        await set_policy(connection, BARS, "compact", 60)
        await set_policy(connection, TRADES, "retain", 30)
        await drop_policy(connection, TRADES, "compact")
        return await read_policies(connection)

    assert await listed_store.pool.write("set", work) == [Policy("kline_1m", "compact", 60), Policy("trade", "retain", 30)]
    with pytest.raises(BadInput, match="trade has no packed form"):
        await listed_store.pool.run("set", lambda connection: set_policy(connection, TRADES, "compact", 1))
    with pytest.raises(OutOfRange):
        await listed_store.pool.run("set", lambda connection: set_policy(connection, TRADES, "retain", 0))
    await listed_store.pool.run("drop", lambda connection: drop_policy(connection, TRADES, "retain"))
    assert await listed_store.pool.run("read", read_policies) == [Policy("kline_1m", "compact", 60)]


# ── Retention ──


async def test_retention_drops_whole_partitions_and_says_which_before(listed_store, sql):
    await listed_store.trades.append([*trades(JULY, 3), *trades(JULY + NS_PER_DAY, 2)], KNOWN)
    (loss,) = await plan_retention(listed_store.pool, TRADES, JULY + NS_PER_DAY + 5)
    assert (loss.what, loss.name, loss.rows, loss.low_ns, loss.high_ns) == ("partition", "trade_20240701", 3, JULY, JULY + NS_PER_DAY)
    assert loss.size_bytes > 0
    assert await sql.fetchval("SELECT count(*) FROM trade") == 5  # a plan is only a plan
    assert await lose(listed_store.pool, loss, JULY + NS_PER_DAY + 5) == 3
    assert await lose(listed_store.pool, loss, JULY + NS_PER_DAY + 5) == 0
    assert await sql.fetchval("SELECT count(*) FROM trade") == 2
    assert (await listed_store.trades.append(trades(JULY, 1), KNOWN)).inserted == 1  # a writer that knew the partition goes on


async def test_retention_takes_packed_chunks_and_rows_of_plain_tables_too(listed_store):
    await listed_store.klines.upsert(minutes(JULY, 3), KNOWN)
    await pack_all(listed_store)
    (packed,) = await plan_retention(listed_store.pool, BARS, AUGUST)
    assert (packed.what, packed.rows, packed.low_ns) == ("packed", 3, JULY)
    assert await lose(listed_store.pool, packed, AUGUST) == 3
    assert await listed_store.klines.read(PAIR.id, MIN_1) == []
    await listed_store.facts.save_funding([Funding(PERP.id, at, 0.0001) for at in (JULY, AUGUST)], KNOWN)
    (rows,) = await plan_retention(listed_store.pool, TARGETS["funding"], AUGUST)
    assert (rows.what, rows.rows, rows.low_ns, rows.high_ns) == ("rows", 1, JULY, JULY + 1)
    assert await lose(listed_store.pool, rows, AUGUST) == 1
    assert [each.event_ns for each in await listed_store.facts.read_funding(PERP.id)] == [AUGUST]
    assert await plan_retention(listed_store.pool, TARGETS["funding"], AUGUST) == []


async def test_a_partition_that_somebody_reads_is_not_waited_for_long(listed_store, sql):
    await listed_store.trades.append(trades(JULY, 3), KNOWN)
    (loss,) = await plan_retention(listed_store.pool, TRADES, AUGUST)
    async with sql.transaction():
        await sql.fetch("SELECT * FROM trade")
        with pytest.raises(StoreError, match="trade_20240701 is in use"):
            await lose(listed_store.pool, loss, AUGUST)
    assert await lose(listed_store.pool, loss, AUGUST) == 3


async def test_what_was_forgotten_or_archived_on_purpose_is_no_damage(listed_store, tmp_path):
    await listed_store.klines.upsert([*minutes(JULY, 3), *minutes(AUGUST, 3)], KNOWN)
    await listed_store.trades.append(trades(JULY, 3), KNOWN)
    assert (await listed_store.checksums.sign(settled_ns=0)).signed == 3
    await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    (loss,) = await plan_retention(listed_store.pool, TRADES, AUGUST)
    await lose(listed_store.pool, loss, AUGUST)
    found = await listed_store.checksums.verify()
    assert (found.wrong, found.chunks) == ([], 1)


# ── Archives ──


async def test_a_month_goes_to_files_that_any_reader_of_parquet_understands(listed_store, tmp_path):
    await listed_store.klines.upsert([*minutes(JULY, 3), *minutes(JULY, 2, PERP.id, turnover=None, trades=None)], KNOWN)
    await listed_store.klines.upsert(minutes(AUGUST, 1), KNOWN)
    assert await list_units(listed_store.pool, BARS, AUGUST + 5) == [(JULY, AUGUST)]
    done = await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=False)
    assert (done.files, done.rows, done.removed) == (2, 5, 0)
    frame = pl.read_parquet(tmp_path / "kline_1m" / "**" / "*.parquet", hive_partitioning=True).sort("instrument", "open_time")
    assert frame["instrument"].to_list() == [PAIR.id] * 3 + [PERP.id] * 2
    assert frame["month"].unique().to_list() == ["2024-07"] or frame["month"].cast(pl.String).unique()[0].startswith("2024-07")
    assert frame["close"].to_list() == [101.0] * 5
    assert frame["turnover"].to_list() == [1262.5] * 3 + [None] * 2
    assert [at.timestamp() for at in frame["known_at"].unique()] == [KNOWN / 1e9]
    assert verify_archive(tmp_path) == []
    assert await listed_store.klines.read(PAIR.id, MIN_1) == [*minutes(JULY, 3), *minutes(AUGUST, 1)]


async def test_archived_rows_leave_the_database_when_that_is_wanted_packed_or_not(listed_store, sql, tmp_path):
    await listed_store.klines.upsert([*minutes(JULY, 3), *minutes(JULY + NS_PER_DAY, 2)], KNOWN)
    await pack_all(listed_store)
    await listed_store.klines.upsert([*minutes(JULY + 2 * NS_PER_DAY, 1), *minutes(AUGUST, 1)], KNOWN)
    done = await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    assert (done.rows, done.removed) == (6, 6)
    assert await listed_store.klines.read(PAIR.id, MIN_1) == minutes(AUGUST, 1)
    assert await sql.fetchval("SELECT to_regclass('kline_1m_202407')") is None
    assert tuple(await sql.fetchrow("SELECT row_count, removed FROM archived")) == (6, True)
    opens = pl.read_parquet(tmp_path / "kline_1m" / "**" / "*.parquet")["open_time"].dt.epoch("ms").to_list()
    assert opens == [
        each.open_ns // 10**6 for each in (*minutes(JULY, 3), *minutes(JULY + NS_PER_DAY, 2), *minutes(JULY + 2 * NS_PER_DAY, 1))
    ]


async def test_rows_that_come_after_their_month_was_archived_get_a_part_of_their_own(listed_store, tmp_path):
    for start in (JULY, JULY + 10 * MINUTE):
        await listed_store.klines.upsert(minutes(start, 3), KNOWN)
        await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=True)
    assert len(pl.read_parquet(tmp_path / "kline_1m" / "**" / "*.parquet")) == 6
    assert sorted(path.name for path in tmp_path.rglob("*.parquet")) == ["part-1.parquet", "part-2.parquet"]
    assert verify_archive(tmp_path) == []


async def test_an_archive_that_was_not_removed_is_brought_up_to_date(listed_store, tmp_path):
    for count, files in ((3, 1), (4, 2), (4, 2)):
        await listed_store.klines.upsert(minutes(JULY, count), KNOWN)
        done = await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=False)
        assert (done.files, done.rows) == (files, count)
    assert [len(pl.read_parquet(path)) for path in sorted(tmp_path.rglob("*.parquet"))] == [3, 1]


async def test_trades_books_and_funding_are_archived_with_every_column(listed_store, tmp_path):
    book = BookSnapshot(PAIR.id, 7, ((99.0, 1.0), (98.5, 2.0)), ((100.0, 3.0),), JULY + 123)
    await listed_store.trades.append(trades(JULY, 3), KNOWN)
    await listed_store.facts.save_books([book], KNOWN)
    await listed_store.facts.save_funding([Funding(PERP.id, JULY, 0.0001)], KNOWN)
    for name, rows in (("trade", 3), ("book_snapshot", 1), ("funding", 1)):
        target = TARGETS[name]
        (unit,) = await list_units(listed_store.pool, target, SEPTEMBER)
        assert (await archive(listed_store.pool, target, unit, tmp_path, remove=True)).removed == rows
    frame = pl.read_parquet(tmp_path / "trade" / "**" / "*.parquet", hive_partitioning=False)
    assert frame.select("venue_trade_id", "event_ns_rest", "taker_buys").rows() == [("0", 0, True), ("1", 1, True), ("2", 2, True)]
    assert pl.read_parquet(tmp_path / "book_snapshot" / "**" / "*.parquet")["bid_prices"].to_list() == [[99.0, 98.5]]
    assert await listed_store.trades.read(PAIR.id) == []
    assert await listed_store.facts.read_funding(PERP.id) == []


async def test_damage_to_an_archive_is_named(listed_store, tmp_path):
    with pytest.raises(BadInput, match="no manifest"):
        verify_archive(tmp_path)
    await listed_store.klines.upsert([*minutes(JULY, 3), *minutes(JULY, 3, PERP.id)], KNOWN)
    await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=False)
    first, second = sorted(tmp_path.rglob("*.parquet"))
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    second.unlink()
    assert [each.partition(" is ")[2] for each in verify_archive(tmp_path)] == ["not what was written: SHA-256 differs", "missing"]
    (tmp_path / "kline_1m" / "manifest-2024-07.json").write_text("{")
    with pytest.raises(BadInput, match="archive manifest"):
        verify_archive(tmp_path)


ARCHIVER = """
import asyncio, pathlib, sys
from zvt_crypto.domain.time import parse_time
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.postgres.archive import archive, list_units
from zvt_crypto.stores.postgres.policies import TARGETS
async def main():
    store = await open_store(sys.argv[1])
    target = TARGETS["kline_1m"]
    print("ready", flush=True)
    for unit in await list_units(store.pool, target, parse_time("2024-09-01")):
        await archive(store.pool, target, unit, pathlib.Path(sys.argv[2]), remove=True, tell=lambda text: print(text, flush=True))
    print("done", flush=True)
    await store.close()
asyncio.run(main())
"""


async def test_an_archiver_killed_at_any_moment_loses_no_row(database_url, listed_store, sql, tmp_path):
    """After each kill every bar is in the database, or in a file that a manifest names and vouches for; at the end all are in files."""
    months = [parse_time(f"2024-{month:02d}-01") for month in range(1, 7)]
    told = {(name, each.open_ns) for month in months for name in (PAIR.id, PERP.id) for each in minutes(month, 50, name)}
    for month in months:
        await listed_store.klines.upsert([*minutes(month, 50), *minutes(month, 50, PERP.id)], KNOWN)
    chance, kills, folder = random.Random(3), 0, tmp_path / "archive"
    for _ in range(15):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ARCHIVER, database_url, str(folder), stdout=asyncio.subprocess.PIPE
        )
        kills += await killed_after(process, chance.randrange(4), chance.uniform(0, 0.01))
        stored = {(name, at) for name in (PAIR.id, PERP.id) for at in [k.open_ns for k in await listed_store.klines.read(name, MIN_1)]}
        assert stored | archived(folder) == told
        if not stored:
            break
    for unit in await list_units(listed_store.pool, BARS, SEPTEMBER):
        await archive(listed_store.pool, BARS, unit, folder, remove=True)
    assert archived(folder) == told
    assert await sql.fetchval("SELECT count(*) FROM kline_1m") == 0
    assert verify_archive(folder) == []
    assert kills >= 3


async def killed_after(process: asyncio.subprocess.Process, lines: int, seconds: float) -> bool:
    """Kill it some moments after so many lines of what it tells; False where it was done by then."""
    assert await process.stdout.readline() == b"ready\n"
    for _ in range(lines):
        await process.stdout.readline()
    await asyncio.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    return await process.wait() != 0 and b"done" not in rest


def archived(folder: Path) -> set[tuple[str, int]]:
    """(instrument, open) of every row in files that a manifest names."""
    found: set[tuple[str, int]] = set()
    for book in folder.glob("*/manifest-*.json"):
        for file in msgspec.json.decode(book.read_bytes())["files"]:
            frame = pl.read_parquet(folder / file["path"], hive_partitioning=False)
            found |= {(file["instrument"], at) for at in frame["open_time"].dt.epoch("ns").to_list()}
    return found


# ── What there is ──


async def test_the_status_tells_rows_and_bytes_in_all_forms(listed_store, tmp_path):
    await listed_store.klines.upsert([*minutes(JULY, 30), *minutes(AUGUST, 3, PERP.id)], KNOWN)
    await pack_all(listed_store)
    await listed_store.klines.upsert(minutes(SEPTEMBER, 5), KNOWN)
    await archive(listed_store.pool, BARS, (JULY, AUGUST), tmp_path, remove=False)
    found = await read_status(listed_store.pool)
    table = next(each for each in found.tables if each.target == "kline_1m")
    assert (table.hot_rows, table.cold_rows, table.archived_rows, table.partitions) == (5, 33, 30, 1)
    assert min(table.hot_bytes, table.cold_bytes, table.archived_bytes) > 0
    assert found.tables[-1].target == "kline_revision"
    assert [(each.instrument, each.rows) for each in found.symbols] == [(PAIR.id, 35), (PERP.id, 3)]
    assert found.symbols[1].hot_bytes == 0 < found.symbols[1].cold_bytes
    assert (found.features.has_timescale, found.features.cold_form) == (False, "packed chunks")


async def test_a_plain_server_has_no_timescale(listed_store):
    found = await listed_store.pool.run("ask", find_features)
    assert (found.version, found.license, found.hypertables, found.compresses) == (None, None, (), False)
    assert found.server.startswith("18")


def test_only_the_full_edition_compresses():
    assert not Features("17.5", "2.19.3", "2.19.3", "apache", ("kline_1m",)).compresses
    full = Features("17.5", "2.19.3", "2.19.3", "timescale", ("kline_1m",))
    assert (full.compresses, full.cold_form) == (True, "packed chunks, timescaledb compression before")
    assert Features("17.5", "2.19.3", "2.19.3", "timescale").cold_form == "packed chunks"
