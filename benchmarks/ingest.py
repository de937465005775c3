"""Rows into the embedded PostgreSQL: ours, SQLAlchemy and asyncpg's executemany, one after the other, on the same tables; and the
mission's literal schema (VARCHAR ids, DECIMAL values, three indexes), filled as ours is, in the same run.

Every contender stores the same klines in `kline_1m` (partitioned, with all its checks and triggers), each on bars of its own, in one
transaction a batch, on the server's default settings (fsync on). `known` is the same batch again: nothing changes, everything is
looked up. Aim: 150,000 fresh rows/s. Run: `python benchmarks/ingest.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import asyncpg
import msgspec
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine

from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval, parse_time, to_datetime
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

START = parse_time("2024-01-01T00:00:00Z")
COLUMNS = ["instrument_id", "trades", "open_time", "known_at", "open", "high", "low", "close", "volume", "turnover", "source", "final"]
CONTENT = [name for name in COLUMNS if name not in ("instrument_id", "open_time")]


def pairs(count: int) -> list[CryptoPair]:
    return [
        CryptoPair(id=f"cryptopair_binance_a{n}usdt", exchange="binance", native_symbol=f"A{n}USDT", base_asset=f"A{n}", quote_asset="USDT")
        for n in range(count)
    ]


def klines(names: list[str], count: int) -> list[Kline]:
    """`count` minutes, shared among the instruments: as a backfill brings them, one instrument after the other."""
    each = count // len(names)
    return [
        Kline(
            name,
            Interval.MIN_1,
            START + n * NS_PER_MINUTE,
            100 + n % 7,
            110.5 + n % 7,
            99.25,
            100.5 + n % 7,
            n / 8,
            n * 12.5,
            n,
            True,
            "venue",
        )
        for name in names
        for n in range(each)
    ]


def trades(name: str, count: int) -> list[Trade]:
    return [
        Trade(name, "trade", str(3_800_000_000 + n), 60000 + n % 100 / 100, 0.001 * (n % 9 + 1), "buy", START + n * 500_000)
        for n in range(count)
    ]


async def rate(
    rows: int, work: Callable[[], Awaitable[object]], clear: Callable[[], Awaitable[object]] | None = None, runs: int = 3
) -> float:
    """Rows a second, the best of some runs; `clear` before each."""
    best = 0.0
    for _ in range(runs):
        if clear is not None:
            await clear()
        began = time.perf_counter()
        await work()
        best = max(best, rows / (time.perf_counter() - began))
    return best


def plain_rows(bars: list[Kline], keys: dict[str, int]) -> list[tuple]:
    known = to_datetime(START)
    return [
        (keys[k.instrument], k.trades, to_datetime(k.open_ns), known, k.open, k.high, k.low, k.close, k.volume, k.turnover, 4, k.final)
        for k in bars
    ]


async def measure(url: str, rows: int, peer_rows: int) -> dict[str, float]:
    store = await open_store(url)
    admin = await asyncpg.connect(url)
    listed = pairs(20)
    await store.instruments.save(listed, START)
    names = [p.id for p in listed]
    keys = dict(await admin.fetch("SELECT id, instrument_id FROM instrument"))
    bars, peer_bars = klines(names, rows), klines(names, peer_rows)
    await store.klines.upsert(bars, START)  # makes the partitions

    async def clear() -> None:
        await admin.execute("TRUNCATE kline_1m")
        await admin.execute("CHECKPOINT")

    async def clear_trades() -> None:
        await admin.execute("TRUNCATE trade")
        await admin.execute("CHECKPOINT")

    figures: dict[str, float] = {}
    figures["upsert_rows_s"] = await rate(len(bars), lambda: store.klines.upsert(bars, START), clear)
    figures["known_rows_s"] = await rate(len(bars), lambda: store.klines.upsert(bars, START))
    half = [msgspec.structs.replace(k, open_ns=k.open_ns + rows // len(names) // 2 * NS_PER_MINUTE) for k in bars]
    figures["overlap_rows_s"] = await rate(len(half), lambda: store.klines.upsert(half, START), runs=1)
    few = bars[:20]
    figures["batches_of_20_s"] = await rate(50, lambda: _repeat(50, lambda: store.klines.upsert(few, START)))
    forming = [msgspec.structs.replace(bars[n * (len(bars) // 20)], final=False, open_ns=START + 40_000 * NS_PER_MINUTE) for n in range(20)]
    figures["forming_updates_s"] = 20 * await rate(50, lambda: _repeat(50, lambda: store.klines.upsert(_moved(forming), START)))
    late = START + 365 * 86_400 * 10**9  # as a backfill or an import: each day is marked to be rolled
    figures["backfill_rows_s"] = await rate(len(bars), lambda: store.klines.upsert(bars, late), clear)
    deals = trades(names[0], rows)
    await store.trades.append(deals, START)
    figures["trade_rows_s"] = await rate(len(deals), lambda: store.trades.append(deals, START), clear_trades)

    figures["peer_executemany_rows_s"] = await rate(len(peer_bars), lambda: executemany(admin, peer_bars, keys), clear)
    figures["peer_literal_rows_s"] = await literal_rate(admin, bars)
    figures["peer_sqlalchemy_rows_s"] = await sqlalchemy_rate(url, peer_bars, keys, clear)
    await admin.close()
    await store.close()
    return figures


async def _repeat(times: int, work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(times):
        await work()


def _moved(forming: list[Kline]) -> list[Kline]:
    shift = time.perf_counter() % 1
    return [msgspec.structs.replace(k, close=k.low + shift) for k in forming]


async def executemany(connection: asyncpg.Connection, bars: list[Kline], keys: dict[str, int]) -> None:
    places = ", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))
    replaced = ", ".join(f"{name} = excluded.{name}" for name in CONTENT)
    text = f"INSERT INTO kline_1m ({', '.join(COLUMNS)}) VALUES ({places}) ON CONFLICT (instrument_id, open_time) DO UPDATE SET {replaced}"
    async with connection.transaction():
        await connection.executemany(text, plain_rows(bars, keys))


LITERAL = """
CREATE TABLE crypto_pair_literal (id VARCHAR PRIMARY KEY);
CREATE TABLE cryptopair_1m_literal (
    id VARCHAR PRIMARY KEY, entity_id VARCHAR NOT NULL REFERENCES crypto_pair_literal(id), timestamp TIMESTAMP NOT NULL,
    open_price DECIMAL NOT NULL, high_price DECIMAL NOT NULL, low_price DECIMAL NOT NULL, close_price DECIMAL NOT NULL,
    volume DECIMAL NOT NULL, turnover DECIMAL);
