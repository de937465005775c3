"""What a given server can do, and the room that klines take there: `python benchmarks/timescale.py URL [--quick]`.

URL names an empty database that may be filled, on a server with TimescaleDB; without a URL the embedded PostgreSQL is asked, which has none.
Says which features it found, stores the same minutes in a hypertable, and measures bytes a row before and after compression (full
edition) and after packing (everywhere), and the last 100 bars in each form. Not part of `make bench`'s aims: those are for
plain PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import asyncpg
from _market_bars import COLUMNS, make_bars, pairs, records

from zvt_crypto.domain.errors import Unsupported
from zvt_crypto.domain.time import Interval, parse_time
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.compact import compact
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.stores.postgres.features import Features, find_features
from zvt_crypto.stores.postgres.hypertables import apply_policies, compress_old, make_aggregates, make_hypertables
from zvt_crypto.stores.postgres.partitions import list_partitions
from zvt_crypto.stores.postgres.policies import TARGETS, set_policy

START, END = parse_time("2024-01-01"), parse_time("2024-02-01")
MINUTES = TARGETS["kline_1m"]


async def measure(url: str, count: int) -> tuple[Features, dict[str, float]]:
    """Fill, measure, make small, measure again."""
    sql = await asyncpg.connect(url)
    if await sql.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'"):
        await sql.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    await migrate(url)
    store = await open_store(url)
    try:
        print("hypertables:", ", ".join(await make_hypertables(store.pool)) or "none: the tables hold rows")
    except Unsupported as error:
        print("no hypertables:", error)
        await sql.execute("SELECT zvt_add_partition('kline_1m', 'kline_1m_202401', '2024-01-01', '2024-02-01')")
    await store.instruments.save(pairs(count), START)
    keys = dict(await sql.fetch("SELECT id, instrument_id FROM instrument"))
    rows = 0
    for seed, pair in enumerate(pairs(count)):
        bars = make_bars(seed, START, (END - START) // (60 * 10**9))
        rows += bars.rows()
        await sql.copy_records_to_table("kline_1m", records=records(keys[pair.id], bars), columns=COLUMNS)
    await sql.execute("VACUUM ANALYZE kline_1m")
    figures: dict[str, float] = {"rows": rows, "lean_bytes_a_row": await room(sql) / rows, "last100_ms": await last(store, pairs(1)[0].id)}
    features = await store.pool.run("ask", find_features)
    if features.compresses:
        policies = await store.pool.write("set policies", set_policies)
        print("policies of the extension:", ", ".join(f"{each.target} {each.action} {each.days} days" for each in policies))
        print("continuous aggregates:", ", ".join(await make_aggregates(store.pool)))
        for name in ("kline_1m_as_1h", "kline_1m_as_1d"):
            await sql.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, NULL)")
        figures["aggregated_hours"] = await sql.fetchval("SELECT count(*) FROM kline_1m_as_1h")
        figures["compressed_chunks"] = await compress_old(store.pool, MINUTES, parse_time("2024-03-01"))
        figures["compressed_bytes_a_row"] = await room(sql) / rows
        figures["compressed_last100_ms"] = await last(store, pairs(1)[0].id)
        figures["compressed_saved"] = 1 - figures["compressed_bytes_a_row"] / figures["lean_bytes_a_row"]
    await compact(store.pool, Interval.MIN_1, parse_time("2024-03-01"))
    figures["packed_bytes_a_row"] = await sql.fetchval("SELECT pg_total_relation_size('kline_packed')") / rows
    figures["packed_last100_ms"] = await last(store, pairs(1)[0].id)
    figures["packed_saved"] = 1 - figures["packed_bytes_a_row"] / figures["lean_bytes_a_row"]
    assert await sql.fetchval("SELECT count(*) FROM kline_1m") == 0
    assert len(await store.klines.read(pairs(1)[0].id, Interval.MIN_1)) == rows // count
    await store.close()
    await sql.close()
    return await _features(url), figures


async def set_policies(connection: asyncpg.Connection) -> list:
    """Ours, and through them the extension's."""
    await set_policy(connection, MINUTES, "compact", 90)
    await set_policy(connection, MINUTES, "retain", 3650)
    return await apply_policies(connection)


async def room(sql: asyncpg.Connection) -> int:
    """Bytes of all chunks or partitions, compressed ones included."""
    if await sql.fetchval("SELECT to_regclass('timescaledb_information.chunks')") is not None:
        return await sql.fetchval("SELECT hypertable_size('kline_1m')")
    names = [each.name for each in await list_partitions(sql, "kline_1m")]
    return await sql.fetchval("SELECT sum(pg_total_relation_size(n::regclass))::bigint FROM unnest($1::text[]) n", names)


async def last(store, pair: str) -> float:
    """ms, the median of 50."""
    spent = []
    for _ in range(50):
        began = time.perf_counter()
        assert len(await store.klines.read(pair, Interval.MIN_1, limit=100)) == 100
        spent.append(time.perf_counter() - began)
    return 1000 * statistics.median(spent)


async def _features(url: str) -> Features:
    sql = await asyncpg.connect(url)
    try:
        return await find_features(sql)
    finally:
        await sql.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="an empty database")
    parser.add_argument("--quick", action="store_true", help="fewer pairs")
    chosen = parser.parse_args()
    count = 3 if chosen.quick else 12
    if chosen.url:
        features, figures = asyncio.run(measure(chosen.url, count))
    else:
        folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
        try:
            with EmbeddedServer(folder / "database") as server:
                features, figures = asyncio.run(measure(server.url, count))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(features)
    for name, value in figures.items():
        print(f"{name:>28} {value:>14,.3f}")
    found = {"timescaledb": features.version or "none", "edition": features.license or "none", "cold_form": features.cold_form}
    print(
        json.dumps({"benchmark": "timescale", "figures": found | {name: round(value, 4) for name, value in figures.items()}, "ratios": {}})
    )


if __name__ == "__main__":
    main()
