"""What tells that a copy of klines is still true, in a file or in memory.

The version of a month is its token (revision 0012: made anew by whatever touches a kline of it) with the partition that holds it, since
a dropped partition touches no row.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.klines import PARTITIONED
from zvt_crypto.stores.postgres.pool import Connection, Pool

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


class PostgresChanges:
    """ports.KlineChanges."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool, self._keys = pool, keys

    async def versions(self, instrument: str, interval: Interval, months_ns: Sequence[int]) -> list[str | None]:
        """As ports.KlineChanges says."""

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
        """As ports.KlineChanges says."""

        async def work(connection: Connection) -> list[str]:
            keys = [await self._keys.find(connection, instrument) or 0 for instrument, _ in of]
            rows = await connection.fetch(_SERIES, keys, [interval.slug for _, interval in of])
            return [f"{tokens}.{partitions}" for tokens, partitions in rows]

        return await self._pool.run(f"read the versions of {len(of)} series", work)


async def _tells_changes(connection: Connection, interval: Interval) -> bool:
    """An extension's own chunks may go without a word: no copy of them is trusted."""
    if interval not in PARTITIONED:
        return True
    kind: bytes = await connection.fetchval("SELECT relkind FROM pg_class WHERE oid = to_regclass($1)", f"kline_{interval.slug}")
    return kind == b"p"
