"""The database as one thing: its nouns, and its life."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from zvt_crypto.ports import Observer
from zvt_crypto.stores.postgres.booklog import PostgresBookLog
from zvt_crypto.stores.postgres.changes import PostgresChanges
from zvt_crypto.stores.postgres.checksums import PostgresChecksums
from zvt_crypto.stores.postgres.coverage import PostgresCoverage
from zvt_crypto.stores.postgres.due import PostgresDue
from zvt_crypto.stores.postgres.facts import PostgresFacts
from zvt_crypto.stores.postgres.instruments import PostgresInstruments
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.klines import PostgresKlines
from zvt_crypto.stores.postgres.pool import Pool, connect_pool
from zvt_crypto.stores.postgres.recording import PostgresRecording
from zvt_crypto.stores.postgres.schema import check_revision
from zvt_crypto.stores.postgres.trades import PostgresTrades
from zvt_crypto.stores.postgres.versions import PostgresVersions

if TYPE_CHECKING:
    from zvt_crypto.stores.postgres.frames import PostgresFrames


class PostgresStore:
    """ports.Store over one pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        keys = Keys()
        self.instruments = PostgresInstruments(pool)
        self.klines = PostgresKlines(pool, keys)
        self._keys = keys
        self.changes = PostgresChanges(pool, keys)
        self.trades = PostgresTrades(pool, keys)
        self.facts = PostgresFacts(pool, keys)
        self.coverage = PostgresCoverage(pool, keys, self.klines)
        self.due = PostgresDue(pool)
        self.recording = PostgresRecording(pool, keys)
        self.book_log = PostgresBookLog(pool, keys)
        self.checksums = PostgresChecksums(pool)
        self.versions = PostgresVersions(pool, keys, self.klines, self.facts)

    @cached_property
    def frames(self) -> PostgresFrames:
        """Made when it is first asked for: its libraries take 0.1 s to import."""
        from zvt_crypto.stores.postgres.frames import PostgresFrames

        return PostgresFrames(self.pool, self._keys)

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        await self.pool.run("reach the database", lambda connection: connection.fetchval("SELECT 1"))

    async def close(self) -> None:
        """Release the connections."""
        await self.pool.close()


async def open_store(url: str, *, observer: Observer | None = None, pool_size: int = 8) -> PostgresStore:
    """Connect to a migrated database. Raises StoreUnavailable, or BadConfig (wrong url, or a schema of another build)."""
    pool = await connect_pool(url, pool_size, observer)
    try:
        await pool.run("read the schema's revision", check_revision)
    except BaseException:
        await pool.close()
        raise
    return PostgresStore(pool)
