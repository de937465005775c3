"""Funding, mark prices, book snapshots and gaps in PostgreSQL.

What was settled or observed stays as it was first told; a later telling only fills what was unknown. Times keep microseconds, but for
book snapshots, which keep nanoseconds.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from zvt_crypto.domain.market import BookSnapshot, Funding, Gap, MarkPrice
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import Written
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.pool import Connection, Pool, Row
from zvt_crypto.stores.postgres.rows import Batch, naming_rows

_FUNDING = "instrument_id, event_time, known_at, rate, mark_price"
_FUNDING_TYPES = ["int4", "timestamptz", "timestamptz", "float8", "float8"]
_MARK = "instrument_id, event_time, known_at, mark_price, index_price, funding_rate, next_funding_time"
_MARK_TYPES = ["int4", "timestamptz", "timestamptz", "float8", "float8", "float8", "timestamptz"]
_BOOK = "instrument_id, event_ns_rest, event_time, known_at, last_id, bid_prices, bid_sizes, ask_prices, ask_sizes"
_GAP = "instrument_id, channel, start_time, end_time, first_id, last_id, reason, filled_from, event_time, known_at, kline_interval"


class PostgresFacts:
    """ports.FactStore. What is read back has no `recv_ns`: the tables keep `known_at`."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool = pool
        self._keys = keys

    async def save_funding(self, rows: Sequence[Funding], known_at_ns: int) -> Written:
        """A settled rate stays; a mark price that was missing is filled."""
        made: list[Row] = [(r.instrument, r.event_ns, known_at_ns, r.rate, r.mark_price) for r in rows]
        return await self._save("funding", _FUNDING, _FUNDING_TYPES, made, fills=("mark_price",))

    async def read_funding(self, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> list[Funding]:
        """Oldest first."""
        rows = await self._read("funding", "event_time, rate, mark_price", instrument, start_ns, end_ns)
        return [Funding(instrument, *row) for row in rows]

    async def save_mark(self, rows: Sequence[MarkPrice], known_at_ns: int) -> Written:
        """Mark and index price of a moment stay; what was missing is filled."""
        made: list[Row] = [
            (r.instrument, r.event_ns, known_at_ns, r.mark_price, r.index_price, r.funding_rate, r.next_funding_ns) for r in rows
        ]
        return await self._save("mark", _MARK, _MARK_TYPES, made, fills=("index_price", "funding_rate", "next_funding_time"))

    async def read_mark(
        self, instrument: str, start_ns: int | None = None, end_ns: int | None = None, limit: int | None = None
    ) -> list[MarkPrice]:
        """Oldest first. With `limit`: the first from `start_ns`, or, without a start, the newest."""
        columns = "event_time, mark_price, index_price, funding_rate, next_funding_time"
        return [MarkPrice(instrument, *row) for row in await self._read("mark", columns, instrument, start_ns, end_ns, limit)]

    async def save_books(self, books: Sequence[BookSnapshot], known_at_ns: int) -> None:
        """As ports.FactStore says. Row by row on one round trip: arrays of arrays would be flattened, and books are few."""
        text = f"INSERT INTO book_snapshot ({_BOOK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"

        async def work(connection: Connection) -> None:
            keys = await self._keys.of(connection, {b.instrument for b in books})
            rows = [(keys[b.instrument], b.event_ns % 1000, b.event_ns, known_at_ns, b.last_id, *_sides(b)) for b in books]
            with naming_rows("book_snapshot", self._keys, _BOOK):
                await connection.executemany(text, rows)

        if books:
            await self._pool.write(f"store {len(books)} books", work)

    async def read_books(self, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> list[BookSnapshot]:
        """Oldest first."""
        columns = "last_id, bid_prices, bid_sizes, ask_prices, ask_sizes, event_time, event_ns_rest"
        rows = await self._read("book_snapshot", columns, instrument, start_ns, end_ns)
        return [
            BookSnapshot(instrument, last_id, list(zip(bp, bs, strict=True)), list(zip(ap, as_, strict=True)), at_ns + rest)
            for last_id, bp, bs, ap, as_, at_ns, rest in rows
        ]

    async def save_gaps(self, gaps: Sequence[Gap], known_at_ns: int) -> None:
        """As ports.FactStore says. One that was filled and is told again stays so, unless it reaches further now. A start is cut down to a
        microsecond and an end up, so that the hole is inside."""
        text = f"""
            INSERT INTO gap ({_GAP}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (instrument_id, channel, start_time, coalesce(first_id, -1), coalesce(kline_interval, '')) DO UPDATE
            SET end_time = excluded.end_time, last_id = coalesce(excluded.last_id, gap.last_id), reason = excluded.reason,
                filled_from = CASE
                    WHEN excluded.filled_from IS NULL AND (excluded.end_time > gap.end_time OR excluded.last_id > gap.last_id) THEN NULL
                    ELSE coalesce(excluded.filled_from, gap.filled_from) END,
                known_at = excluded.known_at"""

        async def work(connection: Connection) -> None:
            keys = await self._keys.of(connection, {g.instrument for g in gaps})
            rows = [
                (
                    keys[g.instrument],
                    g.channel,
                    g.start_ns,
                    _up(g.end_ns),
                    g.first_id,
                    g.last_id,
                    g.reason,
                    g.filled_from,
                    g.event_ns,
                    known_at_ns,
                    None if g.interval is None else g.interval.value,
                )
                for g in gaps
            ]
            with naming_rows("gap", self._keys, f"gap_id, {_GAP}"):
                await connection.executemany(text, rows)

        if gaps:
            await self._pool.write(f"store {len(gaps)} gaps", work)

    async def read_gaps(self, instrument: str | None = None, open_only: bool = False) -> list[Gap]:
        """By start; `open_only`: those that nothing filled yet."""
        text = f"""
            SELECT i.id, channel, start_time, end_time, first_id, last_id, reason, filled_from, event_time, kline_interval
            FROM gap JOIN instrument i USING (instrument_id)
            WHERE ($1::text IS NULL OR i.id = $1) {"AND filled_from IS NULL" if open_only else ""}
            ORDER BY start_time, gap_id"""
        rows = await self._pool.run("read gaps", lambda connection: connection.fetch(text, instrument))
        return [_gap(*row) for row in rows]

    async def _save(self, table: str, columns: str, types: Sequence[str], rows: list[Row], fills: Sequence[str]) -> Written:
        if not rows:
            return Written(0)
        insert = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {{incoming}} n ON CONFLICT DO NOTHING"
        fill = f"""
            UPDATE {table} k SET {", ".join(f"{c} = coalesce(k.{c}, n.{c})" for c in fills)}
            FROM {{incoming}} n
            WHERE k.instrument_id = n.instrument_id AND k.event_time = n.event_time
              AND ({" OR ".join(f"(k.{c} IS NULL AND n.{c} IS NOT NULL)" for c in fills)})"""

        async def work(connection: Connection) -> Written:
            keys = await self._keys.of(connection, {row[0] for row in rows})
            made = sorted(((keys[row[0]], *row[1:]) for row in rows), key=lambda row: row[:2])
            with naming_rows(table, self._keys, columns):
                batch = await Batch.open(connection, f"incoming_{table}", table, types, columns, made)
                inserted = await batch.execute(insert)
                changed = await batch.execute(fill) if inserted < len(rows) else 0
            return Written(inserted, changed, len(rows) - inserted - changed)

        return await self._pool.write(f"store {len(rows)} rows of {table}", work)

    async def _read(
        self, table: str, columns: str, instrument: str, start_ns: int | None, end_ns: int | None, limit: int | None = None
    ) -> Sequence[Row]:
        newest = limit is not None and start_ns is None
        text, values = f"SELECT {columns} FROM {table} WHERE instrument_id = $1", []
        for sign, at_ns in ((">=", start_ns), ("<", end_ns)):
            if at_ns is not None:
                values.append(at_ns)
                text += f" AND event_time {sign} ${len(values) + 1}"
        text += f" ORDER BY event_time {'DESC' if newest else 'ASC'}"
        if limit is not None:
            values.append(limit)
            text += f" LIMIT ${len(values) + 1}"

        async def work(connection: Connection) -> Sequence[Row]:
            key = await self._keys.find(connection, instrument)
            rows = [] if key is None else await connection.fetch(text, key, *values)
            return rows[::-1] if newest else rows

        return await self._pool.run(f"read {table} of {instrument}", work)


def _sides(book: BookSnapshot) -> list[list[float]]:
    """Prices and sizes of the bids, then of the asks."""
    return [[level[i] for level in side] for side in (book.bids, book.asks) for i in (0, 1)]


def _gap(*row: Any) -> Gap:
    *told, interval = row
    return msgspec.structs.replace(Gap(*told), interval=None if interval is None else Interval(interval))


def _up(at_ns: int) -> int:
    """To the next full microsecond."""
    return -(-at_ns // 1000) * 1000
