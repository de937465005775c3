"""Final klines of whole months move from their tables into packed chunks, and the emptied partitions go.

One transaction moves one month of one instrument: whoever ends it at any moment, each bar is a row or packed, once. Writers of that month
wait for it, milliseconds; readers do not, and writers of other months neither.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import NamedTuple

import asyncpg
import numpy as np

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.time import NS_PER_DAY, Interval, to_rfc3339
from zvt_crypto.stores.postgres.bars import Bars, joined, pack, unpack
from zvt_crypto.stores.postgres.chunks import PACKABLE, PACKED, Packed, span_of, thaw
from zvt_crypto.stores.postgres.copied import copy_bars
from zvt_crypto.stores.postgres.hypertables import decompress
from zvt_crypto.stores.postgres.partitions import Partition, Partitions, drop_if_empty, is_partitioned, list_partitions, month_of
from zvt_crypto.stores.postgres.pool import Connection, Pool

# A partition of klines newer than this is still written to by everybody: it is never packed, whatever a policy says.
LEAST_DAYS = 2
_LOCK_MS = 500  # others queue behind a lock that waits
_TRIES = 20
_WAIT_S = 0.05

_PUT = """
INSERT INTO kline_packed (instrument_id, slug, low, high, row_count, first_open, last_open, packed_at, by_source, digest, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, now(), $8, $9, $10)
ON CONFLICT (instrument_id, slug, low) DO UPDATE SET row_count = excluded.row_count, first_open = excluded.first_open,
    last_open = excluded.last_open, packed_at = excluded.packed_at, by_source = excluded.by_source, digest = excluded.digest,
    data = excluded.data
