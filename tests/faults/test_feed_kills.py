"""Recorder and Redis are killed at random moments: every event is stored once. Redis is emptied: what is missing lies in a told gap."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.service_parts import Notes
from stores_fixtures import FUTURE, MINUTE, PAIR, PERP, START, bar, trade
from valkey_cluster import BINARY
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.files.spool import FileSpool
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.stores.redis.address import open_redis
from zvt_crypto.stores.redis.sending import FeedStore
from zvt_crypto.stores.redis.streams import Streams
from zvt_crypto.venues.clock import SystemClock

LONG = int(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS", "0"))
SEEDS = range(1, 2 + LONG // 10) if LONG else (7,)
NAMES = (PAIR.id, PERP.id, FUTURE.id)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Lease:
    token, is_lost = 1, False

    def may_publish(self) -> bool:
        return True


class Redis:
    """A server of its own; what it acknowledged survives its kill (with `everysec` it may not: a write waits for a sync that runs)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "logfile": self.folder / "log",
        }
        self.process = subprocess.Popen([BINARY, *(word for name, value in options.items() for word in (f"--{name}", str(value)))])

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="zvt-redis-") as folder:
        made = Redis(Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.kill()


async def answering(redis: Redis) -> Any:
    async with asyncio.timeout(20):
        while True:
            try:
                return await open_redis(redis.url)
            except StoreUnavailable:
                await asyncio.sleep(0.02)


class Desk:
    """Publishes, and has a recorder that can be killed."""

    def __init__(self, redis: Redis, database_url: str, client: Any, spool: Path) -> None:
        self.redis, self.database_url, self.client = redis, database_url, client
        self.feed, self.count, self.recorder = MemoryFeed(), 0, None
        self.streams = Streams(client, "desk", Lease())
        self.spool = FileSpool(spool, 10_000_000)
        options = RecordOptions(flush_s=0.01, most_wait_s=0.5, bound=500)
        self.sender = Recorder(self.feed, FeedStore(self.streams), SystemClock(), Notes(), self.spool, options)  # type: ignore[arg-type]
        self.task = asyncio.create_task(self.sender.run())

    def start_recorder(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("feed_recorder.py")), self.redis.url, self.database_url]
        self.recorder = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill_recorder(self) -> None:
        assert self.recorder is not None
        self.recorder.send_signal(signal.SIGKILL)
        self.recorder.wait(10)

    async def publish(self, events: int) -> None:
        """Trades of every instrument, and now and then a kline."""
        for _ in range(events // 10):
            for _ in range(10):
                self.feed.publish(trade(self.count, instrument=NAMES[self.count % 3]))
                self.count += 1
            if self.count % 50 == 0:
                self.feed.publish(bar(self.count // 50))
            await asyncio.sleep(0.002)

    async def told(self, stored: list[str], store: PostgresStore) -> str:
        """What is missing, for a failed run."""
        missing = sorted(set(range(self.count)) - {int(t) - 1000 for t in stored})
        return f"{missing[:5]} to {missing[-5:]}, {len(missing)} of {self.count}; {self.recorder and self.recorder.poll()}; {await store.facts.read_gaps()}"

    async def close(self) -> None:
        self.kill_recorder()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.streams.close()
        await self.client.aclose()
        self.spool.close()


async def kills(seed: int, redis: Redis, database_url: str, store: PostgresStore, spool: Path) -> None:
    """One run; raises where an event is missing or there twice."""
    rng = random.Random(seed)
    desk = Desk(redis, database_url, await answering(redis), spool)
    desk.start_recorder()
    try:
        for _ in range(4):
            await desk.publish(rng.randrange(200, 1_500))
            if rng.random() < 0.6:
                desk.kill_recorder()
                await desk.publish(rng.randrange(100, 600))
                desk.start_recorder()
            if rng.random() < 0.6:
                redis.kill()
                await desk.publish(rng.randrange(100, 900))
                redis.start()
            await asyncio.sleep(rng.random() * 1.5)
        await asyncio.wait_for(desk.sender.drained(), 60)
        stored: list[str] = []
        for _ in range(300):
            await asyncio.sleep(0.1)
            stored = [t.trade_id for name in NAMES for t in await store.trades.read(name)]
            if len(stored) >= desk.count:
                break
        assert sorted(stored, key=int) == [trade(n).trade_id for n in range(desk.count)], f"seed {seed}: {await desk.told(stored, store)}"
        assert await store.klines.read(PAIR.id, bar(0).interval) == [bar(n) for n in range(1, desk.count // 50 + 1)], f"seed {seed}"
        assert await store.facts.read_gaps() == [], f"seed {seed}: nothing was lost, and no hole is told"
        assert desk.sender.dropped == 0
    finally:
        await desk.close()


@pytest.mark.prove
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_recorder_and_a_server_killed_at_random_moments_lose_and_double_nothing(
    redis: Redis, database_url: str, listed_store: PostgresStore, sql: asyncpg.Connection, tmp_path: Path, seed: int
) -> None:
    await kills(seed, redis, database_url, listed_store, tmp_path / "spool")
    assert await sql.fetchval("SELECT count(*) FROM kline_revision") == 0
    assert await sql.fetchval("SELECT count(*) FROM feed_position") >= 2


async def test_what_an_emptied_server_lost_lies_in_a_gap(
    redis: Redis, database_url: str, listed_store: PostgresStore, tmp_path: Path
) -> None:
    desk = Desk(redis, database_url, await answering(redis), tmp_path / "spool")
    desk.start_recorder()
    try:
        await desk.publish(300)
        async with asyncio.timeout(60):
            while sum([len(await listed_store.trades.read(name)) for name in NAMES]) < 300:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        os.kill(desk.recorder.pid, signal.SIGSTOP)
        await desk.publish(300)
        await asyncio.wait_for(desk.sender.drained(), 30)
        await desk.client.flushall()
        os.kill(desk.recorder.pid, signal.SIGCONT)
        await desk.publish(300)
        async with asyncio.timeout(60):
            held: set[str] = set()
            while not {trade(n).trade_id for n in range(600, 900)} <= held:
                await asyncio.sleep(0.1)
                held = {t.trade_id for name in NAMES for t in await listed_store.trades.read(name)}
        gaps = await listed_store.facts.read_gaps(open_only=True)
        missing = [n for n in range(900) if trade(n).trade_id not in held]
        assert missing, "otherwise nothing was tried"
        for n in missing:
            spans = [(g.start_ns, g.end_ns) for g in gaps if g.instrument == NAMES[n % 3] and g.channel == "trade"]
            assert any(start <= trade(n).event_ns <= end for start, end in spans), f"trade {n} is in none of {spans}"
        assert START < gaps[0].start_ns < gaps[0].end_ns < START + MINUTE
    finally:
        await desk.close()
