"""`The last 100 bars of a pair` with 5 M rows stored, and a year of minutes to a frame; embedded PostgreSQL with its default settings.

`last100_memory_*`: the store's interface with the recent window in memory (stores/recent.py), pairs drawn at random, while a writer
stores a new bar of each pair every second. `last100_mixed_*`: one question in ten is of an older range, which PostgreSQL answers.
`database_last100_*`: PostgreSQL alone through our store, at 1 and at N connections; only this is database throughput. `peer_asyncpg_*` is the
bare driver with a prepared statement and no structs, `peer_pgbench_*` the server's own tool where it is installed. `peer_sqlalchemy_*` is Core.
`frame_cold_ms` and `frame_cached_ms`: 525,600 rows to a polars frame, with an empty and with a full local copy, the best of five; `peer_rows_ms` is the driver's
`fetch` and a frame of its rows. Run: `python benchmarks/reads.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import numpy as np
import polars as pl
import uvloop
from sqlalchemy import MetaData, Table, select
from sqlalchemy.ext.asyncio import create_async_engine

from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, Interval, parse_time, to_datetime
from zvt_crypto.services.research import Research
from zvt_crypto.stores.files.columns import ColumnCache
from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.stores.recent import RecentKlines

MIN_1 = Interval.MIN_1
START = parse_time("2024-01-01")
YEAR = 525_600
CONNECTIONS = 8
SQL = (
    "SELECT open_time, open, high, low, close, volume, turnover, trades, final, source FROM kline_1m "
    "WHERE instrument_id = {} ORDER BY open_time DESC LIMIT 100"
)
FILL = """
INSERT INTO kline_1m (instrument_id, trades, open_time, known_at, open, high, low, close, volume, turnover, source, final)
SELECT $1, 100 + n % 7, $2::timestamptz + n * interval '1 minute', $2, 100 + n % 7, 110.5 + n % 7, 99.25, 100.5 + n % 7, n / 8.0, n * 12.5, 4, true
FROM generate_series($3::int, $4::int) n
"""


class Clock:
    def now_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def fill(store: PostgresStore, url: str, rows: int) -> list[str]:
    """Ten pairs; the first has a year, the others share the rest."""
    names = [f"cryptopair_binance_a{n}usdt" for n in range(10)]
    await store.instruments.save(
        [
            CryptoPair(id=n, exchange="binance", native_symbol=n[19:].upper(), base_asset=n[19:-4].upper(), quote_asset="USDT")
            for n in names
        ],
        START,
    )
    await store.klines.upsert([kline(name, month * 44_640) for name in names for month in range(13)], START)  # makes the partitions
    admin = await asyncpg.connect(url)
    keys = dict(await admin.fetch("SELECT id, instrument_id FROM instrument"))
    await admin.execute("TRUNCATE kline_1m")
    each = [YEAR, *[max(1_000, (rows - YEAR) // 9)] * 9]
    for name, count in zip(names, each, strict=True):
        for low in range(0, count, 50_000):
            await admin.execute(FILL, keys[name], to_datetime(START), low, min(count, low + 50_000) - 1)
    await admin.execute("VACUUM ANALYZE kline_1m")
    await admin.execute("CHECKPOINT")
    await admin.close()
    return names


def kline(name: str, minute: int) -> Kline:
    return Kline(name, MIN_1, START + minute * NS_PER_MINUTE, 100, 110.5, 99.25, 100.5, 1.5, 150.0, 9, True, "venue")


async def rate(seconds: float, workers: int, ask: Callable[[], Awaitable[object]]) -> tuple[float, float, float]:
    """(queries/s, p50 ms, p99 ms), every question timed."""
    spent: list[float] = []
    until = time.perf_counter() + seconds

    async def work() -> None:
        while (began := time.perf_counter()) < until:
            await ask()
            spent.append(time.perf_counter() - began)
            if len(spent) % 100 == 0:
                await asyncio.sleep(0)  # an answer out of memory does not wait: let the writer have its turn

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return len(spent) / (time.perf_counter() - began), *(float(np.percentile(spent, p) * 1000) for p in (50, 99))


async def measure(url: str, rows: int, seconds: float, folder: Path) -> dict[str, float]:
    store = await open_store(url, pool_size=CONNECTIONS)
    names = await fill(store, url, rows)
    figures: dict[str, float] = {"rows": rows}
    chance = random.Random(7)
    recent = RecentKlines(store.klines, store.changes, Clock())

    def put(label: str, told: tuple[float, float, float]) -> None:
        for name, value in zip(("qps", "p50_ms", "p99_ms"), told, strict=True):
            figures[f"{label}_{name}"] = value

    async def from_memory() -> object:
        found = await recent.read(chance.choice(names), MIN_1, limit=100)
        assert len(found) == 100
        return found

    async def mixed() -> object:
        if chance.random() < 0.9:
            return await from_memory()
        low = START + chance.randrange(50_000) * NS_PER_MINUTE
        return await recent.read(names[0], MIN_1, low, None, 100)

    writer = asyncio.create_task(write(store, names))
    for name in names:
        await recent.read(name, MIN_1, limit=100)
    put("last100_memory", await rate(seconds, 1, from_memory))
    figures["last100_p99_ms"] = figures["last100_memory_p99_ms"]
    put("last100_mixed", await rate(seconds, 4, mixed))
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)

    async def from_database() -> object:
        return await store.klines.read(chance.choice(names), MIN_1, limit=100)

    put("database_last100_1", await rate(seconds, 1, from_database))
    put(f"database_last100_{CONNECTIONS}", await rate(seconds, CONNECTIONS, from_database))
    figures.update(await asyncpg_rates(url, seconds, chance))
    figures["peer_sqlalchemy_qps"] = await sqlalchemy_rate(url, seconds, chance)
    figures.update(pgbench(url, seconds))
    figures.update(await frames(store, names[0], folder))
    await store.close()
    return figures


async def write(store: PostgresStore, names: list[str]) -> None:
    minute = YEAR
    while True:
        await store.klines.upsert([kline(name, minute) for name in names], START)
        minute += 1
        await asyncio.sleep(1)


async def asyncpg_rates(url: str, seconds: float, chance: random.Random) -> dict[str, float]:
    made = {}
    for count in (1, CONNECTIONS):
        links = [await asyncpg.connect(url) for _ in range(count)]
        prepared = [await link.prepare(SQL.format("$1")) for link in links]
        free = list(prepared)

        async def ask(free: list = free) -> None:
            statement = free.pop()
            await statement.fetch(chance.randrange(1, 11))
            free.append(statement)

        made[f"peer_asyncpg_{count}_qps"], _, made[f"peer_asyncpg_{count}_p99_ms"] = await rate(seconds, count, ask)
        for link in links:
            await link.close()
    return made


async def sqlalchemy_rate(url: str, seconds: float, chance: random.Random) -> float:
    async def connect(*_: object, **__: object) -> asyncpg.Connection:
        return await asyncpg.connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        table = await connection.run_sync(lambda sync: Table("kline_1m", MetaData(), autoload_with=sync))

    async def ask() -> None:
        asked = select(table).where(table.c.instrument_id == chance.randrange(1, 11)).order_by(table.c.open_time.desc()).limit(100)
        async with engine.connect() as connection:
            (await connection.execute(asked)).all()

    told = await rate(seconds, 1, ask)
    await engine.dispose()
    return told[0]


def pgbench(url: str, seconds: float) -> dict[str, float]:
    """PostgreSQL's own load tool, prepared statements, 1 and N connections; nothing where it is not installed."""
    tool = shutil.which("pgbench")
    if tool is None:
        print("pgbench is not installed (the embedded server's package has none): the bare driver stands for it")
        return {}
    made = {}
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("\\set key random(1, 10)\n" + SQL.format(":key") + ";\n")
        script.flush()
        for count in (1, CONNECTIONS):
            command = [tool, "-n", "-M", "prepared", "-c", str(count), "-j", "2", "-T", str(max(1, int(seconds))), "-f", script.name, url]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            made[f"peer_pgbench_{count}_qps"] = float(next(line for line in told.splitlines() if line.startswith("tps")).split()[2])
    return made


