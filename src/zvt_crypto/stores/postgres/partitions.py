"""Partitions on demand: months for short klines, days for trades. Whoever comes second finds the first one's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import asyncpg

from zvt_crypto.domain.time import NS_PER_DAY, Interval, floor_ns, next_ns, to_datetime
from zvt_crypto.stores.postgres.pool import Connection

T = TypeVar("T")
Span = tuple[int, int]


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
