"""The schema's life: Alembic revisions that ship in the package, run over asyncpg, one runner at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from zvt_crypto.domain.errors import BadConfig, StoreError, StoreUnavailable
from zvt_crypto.stores.postgres.address import place_of
from zvt_crypto.stores.postgres.errors import driver_error, mapped

if TYPE_CHECKING:  # importing them takes half a second, which only a migration is worth
    from alembic.config import Config
    from sqlalchemy import Connection

HEAD = "0012"  # the newest of migrations/versions
_LOCK = 7_295_001  # any number that only migrations use as an advisory lock
_CONNECT_TIMEOUT_S = 10.0
_LOCK_MS = 1_000  # so long at most does anybody wait because a revision waits for a lock
_TRIES = 60
_PAUSE_S = 0.5


async def migrate(url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`; nothing happens where it is there already. Raises StoreUnavailable, BadConfig."""
    if revision == "head" and await current_revision(url) == HEAD:
        return
    from alembic import command

    await _run(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` (`base`: an empty one). Rows of dropped tables are gone."""
    from alembic import command

    await _run(url, lambda config: command.downgrade(config, revision))


def head_revision() -> str:
    """The newest revision that this build ships."""
    return HEAD


async def current_revision(url: str) -> str | None:
    """The revision that the database is at; None where it has none of our tables."""
    with mapped("reach the database", place_of(url)):
        connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
        try:
            return await _revision(connection)
        finally:
            await connection.close()


async def check_revision(connection: asyncpg.Connection) -> None:
    """Raises BadConfig where the database is not at the head revision."""
    held = await _revision(connection)
    if held != HEAD:
        raise BadConfig(f"database schema is at {held or 'none'}, this build needs {HEAD}: migrate it first")


async def _revision(connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    held: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return held


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


async def _run(url: str, act: Callable[[Config], None]) -> None:
    """One revision a transaction: whoever is killed in the middle of one leaves the one before. A lock that others hold is waited for
    in short turns only, since whoever comes later waits behind it. Raises StoreUnavailable where none of them got it."""
    for tries_left in reversed(range(_TRIES)):
        try:
            with mapped("change the database's schema", place_of(url)):
                await _attempt(url, act)
        except StoreError as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            if not tries_left:
                raise StoreUnavailable(f"{error}: somebody holds a lock on a table that changes; try again later") from error
            await asyncio.sleep(_PAUSE_S)
        else:
            return


async def _attempt(url: str, act: Callable[[Config], None]) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def connect(*_: Any, **__: Any) -> asyncpg.Connection:
        return await asyncpg.connect(url, server_settings={"application_name": "zvt-crypto migrate", "timezone": "UTC"})

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
            await connection.execute(text(f"SET lock_timeout = {_LOCK_MS}"))
            await connection.commit()
            await connection.run_sync(_act, act)
            await connection.commit()
    except DBAPIError as error:
        raise driver_error(error) from error
    finally:
        await engine.dispose()


def _act(connection: Connection, act: Callable[[Config], None]) -> None:
    config = _config()
    config.attributes["connection"] = connection
    act(config)
