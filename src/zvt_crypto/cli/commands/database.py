"""`db upgrade`, `db downgrade`, `db status`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import server_url
from zvt_crypto.cli.out import print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import BadConfig, BadInput, shown
from zvt_crypto.telemetry.redact import redact_url

CONNECT_S = 10.0


def run_upgrade(settings: Settings, revision: str) -> int:
    """Bring the schema up."""

    async def go() -> str:
        from zvt_crypto.stores.postgres import migrate

        async with server_url(settings) as url:
            with _known(revision):
                await migrate(url, revision)
            return (await _revision(url)) or "none"

    print(f"schema at {run(go)}")
    return exits.OK


def run_downgrade(settings: Settings, revision: str) -> int:
    """Take the schema down."""

    async def go() -> str:
        from zvt_crypto.stores.postgres import downgrade

        async with server_url(settings) as url:
            with _known(revision):
                await downgrade(url, revision)
            return (await _revision(url)) or "none"

    print(f"schema at {run(go)}")
    return exits.OK


def run_status(settings: Settings, *, as_json: bool) -> int:
    """Address, server, revision, size and rows of every table."""
    status = run(lambda: read_status(settings))
    if as_json:
        print_json(status)
        return exits.OK
    tables = status.pop("tables")
    print_table([{"field": key, "value": value} for key, value in status.items()], ["field", "value"])
    print()
    print_table([{"table": name, "rows": rows} for name, rows in tables.items()], ["table", "rows"])
    return exits.OK


@contextlib.contextmanager
def _known(revision: str) -> Iterator[None]:
    """Raises BadInput for a revision that there is none of."""
    from alembic.util import CommandError

    from zvt_crypto.stores.postgres import head_revision

    try:
        yield
    except CommandError as error:
        raise BadInput(f"schema revision {shown(revision)} is none that leads anywhere; the newest is {head_revision()}") from error


async def read_status(settings: Settings) -> dict[str, Any]:
    """What `db status` prints. Rows of tables that are divided by time are summed; they are the server's own estimates above 100,000."""
    from zvt_crypto.stores.postgres import head_revision
    from zvt_crypto.stores.postgres.errors import mapped

    async with server_url(settings) as url:
        connection = await _connect(url)
        try:
            with mapped("read the state of the database"):
                revision = await _read_revision(connection)
                return {
                    "url": redact_url(url),
                    "server": await connection.fetchval("SHOW server_version"),
                    "revision": revision,
                    "newest": head_revision(),
                    "current": revision == head_revision(),
                    "bytes": await connection.fetchval("SELECT pg_database_size(current_database())"),
                    "tables": await _count(connection),
                }
        finally:
            await connection.close()


async def _count(connection: Any) -> dict[str, int]:
    names = await connection.fetch(
        "SELECT c.relname, sum(greatest(coalesce(p.reltuples, c.reltuples), 0))::bigint AS guess FROM pg_class c "
        "LEFT JOIN pg_inherits i ON i.inhparent = c.oid LEFT JOIN pg_class p ON p.oid = i.inhrelid "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relname <> 'alembic_version' GROUP BY c.relname ORDER BY c.relname"
    )
    counted: dict[str, int] = {}
    for name, guess in names:
        few = guess < 100_000
        counted[name] = await connection.fetchval(f'SELECT count(*) FROM "{name}"') if few else guess  # noqa: S608 - names of our own schema
    return counted


async def _connect(url: str) -> Any:
    import asyncpg

    from zvt_crypto.stores.postgres.address import place_of
    from zvt_crypto.stores.postgres.errors import mapped

    with mapped("reach the database", place_of(url)):
        return await asyncpg.connect(url, timeout=CONNECT_S)


async def _revision(url: str) -> str | None:
    connection = await _connect(url)
    try:
        return await _read_revision(connection)
    finally:
        await connection.close()


async def _read_revision(connection: Any) -> str | None:
    if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
        return None
    found = await connection.fetchval("SELECT version_num FROM alembic_version")
    if found is not None and not isinstance(found, str):
        raise BadConfig(f"the database's revision is {found!r}, which is not ours")
    return found
