"""Bytes a row: the mission's literal schema, the lean table, packed chunks and Parquet; and all pairs at one instant beside the literal one.

The literal table has VARCHAR ids, DECIMAL values and three indexes (its key, (entity, time), (time)), as the specification writes it. All
hold the same minutes of the same pairs, with the times at which a live recording learned of them; indexes, TOAST and free room of pages
count. Aims: packed at most 30 % of lean, at most 10 % of literal. `recorded_bytes_a_row`: a real market's minutes (Binance SOLUSDT, March
2023), packed by the day, where the recorded data is at hand. Run: `python benchmarks/space.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from _market_bars import COLUMNS, make_bars, pairs, records

from zvt_crypto.domain.market import BookSnapshot, Trade
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.stores.files.frames import kline_frame, write_parquet
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.archive import archive
from zvt_crypto.stores.postgres.bars import Bars, pack
from zvt_crypto.stores.postgres.compact import compact
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.stores.postgres.policies import TARGETS

START, END = parse_time("2024-01-01"), parse_time("2024-02-01")
LITERAL = """
CREATE TABLE crypto_pair_literal (id VARCHAR PRIMARY KEY);
CREATE TABLE cryptopair_1m_literal (
    id VARCHAR PRIMARY KEY, entity_id VARCHAR NOT NULL REFERENCES crypto_pair_literal(id), timestamp TIMESTAMP NOT NULL,
    open_price DECIMAL NOT NULL, high_price DECIMAL NOT NULL, low_price DECIMAL NOT NULL, close_price DECIMAL NOT NULL,
    volume DECIMAL NOT NULL, turnover DECIMAL);
