"""What reads and writes cost as the data grow 1x, 10x, 50x (1x = 500,000 minutes): flat is the aim, for points, for ranges and for writes.

The embedded server on its default settings, through the store's interface, one connection at a time: a random bar, the last 100 bars of a
random pair, a random day (1,440 bars), and a batch of 1,000 new minutes. At the largest size everything but the newest month is packed
then, and the same is asked again of packed rows (`packed_…`). `flat.<case>`: the cost at the largest size over that at 1x.
Run: `python benchmarks/growth.py [--quick]` (quick: 1x, 2x, 4x of 86,400).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from _market_bars import COLUMNS, make_bars, pairs, records

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, Interval, next_ns, parse_time, to_datetime
from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
from zvt_crypto.stores.postgres.compact import compact
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

MIN_1 = Interval.MIN_1
START = parse_time("2023-03-01")
SIZES = {"1x": (12, 1), "10x": (12, 10), "50x": (57, 10)}  # pairs, months; a month has some 43,800 minutes
QUICK = {"1x": (2, 1), "2x": (2, 2), "4x": (4, 2)}


async def measure(url: str, sizes: dict[str, tuple[int, int]], asks: int) -> dict[str, float]:
    """Grow, and ask at every size."""
    store = await open_store(url)
    sql = await asyncpg.connect(url)
    most = max(count for count, _ in sizes.values())
    listed = [pair.id for pair in pairs(most)]
    await store.instruments.save(pairs(most), START)
    keys = dict(await sql.fetch("SELECT id, instrument_id FROM instrument"))
    figures: dict[str, float] = {}
    filled: set[tuple[int, int]] = set()
    for name, (count, months) in sizes.items():
        began = time.perf_counter()
        await grow(sql, keys, listed[:count], months, filled)
        await sql.execute("VACUUM ANALYZE kline_1m")
        await sql.execute("CHECKPOINT")  # what filling left to be written is not the questions' to wait for
        figures[f"{name}_rows"] = await sql.fetchval("SELECT count(*) FROM kline_1m")
        print(f"{name}: {figures[f'{name}_rows']:,.0f} rows after {time.perf_counter() - began:.0f} s", flush=True)
        for case, value in (await ask(store, listed[:count], ends(months)[-1], asks)).items():
            figures[f"{name}_{case}"] = value
    newest = ends(months)[-2] if months > 1 else START
    began, done = time.perf_counter(), await compact(store.pool, MIN_1, newest)
    figures["packed_rows"] = done.rows
    figures["pack_rows_s"] = done.rows / (time.perf_counter() - began)
    for case, value in (await ask(store, listed[:count], newest, asks, packed=True)).items():
        figures[f"packed_{case}"] = value
    await sql.close()
    await store.close()
    return figures


def ends(months: int) -> list[int]:
    """The end of every month from START on."""
    found = [next_ns(Interval.MONTH_1, START)]
    while len(found) < months:
        found.append(next_ns(Interval.MONTH_1, found[-1]))
    return found


async def grow(sql: asyncpg.Connection, keys: dict[str, int], listed: list[str], months: int, filled: set[tuple[int, int]]) -> None:
    """Months of the first pair are made; the others have the same, since only places and sizes matter here."""
    low = START
    for month, high in enumerate(ends(months)):
        name = f"kline_1m_{to_datetime(low):%Y%m}"
        await sql.execute("SELECT zvt_add_partition('kline_1m', $1, to_timestamp($2), to_timestamp($3))", name, low / 1e9, high / 1e9)
        if (0, month) not in filled:
            made = records(keys[listed[0]], make_bars(month, low, (high - low) // NS_PER_MINUTE))
            await sql.copy_records_to_table("kline_1m", records=made, columns=COLUMNS)
            filled.add((0, month))
        rest = ", ".join(COLUMNS[1:])
        for place, pair in enumerate(listed):
            if (place, month) not in filled:
                await sql.execute(
                    f"INSERT INTO kline_1m (instrument_id, {rest}) SELECT $1, {rest} FROM {name} WHERE instrument_id = $2",
                    keys[pair],
                    keys[listed[0]],
                )
                filled.add((place, month))
        low = high


async def ask(store: PostgresStore, listed: list[str], end_ns: int, asks: int, *, packed: bool = False) -> dict[str, float]:
    """Milliseconds, medians and 99th percentiles, of random questions; the first fifth warms up."""
    chance = random.Random(1)
    klines, minutes = store.klines, (end_ns - START) // NS_PER_MINUTE

    async def point() -> int:
        at = START + chance.randrange(minutes) * NS_PER_MINUTE
        return len(await klines.read(chance.choice(listed), MIN_1, at, at + NS_PER_MINUTE))

    async def last() -> int:
        return len(await klines.read(chance.choice(listed), MIN_1, end_ns=end_ns, limit=100)) // 100

    async def day() -> int:
        at = START + chance.randrange(minutes - 1440) * NS_PER_MINUTE
        return len(await klines.read(chance.choice(listed), MIN_1, at, at + NS_PER_DAY)) // 1440

    figures = {}
    for name, question, times in (("point", point, asks), ("last100", last, asks), ("day", day, asks // 10)):
        spent = [await timed(question) for _ in range(times)][times // 5 :]
        figures[f"{name}_p50_ms"] = statistics.median(spent)
        figures[f"{name}_p99_ms"] = sorted(spent)[len(spent) * 99 // 100]
    if not packed:
        figures["write1000_p50_ms"] = await writes(store, listed, end_ns)
    return figures


async def writes(store: PostgresStore, listed: list[str], end_ns: int) -> float:
    """A batch of 1,000 new minutes of one pair, ten times; they go again afterwards."""
    (newest,) = await store.klines.read(listed[0], MIN_1, end_ns=end_ns, limit=1)
    spent = []
    for turn in range(10):
        batch = [msgspec.structs.replace(newest, open_ns=end_ns + (turn * 1000 + n) * NS_PER_MINUTE) for n in range(1000)]
        began = time.perf_counter()
        await store.klines.upsert(batch, batch[-1].open_ns + NS_PER_MINUTE)
        spent.append(1000 * (time.perf_counter() - began))
    await store.pool.run("undo", lambda c: c.execute("DELETE FROM kline_1m WHERE open_time >= $1", end_ns))
    return statistics.median(spent[1:])


async def timed(question: Callable[[], Awaitable[Any]]) -> float:
    """ms."""
    began = time.perf_counter()
    assert await question() == 1
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller series; below 60 s")
    quick = parser.parse_args().quick
    sizes = QUICK if quick else SIZES
    folder = Path(tempfile.mkdtemp(prefix="zvt-bench-"))
    try:
        with EmbeddedServer(folder / "database") as server:
            asyncio.run(migrate(server.url))
            figures = asyncio.run(measure(server.url, sizes, 500 if quick else 3_000))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    last = list(sizes)[-1]
    ratios = {}
    for case in ("point_p50_ms", "last100_p50_ms", "day_p50_ms", "write1000_p50_ms", "point_p99_ms", "last100_p99_ms"):
        ratios[f"flat.{case.removesuffix('_ms')}"] = figures[f"{last}_{case}"] / figures[f"1x_{case}"]
    for name, value in figures.items():
        print(f"{name:>28} {value:>14,.3f}")
    for name, ratio in ratios.items():
        print(f"{name:>28} {ratio:>13.2f}x")
    print(
        json.dumps(
            {
                "benchmark": "growth",
                "figures": {name: round(value, 4) for name, value in figures.items()},
                "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
