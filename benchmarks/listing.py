"""An exchange of 1,000 pairs and 500 assets: how long it takes to read it in, and the list endpoints at that size.

    python benchmarks/listing.py [--quick]

The emulator lists them as Binance does, over a socket; `pairs sync` reads and stores them (embedded PostgreSQL); then the REST server, in a
process of its own, answers over keep-alive connections. `all` is every row in one answer, `page` 100 rows after a cursor in the middle.
Rates are per second of wall time and per CPU-second of the server's process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvloop

from zvt_crypto.cli.data import sync_instruments
from zvt_crypto.cli.settings import Binance, Database, Settings
from zvt_crypto.emulator.roster import base_code
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

PAIRS, ASSETS = 1_000, 500
MIDDLE_PAIR = f"cryptopair_binance_{base_code(250).lower()}usdt"
MIDDLE_ASSET = f"crypto_binance_{base_code(250).lower()}"
# Case → path, the answer's key, how many rows it must have.
CASES = {
    "pairs_all": ("/pairs?exchange=binance", "pairs", PAIRS),
    "pairs_page": (f"/pairs?exchange=binance&limit=100&cursor={MIDDLE_PAIR}", "pairs", 100),
    "assets_all": ("/assets?exchange=binance", "assets", ASSETS),
    "assets_page": (f"/assets?exchange=binance&limit=100&cursor={MIDDLE_ASSET}", "assets", 100),
    "search_exact": ("/assets/search?q=qabc", "results", 1),
    "search_prefix": ("/assets/search?q=qa", "results", 20),
    "search_none": ("/assets/search?q=zzzz", "results", 0),
}
CLIENTS = (1, 16)


# ── The exchange and ours, each in its own process ────────────────────────────────────────────────────────────────────


async def serve_exchange() -> None:
    from zvt_crypto.emulator.binance.dialect import BinanceDialect
    from zvt_crypto.emulator.market import MarketWorld
    from zvt_crypto.emulator.roster import spot_roster
    from zvt_crypto.emulator.server import EmulatorServer

    before, began = psutil.Process().memory_info().rss, time.process_time()
    world = MarketWorld(1, spot_roster(PAIRS, ASSETS), start_ns=time.time_ns())
    spent, grown = time.process_time() - began, psutil.Process().memory_info().rss - before
    rest, ws = await EmulatorServer(BinanceDialect(world)).start()
    print(json.dumps({"rest": rest, "ws": ws, "cpu_s": round(spent, 3), "mb": round(grown / 1e6, 1)}), flush=True)
    await asyncio.Event().wait()


async def serve_ours(url: str) -> None:
    from zvt_crypto.api.app import create_app
    from zvt_crypto.api.deps import ApiDeps
    from zvt_crypto.api.server import RestServer
    from zvt_crypto.stores.live import MemoryLiveState
    from zvt_crypto.stores.postgres import open_store
    from zvt_crypto.telemetry.health import Health
    from zvt_crypto.telemetry.metrics import PrometheusObserver
    from zvt_crypto.venues.clock import SystemClock

    store, clock, observer = await open_store(url), SystemClock(), PrometheusObserver()
    table = await store.instruments.load()
    deps = ApiDeps(
        store=store,
        live=MemoryLiveState(),
        instruments=lambda: table,
        connectors={},
        health=Health(clock),
        observer=observer,
        clock=clock,
        metrics=observer.render,
    )
    print(await RestServer(create_app(deps), port=0).start(), flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def part(*arguments: str) -> Iterator[tuple[str, int]]:
    """A process of this file; gives the line that it prints once it is ready, and its id."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline(), process.pid
    finally:
        process.terminate()
        process.wait(10)


