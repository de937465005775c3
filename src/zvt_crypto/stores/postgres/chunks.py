"""Packed chunks of klines in the database: which there are, their rows, and how they become rows of the table again.

A final kline is either a row of its table or in the chunk of its span, never both. Spans are days for minutes, months for the rest.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg

from zvt_crypto.domain.time import Interval, to_rfc3339
from zvt_crypto.stores.postgres.bars import Bars, joined, no_bars, unpack_checked
from zvt_crypto.stores.postgres.partitions import Span, day_of, month_of
from zvt_crypto.stores.postgres.pool import Connection, Row

# Longer ones are so few that nothing is gained.
PACKABLE = (Interval.MIN_1, Interval.MIN_5, Interval.MIN_15, Interval.MIN_30, Interval.HOUR_1, Interval.HOUR_4)
IN_PACKED_RANGE = "ZP001"  # the trigger of revision 0007 says so of a row that would lie beside its chunk
FAR_NS = 4_102_444_800_000_000_000  # 2100: beyond every row
# What a statement on the hot table asks beside its rows, once: from when on it knows all. Seconds since 1970.
UNTIL = "(SELECT extract(epoch FROM until)::bigint FROM packed_mark WHERE noun = '{slug}')"

# What a `Packed` is made of.
PACKED = "(SELECT i.id FROM instrument i WHERE i.instrument_id = kline_packed.instrument_id), slug, low, high, digest, data"
_TOUCHING = "instrument_id = $1 AND slug = $2 AND low < $4 AND high > $3"
_COLUMNS = ["instrument_id", "open_time", "known_at", "open", "high", "low", "close", "volume", "turnover", "trades", "source", "final"]


class Chunk(NamedTuple):
    """What the catalogue says of one."""

    low_ns: int
    high_ns: int
    rows: int
    first_ns: int
    last_ns: int
    by_source: list[int]


class Packed(NamedTuple):
    """One with its data."""

    instrument: str
    slug: str
    low_ns: int
    high_ns: int
    digest: bytes
    data: bytes

    def bars(self) -> Bars:
        """Its rows. Raises StoreError, naming the chunk, where they are not those that were packed."""
        span = f"{to_rfc3339(self.low_ns)} to {to_rfc3339(self.high_ns)}"
        return unpack_checked(self.data, self.digest, f"chunk of kline_{self.slug}, {self.instrument}, {span}")


def span_of(interval: Interval, at_ns: int) -> Span:
    """[start, end) of the chunk that a bar belongs to."""
    return day_of(at_ns) if interval is Interval.MIN_1 else month_of(at_ns)


async def packed_until(connection: Connection, interval: Interval) -> int:
    """ns; nothing from there on is packed. 0 where nothing is."""
    if interval not in PACKABLE:
        return 0
    found: int = await connection.fetchval("SELECT until FROM packed_mark WHERE noun = $1", interval.slug)
    return found


async def list_chunks(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> list[Chunk]:
    """Those that touch [start_ns, end_ns), by time."""
    text = f"SELECT low, high, row_count, first_open, last_open, by_source FROM kline_packed WHERE {_TOUCHING} ORDER BY low"
    return [Chunk(*row) for row in await connection.fetch(text, key, interval.slug, start_ns, end_ns)]


async def read_chunks(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> Bars:
    """The packed rows of [start_ns, end_ns), oldest first."""
    text = f"SELECT {PACKED} FROM kline_packed WHERE {_TOUCHING} ORDER BY low"
    parts = [Packed(*row).bars() for row in await connection.fetch(text, key, interval.slug, start_ns, end_ns)]
    return joined(parts).part(_us(start_ns), _us(end_ns)) if parts else no_bars()


async def thaw(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> int:
    """Make rows again of the chunks that touch [start_ns, end_ns). Inside a transaction; partitions must exist. Returns how many rows."""
    text = f"SELECT {PACKED} FROM kline_packed WHERE {_TOUCHING} ORDER BY low FOR UPDATE"
    found = [Packed(*row) for row in await connection.fetch(text, key, interval.slug, start_ns, end_ns)]
    return sum([await _make_rows(connection, key, interval, chunk.low_ns, chunk.bars()) for chunk in found])


async def thaw_for(connection: Connection, interval: Interval, rows: Sequence[Row], columns: str) -> list[Row]:
    """Make rows of every chunk that these would change, and leave out those that their chunk says in the same words.

    Inside a transaction. `rows` have these columns; what is returned can be written as if nothing had ever been packed.
    """
    at = {name: place for place, name in enumerate(columns.split(", "))}
    rest: list[Row] = []
    for (key, span), group in _by_span(interval, rows, at).items():
        text = f"SELECT {PACKED} FROM kline_packed WHERE {_TOUCHING} FOR UPDATE"
        found = await connection.fetchrow(text, key, interval.slug, *span)
        if found is not None:
            chunk = Packed(*found)
            held = chunk.bars()
            if _says_all(held, group, at):
                continue
            await _make_rows(connection, key, interval, chunk.low_ns, held)
        rest += group
    return rest


async def _make_rows(connection: Connection, key: int, interval: Interval, low_ns: int, bars: Bars) -> int:
    await connection.execute("DELETE FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low = $3", key, interval.slug, low_ns)
    records = [
        (key, at * 1000, known * 1000, *values, None if turnover != turnover else turnover, None if trades < 0 else trades, source, True)
        for at, known, *values, turnover, trades, source in zip(*(column.tolist() for column in bars), strict=True)
    ]
    # Moved, not news: nothing that was made of them is to be made again.
    await connection.execute("SELECT set_config('zvt.moves_rows', 'on', true)")
    await connection.copy_records_to_table(f"kline_{interval.slug}", records=records, columns=_COLUMNS)
    await connection.execute("SELECT set_config('zvt.moves_rows', 'off', true)")
    return len(records)


def _by_span(interval: Interval, rows: Iterable[Row], at: dict[str, int]) -> dict[tuple[int, Span], list[Row]]:
    groups: dict[tuple[int, Span], list[Row]] = {}
    for row in rows:
        groups.setdefault((row[at["instrument_id"]], span_of(interval, row[at["open_time"]])), []).append(row)
    return dict(sorted(groups.items()))  # chunks are locked in one order


def _says_all(held: Bars, rows: Iterable[Row], at: dict[str, int]) -> bool:
    """Whether every row is in the chunk with the same values, told by no lesser source, or is a forming version of one that is."""
    place = {open_us: n for n, open_us in enumerate(held.open_us.tolist())}
    for row in rows:
        n = place.get(_us(row[at["open_time"]]))
        if n is None:
            return False
        if not row[at["final"]]:
            continue
        trades, turnover = int(held.trades[n]), float(held.turnover[n])
        said = (None if trades < 0 else trades, None if turnover != turnover else turnover)
        if said != (row[at["trades"]], row[at["turnover"]]) or held.source[n] < row[at["source"]]:
            return False
        if any(float(getattr(held, name)[n]) != row[at[name]] for name in ("open", "high", "low", "close", "volume")):
            return False
    return True


def _us(at_ns: int) -> int:
    return -(-at_ns // 1000)


def is_in_packed_range(error: asyncpg.PostgresError) -> bool:
    """Whether rows were refused because their chunk must be unpacked first."""
    return error.sqlstate == IN_PACKED_RANGE
