"""A real PostgreSQL for every test that wants one: `pg_server_url`, `database_url` (a fresh migrated database), `store`.

One embedded server a test process (so one an xdist worker), made on first use. A database is copied from a migrated template, which
takes about 20 ms.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import asyncpg
import msgspec
import pytest

from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import Interval, parse_time
from zvt_crypto.ports import Written
from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
from zvt_crypto.stores.postgres.chunks import PACKABLE
from zvt_crypto.stores.postgres.compact import Compacted, compact
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

_TEMPLATE = "zvt_crypto_template"
_numbers = itertools.count(1)
# Nobody keeps what a test wrote.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def url_of(server_url: str, database: str) -> str:
    """The same server, another database."""
    head, _, query = server_url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}?{query}"


@pytest.fixture(scope="session")
def pg_server_url() -> Iterator[str]:
    """An embedded server for this test process."""
    folder = Path(tempfile.mkdtemp(prefix="zvt-pg-"))
    server = EmbeddedServer(folder / "database", settings=_FAST)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(pg_server_url: str) -> str:
    """The name of a migrated database that nobody connects to."""
    import asyncio

    async def make() -> None:
        connection = await asyncpg.connect(pg_server_url)
        await connection.execute(f"CREATE DATABASE {_TEMPLATE}")
        await connection.close()
        await migrate(url_of(pg_server_url, _TEMPLATE))

    asyncio.run(make())
    return _TEMPLATE


@pytest.fixture
async def database_url(pg_server_url: str, template_database: str) -> AsyncIterator[str]:
    """A fresh, migrated, empty database."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(pg_server_url)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY FILE_COPY")
        yield url_of(pg_server_url, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """A PostgresStore on a fresh database."""
    opened = await open_store(database_url)
    try:
        yield opened
    finally:
        await opened.close()


# ── Rows that store tests share ──

MINUTE = 60_000_000_000
START = parse_time("2024-08-08T23:58:00Z")  # two minutes before a new day
KNOWN = START + 10 * MINUTE

PAIR = CryptoPair(
    id="cryptopair_binance_btcusdt",
    exchange="binance",
    native_symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    tick=Decimal("0.01"),
    lot=Decimal("0.00001"),
    min_trade_amount=Decimal("0.00001"),
    min_notional=Decimal("5"),
)
PERP = CryptoPerp(
    id="cryptoperp_binance_btcusdt",
    exchange="binance",
    native_symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    underlying_asset="BTC",
    settlement_currency="USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
)
FUTURE = CryptoFuture(
    id="cryptofuture_binance_btcusdt_261225",
    exchange="binance",
    native_symbol="BTCUSDT_261225",
    base_asset="BTC",
    quote_asset="USDT",
    underlying_asset="BTC",
    settlement_currency="USDT",
    expiry_ns=parse_time("2026-12-25T08:00:00Z"),
)
BAR = Kline(PAIR.id, Interval.MIN_1, START, 100.0, 103.0, 99.0, 101.0, 12.5, 1262.5, 40, True, "venue")
TRADE = Trade(PAIR.id, "trade", "1000", 60000.01, 0.00123, "buy", START)


def bar(minute: int = 0, **changed: object) -> Kline:
    """BAR, `minute` bars later, with fields changed."""
    return msgspec.structs.replace(BAR, **{"open_ns": START + minute * MINUTE, **changed})


def trade(number: int = 0, **changed: object) -> Trade:
    """TRADE with the id 1000 + number, `number` ms later, with fields changed."""
    return msgspec.structs.replace(TRADE, **{"trade_id": str(1000 + number), "event_ns": START + number * 1_000_000, **changed})


class AlwaysPacked:
    """The klines of a PostgresStore, all packed after every write: whatever reads or writes them must not notice."""

    def __init__(self, store: PostgresStore) -> None:
        self._store, self._klines = store, store.klines

    async def upsert(self, klines: Sequence[Kline], known_at_ns: int) -> Written:
        """As ports.KlineStore says."""
        written = await self._klines.upsert(klines, known_at_ns)
        await pack_all(self._store)
        return written

    def __getattr__(self, name: str) -> object:
        return getattr(self._klines, name)


async def pack_all(store: PostgresStore) -> Compacted:
    """Pack every final kline that may be packed, however new."""
    done = Compacted()
    for interval in PACKABLE:
        done = done.plus(await compact(store.pool, interval, parse_time("2100-01-01")))
    return done


@pytest.fixture
async def listed_store(store: PostgresStore) -> PostgresStore:
    """A store that knows PAIR, PERP and FUTURE."""
    await store.instruments.save([PAIR, PERP, FUTURE], START)
    return store


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the same database, as any other program has."""
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    try:
        yield connection
    finally:
        await connection.close()
