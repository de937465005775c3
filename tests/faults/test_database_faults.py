"""A recorder over a real database that is killed, read-only, out of connections or slow: every row is stored once, and it says what was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from services.service_parts import BTC, PAIR_OF, START, Notes, Spool, trade
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.venues.clock import SystemClock

SEEDS = int(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS", "0"))
QUICK = RecordOptions(bound=500, batch_rows=100, flush_s=0.01, first_wait_s=0.02, most_wait_s=0.2)
AGAIN_S = 5.0  # within which connections are back once the server is


@contextlib.contextmanager
def server_with(**settings: str) -> Iterator[EmbeddedServer]:
    folder = Path(tempfile.mkdtemp(prefix="zvt-faults-"))
    with EmbeddedServer(folder / "database", settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """One for all that is done to it here; it has few connections."""
    with server_with(max_connections="8", superuser_reserved_connections="0") as made:
        asyncio.run(migrate(made.url))
        yield made


@contextlib.asynccontextmanager
async def recording(url: str, *, pool_size: int = 2, options: RecordOptions = QUICK) -> AsyncIterator[Room]:
    """A recorder over a table of trades that is empty."""
    store = await open_store(url, pool_size=pool_size)
    await store.instruments.save([PAIR_OF], START)
    room = Room(store, options)
    task = asyncio.create_task(room.recorder.run())
    try:
        yield room
        async with asyncio.timeout(60):
            await room.recorder.drained()
        stored = [t.trade_id for t in await store.trades.read(BTC, START)]
        assert stored == [str(number) for number in range(room.published)]
        assert (room.recorder.dropped, room.recorder.wrong) == (0, 0)
    finally:
        await room.recorder.stop()
        await task
        await store.close()
        await emptied(url)


class Room:
    """A recorder, its feed, and how many trades were published."""

    def __init__(self, store: PostgresStore, options: RecordOptions) -> None:
        self.store, self.published, self.notes = store, 0, Notes()
        self.feed, self.spool = MemoryFeed(), Spool(room=100_000)
        self.recorder = Recorder(self.feed, store, SystemClock(), self.notes, self.spool, options)

    async def publish(self, count: int) -> None:
        for _ in range(count):
            self.feed.publish(trade(self.published))
            self.published += 1
            if self.published % 50 == 0:
                await asyncio.sleep(0.002)

    async def until_down(self, *, down: bool = True) -> None:
        async with asyncio.timeout(30):
            while self.recorder.is_down is not down:
                await self.publish(10)
                await asyncio.sleep(0.005)

    def said(self, event: str) -> list[str]:
        return [str(fields.get("reason", "")) for _, name, fields in self.notes.notes if name == event]


async def emptied(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE trade")
    await connection.close()


@contextlib.asynccontextmanager
async def admin(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, server_settings={"default_transaction_read_only": "off"})
    try:
        yield connection
    finally:
        await connection.close()


async def changed(sql: asyncpg.Connection, setting: str, value: str) -> None:
    await sql.execute(f"ALTER SYSTEM SET {setting} = {value}")
    await sql.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("seed", [1, pytest.param(range(2, 2 + max(1, SEEDS // 10)), marks=pytest.mark.prove)], ids=["fixed", "many"])
async def test_every_trade_is_stored_once_however_often_postgresql_is_killed(server: EmbeddedServer, seed: int | range) -> None:
    for number in [seed] if isinstance(seed, int) else seed:
        chance = random.Random(number)
        async with recording(server.url) as room:
            for _ in range(2):
                await room.publish(chance.randrange(100, 3_000))
                pid = server.pid()
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await room.until_down()
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(AGAIN_S):
                    await room.until_down(down=False)
            assert len(room.said("store_back")) == len(room.said("store_down")) >= 2, f"seed {number}"


async def test_while_the_database_is_read_only_rows_wait_and_the_reason_is_said(server: EmbeddedServer) -> None:
    async with recording(server.url) as room, admin(server.url) as sql:
        await room.publish(500)
        await changed(sql, "default_transaction_read_only", "on")
        try:
            await room.until_down()
            assert "read-only" in room.said("store_down")[0]
            await room.publish(2_000)
            assert room.recorder.backlog >= 2_000
        finally:
            await sql.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await sql.execute("SELECT pg_reload_conf()")


async def refusal(store: PostgresStore) -> str:
    try:
        await store.ping()
    except StoreUnavailable as error:
        return str(error)
    return ""


async def test_where_the_server_has_no_connection_left_rows_wait_and_the_reason_is_said(server: EmbeddedServer) -> None:
    async with recording(server.url, pool_size=1) as room, admin(server.url) as sql:
        others: list[asyncpg.Connection] = []
        await room.publish(200)
        try:
            while "too many clients" not in await refusal(room.store):
                await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'zvt-crypto'")
                with contextlib.suppress(asyncpg.TooManyConnectionsError):
                    others.append(await asyncpg.connect(server.url))
            await room.until_down()
        finally:
            await asyncio.gather(*(other.close() for other in others))


async def test_a_pool_whose_connections_are_all_in_use_is_waited_for(server: EmbeddedServer) -> None:
    async with recording(server.url, pool_size=1) as room, admin(server.url) as sql:
        async with sql.transaction():
            await sql.execute("LOCK TABLE gap IN ACCESS EXCLUSIVE MODE")
            busy = [asyncio.create_task(room.store.facts.read_gaps()) for _ in range(3)]
            await room.publish(3_000)
            assert room.recorder.backlog >= 2_400
        assert await asyncio.gather(*busy) == [[], [], []]


async def test_a_disk_that_takes_long_for_every_sync_costs_time_and_no_row(server: EmbeddedServer) -> None:
    """The server itself waits 50 ms before it syncs its log, as those who commit wait for a slow disk."""
    async with admin(server.url) as sql:
        await changed(sql, "commit_delay", "50000")
        await changed(sql, "commit_siblings", "0")
        async with recording(server.url) as room:
            await room.publish(2_000)
            assert room.recorder.backlog > 0
            assert not room.recorder.is_down
        await sql.execute("ALTER SYSTEM RESET ALL")
        await sql.execute("SELECT pg_reload_conf()")
