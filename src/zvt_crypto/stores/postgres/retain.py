"""Rows older than a policy go: first a plan that says all of it, then that plan and nothing else.

Tables with partitions lose whole partitions, packed klines whole chunks: what a border cuts stays until all of it is old.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import asyncpg

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.stores.postgres.alone import alone
from zvt_crypto.stores.postgres.chunks import PACKABLE
from zvt_crypto.stores.postgres.partitions import list_partitions
from zvt_crypto.stores.postgres.policies import Target
from zvt_crypto.stores.postgres.pool import Connection, Pool

_BATCH = 50_000  # rows deleted a transaction
_LOCK_MS = 2_000


class Loss(NamedTuple):
    """What would go. `low_ns` to `high_ns`: of its rows, or of its partition."""

    target: str
    what: Literal["partition", "packed", "rows"]
    name: str
    rows: int
    size_bytes: int
    low_ns: int
    high_ns: int


async def plan_retention(pool: Pool, target: Target, before_ns: int) -> list[Loss]:
    """Everything of the target that is older, counted. Empty where nothing is, and where this schema has no such table."""

    async def work(connection: Connection) -> list[Loss]:
        if await connection.fetchval("SELECT to_regclass($1)", target.table) is None:
            return []
        lost: list[Loss] = []
        partitions = await list_partitions(connection, target.table)
        for name, low, high in partitions:
            if high <= before_ns:
                rows = await connection.fetchval(f"SELECT count(*) FROM {name}")
                size = await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", name)
                lost.append(Loss(target.table, "partition", name, rows, size, low, high))
        if not partitions:
            lost += await _old_rows(connection, target, before_ns)
        if target.interval in PACKABLE:
            lost += await _old_chunks(connection, target, before_ns)
        return lost

    return await pool.run(f"plan what {target.table} is to lose", work)


async def forget_checksums(connection: Connection, table: str, low_ns: int, high_ns: int, key: int | None = None) -> None:
    """Of chunks that lose rows of [low_ns, high_ns) on purpose: what is left of them is signed anew. `key`: of one instrument only."""
    text = "DELETE FROM chunk_checksum WHERE noun = $1 AND low < $3 AND high > $2 AND ($4::int IS NULL OR instrument_id = $4)"
    await connection.execute(text, table, low_ns, high_ns, key)


async def forget(pool: Pool, planned: Sequence[tuple[Loss, int]]) -> int:
    """Do what plans say, each with its `before_ns`. Returns the rows that went. Raises StoreError while another archives or forgets."""

    async def work() -> int:
        return sum([await lose(pool, loss, before_ns) for loss, before_ns in planned])

    return await alone(pool, work)


async def lose(pool: Pool, loss: Loss, before_ns: int) -> int:
    """Do what a plan says. Returns the rows that went. Raises StoreError where others do not let go of a partition."""
    await pool.run(f"forget checksums of {loss.target}", lambda c: forget_checksums(c, loss.target, loss.low_ns, loss.high_ns))
    if loss.what == "partition":
        return await _drop(pool, loss)
    if loss.what == "packed":
        text = "DELETE FROM kline_packed WHERE slug = $1 AND high <= $2 RETURNING row_count"
        slug = loss.target.removeprefix("kline_")
        gone = await pool.write(f"delete packed rows of {loss.target}", lambda connection: connection.fetch(text, slug, before_ns))
        return sum(row[0] for row in gone)
    text = f"DELETE FROM {loss.target} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {loss.target} WHERE {loss.name} < $1 LIMIT {_BATCH}))"
    total = 0
    while True:
        done = await pool.write(f"delete rows of {loss.target}", lambda connection: connection.execute(text, before_ns))
        count = int(done.rsplit(" ", 1)[1])
        total += count
        if count < _BATCH:
            return total


async def _old_rows(connection: Connection, target: Target, before_ns: int) -> list[Loss]:
    text = f"SELECT count(*), min({target.time}), max({target.time}) FROM {target.table} WHERE {target.time} < $1"
    rows, low, high = await connection.fetchrow(text, before_ns)
    share = f"SELECT pg_total_relation_size($1::regclass) * $2::float8 / greatest((SELECT count(*) FROM {target.table}), 1)"
    size = int(await connection.fetchval(share, target.table, rows)) if rows else 0
    return [Loss(target.table, "rows", target.time, rows, size, low, high + 1)] if rows else []


async def _old_chunks(connection: Connection, target: Target, before_ns: int) -> list[Loss]:
    assert target.interval is not None
    text = """SELECT sum(row_count), sum(octet_length(data)), min(low), max(high) FROM kline_packed WHERE slug = $1 AND high <= $2"""
    rows, size, low, high = await connection.fetchrow(text, target.interval.slug, before_ns)
    return [Loss(target.table, "packed", "kline_packed", rows, size, low, high)] if rows else []


async def _drop(pool: Pool, loss: Loss) -> int:
    async def work(connection: Connection) -> int:
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
        if await connection.fetchval("SELECT to_regclass($1)", loss.name) is None:
            return 0
        await connection.execute(f"LOCK TABLE ONLY {loss.name} IN ACCESS EXCLUSIVE MODE")
        rows: int = await connection.fetchval(f"SELECT count(*) FROM {loss.name}")
        await connection.execute(f"DROP TABLE {loss.name}")
        return rows

    try:
        return await pool.write(f"drop {loss.name}", work)
    except StoreError as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise StoreError(f"{loss.name} is in use: it was not dropped; try again later") from error
        raise
