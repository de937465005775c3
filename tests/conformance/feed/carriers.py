"""What carries a feed from one process to another: memory, or a real server, alone, behind Sentinel, or a Cluster."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from services.service_parts import Notes
from valkey_cluster import BINARY, Cluster, valkey_cluster
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import Event
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.ports import Feed
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.platform import TapFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.redis.address import open_redis
from zvt_crypto.stores.redis.reading import FeedReader
from zvt_crypto.stores.redis.sending import FeedStore, LiveSender
from zvt_crypto.stores.redis.streams import SHARDS, Streams, feed_key
from zvt_crypto.venues.clock import SystemClock


class Lease:
    """Of the only writer that there is."""

    token, is_lost = 1, False

    def may_publish(self) -> bool:
        return True


class Carrier:
    """`near` is published on, `far` is listened to; in memory they are one. `fault` kills what can be killed, and brings it back where
    nothing else takes over."""

    def __init__(self, near: Feed, far: Feed, fault: Callable[[str], None] | None = None) -> None:
        self.near, self.far, self.fault = near, far, fault


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Carrier]:
    feed = MemoryFeed()
    yield Carrier(feed, feed)


@contextlib.asynccontextmanager
async def single() -> AsyncIterator[Carrier]:
    with tempfile.TemporaryDirectory(prefix="zvt-single-") as folder, contextlib.ExitStack() as stack:
        (port,) = _ports(1)
        options = {"port": port, "dir": folder, "appendonly": "yes"}
        servers = [_server(stack, options)]

        def fault(_: str) -> None:
            _kill(servers.pop())
            servers.append(_server(stack, options))

        async with _through(f"redis://127.0.0.1:{port}/0", fault) as carrier:
            yield carrier


@contextlib.asynccontextmanager
async def behind_sentinel() -> AsyncIterator[Carrier]:
    with tempfile.TemporaryDirectory(prefix="zvt-sentinel-") as folder, contextlib.ExitStack() as stack:
        master, replica, sentinel = _ports(3)
        place = Path(folder)
        for name in ("a", "b", "c"):
            (place / name).mkdir()
        first = _server(stack, {"port": master, "dir": place / "a", "repl-diskless-sync-delay": 0})
        await _until(lambda: _says(master, "PING", "PONG"))
        _server(stack, {"port": replica, "dir": place / "b", "replicaof": f"127.0.0.1 {master}"})
        await _until(lambda: _says(replica, "INFO replication", "master_link_status:up"))
        config = place / "c" / "sentinel.conf"
        config.write_text(
            f"port {sentinel}\nbind 127.0.0.1\ndir {place / 'c'}\nlogfile {place / 'c' / 'log'}\n"
            f"sentinel monitor main 127.0.0.1 {master} 1\nsentinel down-after-milliseconds main 700\nsentinel failover-timeout main 3000\n"
        )
        stack.callback(_kill, _sentinel(config))
        await _until(
            lambda: _says(sentinel, "SENTINEL MASTER main", str(replica)) or _says(sentinel, "SENTINEL REPLICAS main", str(replica))
        )
        async with _through(f"redis+sentinel://127.0.0.1:{sentinel}/main", lambda _: _kill(first)) as carrier:
            yield carrier


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[Carrier]:
    with valkey_cluster() as made:
        async with _through(made.url, lambda instrument: _owner(made, instrument).kill()) as carrier:
            yield carrier


CARRIERS = {"memory": in_memory, "single": single, "sentinel": behind_sentinel, "cluster": cluster}


@contextlib.asynccontextmanager
async def _through(url: str, fault: Callable[[str], None]) -> AsyncIterator[Carrier]:
    """Both ends, as an ingest and an api process have them."""
    clock, notes, live, far = SystemClock(), Notes(), MemoryLiveState(), MemoryFeed()
    near = TapFeed(MemoryFeed(), live.apply)
    writing, reading = await _client(url), await _client(url)
    streams = Streams(writing, "writer", Lease())
    recorder = Recorder(near, FeedStore(streams), clock, notes, options=RecordOptions(flush_s=0.01, most_wait_s=0.5))  # type: ignore[arg-type]
    sender = LiveSender(streams, near, live, clock, notes)
    readers = [FeedReader(reading, shard, far.publish, clock, notes) for shard in range(SHARDS)]
    tasks = [asyncio.create_task(part()) for part in (recorder.run, sender.run, *(reader.serve for reader in readers))]
    try:
        yield Carrier(near, far, fault)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await streams.close()
        await writing.aclose()
        await reading.aclose()


async def ready(carrier: Carrier, probe: Callable[[str], Event]) -> None:
    """Return once what is published for any shard arrives."""
    names = {shard_of(name, SHARDS): name for name in (f"cryptopair_binance_p{n}usdt" for n in range(200))}
    reader = carrier.far.subscribe("probe", bound=100_000, when_full="drop")
    waiting = set(names.values())
    async with asyncio.timeout(30):
        while waiting:
            for name in waiting:
                carrier.near.publish(probe(name))
            await asyncio.sleep(0.05)
            if reader.pending():
                waiting -= {event.instrument for event in await reader.receive()}  # type: ignore[union-attr]
    reader.close()


async def _client(url: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            try:
                return await open_redis(url)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


def _owner(made: Cluster, instrument: str) -> Any:
    """The master that has the instrument's shard now."""
    from redis.cluster import key_slot

    slot = key_slot(feed_key(shard_of(instrument, SHARDS)).encode())
    table = next(node for node in made.nodes if node.is_running).command("CLUSTER", "NODES")
    for line in table.splitlines():
        words = line.split()
        spans = [tuple(map(int, (word + "-" + word).split("-")[:2])) for word in words[8:] if not word.startswith("[")]
        if "master" in words[2] and "fail" not in words[2] and any(low <= slot <= high for low, high in spans):
            port = int(words[1].split("@")[0].rsplit(":", 1)[1])
            return next(node for node in made.nodes if node.port == port)
    raise AssertionError(f"no master has slot {slot}:\n{table}")


def _server(stack: contextlib.ExitStack, options: dict[str, object]) -> subprocess.Popen[bytes]:
    given = {"bind": "127.0.0.1", "save": "", "logfile": f"{options['dir']}/log", **options}
    words = [word for name, value in given.items() for word in (f"--{name}", *(str(value).split() or [""]))]
    process = subprocess.Popen([BINARY, *words])
    stack.callback(_kill, process)
    return process


def _sentinel(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([BINARY, config, "--sentinel"], stdout=subprocess.DEVNULL)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait(10)


def _says(port: int, command: str, wanted: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as place:
        place.sendall(command.encode() + b"\r\n")
        place.settimeout(0.3)
        told = b""
        with contextlib.suppress(TimeoutError):
            while wanted.encode() not in told and (more := place.recv(65_536)):
                told += more
        return wanted.encode() in told
    return False


async def _until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(claim):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]
