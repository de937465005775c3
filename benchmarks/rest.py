"""`kdata` of 100 rows over HTTP: ours (real store, embedded PostgreSQL) against a plain FastAPI endpoint that returns the same rows as dicts.

Both are served by uvicorn on uvloop and httptools, each in a process of its own; the load comes from this process over keep-alive
connections, one contender after the other, in turns. The peer is spared the database: its dicts lie in memory. `kdata_live` is ours while the
forming bar changes 100 times a second, so that answers are joined anew. `fastapi_typed` is the peer with `-> dict` written on it, which lets the
framework serialise in Rust. Ratios are requests per CPU-second of the server's process: other work on the machine does not move them. Run: `python benchmarks/rest.py [--quick]`.
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
from decimal import Decimal
from pathlib import Path

import psutil
import uvloop

from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval, floor_ns
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

PAIR = CryptoPair(
    id="cryptopair_binance_btcusdt",
    exchange="binance",
    native_symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    tick=Decimal("0.01"),
    lot=Decimal("0.00001"),
)
ROWS = 100
TARGET = f"/api/v1/crypto/kdata?symbol={PAIR.id}&interval=1m&limit={ROWS}"
REQUEST = f"GET {TARGET} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
CONTENDERS = ("ours", "ours_live", "fastapi_dict", "fastapi_typed")


def make_klines(count: int) -> list[Kline]:
    first = floor_ns(Interval.MIN_1, time.time_ns()) - count * NS_PER_MINUTE
    return [
        Kline(
            PAIR.id,
            Interval.MIN_1,
            first + n * NS_PER_MINUTE,
            61000.5 + n,
            61010.25 + n,
            60990 + n,
            61005.75 + n,
            12.34567,
            761234.56,
            321,
            True,
            "venue",
        )
        for n in range(count)
    ]


# ── the contenders, each in its own process ──


async def serve_ours(url: str, is_live: bool) -> None:
    from zvt_crypto.api.app import create_app
    from zvt_crypto.api.deps import ApiDeps
    from zvt_crypto.api.server import RestServer
    from zvt_crypto.stores.live import MemoryLiveState
    from zvt_crypto.telemetry.health import Health
    from zvt_crypto.telemetry.metrics import PrometheusObserver
    from zvt_crypto.venues.clock import SystemClock

    store, live, clock, observer = await open_store(url), MemoryLiveState(), SystemClock(), PrometheusObserver()
    table = await store.instruments.load()
    deps = ApiDeps(
        store=store,
        live=live,
        instruments=lambda: table,
        connectors={},
        health=Health(clock),
        observer=observer,
        clock=clock,
        metrics=observer.render,
    )
    server = RestServer(create_app(deps), port=0)
    print(await server.start(), flush=True)
    newest, price = (await store.klines.read(PAIR.id, Interval.MIN_1, limit=1))[0], 61000.0
    while True:
        await asyncio.sleep(0.01)
        if is_live:
            price += 0.01
            live.apply(
                Kline(
                    PAIR.id,
                    Interval.MIN_1,
                    newest.open_ns + NS_PER_MINUTE,
                    61000.0,
                    price,
                    60990.0,
                    price,
                    1.5,
                    91500.0,
                    17,
                    False,
                    "venue",
                )
            )


async def serve_fastapi(is_typed: bool) -> None:
    from fastapi import FastAPI

    from zvt_crypto.api.rows import digits_of, kdata_row
    from zvt_crypto.api.server import RestServer

    rows = [
        {name: getattr(row, name) for name in row.__struct_fields__} for row in (kdata_row(k, digits_of(PAIR)) for k in make_klines(1_000))
    ]
    app = FastAPI()

    async def plain(symbol: str, interval: str, limit: int = 100):
        found = rows[-limit:]
        return {"data": found, "count": len(found)}

    async def typed(symbol: str, interval: str, limit: int = 100) -> dict:
        return await plain(symbol, interval, limit)

    app.get("/api/v1/crypto/kdata")(typed if is_typed else plain)

    server = RestServer(app, port=0)
    print(await server.start(), flush=True)
    await asyncio.Event().wait()


# ── the load ──


class Asker(asyncio.Protocol):
    """Asks again and again over one connection until told to stop."""

    def __init__(self, laps: list[float]) -> None:
        self.laps = laps
        self.stop = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.missing, self.head = -1, b""
        self.began = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            size = int(self.head[:end].lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            self.missing = end + 4 + size - len(self.head)
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.laps.append(time.perf_counter() - self.began)
            assert self.head.startswith(b"HTTP/1.1 200 "), self.head
            if self.stop:
                self.done.set_result(None)
                self.transport.close()
            else:
                self.ask()


async def check(port: int) -> None:
    """The answer has the rows that it should have."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    assert answer["count"] == len(answer["data"]) == ROWS
    writer.close()


