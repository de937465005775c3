"""A real PostgreSQL for every test that wants one: `pg_server_url`, `database_url` (a fresh migrated database), `store`.

One embedded server a test process (so one an xdist worker), made on first use. A database is copied from a migrated template, which
takes about 20 ms.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from zvt_crypto.stores.postgres import PostgresStore, migrate, open_store
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