CREATE INDEX idx_crypto_kdata_entity_time ON cryptopair_1m_literal(entity_id, timestamp);
CREATE INDEX idx_crypto_kdata_time ON cryptopair_1m_literal(timestamp);
"""
# One probe of the key for each pair: what stands in the place of an index on time alone.
INSTANT = """
SELECT i.id, k.open, k.high, k.low, k.close, k.volume FROM instrument i
CROSS JOIN LATERAL (SELECT * FROM kline_1m k WHERE k.instrument_id = i.instrument_id AND k.open_time = $1) k
"""
INSTANT_LITERAL = """
SELECT entity_id, open_price, high_price, low_price, close_price, volume FROM cryptopair_1m_literal WHERE timestamp = $1
"""


async def measure(url: str, count: int, folder: Path) -> dict[str, float]:
    """All forms in turn, in one database."""
    store = await open_store(url)
    sql = await asyncpg.connect(url)
    listed = pairs(count)
    await store.instruments.save(listed, START)
    keys = dict(await sql.fetch("SELECT id, instrument_id FROM instrument"))
    await sql.execute(LITERAL)
    await sql.execute("SELECT zvt_add_partition('kline_1m', 'kline_1m_202401', '2024-01-01', '2024-02-01')")
    rows, literal_s, lean_s, parquet = 0, 0.0, 0.0, 0
    empty = await size(sql, "kline_1m_202401"), await size(sql, "kline_packed")
    for seed, pair in enumerate(listed):
        bars = make_bars(seed, START, (END - START) // (60 * 10**9))
        rows += bars.rows()
        made = list(records(keys[pair.id], bars))
        lean_s += await timed(lambda made=made: sql.copy_records_to_table("kline_1m", records=made, columns=COLUMNS))
        await sql.execute("INSERT INTO crypto_pair_literal VALUES ($1)", pair.id)
        plain = list(literal(pair.id, made))
        literal_s += await timed(lambda plain=plain: sql.copy_records_to_table("cryptopair_1m_literal", records=plain))
        file = folder / f"{pair.id}.parquet"
        write_parquet(kline_frame(bars.klines(pair.id, Interval.MIN_1)), file)
        parquet += file.stat().st_size
    await sql.execute("VACUUM ANALYZE")
    figures: dict[str, float] = {"rows": rows, "literal_copy_rows_s": rows / literal_s, "lean_copy_rows_s": rows / lean_s}
    figures |= await instants(sql, listed)
    figures["literal_bytes_a_row"] = await size(sql, "cryptopair_1m_literal") / rows
    figures["lean_bytes_a_row"] = (await size(sql, "kline_1m_202401") - empty[0]) / rows
    began = time.perf_counter()
    done = await compact(store.pool, Interval.MIN_1, END)
    figures["pack_rows_s"] = rows / (time.perf_counter() - began)
    assert done.rows == rows, f"{done} of {rows} rows"
    await sql.execute("VACUUM ANALYZE kline_packed")
    figures["packed_bytes_a_row"] = (await size(sql, "kline_packed") - empty[1]) / rows
    figures["parquet_bytes_a_row"] = parquet / rows
    figures |= await cold_reads(store, listed[0].id)
    figures |= await others(store, sql, listed[0].id, rows // 10, folder)
    await sql.close()
    await store.close()
    return figures


async def others(store: Any, sql: asyncpg.Connection, pair: str, count: int, folder: Path) -> dict[str, float]:
    """Bytes of a trade and of a book of 20 levels a side, in their tables and in an archive."""
    rng = np.random.default_rng(3)
    prices = np.round(60_000 + np.cumsum(rng.normal(0, 0.5, count)), 2).tolist()
    sizes = np.round(rng.lognormal(-4, 1.5, count) + 1e-5, 5).tolist()
    times = (START + np.cumsum(rng.integers(1, 86_400_000 // count * 2, count)) * 1_000_000 * 9 // 10).tolist()
    deals = [Trade(pair, "trade", str(4_100_000_000 + n), prices[n], sizes[n], "buy" if n % 3 else "sell", times[n]) for n in range(count)]
    deals = [deal for deal in deals if deal.event_ns < START + NS_PER_DAY]
    await store.trades.append(deals, START + NS_PER_DAY)
    books = []
    for n in range(min(1440, count)):
        middle, steps = prices[n], np.round(np.cumsum(rng.integers(1, 30, (2, 20)), axis=1) / 100, 2)
        volumes = np.round(rng.lognormal(-2, 1.5, (2, 20)) + 1e-5, 5)
        bids = tuple((round(middle - step, 2), size) for step, size in zip(steps[0].tolist(), volumes[0].tolist(), strict=True))
        asks = tuple((round(middle + step, 2), size) for step, size in zip(steps[1].tolist(), volumes[1].tolist(), strict=True))
        books.append(BookSnapshot(pair, n, bids, asks, START + n * 60 * 10**9))
    await store.facts.save_books(books, START + NS_PER_DAY)
    await sql.execute("VACUUM ANALYZE")
    figures = {
        "trade_bytes_a_row": await size(sql, "trade_20240101") / len(deals),
        "book20_bytes_a_row": await size(sql, "book_snapshot") / len(books),
    }
    for name, unit in (("trade", (START, START + NS_PER_DAY)), ("book_snapshot", (START, END))):
        done = await archive(store.pool, TARGETS[name], unit, folder / "archive", remove=False)
        figures[f"{name.replace('_snapshot', '20')}_archive_bytes_a_row"] = done.size_bytes / done.rows
    return figures


def literal(entity: str, made: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The same rows as the specification's table takes them."""
    return [
        (f"{entity}_{at:%Y-%m-%dT%H:%M:%S}", entity, at.replace(tzinfo=None), *(Decimal(repr(value)) for value in values[:6]))
        for _, _, at, _, *values in made
    ]


