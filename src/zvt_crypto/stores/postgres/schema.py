"""The schema's life: Alembic revisions that ship in the package, run over asyncpg, one runner at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.stores.postgres.errors import mapped

_LOCK = 7_295_001  # any number that only migrations use as an advisory lock


async def migrate(url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`; nothing happens where it is there already. Raises StoreUnavailable, BadConfig."""
    await _run(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` (`base`: an empty one). Rows of dropped tables are gone."""
    await _run(url, lambda config: command.downgrade(config, revision))


def head_revision() -> str:
    """The newest revision that this build ships."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def check_revision(connection: asyncpg.Connection) -> None:
    """Raises BadConfig where the database is not at the head revision."""
    held = None
    if await connection.fetchval("SELECT to_regclass('alembic_version')"):
        held = await connection.fetchval("SELECT version_num FROM alembic_version")
    if held != head_revision():
        raise BadConfig(f"database schema is at {held or 'none'}, this build needs {head_revision()}: migrate it first")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


async def _run(url: str, act: Callable[[Config], None]) -> None:
    async def connect(*_: Any, **__: Any) -> asyncpg.Connection:
        return await asyncpg.connect(url, server_settings={"application_name": "zvt-crypto migrate", "timezone": "UTC"})

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        with mapped("migrate"):
            async with engine.connect() as connection:
                await connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
                await connection.commit()
                await connection.run_sync(_act, act)
                await connection.commit()
    finally:
        await engine.dispose()


def _act(connection: Connection, act: Callable[[Config], None]) -> None:
    config = _config()
    config.attributes["connection"] = connection
    act(config)
