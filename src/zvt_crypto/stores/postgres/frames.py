"""Klines as columns, for those who compute with many: by binary COPY and out of packed chunks; and what tells that a copy is still true.

The version of a month is its token (revision 0012: made anew by whatever touches a kline of it) with the partition that holds it, since
a dropped partition touches no row.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import asyncpg
import numpy as np
import polars as pl

from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres.bars import Bars
from zvt_crypto.stores.postgres.chunks import FAR_NS, packed_until, read_chunks
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.klines import PARTITIONED
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.precedence import SOURCES

_HEAD_BYTES, _TAIL_BYTES = 19, 2  # of a binary COPY
_EPOCH_2000_US = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01
_FLOATS = ("open", "high", "low", "close", "volume", "turnover")
# One field a column, each behind its length; nothing in it is null, so that every row is as long as every other.
_FIELDS = (("open_us", ">i8"), *((name, ">f8") for name in _FLOATS), ("trades", ">i4"), ("final", "?"), ("source", ">i2"))
_ROW = np.dtype([("fields", ">i2"), *(part for name, kind in _FIELDS for part in ((f"{name}_bytes", ">i4"), (name, kind)))])
_SELECT = "open_time, open, high, low, close, volume, coalesce(turnover, 'NaN'), coalesce(trades, -1), final, source"
_READ = f"SELECT {_SELECT} FROM {{table}} WHERE instrument_id = $1 AND open_time >= $2 AND open_time < $3 ORDER BY open_time"
_TOKENS = """
    SELECT m.month, c.token::text, i.inhrelid::bigint
    FROM unnest($3::timestamptz[]) WITH ORDINALITY m(month, place)
    LEFT JOIN kline_change c ON c.instrument_id = $1 AND c.slug = $2 AND c.month = m.month
    LEFT JOIN pg_inherits i ON i.inhparent = to_regclass('kline_' || $2)
        AND i.inhrelid = to_regclass('kline_' || $2 || '_' || to_char(m.month AT TIME ZONE 'UTC', 'YYYYMM'))
    ORDER BY m.place"""
_BEGIN = """
    INSERT INTO kline_change (instrument_id, slug, month) SELECT $1, $2, month FROM unnest($3::timestamptz[]) month ORDER BY month
    ON CONFLICT DO NOTHING"""
_SERIES = """
    SELECT coalesce(md5((SELECT string_agg(c.token::text, ',' ORDER BY c.month) FROM kline_change c
                         WHERE c.instrument_id = s.instrument_id AND c.slug = s.slug)), ''), p.partitions
    FROM unnest($1::int[], $2::text[]) WITH ORDINALITY s(instrument_id, slug, place)
    JOIN (SELECT slug, (SELECT coalesce(md5(string_agg(i.inhrelid::text, ',' ORDER BY i.inhrelid)), '') FROM pg_inherits i
                        WHERE i.inhparent = to_regclass('kline_' || slug)) AS partitions
          FROM (SELECT DISTINCT slug FROM unnest($2::text[]) slug) slugs) p USING (slug)
    ORDER BY s.place"""
_SOURCES = pl.Series([None, *SOURCES], dtype=pl.String)


class PostgresFrames:
    """ports.KlineFrames."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool, self._keys = pool, keys

    async def klines(self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None) -> pl.DataFrame:
        """As ports.KlineFrames says."""
        low, high = _up(start_ns or 0), FAR_NS if end_ns is None else _up(end_ns)

        async def work(connection: Connection) -> pl.DataFrame:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return _frame(np.empty(0, _ROW))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                packed = None
                if await packed_until(connection, interval) > low:
                    packed = await read_chunks(connection, key, interval, low, high)
                rows = await _copy(connection, f"kline_{interval.slug}", key, low, high)
            hot = _frame(rows)
            return hot if packed is None or not packed.rows() else pl.concat([_packed_frame(packed), hot]).sort("timestamp")

        return await self._pool.run(f"read klines of {instrument}", work)

    async def versions(self, instrument: str, interval: Interval, months_ns: Sequence[int]) -> list[str | None]:
        """As ports.KlineFrames says."""

        async def work(connection: Connection) -> list[str | None]:
            key = await self._keys.find(connection, instrument)
            if key is None or not await _tells_changes(connection, interval):
                return [None] * len(months_ns)
            rows = await connection.fetch(_TOKENS, key, interval.slug, months_ns)
            unknown = [row[0] for row in rows if row[1] is None]
            if unknown:
                try:
                    await connection.execute(_BEGIN, key, interval.slug, unknown)
                except (asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientPrivilegeError):
                    pass  # whoever may only read copies nothing that no writer has touched since revision 0012
                else:
                    rows = await connection.fetch(_TOKENS, key, interval.slug, months_ns)
            return [None if token is None else f"{token}.{partition or 0}" for _, token, partition in rows]

        return await self._pool.run(f"read the versions of klines of {instrument}", work)

    async def series(self, of: Sequence[tuple[str, Interval]]) -> list[str]:
        """As ports.KlineFrames says."""

        async def work(connection: Connection) -> list[str]:
            keys = [await self._keys.find(connection, instrument) or 0 for instrument, _ in of]
            rows = await connection.fetch(_SERIES, keys, [interval.slug for _, interval in of])
            return [f"{tokens}.{partitions}" for tokens, partitions in rows]

        return await self._pool.run(f"read the versions of {len(of)} series", work)


def _up(at_ns: int) -> int:
    """To the next full microsecond: opens have no more."""
    return -(-at_ns // 1000) * 1000


async def _tells_changes(connection: Connection, interval: Interval) -> bool:
    """An extension's own chunks may go without a word: no copy of them is trusted."""
    if interval not in PARTITIONED:
        return True
    kind: bytes = await connection.fetchval("SELECT relkind FROM pg_class WHERE oid = to_regclass($1)", f"kline_{interval.slug}")
    return kind == b"p"


async def _copy(connection: Connection, table: str, key: int, low_ns: int, high_ns: int) -> np.ndarray[Any, Any]:
    out = io.BytesIO()
    await connection.copy_from_query(_READ.format(table=table), key, low_ns, high_ns, output=out, format="binary")
    data = out.getbuffer()[_HEAD_BYTES:]
    return np.frombuffer(data, _ROW, (len(data) - _TAIL_BYTES) // _ROW.itemsize)


def _frame(rows: np.ndarray[Any, Any]) -> pl.DataFrame:
    return _columns(
        rows["open_us"].astype(np.int64) + _EPOCH_2000_US,
        {name: rows[name].astype(np.float64) for name in _FLOATS},
        rows["trades"].astype(np.int64),
        rows["final"],
        rows["source"].astype(np.uint8),
    )


def _packed_frame(bars: Bars) -> pl.DataFrame:
    floats = {name: getattr(bars, name) for name in _FLOATS}
    return _columns(bars.open_us, floats, bars.trades, np.ones(bars.rows(), np.bool_), bars.source.astype(np.uint8))


def _columns(open_us: Any, floats: dict[str, Any], trades: Any, final: Any, source: Any) -> pl.DataFrame:
    times = pl.Series("timestamp", open_us * 1000).cast(pl.Datetime("ns", "UTC"))
    made = [times, *(pl.Series(name, values) for name, values in floats.items()), pl.Series("trades", trades)]
    frame = pl.DataFrame([*made, pl.Series("final", np.ascontiguousarray(final)), _SOURCES.gather(source).alias("source")])
    held = pl.col("turnover").fill_nan(None), pl.when(pl.col("trades") >= 0).then(pl.col("trades")).alias("trades")
    return frame.with_columns(*held)