CREATE INDEX idx_crypto_kdata_entity_time ON cryptopair_1m_literal(entity_id, timestamp);
CREATE INDEX idx_crypto_kdata_time ON cryptopair_1m_literal(timestamp);
CREATE TEMP TABLE incoming_literal (LIKE cryptopair_1m_literal) ON COMMIT DELETE ROWS;
"""
LITERAL_VALUES = ("open_price", "high_price", "low_price", "close_price", "volume", "turnover")


def literal_rows(bars: list[Kline]) -> list[tuple]:
    made = []
    for k in bars:
        at = to_datetime(k.open_ns).replace(tzinfo=None)
        values = (Decimal(repr(value)) for value in (k.open, k.high, k.low, k.close, k.volume, k.turnover))
        made.append((f"{k.instrument}_{at:%Y-%m-%dT%H:%M:%S}", k.instrument, at, *values))
    return made


async def literal_rate(connection: asyncpg.Connection, bars: list[Kline]) -> float:
    """The specification's table as it is written, filled as ours is: COPY to a temporary table, one INSERT ON CONFLICT."""
    await connection.execute(LITERAL)
    await connection.executemany("INSERT INTO crypto_pair_literal VALUES ($1)", [(name,) for name in sorted({k.instrument for k in bars})])
    replaced = ", ".join(f"{name} = excluded.{name}" for name in LITERAL_VALUES)

    async def store() -> None:
        async with connection.transaction():
            await connection.copy_records_to_table("incoming_literal", records=literal_rows(bars))
            await connection.execute(
                f"INSERT INTO cryptopair_1m_literal SELECT * FROM incoming_literal ON CONFLICT (id) DO UPDATE SET {replaced}"
            )

    async def clear() -> None:
        await connection.execute("TRUNCATE cryptopair_1m_literal")
        await connection.execute("CHECKPOINT")

    return await rate(len(bars), store, clear)


async def sqlalchemy_rate(url: str, bars: list[Kline], keys: dict[str, int], clear: Callable[[], Awaitable[object]]) -> float:
    """Core: `insert(...).on_conflict_do_update(...)`, its own batching of many rows."""

    async def connect(*_: object, **__: object) -> asyncpg.Connection:
        return await asyncpg.connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        table = await connection.run_sync(lambda sync: Table("kline_1m", MetaData(), autoload_with=sync))
    statement = insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=["instrument_id", "open_time"], set_={n: statement.excluded[n] for n in CONTENT}
    )

    async def store() -> None:
        async with engine.begin() as connection:
            await connection.execute(statement, [dict(zip(COLUMNS, row, strict=True)) for row in plain_rows(bars, keys)])

    best = await rate(len(bars), store, clear)
    await engine.dispose()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows; below 60 s")
    rows, peer_rows = (100_000, 10_000) if parser.parse_args().quick else (400_000, 50_000)
    folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
    try:
        with EmbeddedServer(folder / "database") as server:
            asyncio.run(migrate(server.url))
            figures = asyncio.run(measure(server.url, rows, peer_rows))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name:>28} {value:>12,.0f}")
    ratios = {
        f"{peer}.upsert": round(figures["upsert_rows_s"] / figures[f"peer_{peer}_rows_s"], 2)
        for peer in ("sqlalchemy", "executemany", "literal")
    }
    for name, ratio in ratios.items():
        print(f"{name:>28} {ratio:>11}x")
    print(json.dumps({"benchmark": "ingest", "figures": {k: round(v) for k, v in figures.items()}, "ratios": ratios}))


if __name__ == "__main__":
    main()
