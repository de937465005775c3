"""From an exchange's socket to a client of ours: three processes, real sockets, 5,000 trades a second.

One process speaks Binance's wire (a combined stream of trade frames, one frame an event, paced by the millisecond); the second is ours:
NetTransport, BinanceConnector, live state, feed, gateway; the third (this one) is a WebSocket client of the gateway. The trade's id is the moment at which
its frame was sent (CLOCK_REALTIME, one machine), so the lag of every single trade is known, and a missing one too. `crowd` is the same with
200 more listeners in a process of their own. Run: `python benchmarks/latency.py [--quick]`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import psutil
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server

from zvt_crypto.domain.instrument import CryptoPair, Instruments

PAIR = CryptoPair(id="cryptopair_binance_btcusdt", exchange="binance", native_symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT")
EVENTS_S = 5_000
CROWD = 200
AIM_P99_MS = 10.0


# ── the exchange ──


class Exchange(WSListener):
    """Sends trades to whoever connects, until it leaves."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.task = asyncio.get_running_loop().create_task(self.send(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.task.cancel()

    async def send(self, transport: WSTransport) -> None:
        began, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - began) * EVENTS_S)
            # After a pause of the machine the rest is not sent in one heap: an exchange does not either.
            for _ in range(min(due - sent, 50)):
                now = time.time_ns()
                ms = now // 1_000_000
                frame = (
                    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"61709.99000000","q":"0.00123000",'
                    b'"T":%d,"m":false,"M":true}}'
                ) % (ms, now, ms)
                transport.send(WSMsgType.TEXT, frame)
                sent += 1
            sent = max(sent, due - 50)
            await asyncio.sleep(max(0.0, began + (sent + 5) / EVENTS_S - time.perf_counter()))


async def serve_exchange() -> None:
    def accept(_: WSUpgradeRequest) -> WSListener:
        return Exchange()

    server = await ws_create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


# ── ours ──


async def serve_ours(exchange_port: int) -> None:
    from zvt_crypto.api.ws.gateway import Gateway
    from zvt_crypto.ports import Subscription
    from zvt_crypto.services.feed import MemoryFeed
    from zvt_crypto.services.platform import TapFeed
    from zvt_crypto.stores.live import MemoryLiveState
    from zvt_crypto.telemetry.metrics import PrometheusObserver
    from zvt_crypto.venues.binance import BinanceConnector, BinanceHosts
    from zvt_crypto.venues.budget import LimitBudget
    from zvt_crypto.venues.clock import SystemClock
    from zvt_crypto.venues.http import NetTransport

    clock, observer, live, table = SystemClock(), PrometheusObserver(), MemoryLiveState(), Instruments([PAIR])
    feed = TapFeed(MemoryFeed(observer), live.apply)
    gateway = Gateway(feed, live, lambda: table, clock, observer, port=0)
    port = await gateway.start()
    transport = NetTransport()
    hosts = BinanceHosts.local("http://127.0.0.1:9", f"ws://127.0.0.1:{exchange_port}")
    connector = BinanceConnector(transport, clock, LimitBudget(clock, observer), observer, instruments=table, hosts=hosts)
    stream = await connector.open_stream([Subscription(PAIR.id, "trade")])
    print(port, flush=True)
    while True:
        for event in await stream.receive():
            feed.publish(event)


# ── the clients ──


class _Row(msgspec.Struct):
    trade_id: str


class _Message(msgspec.Struct):
    data: list[_Row] = []
    seq: int = 0


class Listener(WSListener):
    """Keeps the lag of every trade, and the numbers of the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lags: list[int] = []
        self.jumps = 0
        self.last = 0
        self.decode = msgspec.json.Decoder(_Message).decode

    def on_ws_connected(self, transport: WSTransport) -> None:
        params = {"channel": "trade", "symbol": PAIR.id}
        transport.send(WSMsgType.TEXT, json.dumps({"method": "subscribe", "params": params}).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        now, message = time.time_ns(), self.decode(frame.get_payload_as_bytes())
        if message.seq:
            self.jumps += self.last != 0 and message.seq != self.last + 1
            self.last = message.seq
        self.lags += [now - int(row.trade_id) for row in message.data]


class Idler(WSListener):
    """Listens and does nothing with it."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        Listener.on_ws_connected(self, transport)  # type: ignore[arg-type]


async def serve_crowd(port: int) -> None:
    crowd = [await ws_connect(Idler, f"ws://127.0.0.1:{port}/ws/v1") for _ in range(CROWD)]
    print(len(crowd), flush=True)
    await asyncio.Event().wait()


async def listen(port: int, ours: psutil.Process, seconds: float) -> dict[str, float]:
    transport, listener = await ws_connect(Listener, f"ws://127.0.0.1:{port}/ws/v1")
    await asyncio.sleep(0.5)  # connecting and first use are not what is measured
    listener.lags, listener.jumps, began, cpu = [], 0, time.perf_counter(), sum(ours.cpu_times()[:2])
    await asyncio.sleep(seconds)
    lags, spent, cpu = sorted(listener.lags), time.perf_counter() - began, sum(ours.cpu_times()[:2]) - cpu
    transport.disconnect()
    assert listener.jumps == 0, f"{listener.jumps} jumps in the numbers: messages were lost"

    def at(share: float) -> float:
        return round(lags[min(len(lags) - 1, int(len(lags) * share))] / 1e6, 3)

    return {
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": at(1.0),
        "events_s": round(len(lags) / spent),
        "cpu": round(cpu / spent, 2),
    }


@contextlib.contextmanager
def part(name: str, port: int = 0) -> Iterator[tuple[int, psutil.Process]]:
    """A process of this file; gives the number that it prints once it is ready, and the process."""
    process = subprocess.Popen([sys.executable, __file__, "--part", name, "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


PARTS = {"exchange": lambda _: serve_exchange(), "ours": serve_ours, "crowd": serve_crowd}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=tuple(PARTS))
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    if args.part:
        uvloop.run(PARTS[args.part](args.port))
        return
    seconds = 8.0 if args.quick else 30.0
    with part("exchange") as (exchange, _), part("ours", exchange) as (gateway, ours):
        alone = uvloop.run(listen(gateway, ours, seconds))
        with part("crowd", gateway):
            crowd = uvloop.run(listen(gateway, ours, seconds))
    for name, figures in (("one listener", alone), (f"{CROWD + 1} listeners", crowd)):
        print(
            f"{name:>14}: p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms (aim {AIM_P99_MS:g}), {figures['events_s']} events/s, {figures['cpu']:.0%} of a core"
        )
    figures = {**alone, **{f"crowd_{key}": value for key, value in crowd.items()}}
    print(json.dumps({"benchmark": "latency", "figures": figures, "ratios": {}}))


if __name__ == "__main__":
    main()