async def frames(store: PostgresStore, name: str, folder: Path) -> dict[str, float]:
    """A year of minutes; the best of five."""
    end = START + YEAR * NS_PER_MINUTE
    cold, cached, plain = [], [], []
    for turn in range(5):
        research = Research(store, ColumnCache(folder / f"cache{turn}", 10**10), lambda: end + 40 * NS_PER_DAY)
        for spent in (cold, cached, cached, cached):
            began = time.perf_counter()
            frame = await research.read(name, MIN_1, START, end)
            spent.append(time.perf_counter() - began)
            assert frame.height == YEAR
    for _ in range(2):
        began = time.perf_counter()
        found = await store.klines.read(name, MIN_1, START, end)
        pl.DataFrame(
            {
                "open_ns": [k.open_ns for k in found],
                **{c: [getattr(k, c) for k in found] for c in ("open", "high", "low", "close", "volume")},
            }
        )
        plain.append(time.perf_counter() - began)
    made = {"frame_cold_ms": cold, "frame_cached_ms": cached, "peer_rows_ms": plain}
    return {key: min(spent) * 1000 for key, spent in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="800,000 rows; below 60 s")
    rows, seconds = (800_000, 1.5) if parser.parse_args().quick else (5_000_000, 10.0)
    folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
    try:
        with EmbeddedServer(folder / "database") as server:
            asyncio.run(migrate(server.url))
            figures = uvloop.run(measure(server.url, rows, seconds, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name:>28} {value:>14,.3f}")
    ratios = {
        "sqlalchemy.last100": figures["last100_memory_qps"] / figures["peer_sqlalchemy_qps"],
        "sqlalchemy.database_last100": figures["database_last100_1_qps"] / figures["peer_sqlalchemy_qps"],
        "asyncpg.database_last100": figures["database_last100_1_qps"] / figures["peer_asyncpg_1_qps"],
        "rows.frame_cold": figures["peer_rows_ms"] / figures["frame_cold_ms"],
        "rows.frame_cached": figures["peer_rows_ms"] / figures["frame_cached_ms"],
    }
    for name, ratio in ratios.items():
        print(f"{name:>28} {ratio:>13.2f}x")
    print(
        json.dumps(
            {
                "benchmark": "reads",
                "figures": {k: round(v, 3) for k, v in figures.items()},
                "ratios": {k: round(v, 2) for k, v in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
