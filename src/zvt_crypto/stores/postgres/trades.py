"""Trades in PostgreSQL, a partition a day. A trade never changes: one that is known already is left as it is."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import get_args

from zvt_crypto.domain.market import Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.ports import LateMinute, Written
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.partitions import Partitions, day_of, despite_drops
from zvt_crypto.stores.postgres.pool import Connection, Pool, Row
from zvt_crypto.stores.postgres.rows import Batch, naming_rows

STREAMS: tuple[TradeStream, ...] = ("trade", "agg")
CODE: dict[TradeStream, int] = {stream: code for code, stream in enumerate(STREAMS, 1)}
assert set(STREAMS) == set(get_args(TradeStream))

_COLUMNS = "instrument_id, stream, event_ns_rest, event_time, known_at, price, quantity, taker_buys, venue_trade_id"
_TYPES = ["int4", "int2", "int2", "timestamptz", "timestamptz", "float8", "float8", "bool", "text"]
_KEY = itemgetter(0, 3, 1, 8)
_INSERT = f"INSERT INTO trade ({_COLUMNS}) SELECT {_COLUMNS} FROM {{incoming}} n ON CONFLICT DO NOTHING"
# One trade has several times: live in milliseconds, in the exchange's files in microseconds.
# OFFSET keeps it one look into the primary key for each row: joined by a hash, it would read the whole day.
_INSERT_UNKNOWN = f"""
INSERT INTO trade ({_COLUMNS}) SELECT {_COLUMNS} FROM {{incoming}} n
WHERE NOT EXISTS (
    SELECT FROM trade t
    WHERE t.instrument_id = n.instrument_id AND t.stream = n.stream AND t.venue_trade_id = n.venue_trade_id
      AND t.event_time >= date_trunc('milliseconds', n.event_time)
      AND t.event_time < date_trunc('milliseconds', n.event_time) + interval '1 millisecond'
      AND t.event_time BETWEEN {{low}} AND {{high}}
    OFFSET 0)
ON CONFLICT DO NOTHING
"""
# Whether anything is stored where the batch goes. The order makes the server use the primary key, whatever it believes of the rows.
_IS_TAKEN = """
SELECT FROM unnest($1::int4[], $2::int2[], $3::timestamptz[], $4::timestamptz[]) AS s(instrument_id, stream, low, high)
WHERE (
    SELECT true FROM trade t
    WHERE t.instrument_id = s.instrument_id AND t.stream = s.stream AND t.event_time BETWEEN s.low AND s.high
      AND t.event_time BETWEEN $5 AND $6
    ORDER BY t.event_time LIMIT 1)
