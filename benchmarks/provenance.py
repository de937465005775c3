"""What provenance costs: rows/s signed and compared, inserts with the triggers that note late trades and touched chunks and without them,
klines as they were known at a moment, and books in full (Binance spot BTCUSDT, recorded on 2024-08-08, where the recorded data is at hand).

Run: `python benchmarks/provenance.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from _market_bars import make_bars, pairs

from zvt_crypto.domain.market import BookDelta, BookSnapshot, Kline, Level, Trade
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.engine.book import Book
from zvt_crypto.engine.booklog import SegmentLog, book_at
from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
from zvt_crypto.stores.postgres.compact import compact
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

START = parse_time("2024-01-01")
KNOWN = START + 500 * NS_PER_DAY
BATCH = 5_000
PART = 100_000  # rows between two turns with and without triggers
TRIGGERS = {"kline_1m": ("touches_insert",), "trade": ("touches_insert", "marks_late")}


async def measure(url: str, rows: int) -> dict[str, float]:
    """All in turn, in one database."""
    store, sql = await open_store(url), await asyncpg.connect(url)
    (pair,) = pairs(1)
    await store.instruments.save([pair], START)
    figures = await inserts(store, sql, "kline_1m", klines(pair.id, rows), lambda part: store.klines.upsert(part, KNOWN))
    figures |= await inserts(store, sql, "trade", trades(pair.id, rows), lambda part: store.trades.append(part, part[-1].event_ns))
    for table, name in (("kline_1m", "klines"), ("trade", "trades")):
        signed, took_s = await timed(lambda table=table: store.checksums.sign(nouns=[table]))
        figures[f"sign_{name}_rows_s"] = signed.rows / took_s
        found, took_s = await timed(lambda table=table: store.checksums.verify(nouns=[table]))
        assert not found.wrong
        figures[f"verify_{name}_rows_s"] = found.rows / took_s
        text = "SELECT sum(length(prints) + length(digest))::float8 / sum(row_count) FROM chunk_checksum WHERE noun = $1"
        figures[f"signed_bytes_a_{name.removesuffix('s')}"] = await sql.fetchval(text, table)
    await store.klines.upsert(klines(pair.id, BATCH, seed=2), KNOWN + 1_000_000)
    found, took_s = await timed(lambda: store.versions.read_as_of(pair.id, Interval.MIN_1, KNOWN))
    figures["as_of_rows_s"] = len(found) / took_s
    served, took_s = await timed(lambda: store.klines.read(pair.id, Interval.MIN_1))
    assert len(served) == len(found)
    assert served != found
    figures["read_rows_s"] = len(served) / took_s
    await compact(store.pool, Interval.MIN_1, KNOWN)
    found, took_s = await timed(lambda: store.checksums.verify(nouns=["kline_1m"]))
    assert not found.wrong
    figures["verify_packed_rows_s"] = found.rows / took_s
    await sql.close()
    await store.close()
    return figures


async def inserts(
    store: PostgresStore, sql: asyncpg.Connection, table: str, rows: list[Any], put: Callable[[list[Any]], Awaitable[Any]]
) -> dict[str, float]:
    """Rows/s with the triggers and without them, in turns."""
    spent = {"with": 0.0, "without": 0.0}
    count = {"with": 0, "without": 0}
    await put(rows[:BATCH])  # partitions, plans
    for at in range(BATCH, len(rows), BATCH):
        part, way = rows[at : at + BATCH], "without" if at // PART % 2 else "with"
        if at % PART == 0 or at == BATCH:
            for name in TRIGGERS[table]:
                await sql.execute(f"ALTER TABLE {table} {'DISABLE' if way == 'without' else 'ENABLE'} TRIGGER {name}")
        spent[way] += (await timed(lambda part=part: put(part)))[1]
        count[way] += len(part)
    for name in TRIGGERS[table]:
        await sql.execute(f"ALTER TABLE {table} ENABLE TRIGGER {name}")
    return {f"insert_{table}_{way}_triggers_rows_s": count[way] / spent[way] for way in spent}


def klines(name: str, rows: int, seed: int = 1) -> list[Kline]:
    """Minutes."""
    return make_bars(seed, START, rows).klines(name, Interval.MIN_1)


def trades(name: str, rows: int) -> list[Trade]:
    """Ten a second."""
    return [
        Trade(name, "trade", str(n), round(100 + n % 977 / 100, 2), round(0.001 + n % 89 / 1000, 3), "buy", START + n * 100_000_000)
        for n in range(rows)
    ]


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
    """(what it gave, seconds)"""
    began = time.perf_counter()
    found = await work()
    return found, time.perf_counter() - began


# ── Books in full ─────────────────────────────────────────────────────────────────────────────────────────────────────


def recorded() -> Iterator[BookSnapshot | BookDelta]:
    """The recording's snapshot and what continues it."""
    root = Path(os.environ.get("ZVT_CRYPTO_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    file = root / "hftbacktest/examples/spot/btcusdt_20240808.gz"
    last_id = None
    for line in gzip.decompress(file.read_bytes()).splitlines() if file.exists() else ():
        stamp, _, raw = line.partition(b" ")
        if b"lastUpdateId" in raw and last_id is None:
            told = json.loads(raw)
            last_id = told["lastUpdateId"]
            yield BookSnapshot("x", last_id, _levels(told["bids"]), _levels(told["asks"]), 0, int(stamp))
        elif b"@depth" in raw and last_id is not None:
            told = json.loads(raw)["data"]
            if told["u"] > last_id:
                yield BookDelta("x", told["U"], told["u"], None, _levels(told["b"]), _levels(told["a"]), told["E"] * 1_000_000, int(stamp))


def _levels(rows: list[list[str]]) -> list[Level]:
    return [(float(price), float(size)) for price, size in rows]


def books() -> dict[str, float]:
    """Of one book, in segments of a minute."""
    events = list(recorded())
    if not events:
        return {}
    segments, log, taken_s = [], SegmentLog(events[0], events[0].recv_ns), 0.0
    for event in events[1:]:
        began = time.perf_counter()
        if event.recv_ns - log.start_ns >= 60 * 10**9:
            segments.append(log.close(event.recv_ns))
            log = SegmentLog(log.state(), event.recv_ns)
        log.take(event, event.recv_ns)
        taken_s += time.perf_counter() - began
    segments.append(log.close(0))
    stored = sum(len(segment.data) for segment in segments)
    began = time.perf_counter()
    live = Book("x")
    for event in events:
        live.apply_event(event)
    live_s = time.perf_counter() - began
    began = time.perf_counter()
    assert book_at(segments[-1], events[-1].recv_ns).top(1_000) == live.top(1_000)
    seconds = (events[-1].recv_ns - events[0].recv_ns) / 1e9
    return {
        "book_log_events_s": len(events) / taken_s,
        "book_live_events_s": len(events) / live_s,
        "book_log_bytes_an_event": stored / len(events),
        "book_log_mb_a_day": stored / seconds * 86_400 / 1e6,
        "book_rebuild_ms": 1_000 * (time.perf_counter() - began),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows; below 60 s")
    rows = 400_000 if parser.parse_args().quick else 1_200_000
    folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
    try:
        with EmbeddedServer(folder / "database") as server:
            asyncio.run(migrate(server.url))
            figures = asyncio.run(measure(server.url, rows)) | books()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name:>42} {value:>14,.2f}")
    ratios = {
        f"without_triggers.{table}": figures[f"insert_{table}_with_triggers_rows_s"] / figures[f"insert_{table}_without_triggers_rows_s"]
        for table in TRIGGERS
    }
    for name, ratio in ratios.items():
        print(f"{name:>42} {ratio:>13.2f}x")
    rounded = {name: round(value, 2) for name, value in figures.items()}
    print(json.dumps({"benchmark": "provenance", "figures": rounded, "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()}}))


if __name__ == "__main__":
    main()
