"""Klines in PostgreSQL: one served row a bar, and every version that was served or refused beside it.

Which version is served is one comparison, as in stores/precedence.py: (final, source, known_at), the greater wins.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import asyncpg

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import FIXED_NS, INTERVALS, Interval, next_ns
from zvt_crypto.ports import Written
from zvt_crypto.stores.postgres.chunks import (
    FAR_NS,
    PACKABLE,
    UNTIL,
    Chunk,
    is_in_packed_range,
    list_chunks,
    packed_until,
    read_chunks,
    thaw_for,
)
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.partitions import Partitions, despite_drops, month_of
from zvt_crypto.stores.postgres.pool import Connection, Pool, Row
from zvt_crypto.stores.postgres.rows import Batch, naming_rows
from zvt_crypto.stores.precedence import CODE, SOURCES

PARTITIONED = (Interval.MIN_1, Interval.MIN_5, Interval.MIN_15, Interval.MIN_30)

_COLUMNS = "instrument_id, trades, open_time, known_at, open, high, low, close, volume, turnover, source, final"
_TYPES = ["int4", "int4", "timestamptz", "timestamptz", "float8", "float8", "float8", "float8", "float8", "float8", "int2", "bool"]
_CONTENT = ["trades", "open", "high", "low", "close", "volume", "turnover", "source", "final"]
_KEY = itemgetter(0, 2)

_INSERT = f"INSERT INTO {{table}} ({_COLUMNS}) SELECT {_COLUMNS} FROM {{incoming}} n ON CONFLICT DO NOTHING"
# What wins replaces; the trigger keeps_versions keeps a final version that goes. Rows are locked in the order of their keys.
_UPDATE = f"""
WITH held AS MATERIALIZED (
    SELECT n.*
    FROM {{incoming}} n JOIN {{table}} k ON k.instrument_id = n.instrument_id AND k.open_time = n.open_time
    WHERE k.open_time BETWEEN {{low}} AND {{high}}
      AND (n.final, n.source, n.known_at) >= (k.final, k.source, k.known_at)
      AND ({", ".join(f"n.{c}" for c in _CONTENT)}) IS DISTINCT FROM ({", ".join(f"k.{c}" for c in _CONTENT)})
    ORDER BY n.instrument_id, n.open_time
    FOR UPDATE OF k
)
UPDATE {{table}} k SET known_at = n.known_at, {", ".join(f"{c} = n.{c}" for c in _CONTENT)}
FROM held n
WHERE k.instrument_id = n.instrument_id AND k.open_time = n.open_time AND k.open_time BETWEEN {{low}} AND {{high}}
"""
# After the update a final row that differs from the served one has lost. The same loser is kept once.
_LOST = f"""
INSERT INTO kline_revision (slug, served, recorded_at, {_COLUMNS})
SELECT '{{slug}}', false, n.known_at, {", ".join(f"n.{c}" for c in _COLUMNS.split(", "))}
FROM {{incoming}} n JOIN {{table}} k ON k.instrument_id = n.instrument_id AND k.open_time = n.open_time
WHERE k.open_time BETWEEN {{low}} AND {{high}} AND n.final
  AND ({", ".join(f"n.{c}" for c in _CONTENT if c != "source")}) IS DISTINCT FROM ({", ".join(f"k.{c}" for c in _CONTENT if c != "source")})
  AND NOT EXISTS (
    SELECT FROM kline_revision r
    WHERE r.instrument_id = n.instrument_id AND r.slug = '{{slug}}' AND r.open_time = n.open_time
      AND ({", ".join(f"r.{c}" for c in _CONTENT)}) IS NOT DISTINCT FROM ({", ".join(f"n.{c}" for c in _CONTENT)}))
