"""The newest klines of each series in memory, in front of a store: ports.KlineStore over ports.KlineStore.

The rule. What is answered from memory was true at most `max_age_ns` ago, whoever writes: once that old, one question to the store tells
of all series in use whether anything touched them, and what was touched is read again. What was written through this object is seen by
the next read. Older ranges, and whatever memory does not hold whole, are the store's to answer.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_S, Interval
from zvt_crypto.ports import Clock, KlineChanges, KlineStore, Written

MAX_AGE_NS = NS_PER_S // 4
MOST_ROWS_A_SERIES = 1_500
MOST_ROWS = 200_000  # in all, some 60 MB
Key = tuple[str, Interval]


class _Series:
    """The newest rows, oldest first; all there are where they are fewer than were asked for."""

    __slots__ = ("checked_ns", "from_ns", "opens", "rows", "version")

    def __init__(self, rows: list[Kline], version: str, from_ns: int, checked_ns: int) -> None:
        self.rows, self.version, self.from_ns, self.checked_ns = rows, version, from_ns, checked_ns
        self.opens = [row.open_ns for row in rows]

    def part(self, start_ns: int | None, end_ns: int | None, limit: int | None) -> list[Kline] | None:
        """As the store's `read`; None where the answer may lie beyond these rows."""
        high = len(self.rows) if end_ns is None else bisect_left(self.opens, end_ns)
        if start_ns is not None:
            if start_ns < self.from_ns:
                return None
            low = bisect_left(self.opens, start_ns)
            return self.rows[low:high] if limit is None else self.rows[low : min(high, low + limit)]
        if limit is None or (high < limit and self.from_ns):
            return self.rows[:high] if not self.from_ns else None
        return self.rows[max(0, high - limit) : high]


class RecentKlines:
    """At most `most_rows` klines; the series that was asked for longest ago goes first."""

    def __init__(
        self,
        klines: KlineStore,
        changes: KlineChanges,
        clock: Clock,
        *,
        max_age_ns: int = MAX_AGE_NS,
        rows_a_series: int = MOST_ROWS_A_SERIES,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._klines, self._changes, self._clock = klines, changes, clock
        self._max_age_ns, self._rows_a_series, self._most_rows = max_age_ns, rows_a_series, most_rows
        self._series: OrderedDict[Key, _Series] = OrderedDict()
        self._rows = 0
        self._loading: dict[Key, asyncio.Task[_Series]] = {}
        self._checking: asyncio.Task[None] | None = None
        self._used: set[Key] = set()

    async def read(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, limit: int | None = None
    ) -> list[Kline]:
        """As ports.KlineStore says."""
        if (limit is None and start_ns is None) or (limit or 0) > self._rows_a_series:
            return await self._klines.read(instrument, interval, start_ns, end_ns, limit)
        key = (instrument, interval)
        series = self._series.get(key)
        if series is None or self._clock.now_ns() - series.checked_ns >= self._max_age_ns:
            series = await self._current(key)
        else:
            self._series.move_to_end(key)
            self._used.add(key)
        found = series.part(start_ns, end_ns, limit)
        return found if found is not None else await self._klines.read(instrument, interval, start_ns, end_ns, limit)

    async def upsert(self, klines: Sequence[Kline], known_at_ns: int) -> Written:
        """As ports.KlineStore says."""
        try:
            return await self._klines.upsert(klines, known_at_ns)
        finally:  # one that was cut off may have been committed
            for key in {(kline.instrument, kline.interval) for kline in klines}:
                self._forget(key)
                self._loading.pop(key, None)

    async def bounds(self, instrument: str, interval: Interval) -> tuple[int, int] | None:
        """As ports.KlineStore says."""
        return await self._klines.bounds(instrument, interval)

    async def missing(self, instrument: str, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """As ports.KlineStore says."""
        return await self._klines.missing(instrument, interval, start_ns, end_ns)

    def rows(self) -> int:
        """How many klines are held."""
        return self._rows

    async def _current(self, key: Key) -> _Series:
        """The series as the store has it now, asked or read anew."""
        self._used.add(key)
        if key in self._series:
            if self._checking is None:
                self._checking = asyncio.create_task(self._check())
            await asyncio.shield(self._checking)
            series = self._series.get(key)
            if series is not None and self._clock.now_ns() - series.checked_ns < self._max_age_ns:
                self._series.move_to_end(key)
                return series
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(key))
        # Several askers share one read; one that leaves must not take it from the others.
        return await asyncio.shield(task)

    async def _check(self) -> None:
        try:
            used, self._used = [key for key in self._used if key in self._series], set()
            held = [self._series[key] for key in used]
            now_ns = self._clock.now_ns()
            for key, series, version in zip(used, held, await self._changes.series(used), strict=True):
                if version == series.version:
                    series.checked_ns = now_ns
                elif self._series.get(key) is series:
                    self._forget(key)
        finally:
            self._checking = None

    async def _load(self, key: Key) -> _Series:
        task = asyncio.current_task()
        try:
            asked_ns = self._clock.now_ns()
            # The version first: what changes while the rows are read is then seen as a change.
            [version] = await self._changes.series([key])
            rows = await self._klines.read(*key, limit=self._rows_a_series)
            from_ns = rows[0].open_ns if len(rows) == self._rows_a_series else 0
            series = _Series(rows, version, from_ns, asked_ns)
            if self._loading.get(key) is task:  # otherwise somebody wrote meanwhile
                self._keep(key, series)
            return series
        finally:
            if self._loading.get(key) is task:
                del self._loading[key]

    def _keep(self, key: Key, series: _Series) -> None:
        self._forget(key)
        self._series[key] = series
        self._rows += len(series.rows)
        while self._rows > self._most_rows and len(self._series) > 1:
            self._forget(next(iter(self._series)))

    def _forget(self, key: Key) -> None:
        series = self._series.pop(key, None)
        if series is not None:
            self._rows -= len(series.rows)
