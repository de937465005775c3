"""One that takes rows out of a database at a time: archivers and retention wait for each other a moment, and then say so."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.stores.postgres.pool import Connection, Pool

T = TypeVar("T")
_LOCK = 7_295_011  # any number that nothing else uses as an advisory lock
_WAIT_MS = 3_000  # a killed one's session may need that long to end


async def alone(pool: Pool, work: Callable[[], Awaitable[T]]) -> T:
    """`await work()` while nobody else does so in this database. Takes a connection beside those of `work`: the pool needs two.

    Raises StoreError where another is at work.
    """

    async def holding(connection: Connection) -> T:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {_WAIT_MS}")
                await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        except asyncpg.LockNotAvailableError as error:
            raise StoreError("another one archives or forgets rows of this database: call again once it is done") from error
        try:
            return await work()
        finally:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)

    return await pool.run("wait for others that archive or forget", holding)