async def load(port: int, pid: int, seconds: float, clients: int) -> dict[str, float]:
    laps: list[float] = []
    loop, process = asyncio.get_running_loop(), psutil.Process(pid)
    await check(port)
    cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
    askers = [(await loop.create_connection(lambda: Asker(laps), "127.0.0.1", port))[1] for _ in range(clients)]
    await asyncio.sleep(seconds)
    for asker in askers:
        asker.stop = True
    await asyncio.gather(*(asker.done for asker in askers))
    spent, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - cpu
    laps.sort()
    return {
        "req_s": round(len(laps) / spent, 1),
        "req_cpu_s": round(len(laps) / cpu, 1),
        "p50_ms": round(laps[len(laps) // 2] * 1000, 3),
        "p99_ms": round(laps[int(len(laps) * 0.99)] * 1000, 3),
    }


@contextlib.contextmanager
def contender(name: str, url: str):
    process = subprocess.Popen([sys.executable, __file__, "--serve", name, "--url", url], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait(10)


def measure(url: str, seconds: float, turns: int) -> dict[str, dict[str, dict[str, float]]]:
    """By contender and number of clients; the best turn of each (the machine's other work only ever slows)."""
    best: dict[str, dict[str, dict[str, float]]] = {name: {} for name in CONTENDERS}
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(contender(name, url)) for name in CONTENDERS}
        for port, pid in ports.values():
            uvloop.run(load(port, pid, 0.3, 2))  # warm
        for _ in range(turns):
            for name, (port, pid) in ports.items():
                for clients in (1, 16):
                    figures = uvloop.run(load(port, pid, seconds, clients))
                    held = best[name].get(str(clients))
                    if held is None or figures["req_s"] > held["req_s"]:
                        best[name][str(clients)] = figures
    return best


async def seed(url: str) -> None:
    await migrate(url)
    store = await open_store(url)
    await store.instruments.save([PAIR], time.time_ns())
    await store.klines.upsert(make_klines(5_000), time.time_ns())
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", choices=CONTENDERS)
    parser.add_argument("--url", default="")
    args = parser.parse_args()
    if args.serve:
        uvloop.run(
            serve_fastapi(args.serve == "fastapi_typed") if "fastapi" in args.serve else serve_ours(args.url, args.serve == "ours_live")
        )
        return
    with tempfile.TemporaryDirectory(prefix="zvt-bench-") as folder, EmbeddedServer(Path(folder) / "database") as server:
        asyncio.run(seed(server.url))
        best = measure(server.url, 0.4 if args.quick else 4.0, 2 if args.quick else 4)
    for name, by_clients in best.items():
        for clients, figures in by_clients.items():
            print(
                f"{name:>14} {clients:>3} clients  {figures['req_s']:>9,.0f} requests/s {figures['req_cpu_s']:>9,.0f} a CPU-second  p50 {figures['p50_ms']:.3f} ms  p99 {figures['p99_ms']:.3f} ms"
            )
    ratios = {
        f"{peer}.{case}": round(best[ours]["16"]["req_cpu_s"] / best[peer]["16"]["req_cpu_s"], 2)
        for peer in ("fastapi_dict", "fastapi_typed")
        for case, ours in (("kdata", "ours"), ("kdata_live", "ours_live"))
    }
    figures = {f"{name}_{key}": value for name in CONTENDERS for key, value in best[name]["16"].items()}
    figures |= {f"{name}_1_client_{key}": best[name]["1"][key] for name in CONTENDERS for key in ("p50_ms", "p99_ms")}
    print(json.dumps({"benchmark": "rest", "figures": figures, "ratios": ratios}))


if __name__ == "__main__":
    main()
