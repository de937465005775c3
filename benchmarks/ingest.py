"""Rows into the embedded PostgreSQL, klines and trades, insert and upsert: ours, SQLAlchemy Core, asyncpg's executemany, and the mission's
literal schema (VARCHAR ids, DECIMAL values, three indexes) filled by COPY as ours is; all in one run.

Ours go to the real tables, with partitions, checks, triggers and revisions. The peers go to tables of the same columns, key and checks
without any of the rest (`lean`), and to the literal ones. One transaction a batch, the server's default settings (fsync on). `known`,
`upsert`: the same batch again. Ours then looks everything up and writes nothing; the peers write each row anew, as their statement says.
`corrected`: every bar has changed, so that every old version goes to the revisions. Aim: 150,000 fresh rows/s. Run:
`python benchmarks/ingest.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import msgspec
from _ingest_peers import measure_peers

from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval, parse_time
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


async def measure(url: str, rows: int, peer_rows: int) -> dict[str, float]:
    store = await open_store(url)
    admin = await asyncpg.connect(url)
    listed = pairs(20)
    await store.instruments.save(listed, START)
    names = [p.id for p in listed]
    keys = dict(await admin.fetch("SELECT id, instrument_id FROM instrument"))
    bars = klines(names, rows)
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

    figures["trade_known_rows_s"] = await rate(len(deals), lambda: store.trades.append(deals, START))
    changed = [msgspec.structs.replace(k, volume=k.volume + 1) for k in bars]
    figures["corrected_rows_s"] = await rate(len(changed), lambda: store.klines.upsert(changed, late + 1_000), runs=1)
    figures |= await measure_peers(url, keys, START, bars[: peer_rows * 5], deals[: peer_rows * 5], peer_rows)
    await admin.close()
    await store.close()
    return figures


async def _repeat(times: int, work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(times):
        await work()


def _moved(forming: list[Kline]) -> list[Kline]:
    shift = time.perf_counter() % 1
    return [msgspec.structs.replace(k, close=k.low + shift) for k in forming]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows; below 60 s")
    rows, peer_rows = (100_000, 5_000) if parser.parse_args().quick else (400_000, 50_000)
    folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
    try:
        with EmbeddedServer(folder / "database") as server:
            asyncio.run(migrate(server.url))
            figures = asyncio.run(measure(server.url, rows, peer_rows))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name:>28} {value:>12,.0f}")
    ours = {
        "kline_insert": "upsert_rows_s",
        "kline_upsert": "known_rows_s",
        "trade_insert": "trade_rows_s",
        "trade_upsert": "trade_known_rows_s",
    }
    ratios = {}
    for who in ("sqlalchemy_lean", "executemany_lean", "sqlalchemy_literal", "copy_literal"):
        for what, name in ours.items():
            ratios[f"{who}.{what}"] = round(figures[name] / figures[f"peer_{who}_{what}_rows_s"], 2)
    for name, ratio in ratios.items():
        print(f"{name:>28} {ratio:>11}x")
    print(json.dumps({"benchmark": "ingest", "figures": {k: round(v) for k, v in figures.items()}, "ratios": ratios}))


if __name__ == "__main__":
    main()
