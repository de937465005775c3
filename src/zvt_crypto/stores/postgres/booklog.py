"""Segments of books in full, a partition a day. A segment never changes."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.domain.booklog import BookSegment
from zvt_crypto.domain.time import NS_PER_DAY
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.partitions import Partitions, day_of, despite_drops
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.postgres.rows import naming_rows

_COLUMNS = (
    "instrument_id, start_ns_rest, until_ns_rest, form, start_time, until_time, known_at, first_id, last_id, event_count, digest, data"
)
_INSERT = f"INSERT INTO book_log ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING"
_READ = "start_time, start_ns_rest, until_time, until_ns_rest, first_id, last_id, event_count, form, digest, data"
# The newest that began at or before the instant; no segment is longer than a day.
_AT = f"""
    SELECT {_READ} FROM book_log
    WHERE instrument_id = $1 AND start_time <= $2 AND start_time >= $4 AND (start_time, start_ns_rest) <= ($2, $3)
    ORDER BY start_time DESC, start_ns_rest DESC LIMIT 1"""
_BETWEEN = f"""
    SELECT {_READ} FROM book_log
    WHERE instrument_id = $1 AND start_time < $3 AND start_time >= $4 AND until_time >= $2
    ORDER BY start_time, start_ns_rest"""


class PostgresBookLog:
    """ports.BookLogStore."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool, self._keys = pool, keys
        self._partitions = Partitions("book_log", day_of)

    async def save(self, segments: Sequence[BookSegment], known_at_ns: int) -> None:
        """As ports.BookLogStore says."""

        async def work(connection: Connection) -> None:
            await despite_drops([self._partitions], lambda: self._save(connection, segments, known_at_ns))

        if segments:
            await self._pool.run(f"store {len(segments)} book segments", work)

    async def _save(self, connection: Connection, segments: Sequence[BookSegment], known_at_ns: int) -> None:
        keys = await self._keys.of(connection, {s.instrument for s in segments})
        await self._partitions.ensure(connection, (s.start_ns for s in segments))
        rows = [
            (
                keys[s.instrument],
                s.start_ns % 1000,
                s.until_ns % 1000,
                s.form,
                s.start_ns,
                s.until_ns,
                known_at_ns,
                s.first_id,
                s.last_id,
                s.events,
                s.digest,
                s.data,
            )
            for s in segments
        ]
        async with connection.transaction():
            with naming_rows("book_log", self._keys, _COLUMNS):
                await connection.executemany(_INSERT, rows)

    async def segment_at(self, instrument: str, at_ns: int) -> BookSegment | None:
        """As ports.BookLogStore says."""

        async def work(connection: Connection) -> BookSegment | None:
            key = await self._keys.find(connection, instrument)
            row = None if key is None else await connection.fetchrow(_AT, key, at_ns, at_ns % 1000, at_ns - NS_PER_DAY)
            found = None if row is None else _segment(instrument, *row)
            return found if found is not None and at_ns < found.until_ns else None

        return await self._pool.run(f"read the book of {instrument}", work)

    async def segments(self, instrument: str, start_ns: int, end_ns: int) -> list[BookSegment]:
        """As ports.BookLogStore says."""

        async def work(connection: Connection) -> list[BookSegment]:
            key = await self._keys.find(connection, instrument)
            rows = [] if key is None else await connection.fetch(_BETWEEN, key, start_ns, end_ns + 999, start_ns - NS_PER_DAY)
            found = [_segment(instrument, *row) for row in rows]
            return [s for s in found if s.start_ns < end_ns and s.until_ns > start_ns]

        return await self._pool.run(f"read the books of {instrument}", work)


def _segment(
    instrument: str,
    start_ns: int,
    start_rest: int,
    until_ns: int,
    until_rest: int,
    first_id: int,
    last_id: int,
    events: int,
    form: int,
    digest: bytes,
    data: bytes,
) -> BookSegment:
    return BookSegment(instrument, start_ns + start_rest, until_ns + until_rest, first_id, last_id, events, form, digest, data)
