"""Partitions on demand: months for short klines, days for trades. Whoever comes second finds the first one's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

import asyncpg

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.time import NS_PER_DAY, Interval, floor_ns, next_ns, to_datetime
from zvt_crypto.stores.postgres.pool import Connection, Pool

T = TypeVar("T")
Span = tuple[int, int]
_LOCK_MS = 500  # others queue behind a lock that waits


def month_of(at_ns: int) -> Span:
    """[start, end) of the calendar month, UTC."""
    start = floor_ns(Interval.MONTH_1, at_ns)
    return start, next_ns(Interval.MONTH_1, start)


def day_of(at_ns: int) -> Span:
    """[start, end) of the day, UTC."""
    start = at_ns // NS_PER_DAY * NS_PER_DAY
    return start, start + NS_PER_DAY


class Partitions:
    """The partitions of one table, as far as this process knows them."""

    def __init__(self, parent: str, span_of: Callable[[int], Span]) -> None:
        self.parent = parent
        self._span_of = span_of
        self._known: set[int] = set()

    async def ensure(self, connection: Connection, times_ns: Iterable[int]) -> None:
        """Make what is missing for these times. Call it outside the transaction that writes: the partition stays, whatever happens."""
        for start in sorted(self._starts(times_ns) - self._known):
            end = self._span_of(start)[1]
            await connection.execute("SELECT zvt_add_partition($1, $2, $3, $4)", self.parent, self._name(start), start, end)
            self._known.add(start)

    def _starts(self, times_ns: Iterable[int]) -> set[int]:
        starts: set[int] = set()
        low = high = 0
        for at in times_ns:
            if not low <= at < high:
                low, high = self._span_of(at)
                starts.add(low)
        return starts

    def forget(self) -> None:
        """Ask again for each."""
        self._known.clear()

    def _name(self, start_ns: int) -> str:
        day = to_datetime(start_ns)
        return f"{self.parent}_{day:%Y%m}" if self._span_of is month_of else f"{self.parent}_{day:%Y%m%d}"


async def despite_drops(partitions: Iterable[Partitions], write: Callable[[], Awaitable[T]]) -> T:
    """`await write()`, and once more where somebody dropped a partition that we believed in (retention does)."""
    try:
        return await write()
    except asyncpg.CheckViolationError as error:
        if not str(error).startswith("no partition of relation"):
            raise
    for each in partitions:
        each.forget()
    return await write()


class Partition(NamedTuple):
    """One partition, and the [low, high) that it holds."""

    name: str
    low_ns: int
    high_ns: int


async def list_partitions(connection: Connection, parent: str) -> list[Partition]:
    """By time; empty for a table that has none. Chunks of a hypertable are partitions, too.

    Names tell no spans: they are read from what the server enforces.
    """
    text = """
        SELECT c.relname, (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)'))::timestamptz[]
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass(quote_ident($1)) AND c.relispartition"""
    found = [Partition(name, *bounds) for name, bounds in await connection.fetch(text, parent)]
    if not found and await connection.fetchval("SELECT to_regclass('timescaledb_information.chunks')") is not None:
        text = """SELECT format('%I.%I', chunk_schema, chunk_name), range_start, range_end FROM timescaledb_information.chunks
            WHERE hypertable_name = $1"""
        found = [Partition(*row) for row in await connection.fetch(text, parent)]
    return sorted(found, key=lambda each: each.low_ns)


async def is_partitioned(connection: Connection, table: str) -> bool:
    """Whether the table is divided by time natively (one of an extension's divides itself)."""
    found: bool = await connection.fetchval("SELECT relkind = 'p' FROM pg_class WHERE oid = $1::regclass", table)
    return found


async def drop_if_empty(pool: Pool, name: str) -> bool:
    """Drop a partition that holds nothing any more. False where it holds something, or where others would have to wait for it."""

    async def work(connection: Connection) -> bool:
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608 - a partition's own name
            return False
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
        await connection.execute(f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE")
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608 - a partition's own name
            return False
        await connection.execute(f"DROP TABLE {name}")
        return True

    try:
        return await pool.write(f"drop {name}", work)
    except StoreError as error:
        if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            return False
        raise