"""


class Compacted(NamedTuple):
    """What a run did: rows moved, chunks written, their bytes, partitions dropped; partitions left since others would not let go."""

    rows: int = 0
    chunks: int = 0
    packed_bytes: int = 0
    dropped: int = 0
    left: int = 0

    def plus(self, other: Compacted) -> Compacted:
        """Both together."""
        return Compacted(*(a + b for a, b in zip(self, other, strict=True)))


async def compact(pool: Pool, interval: Interval, before_ns: int, tell: Callable[[str], None] = lambda _: None) -> Compacted:
    """Pack all whole months that ended by `before_ns`. `tell` hears of every month done."""
    assert interval in PACKABLE
    done = Compacted()
    for month in await pool.run("list what can be packed", partial(_months, interval=interval, before_ns=before_ns)):
        if "." in month.name:  # a hypertable's chunk, which the extension may have compressed
            await pool.run(f"decompress {month.name}", partial(decompress, chunk=month.name))
        for key in await pool.run(f"list the instruments of {month.name}", partial(_instruments, month=month)):
            done = done.plus(await _patiently(pool, f"pack {month.name}", partial(_pack_month, interval=interval, month=month, key=key)))
        if month.name != f"kline_{interval.slug}":
            gone = await drop_if_empty(pool, month.name)
            done = done._replace(dropped=done.dropped + gone, left=done.left + (not gone))
        tell(f"{month.name} {to_rfc3339(month.low_ns)}: {done.rows} rows in {done.chunks} chunks of {done.packed_bytes} bytes so far")
    return done


async def _instruments(connection: Connection, month: Partition) -> list[int]:
    text = f"SELECT DISTINCT instrument_id FROM {month.name} WHERE {_IN} ORDER BY 1"
    return [row[0] for row in await connection.fetch(text, month.low_ns, month.high_ns)]


async def uncompact(pool: Pool, interval: Interval, start_ns: int, end_ns: int) -> int:
    """Make rows again of all chunks that touch [start_ns, end_ns), one transaction each. Returns how many rows."""
    text = "SELECT instrument_id, low, high FROM kline_packed WHERE slug = $1 AND low < $3 AND high > $2 ORDER BY low, instrument_id"
    partitions = Partitions(f"kline_{interval.slug}", month_of)
    is_divided = bool(await pool.run("list partitions", lambda connection: is_partitioned(connection, partitions.parent)))
    total = 0
    for key, low, high in await pool.run("list packed chunks", lambda connection: connection.fetch(text, interval.slug, start_ns, end_ns)):
        if is_divided:
            await pool.run(f"make a partition of {partitions.parent}", partial(partitions.ensure, times_ns=[low]))
        total += await pool.write(f"unpack {partitions.parent}", partial(thaw, key=key, interval=interval, start_ns=low, end_ns=high))
    return total


_IN = "open_time >= $1 AND open_time < $2 AND final"


async def _months(connection: Connection, interval: Interval, before_ns: int) -> list[Partition]:
    """Months with rows that may be packed, each with the table that holds them."""
    table = f"kline_{interval.slug}"
    held = await list_partitions(connection, table)
    if held:
        return [each for each in held if each.high_ns <= before_ns]
    ends = await connection.fetchrow(f"SELECT min(open_time), max(open_time) FROM {table} WHERE final")
    if ends[0] is None:
        return []
    return [Partition(table, *span) for span in _months_between(ends[0], min(ends[1] + 1, before_ns)) if span[1] <= before_ns]


def _months_between(low_ns: int, high_ns: int) -> Iterator[tuple[int, int]]:
    while low_ns < high_ns:
        span = month_of(low_ns)
        yield span
        low_ns = span[1]


async def _pack_month(connection: Connection, interval: Interval, month: Partition, key: int) -> Compacted:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
        await connection.execute(f"LOCK TABLE ONLY {month.name} IN SHARE ROW EXCLUSIVE MODE")  # no writer is half-way in here
        bars = await copy_bars(connection, month.name, key, month.low_ns, month.high_ns)
        if not bars.rows():
            return Compacted()
        size = chunks = 0
        for (low, high), part in _divided(interval, bars):
            size += await _put(connection, interval, key, low, high, part)
            chunks += 1
        gone = await connection.execute(f"DELETE FROM {month.name} WHERE instrument_id = $3 AND {_IN}", month.low_ns, month.high_ns, key)
        if int(gone.rsplit(" ", 1)[1]) != bars.rows():
            raise StoreError(f"{month.name}: packed {bars.rows()} rows of instrument {key}, and {gone}")
        await connection.execute("UPDATE packed_mark SET until = $2 WHERE noun = $1 AND until < $2", interval.slug, month.high_ns)
        return Compacted(bars.rows(), chunks, size)


def _divided(interval: Interval, bars: Bars) -> Iterator[tuple[tuple[int, int], Bars]]:
    opens = bars.open_us
    while len(opens):
        span = span_of(interval, int(opens[0]) * 1000)
        yield span, bars.part(span[0] // 1000, span[1] // 1000)
        opens = opens[np.searchsorted(opens, span[1] // 1000) :]


async def _put(connection: Connection, interval: Interval, key: int, low_ns: int, high_ns: int, bars: Bars) -> int:
    """Write a chunk, together with what it held before. Nothing is believed that does not come back bit for bit."""
    text = f"SELECT {PACKED} FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low = $3 FOR UPDATE"
    held = await connection.fetchrow(text, key, interval.slug, low_ns)
    if held is not None:
        both = joined([Packed(*held).bars(), bars])
        order = np.argsort(both.open_us, kind="stable")
        bars = Bars._make(column[order] for column in both)
    data, digest = pack(bars), bars.digest()
    if unpack(data).digest() != digest:
        raise StoreError(f"kline_{interval.slug} of instrument {key} from {to_rfc3339(low_ns)} on cannot be packed without loss")
    first, last = (int(bars.open_us[at]) * 1000 for at in (0, -1))
    await connection.execute(_PUT, key, interval.slug, low_ns, high_ns, bars.rows(), first, last, bars.by_source(), digest, data)
    return len(data)


async def _patiently(pool: Pool, what: str, work: Callable[[Connection], Awaitable[Compacted]]) -> Compacted:
    """Again where a lock was not to be had at once: waiting longer for it would stop those who come after."""
    for _ in range(_TRIES):
        try:
            return await pool.run(what, work)
        except StoreError as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            await asyncio.sleep(_WAIT_S)
    return Compacted(left=1)


def cutoff_ns(now_ns: int, days: int) -> int:
    """Months that ended by then may be packed."""
    return now_ns - max(days, LEAST_DAYS) * NS_PER_DAY
