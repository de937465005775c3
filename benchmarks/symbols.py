"""200 symbols on four exchanges at once, on one core: trades, books every 100 ms and klines of a minute, into the feed with live state.

    python benchmarks/symbols.py [--quick] [--long] [--messages N]

One process holds the emulated exchanges (the synthetic market under each one's own wire protocol, REST and WebSocket, 50 pairs each); the
other, held to one core, is ours: NetTransport, the four connectors with the streams that they choose, live state, feed, and a reader of
it. Lag is from the moment a frame is taken from the socket to the moment its event is on the feed; events/s and messages/s are counted,
not planned. `--long` (part of a run without --quick) then gives one process 10 million synthetic messages of the same kinds, as fast as it
takes them, through a socket in memory, and watches its memory: MB per million messages, by the least squares over its second half.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psutil
import uvloop

SYMBOLS = 200
EVENTS_S = 40.0  # orders a second and symbol: some become trades, most change the book
BOOKS_MOST_S = 240.0  # until every book stands
BUCKET_NS, BUCKETS = 10_000, 100_000  # lags are counted in steps of 10 us, up to a second
LONG_MESSAGES = 10_000_000


# ── The exchanges ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def serve_exchanges(_: str) -> None:
    """Tells where each is, and serves."""
    from zvt_crypto.emulator.dialects import DIALECTS
    from zvt_crypto.emulator.market import MarketWorld, symbol_for
    from zvt_crypto.emulator.roster import base_code
    from zvt_crypto.emulator.server import EmulatorServer

    pairs = [symbol_for("spot", base_code(number)) for number in range(SYMBOLS // 4)]
    places = {}
    for exchange, speak in DIALECTS.items():
        dialect = speak(MarketWorld(1, pairs, start_ns=time.time_ns(), events_per_s=EVENTS_S, history_days=1))
        dialect.scale_limits(100.0)  # 50 books at once are more snapshots than an exchange gives in a minute
        places[exchange] = await EmulatorServer(dialect).start()
    print(json.dumps(places), flush=True)
    await asyncio.Event().wait()


# ── Ours ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counted:
    """A transport that counts the frames of its sockets."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.frames = inner, 0
        self.request = inner.request

    async def connect(self, url: str, **more: Any) -> Any:
        socket = await self._inner.connect(url, **more)
        receive = socket.receive

        async def counted() -> list[tuple[bytes, int]]:
            frames = await receive()
            self.frames += len(frames)
            return frames

        return Wrapped(counted, socket.send, socket.close)


class Wrapped:
    """A ports.Socket of three functions."""

    def __init__(self, receive: Callable[[], Awaitable[Any]], send: Callable[[bytes], Any], close: Callable[[], Any]) -> None:
        self.receive, self.send, self.close = receive, send, close


