"""What is stored, in which form, and how much room it takes."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import msgspec

from zvt_crypto.stores.postgres.features import Features, find_features
from zvt_crypto.stores.postgres.partitions import list_partitions
from zvt_crypto.stores.postgres.policies import TARGETS, Policy, Target, read_policies
from zvt_crypto.stores.postgres.pool import Connection, Pool

# Versions of klines are kept for good: no policy touches them, and they are shown.
_SHOWN = (*TARGETS.values(), Target("kline_revision", "recorded_at"))
_COUNTED = 2_000_000  # up to so many rows they are counted for each symbol; of more, a hundredth is looked at


class TableStatus(msgspec.Struct, frozen=True):
    """Rows and bytes of one target. Rows of tables are the server's estimate above some thousands."""

    target: str
    hot_rows: int
    hot_bytes: int
    partitions: int
    cold_rows: int = 0
    cold_bytes: int = 0
    archived_rows: int = 0
    archived_bytes: int = 0


class SymbolStatus(msgspec.Struct, frozen=True):
    """Bytes of one instrument in all targets; those of rows are its share of their table."""

    instrument: str
    rows: int
    hot_bytes: int
    cold_bytes: int


class StorageStatus(msgspec.Struct, frozen=True):
    """Everything that `zvt-crypto storage status` tells."""

    database_bytes: int
    tables: list[TableStatus]
    symbols: list[SymbolStatus]
    policies: list[Policy]
    features: Features


async def read_status(pool: Pool) -> StorageStatus:
    """Of a migrated database."""

    async def work(connection: Connection) -> StorageStatus:
        tables = [await _table(connection, target) for target in _SHOWN if await _exists(connection, target)]
        return StorageStatus(
            await connection.fetchval("SELECT pg_database_size(current_database())"),
            tables,
            await _symbols(connection, tables),
            await read_policies(connection),
            await find_features(connection),
        )

    return await pool.run("read the state of the storage", work)


async def _exists(connection: Connection, target: Target) -> bool:
    return await connection.fetchval("SELECT to_regclass($1)", target.table) is not None


async def _table(connection: Connection, target: Target) -> TableStatus:
    partitions = await list_partitions(connection, target.table)
    names = [each.name for each in partitions] or [target.table]
    size = await connection.fetchval("SELECT sum(pg_total_relation_size(n::regclass))::bigint FROM unnest($1::text[]) n", names)
    rows = await connection.fetchval("SELECT sum(reltuples)::bigint FROM pg_class WHERE oid = ANY($1::text[]::regclass[]::oid[])", names)
    if rows < 10_000:  # never analysed, or few
        rows = await connection.fetchval(f"SELECT count(*) FROM {target.table}")
    packed = (0, 0)
    if target.interval is not None:
        text = "SELECT coalesce(sum(row_count), 0)::bigint, coalesce(sum(octet_length(data)), 0)::bigint FROM kline_packed WHERE slug = $1"
        packed = tuple(await connection.fetchrow(text, target.interval.slug))
    text = "SELECT coalesce(sum(row_count), 0)::bigint, coalesce(sum(size_bytes), 0)::bigint FROM archived WHERE target = $1"
    archived = await connection.fetchrow(text, target.table)
    return TableStatus(target.table, rows, size, len(partitions), *packed, *archived)


async def _symbols(connection: Connection, tables: list[TableStatus]) -> list[SymbolStatus]:
    rows: dict[int, int] = {}
    hot: dict[int, float] = {}
    for table in tables:
        share = "" if table.hot_rows <= _COUNTED else "TABLESAMPLE SYSTEM (1)"
        times = 1 if not share else 100
        for key, count in await connection.fetch(f"SELECT instrument_id, count(*) FROM {table.target} {share} GROUP BY 1"):
            rows[key] = rows.get(key, 0) + count * times
            hot[key] = hot.get(key, 0.0) + count * times * table.hot_bytes / max(table.hot_rows, 1)
    cold: dict[int, int] = {}
    text = "SELECT instrument_id, sum(row_count)::bigint, sum(octet_length(data))::bigint FROM kline_packed GROUP BY 1"
    for key, count, size in await connection.fetch(text):
        rows[key] = rows.get(key, 0) + count
        cold[key] = size
    names = dict(await connection.fetch("SELECT instrument_id, id FROM instrument"))
    found = [SymbolStatus(names[key], rows[key], int(hot.get(key, 0)), cold.get(key, 0)) for key in rows]
    return sorted(found, key=lambda each: -(each.hot_bytes + each.cold_bytes))
