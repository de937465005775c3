"""A year of minutes (525,600 bars) as twelve zips of Binance Vision, with their checksums, into the database by `zvt-crypto import`'s code.

`rows_s`: the first time; `again_rows_s`: the same once more, which changes nothing; `read_rows_s`: read and judged only (`--dry-run`).
`again_changed` must be 0. `peak_mb`: what the process held at most. Run: `python benchmarks/imports.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import json
import resource
import shutil
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from _market_bars import pairs

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.time import parse_time
from zvt_crypto.services.imports import Importer, SeriesReport
from zvt_crypto.stores.imports.files import plan_files
from zvt_crypto.stores.imports.layouts import ImportOptions
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.venues.clock import SystemClock

YEAR = 2025


def write_month(folder: Path, symbol: str, month: int, rng: np.random.Generator) -> int:
    """A zip as Binance Vision has it: no header, microseconds, twelve columns. Returns its rows."""
    first = dt.datetime(YEAR, month, 1, tzinfo=dt.UTC)
    after = dt.datetime(YEAR + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
    opens_us = np.arange(int(first.timestamp()), int(after.timestamp()), 60) * 1_000_000
    price = 60_000 * np.exp(np.cumsum(rng.normal(0, 2e-4, len(opens_us) + 1)))
    volume = rng.exponential(5, len(opens_us))
    lines = [
        f"{at},{o:.8f},{max(o, c) * 1.0001:.8f},{min(o, c) * 0.9999:.8f},{c:.8f},{v:.8f},{at + 59_999_999},{v * c:.8f},{n},{v / 2:.8f},{v * c / 2:.8f},0"
        for at, o, c, v, n in zip(opens_us.tolist(), price[:-1], price[1:], volume, rng.integers(1, 999, len(opens_us)), strict=True)
    ]
    path = folder / f"{symbol}-1m-{YEAR}-{month:02d}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", "\n".join(lines) + "\n")
    path.with_name(path.name + ".CHECKSUM").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return len(lines)


async def measure(url: str, folder: Path, months: int) -> dict[str, object]:
    """First, again, and read only."""
    (pair,) = pairs(1)
    spot = folder / "spot"
    spot.mkdir()
    rows = sum(write_month(spot, pair.native_symbol, month, np.random.default_rng(month)) for month in range(1, months + 1))
    await migrate(url)
    store = await open_store(url)
    try:
        await store.instruments.save([pair], parse_time(str(YEAR)))

        async def once(target: object) -> tuple[SeriesReport, float]:
            began = time.monotonic()
            plan = plan_files([spot], ImportOptions("binance-vision"), Instruments([pair]), time.time_ns())
            (one,) = plan.series
            report = SeriesReport(pair.id, "klines")
            importer = Importer(target, SystemClock(), lambda rejected: None)  # type: ignore[arg-type]
            for source in one.sources:
                await importer.run(one.series.batches(source), report, lambda told: None)
            return report, time.monotonic() - began

        _, read_s = await once(None)
        first, first_s = await once(store)
        again, again_s = await once(store)
    finally:
        await store.close()
    assert (first.new, again.known, first.rejected) == (rows, rows, 0)
    return {
        "rows": rows,
        "rows_s": round(rows / first_s),
        "again_rows_s": round(rows / again_s),
        "read_rows_s": round(rows / read_s),
        "again_changed": again.new + again.changed,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    months = 1 if parser.parse_args().quick else 12
    folder = Path(tempfile.mkdtemp(prefix="zvt-crypto-bench-"))
    server = EmbeddedServer(folder / "postgres")
    try:
        print(json.dumps(asyncio.run(measure(server.start(), folder, months))))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