class Floor:
    """Feed and live state, and what is measured on the way in."""

    def __init__(self) -> None:
        from zvt_crypto.services.feed import MemoryFeed
        from zvt_crypto.services.platform import TapFeed
        from zvt_crypto.stores.live import MemoryLiveState

        self.live = MemoryLiveState()
        self.feed = TapFeed(MemoryFeed(), self.live.apply)
        self.reader = self.feed.subscribe("reader", bound=100_000, when_full="fail")
        self.lags = [0] * (BUCKETS + 1)
        self.events = 0

    async def read(self) -> None:
        while True:
            await self.reader.receive()

    async def pump(self, stream: Any) -> None:
        """As an ingest's route does: a batch, then let others have their turn."""
        publish, now, lags = self.feed.publish, time.time_ns, self.lags
        while True:
            batch = await stream.receive()
            for event in batch:
                publish(event)
                lags[max(0, min((now() - event.recv_ns) // BUCKET_NS, BUCKETS))] += 1
            self.events += len(batch)
            await asyncio.sleep(0)

    def lag_ms(self, share: float) -> float:
        """The lag that a share of the events does not exceed."""
        seen, least = 0, share * sum(self.lags)
        for bucket, count in enumerate(self.lags):
            seen += count
            if seen >= least:
                return round((bucket + 1) * BUCKET_NS / 1e6, 3)
        return 0.0


async def serve_ours(argument: str) -> None:
    """Follow everything, wait for the books, measure, tell."""
    from zvt_crypto.services.plan import plan_listed
    from zvt_crypto.telemetry.metrics import PrometheusObserver
    from zvt_crypto.venues import VENUES
    from zvt_crypto.venues.budget import LimitBudget
    from zvt_crypto.venues.clock import SystemClock
    from zvt_crypto.venues.http import NetTransport

    asked = json.loads(argument)
    clock, observer, floor, transport = SystemClock(), PrometheusObserver(), Floor(), Counted(NetTransport())
    tasks = [asyncio.create_task(floor.read())]
    followed: dict[str, list[Any]] = {}
    began = time.perf_counter()
    for exchange, (rest, ws) in asked["places"].items():
        connector = VENUES[exchange](transport, clock, LimitBudget(clock, observer), observer, **places_of(exchange, rest, ws))
        await connector.fetch_instruments()
        pairs = [one.id for one in connector.instruments if one.native_symbol.startswith("Q")]
        pairs = [name for name in pairs if not name.endswith("usdc")][: SYMBOLS // 4]  # Coinbase's USDC pairs share the USD pair's book
        followed[exchange] = plan_listed(connector, pairs, ("trade", "kline", "depth"))
        for route in connector.routes(followed[exchange]):
            stream = await connector.open_stream(route)
            tasks.append(asyncio.create_task(floor.pump(stream)))
    books = [one.instrument for wanted in followed.values() for one in wanted if one.channel == "depth"]
    while not all((book := floor.live.book(name)) is not None and book.is_valid for name in books):
        ended(tasks)
        if time.perf_counter() - began > BOOKS_MOST_S:
            sys.exit(f"not every book stood after {BOOKS_MOST_S:g} s")
        await asyncio.sleep(0.2)
    ready_s = time.perf_counter() - began
    await asyncio.sleep(2.0)  # connecting and first use are not what is measured
    process = psutil.Process()
    floor.lags[:] = [0] * len(floor.lags)
    floor.events, transport.frames = 0, 0
    rss, cpu, began = process.memory_info().rss, time.process_time(), time.perf_counter()
    await asyncio.sleep(asked["seconds"])
    ended(tasks)
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    stale = [name for name in books if not floor.live.book(name).is_valid]  # type: ignore[union-attr]
    assert not stale, f"{len(stale)} books were stale at the end"
    told = {
        "symbols": len(books),
        "streams": len(tasks) - 1,
        "subscriptions": {exchange: len(wanted) for exchange, wanted in followed.items()},
        "ready_s": round(ready_s, 1),
        "seconds": round(spent, 1),
        "messages_s": round(transport.frames / spent),
        "events_s": round(floor.events / spent),
        "cpu": round(cpu / spent, 3),
        "cpu_us_message": round(cpu / transport.frames * 1e6, 1),
        "rss_start_mb": round(rss / 1e6, 1),
        "rss_end_mb": round(process.memory_info().rss / 1e6, 1),
        "lag_p50_ms": floor.lag_ms(0.5),
        "lag_p99_ms": floor.lag_ms(0.99),
        "lag_p999_ms": floor.lag_ms(0.999),
    }
    print(json.dumps(told), flush=True)


def places_of(exchange: str, rest: str, ws: str) -> dict[str, Any]:
    """What points a connector at the emulator, spot alone."""
    from zvt_crypto.cli import settings
    from zvt_crypto.cli.connect import KEYWORDS

    kind = getattr(settings, exchange.capitalize())
    return KEYWORDS[exchange](settings.Settings(**{exchange: kind(rest=rest, ws=ws, markets=("spot",))}))


def ended(tasks: list[asyncio.Task[None]]) -> None:
    """Raises what ended a stream: here none may end."""
    for task in tasks:
        if task.done():
            task.result()


async def serve_long(argument: str) -> None:
    """Ten million messages through a socket in memory."""
    from _symbols_long import run_long

    print(json.dumps(await run_long(SYMBOLS, int(argument), Floor())), flush=True)


# ── Processes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def part(name: str, argument: str, core: int) -> Iterator[dict[str, Any]]:
    """A process of this file on one core; gives what it tells first."""
    command = [sys.executable, __file__, "--part", name, "--argument", argument]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {sorted(os.sched_getaffinity(0))[core]})
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{name} ended before it told anything")
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(10)


PARTS: dict[str, Callable[[str], Awaitable[None]]] = {"exchanges": serve_exchanges, "ours": serve_ours, "long": serve_long}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true", help="only the run that watches memory")
    parser.add_argument("--messages", type=int, default=LONG_MESSAGES)
    parser.add_argument("--part", choices=tuple(PARTS))
    parser.add_argument("--argument", default="")
    args = parser.parse_args()
    if args.part:
        uvloop.run(PARTS[args.part](args.argument))
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    figures: dict[str, Any] = {}
    if not args.long:
        with part("exchanges", "", 0) as places:
            missing = {"binance", "bybit", "okx", "coinbase"} - set(places)
            if missing:
                print(f"left out, since the emulator does not speak like them: {', '.join(sorted(missing))}")
            asked = json.dumps({"places": places, "seconds": 15.0 if args.quick else 60.0})
            with part("ours", asked, cores - 1) as told:
                figures |= told
        report(figures)
    if args.long or not args.quick:
        with part("long", str(args.messages), cores - 1) as told:
            print(
                f"{told['long_messages']:,} messages: {told['long_messages_s']:,} a second, {told['long_rss_start_mb']} MB at the start,"
                f" {told['long_rss_end_mb']} MB at the end, {told['long_mb_per_million']} MB per million messages"
            )
            figures |= told
    print(json.dumps({"benchmark": "symbols", "figures": figures, "ratios": {}}))


def report(told: dict[str, Any]) -> None:
    subscriptions = told.pop("subscriptions")
    print(f"subscriptions: {', '.join(f'{exchange} {count}' for exchange, count in subscriptions.items())} (Coinbase streams no minutes)")
    print(
        f"{told['symbols']} symbols, {told['streams']} connections, {told['messages_s']:,} messages/s, {told['events_s']:,} events/s:"
        f" {told['cpu']:.0%} of a core ({told['cpu_us_message']} us a message), {told['rss_start_mb']} MB → {told['rss_end_mb']} MB in"
        f" {told['seconds']:g} s, lag p50 {told['lag_p50_ms']} ms, p99 {told['lag_p99_ms']} ms; every book stood {told['ready_s']} s after the start"
    )


if __name__ == "__main__":
    main()