LIMIT 1
"""
_READ = "SELECT stream, venue_trade_id, price, quantity, taker_buys, event_time, event_ns_rest FROM trade WHERE instrument_id = $1"
# Ids are text (UUIDs occur); of two numbers the longer is the greater.
_ORDER = ("event_time", "event_ns_rest", "length(venue_trade_id)", "venue_trade_id")


class PostgresTrades:
    """ports.TradeStore. Trades read back have no `recv_ns`: the table keeps `known_at`."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool = pool
        self._keys = keys
        self._partitions = Partitions("trade", day_of)

    async def append(self, trades: Sequence[Trade], known_at_ns: int) -> Written:
        """As ports.TradeStore says; one transaction."""
        if not trades:
            return Written(0)

        async def work(connection: Connection) -> Written:
            return await despite_drops([self._partitions], lambda: self._append(connection, trades, known_at_ns))

        return await self._pool.run(f"store {len(trades)} trades", work)

    async def _append(self, connection: Connection, trades: Sequence[Trade], known_at_ns: int) -> Written:
        keys = await self._keys.of(connection, {t.instrument for t in trades})
        await self._partitions.ensure(connection, (t.event_ns for t in trades))
        rows = _rows(trades, keys, known_at_ns)
        async with connection.transaction():
            with naming_rows("trade", self._keys, _COLUMNS):
                batch = await Batch.open(connection, "incoming_trade", "trade", _TYPES, _COLUMNS, rows)
                low_ns, high_ns = _whole_ms(min(row[3] for row in rows), max(row[3] for row in rows))
                if await connection.fetchrow(_IS_TAKEN, *_spans(rows), low_ns, high_ns) is None:
                    inserted = await batch.execute(_INSERT)
                else:
                    inserted = await batch.execute(_INSERT_UNKNOWN, low_ns, high_ns)
        return Written(inserted, 0, len(trades) - inserted)

    async def read(
        self,
        instrument: str,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int | None = None,
        stream: TradeStream | None = None,
    ) -> list[Trade]:
        """As ports.TradeStore says."""
        newest = limit is not None and start_ns is None
        text, values = _READ, []
        for condition, value in (("event_time >=", _cut(start_ns)), ("event_time <=", _cut(end_ns)), ("stream =", stream and CODE[stream])):
            if value is not None:
                values.append(value)
                text += f" AND {condition} ${len(values) + 1}"
        for sign, at_ns in ((">=", start_ns), ("<", end_ns)):
            if at_ns is not None:
                values.extend((at_ns, at_ns % 1000))
                text += f" AND (event_time, event_ns_rest) {sign} (${len(values)}, ${len(values) + 1})"
        text += " ORDER BY " + ", ".join(f"{column} {'DESC' if newest else 'ASC'}" for column in _ORDER)
        if limit is not None:
            values.append(limit)
            text += f" LIMIT ${len(values) + 1}"

        async def work(connection: Connection) -> list[Trade]:
            key = await self._keys.find(connection, instrument)
            rows = [] if key is None else await connection.fetch(text, key, *values)
            return [_trade(instrument, row) for row in (reversed(rows) if newest else rows)]

        return await self._pool.run(f"read trades of {instrument}", work)

    async def last(self, instrument: str, stream: TradeStream) -> Trade | None:
        """As ports.TradeStore says."""
        found = await self.read(instrument, limit=1, stream=stream)
        return found[0] if found else None

    async def late(self, exchange: str, limit: int, after: LateMinute | None = None) -> list[LateMinute]:
        """As ports.TradeStore says."""
        text = """
            SELECT i.id, l.stream, l.open_time, l.marked_at FROM trade_late l JOIN instrument i USING (instrument_id)
            WHERE i.exchange = $1 AND ($3::text IS NULL OR (i.id COLLATE "C", l.stream, l.open_time) > ($3, $4, $5))
            ORDER BY i.id COLLATE "C", l.stream, l.open_time LIMIT $2"""
        last = (None, 0, 0) if after is None else (after.instrument, CODE[after.stream], after.open_ns)
        rows = await self._pool.run("read late minutes", lambda connection: connection.fetch(text, exchange, limit, *last))
        return [LateMinute(row[0], STREAMS[row[1] - 1], row[2], row[3]) for row in rows]

    async def remade(self, done: Sequence[LateMinute]) -> None:
        """As ports.TradeStore says."""
        text = """
            DELETE FROM trade_late l USING (
                SELECT instrument_id, stream, open_time, marked_at
                FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::timestamptz[]) AS d(id, stream, open_time, marked_at)
                JOIN instrument i ON i.id = d.id
            ) d
            WHERE l.instrument_id = d.instrument_id AND l.stream = d.stream AND l.open_time = d.open_time AND l.marked_at = d.marked_at"""
        rows = [(m.instrument, CODE[m.stream], m.open_ns, m.mark_ns) for m in done]
        if rows:
            await self._pool.write("clear late minutes", lambda connection: connection.execute(text, *zip(*rows, strict=True)))


def _rows(trades: Sequence[Trade], keys: dict[str, int], known_at_ns: int) -> list[Row]:
    """Sorted by key; of one id within one millisecond the first."""
    firsts: dict[tuple[str, str, str, int], Trade] = {}
    for t in trades:
        firsts.setdefault((t.trade_id, t.instrument, t.stream, t.event_ns // NS_PER_MS), t)
    rows: list[Row] = [
        (keys[t.instrument], CODE[t.stream], t.event_ns % 1000, t.event_ns, known_at_ns, t.price, t.quantity, t.side == "buy", t.trade_id)
        for t in firsts.values()
    ]
    rows.sort(key=_KEY)
    return rows


def _spans(rows: Iterable[Row]) -> tuple[Sequence[int], ...]:
    """(keys, streams, lows, highs): of each instrument and stream the whole milliseconds from the first trade to the last."""
    spans: dict[tuple[int, int], list[int]] = {}
    for row in rows:  # by time within an instrument
        span = spans.setdefault((row[0], row[1]), [row[3], row[3]])
        span[1] = row[3]
    bounds = (_whole_ms(*span) for span in spans.values())
    return tuple(zip(*((*key, *bound) for key, bound in zip(spans, bounds, strict=True)), strict=True))


def _whole_ms(low_ns: int, high_ns: int) -> tuple[int, int]:
    return low_ns // NS_PER_MS * NS_PER_MS, high_ns // NS_PER_MS * NS_PER_MS + NS_PER_MS - 1


def _cut(at_ns: int | None) -> int | None:
    return None if at_ns is None else at_ns // 1000 * 1000


def _trade(instrument: str, row: Row) -> Trade:
    stream, trade_id, price, quantity, taker_buys, event_ns, rest = row
    return Trade(instrument, STREAMS[stream - 1], trade_id, price, quantity, "buy" if taker_buys else "sell", event_ns + rest)