"""
_READ = "SELECT open_time, open, high, low, close, volume, turnover, trades, final, source, {until} FROM {table} WHERE instrument_id = $1"


class PostgresKlines:
    """ports.KlineStore. Rows read back have no `event_ns` and `recv_ns`: the table keeps `known_at`."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool = pool
        self._keys = keys
        self._partitions = {i: Partitions(_table(i), month_of) for i in PARTITIONED}

    async def upsert(self, klines: Sequence[Kline], known_at_ns: int) -> Written:
        """As ports.KlineStore says; one transaction."""
        if not klines:
            return Written(0)
        by_interval = sorted(klines, key=lambda k: _ORDER[k.interval])

        async def work(connection: Connection) -> Written:
            return await despite_drops(self._partitions.values(), lambda: self._upsert(connection, by_interval, known_at_ns))

        return await self._pool.run(f"store {len(klines)} klines", work)

    async def _upsert(self, connection: Connection, klines: Sequence[Kline], known_at_ns: int) -> Written:
        keys = await self._keys.of(connection, {k.instrument for k in klines})
        by_interval: list[tuple[Interval, list[Row]]] = []
        for interval, group in groupby(klines, key=lambda k: k.interval):
            rows = _rows(group, keys, known_at_ns)
            if interval in self._partitions:
                await self._partitions[interval].ensure(connection, (row[2] for row in rows))
            by_interval.append((interval, rows))
        try:
            async with connection.transaction():
                return await self._write_all(connection, by_interval)
        except asyncpg.PostgresError as error:
            if not is_in_packed_range(error):
                raise
        async with connection.transaction():
            return await self._write_all(connection, [(i, await _thawed(connection, i, rows)) for i, rows in by_interval], len(klines))

    async def _write_all(self, connection: Connection, by_interval: list[tuple[Interval, list[Row]]], given: int | None = None) -> Written:
        if given is None:
            given = sum(len(rows) for _, rows in by_interval)
        inserted = changed = 0
        for interval, rows in by_interval:
            for part in _rounds(rows):
                new, won = await self._write(connection, interval, part)
                inserted, changed = inserted + new, changed + won
        return Written(inserted, changed, given - inserted - changed)

    async def _write(self, connection: Connection, interval: Interval, rows: list[Row]) -> tuple[int, int]:
        table = _table(interval)
        with naming_rows(table, self._keys, columns=_COLUMNS):
            batch = await Batch.open(connection, "incoming_kline", table, _TYPES, _COLUMNS, rows)
            bounds = (min(row[2] for row in rows), max(row[2] for row in rows))
            inserted = await batch.execute(_INSERT, table=table)
            changed = 0
            if inserted < len(rows):
                changed = await batch.execute(_UPDATE, *bounds, table=table)
            if inserted + changed < len(rows):
                await batch.execute(_LOST, *bounds, table=table, slug=interval.slug)
        return inserted, changed

    async def read(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, limit: int | None = None
    ) -> list[Kline]:
        """As ports.KlineStore says."""
        newest = limit is not None and start_ns is None
        text, values = _question(interval, start_ns, end_ns, limit, newest=newest)

        async def work(connection: Connection) -> list[Kline]:
            key = await self._keys.find(connection, instrument)
            if key is None or limit == 0:
                return []
            rows: list[Row] = []
            if newest and limit is not None and interval in self._partitions:  # of which most need not even be looked at
                near = min(end_ns or FAR_NS, time.time_ns()) - 2 * limit * FIXED_NS[interval]
                near_text, near_values = _question(interval, max(0, near), end_ns, limit, newest=True)
                rows = await connection.fetch(near_text, key, *near_values)
            if limit is None or len(rows) < limit:
                rows = await connection.fetch(text, key, *values)
            until_ns = rows[0][10] * 1_000_000_000 if rows else await packed_until(connection, interval)
            is_full = newest and rows and len(rows) == limit
            if until_ns <= (rows[-1][0] if is_full else start_ns or 0):  # the answer does not reach back to what is packed
                return [_kline(instrument, interval, row) for row in (reversed(rows) if newest else rows)]
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(text, key, *values)
                chunks = await list_chunks(connection, key, interval, start_ns or 0, end_ns or FAR_NS)
                packed = await read_chunks(
                    connection, key, interval, *_needed(chunks, start_ns or 0, end_ns or FAR_NS, limit, newest=newest)
                )
            found = packed.klines(instrument, interval) + [_kline(instrument, interval, row) for row in rows]
            found.sort(key=lambda kline: kline.open_ns)
            return found if limit is None else found[-limit:] if newest else found[:limit]

        return await self._pool.run(f"read klines of {instrument}", work)

    async def bounds(self, instrument: str, interval: Interval) -> tuple[int, int] | None:
        """As ports.KlineStore says."""
        hot = f"(SELECT open_time FROM {_table(interval)} WHERE instrument_id = $1 AND final ORDER BY open_time"
        packed = f"FROM kline_packed WHERE instrument_id = $1 AND slug = '{interval.slug}')"
        text = f"""SELECT least({hot} LIMIT 1), (SELECT min(first_open) {packed}) AS first,
            greatest({hot} DESC LIMIT 1), (SELECT max(last_open) {packed}) AS last"""

        async def work(connection: Connection) -> tuple[int, int] | None:
            key = await self._keys.find(connection, instrument)
            found = None if key is None else await connection.fetchrow(text, key)
            return None if found is None or found["first"] is None else (found["first"], found["last"])

        return await self._pool.run(f"read klines of {instrument}", work)

    async def missing(self, instrument: str, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """As ports.KlineStore says."""
        step = "interval '1 month'" if interval is Interval.MONTH_1 else f"interval '{FIXED_NS[interval] // 1_000_000_000} seconds'"
        text = f"""
            SELECT open_time, after FROM (
                SELECT open_time, lead(open_time) OVER (ORDER BY open_time) AS after
                FROM {_table(interval)} WHERE instrument_id = $1 AND final AND open_time >= $2 AND open_time < $3
            ) pairs WHERE after IS NULL OR after > open_time + {step} ORDER BY open_time"""
        first = f"SELECT min(open_time) FROM {_table(interval)} WHERE instrument_id = $1 AND final AND open_time >= $2 AND open_time < $3"

        async def work(connection: Connection) -> list[tuple[int, int]]:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return _holes([(start_ns, end_ns)], interval)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                lowest = await connection.fetchval(first, key, start_ns, end_ns)
                seams = [] if lowest is None else await connection.fetch(text, key, start_ns, end_ns)
                runs = await _packed_runs(connection, key, interval, start_ns, end_ns)
            for last, after in seams:
                runs.append((lowest, next_ns(interval, last)))
                lowest = after
            return _holes(_between(sorted(runs), start_ns, end_ns), interval)

        return await self._pool.run(f"find missing klines of {instrument}", work)


async def _thawed(connection: Connection, interval: Interval, rows: list[Row]) -> list[Row]:
    return await thaw_for(connection, interval, rows, _COLUMNS) if interval in PACKABLE else rows


async def _packed_runs(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Unbroken runs of packed bars within [start_ns, end_ns), each from its first open to its last close."""
    runs: list[tuple[int, int]] = []
    step = FIXED_NS.get(interval, 0)
    for chunk in await list_chunks(connection, key, interval, start_ns, end_ns):
        if (chunk.last_ns - chunk.first_ns) // step + 1 == chunk.rows:
            runs.append((max(chunk.first_ns, start_ns), min(chunk.last_ns + step, end_ns)))
            continue
        bars = await read_chunks(connection, key, interval, max(chunk.low_ns, start_ns), min(chunk.high_ns, end_ns))
        runs += [(at * 1000, at * 1000 + step) for at in bars.open_us.tolist()]
    return runs


def _between(runs: list[tuple[int, int]], start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """What sorted runs leave open of [start_ns, end_ns)."""
    for low, high in runs:
        if low > start_ns:
            yield start_ns, low
        start_ns = max(start_ns, high)
    yield start_ns, end_ns


def _needed(chunks: list[Chunk], start_ns: int, end_ns: int, limit: int | None, *, newest: bool) -> tuple[int, int]:
    """The part of [start_ns, end_ns) whose chunks surely hold the `limit` packed bars that come first, or last."""
    count = 0
    for chunk in reversed(chunks) if newest else chunks:
        count += chunk.rows if start_ns <= chunk.first_ns and chunk.last_ns < end_ns else 0
        if limit is not None and count >= limit:
            return (chunk.low_ns, end_ns) if newest else (start_ns, chunk.high_ns)
    return start_ns, end_ns


_ORDER = {interval: place for place, interval in enumerate(INTERVALS)}


def _table(interval: Interval) -> str:
    return f"kline_{interval.slug}"


def _question(interval: Interval, start_ns: int | None, end_ns: int | None, limit: int | None, *, newest: bool) -> tuple[str, list[int]]:
    until = UNTIL.format(slug=interval.slug) if interval in PACKABLE else "0::bigint"
    text, values = _ranged(_READ.format(table=_table(interval), until=until), start_ns, end_ns)
    text += f" ORDER BY open_time {'DESC' if newest else 'ASC'}"
    if limit is not None:
        values.append(limit)
        text += f" LIMIT ${len(values) + 1}"
    return text, values


def _ranged(text: str, start_ns: int | None, end_ns: int | None) -> tuple[str, list[int]]:
    values: list[int] = []
    for sign, at_ns in ((">=", start_ns), ("<", end_ns)):
        if at_ns is not None:
            values.append(at_ns)
            text += f" AND open_time {sign} ${len(values) + 1}"
    return text, values


def _rows(klines: Iterable[Kline], keys: dict[str, int], known_at_ns: int) -> list[Row]:
    """Sorted by key; of equal keys in the order in which they came."""
    rows: list[Row] = [
        (
            keys[k.instrument],
            k.trades,
            k.open_ns,
            known_at_ns,
            k.open,
            k.high,
            k.low,
            k.close,
            k.volume,
            k.turnover,
            CODE[k.source],
            k.final,
        )
        for k in klines
    ]
    rows.sort(key=_KEY)
    return rows


def _rounds(rows: list[Row]) -> Iterator[list[Row]]:
    """One statement can touch a row once: the n-th versions of the bars of a batch make the n-th round.

    A forming version that another one of the same source follows was never anybody's answer, and is left out.
    """
    later = zip(rows, [*rows[1:], None], strict=True) if rows else ()
    kept = [a for a, b in later if b is None or a[11] or _KEY(a) != _KEY(b) or a[10] != b[10]]
    while kept:
        first: list[Row] = []
        rest: list[Row] = []
        for row in kept:
            (rest if first and _KEY(first[-1]) == _KEY(row) else first).append(row)
        yield first
        kept = rest


def _holes(spans: Iterable[tuple[int, int]], interval: Interval) -> list[tuple[int, int]]:
    """The spans, from their first open on the grid; those that hold none are left out."""
    holes = ((_first_open(interval, start), end) for start, end in spans)
    return [(start, end) for start, end in holes if start < end]


def _first_open(interval: Interval, at_ns: int) -> int:
    return next_ns(interval, at_ns - 1) if at_ns > 0 else 0


def _kline(instrument: str, interval: Interval, row: Row) -> Kline:
    open_ns, open_, high, low, close, volume, turnover, trades, final, source, _ = row
    return Kline(instrument, interval, open_ns, open_, high, low, close, volume, turnover, trades, final, SOURCES[source - 1])
