"""Klines in PostgreSQL: one served row a bar, and every version that was served or refused beside it.

Which version is served is one comparison, as in stores/precedence.py: (final, source, known_at), the greater wins.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import FIXED_NS, INTERVALS, Interval, next_ns
from zvt_crypto.ports import Written
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
_READ = "SELECT open_time, open, high, low, close, volume, turnover, trades, final, source FROM {table} WHERE instrument_id = $1"


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
        rounds: list[tuple[Interval, list[Row]]] = []
        for interval, group in groupby(klines, key=lambda k: k.interval):
            rows = _rows(group, keys, known_at_ns)
            if interval in self._partitions:
                await self._partitions[interval].ensure(connection, (row[2] for row in rows))
            rounds.extend((interval, part) for part in _rounds(rows))
        inserted = changed = 0
        async with connection.transaction():
            for interval, rows in rounds:
                new, won = await self._write(connection, interval, rows)
                inserted, changed = inserted + new, changed + won
        return Written(inserted, changed, len(klines) - inserted - changed)

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
        text, values = _ranged(_READ.format(table=_table(interval)), start_ns, end_ns)
        text += f" ORDER BY open_time {'DESC' if newest else 'ASC'}"
        if limit is not None:
            values.append(limit)
            text += f" LIMIT ${len(values) + 1}"

        async def work(connection: Connection) -> list[Kline]:
            key = await self._keys.find(connection, instrument)
            rows = [] if key is None else await connection.fetch(text, key, *values)
            return [_kline(instrument, interval, row) for row in (reversed(rows) if newest else rows)]

        return await self._pool.run(f"read klines of {instrument}", work)

    async def bounds(self, instrument: str, interval: Interval) -> tuple[int, int] | None:
        """As ports.KlineStore says."""
        ends = f"SELECT open_time FROM {_table(interval)} WHERE instrument_id = $1 AND final ORDER BY open_time"

        async def work(connection: Connection) -> tuple[int, int] | None:
            key = await self._keys.find(connection, instrument)
            first = None if key is None else await connection.fetchval(f"{ends} LIMIT 1", key)
            return None if first is None else (first, await connection.fetchval(f"{ends} DESC LIMIT 1", key))

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
            lowest = None if key is None else await connection.fetchval(first, key, start_ns, end_ns)
            if lowest is None:
                return _holes([(start_ns, end_ns)], interval)
            seams = await connection.fetch(text, key, start_ns, end_ns)
            return _holes([(start_ns, lowest), *((next_ns(interval, row[0]), row[1] or end_ns) for row in seams)], interval)

        return await self._pool.run(f"find missing klines of {instrument}", work)


_ORDER = {interval: place for place, interval in enumerate(INTERVALS)}


def _table(interval: Interval) -> str:
    return f"kline_{interval.slug}"


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
    later = [(a, b) for a, b in zip(rows, [*rows[1:], None], strict=True)]
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
    open_ns, open_, high, low, close, volume, turnover, trades, final, source = row
    return Kline(instrument, interval, open_ns, open_, high, low, close, volume, turnover, trades, final, SOURCES[source - 1])