async def instants(sql: asyncpg.Connection, listed: list[Any]) -> dict[str, float]:
    """ms for all pairs at one instant, the median of 200 instants, warm."""
    ours, theirs = await sql.prepare(INSTANT), await sql.prepare(INSTANT_LITERAL)
    figures = {}
    moments = await sql.fetch("SELECT open_time, open_time AT TIME ZONE 'UTC' FROM kline_1m TABLESAMPLE SYSTEM (5) LIMIT 200")
    for name, statement, at in (("instant_literal_ms", theirs, 1), ("instant_lean_ms", ours, 0)):
        spent = []
        for moment in [*moments, *moments]:
            began = time.perf_counter()
            found = await statement.fetch(moment[at])
            spent.append(time.perf_counter() - began)
            assert len(found) == len(listed)
        figures[name] = 1000 * statistics.median(spent[len(moments) :])
    return figures


async def cold_reads(store: Any, pair: str) -> dict[str, float]:
    """ms for the last 100 bars of a packed month, and for the month."""
    hundred = [await timed(lambda: store.klines.read(pair, Interval.MIN_1, limit=100)) for _ in range(50)]
    month = [await timed(lambda: store.klines.read(pair, Interval.MIN_1)) for _ in range(5)]
    return {"packed_last100_ms": 1000 * statistics.median(hundred), "packed_month_ms": 1000 * statistics.median(month)}


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def size(sql: asyncpg.Connection, table: str) -> int:
    """With indexes and TOAST."""
    found: int = await sql.fetchval("SELECT pg_total_relation_size($1::regclass)", table)
    return found


def recorded() -> dict[str, float]:
    """A real market's minutes, packed by the day, all known at one time, as a backfill leaves them."""
    root = Path(os.environ.get("ZVT_CRYPTO_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    found = sorted(root.glob("gapless_crypto_data/**/*SOLUSDT-1m*.csv"))
    if not found:
        return {}
    lines = [row for row in csv.reader(found[0].open()) if row and not row[0].startswith("#")][1:]
    columns = [np.array([float(row[at]) for row in lines]) for at in (1, 2, 3, 4, 5, 7)]
    opens = np.array([parse_time(f"{row[0].replace(' ', 'T')}Z") // 1000 for row in lines], np.int64)
    counts = np.array([int(row[8]) for row in lines], np.int64)
    bars = Bars(opens, np.full(len(opens), END // 1000), *columns, counts, np.full(len(opens), 4, np.int64))
    days = range(int(opens[0]), int(opens[-1]) + 1, NS_PER_DAY // 1000)
    return {"recorded_bytes_a_row": sum(len(pack(bars.part(day, day + NS_PER_DAY // 1000))) for day in days) / len(opens)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs; below 60 s")
    count = 8 if parser.parse_args().quick else 60
    folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
    try:
        with EmbeddedServer(folder / "database") as server:
            asyncio.run(migrate(server.url))
            figures = asyncio.run(measure(server.url, count, folder)) | recorded()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures["packed_to_lean"] = figures["packed_bytes_a_row"] / figures["lean_bytes_a_row"]
    figures["packed_to_literal"] = figures["packed_bytes_a_row"] / figures["literal_bytes_a_row"]
    figures["packed_mb_a_symbol_year"] = figures["packed_bytes_a_row"] * 525_600 / 1e6
    figures["lean_mb_a_symbol_year"] = figures["lean_bytes_a_row"] * 525_600 / 1e6
    figures["literal_mb_a_symbol_year"] = figures["literal_bytes_a_row"] * 525_600 / 1e6
    for name, value in figures.items():
        print(f"{name:>28} {value:>14,.3f}")
    ratios = {
        "literal.copy": figures["lean_copy_rows_s"] / figures["literal_copy_rows_s"],
        "literal.instant": figures["instant_literal_ms"] / figures["instant_lean_ms"],
        "literal.space_lean": figures["literal_bytes_a_row"] / figures["lean_bytes_a_row"],
        "literal.space_packed": figures["literal_bytes_a_row"] / figures["packed_bytes_a_row"],
    }
    for name, ratio in ratios.items():
        print(f"{name:>28} {ratio:>13.2f}x")
    print(
        json.dumps(
            {
                "benchmark": "space",
                "figures": {name: round(value, 4) for name, value in figures.items()},
                "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