# ── The load ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def load(port: int, pid: int, case: str, clients: int, seconds: float) -> dict[str, float]:
    """Rates, laps and bytes of one case."""
    path, key, rows = CASES[case]
    request = f"GET /api/v1/crypto{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    laps: list[float] = []
    body = await ask(*await asyncio.open_connection("127.0.0.1", port), request, laps, until=0.0)
    answer = json.loads(body)
    assert answer["count"] == len(answer[key]) == rows, f"{path}: {answer['count']} rows, not {rows}"
    laps.clear()
    process = psutil.Process(pid)
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
    await asyncio.gather(*(ask(reader, writer, request, laps, began + seconds) for reader, writer in connections))
    spent, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - cpu
    laps.sort()
    return {
        "req_s": round(len(laps) / spent, 1),
        "req_cpu_s": round(len(laps) / max(cpu, 0.01), 1),
        "p50_ms": round(laps[len(laps) // 2] * 1000, 3),
        "p99_ms": round(laps[int(len(laps) * 0.99)] * 1000, 3),
        "bytes": len(body),
    }


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, laps: list[float], until: float) -> bytes:
    """Ask at least once, and again until the time is over. The last body."""
    while True:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
        laps.append(time.perf_counter() - began)
        if time.perf_counter() >= until:
            writer.close()
            return body


def measure(port: int, pid: int, seconds: float, turns: int) -> dict[str, dict[int, dict[str, float]]]:
    """The best turn of each case and number of clients: the machine's other work only ever slows."""
    best: dict[str, dict[int, dict[str, float]]] = {case: {} for case in CASES}
    for _ in range(turns):
        for case in CASES:
            for clients in CLIENTS:
                figures = uvloop.run(load(port, pid, case, clients, seconds))
                held = best[case].get(clients)
                if held is None or figures["req_s"] > held["req_s"]:
                    best[case][clients] = figures
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", choices=("exchange", "ours"))
    parser.add_argument("--url", default="")
    args = parser.parse_args()
    if args.serve:
        uvloop.run(serve_exchange() if args.serve == "exchange" else serve_ours(args.url))
        return
    with tempfile.TemporaryDirectory(prefix="zvt-bench-") as folder, contextlib.ExitStack() as stack:
        line, _ = stack.enter_context(part("--serve", "exchange"))
        place = json.loads(line)
        print(f"the emulated market: {PAIRS} pairs, made in {place['cpu_s']} CPU-seconds and {place['mb']} MB")
        server = stack.enter_context(EmbeddedServer(Path(folder) / "database"))
        database = Database(url=server.url)
        settings = Settings(
            data_dir=Path(folder), database=database, binance=Binance(rest=place["rest"], ws=place["ws"], markets=("spot",))
        )
        synced = [sync(settings) for _ in range(2)]
        print(f"pairs sync: {synced[0]:.2f} s the first time, {synced[1]:.2f} s when nothing has changed")
        port, pid = stack.enter_context(part("--serve", "ours", "--url", server.url))
        best = measure(int(port), pid, 0.4 if args.quick else 3.0, 2 if args.quick else 3)
    for case, by_clients in best.items():
        for clients, row in by_clients.items():
            print(
                f"{case:>14} {clients:>3} clients {row['req_s']:>8,.0f} requests/s {row['req_cpu_s']:>8,.0f} a CPU-second"
                f"  p50 {row['p50_ms']:.2f} ms  p99 {row['p99_ms']:.2f} ms  {row['bytes']:,} bytes"
            )
    figures = {f"{case}_{key}": value for case in CASES for key, value in best[case][16].items()}
    figures |= {f"{case}_1_client_{key}": best[case][1][key] for case in CASES for key in ("p50_ms", "p99_ms")}
    figures |= {"world_cpu_s": place["cpu_s"], "world_mb": place["mb"], "sync_s": round(synced[0], 2), "resync_s": round(synced[1], 2)}
    print(json.dumps({"benchmark": "listing", "figures": figures, "ratios": {}}))


def sync(settings: Settings) -> float:
    """Seconds that `pairs sync` takes."""
    began = time.perf_counter()
    sync_instruments(settings=settings)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
