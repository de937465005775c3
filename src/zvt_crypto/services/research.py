"""Klines for computing with many: whole months from a local copy where the store says that it is still true, the rest from the store.

The version of a month is asked before its rows are read. Rows that change in between are kept under the older version, which nobody is
told any more: a copy may be made in vain, it is never served for what it is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import polars as pl

from zvt_crypto.domain.time import NS_PER_DAY, Interval, floor_ns, next_ns
from zvt_crypto.ports import ColumnCache, Store

# Of longer ones there are so few that nothing is gained.
COPIED = (Interval.MIN_1, Interval.MIN_5, Interval.MIN_15, Interval.MIN_30, Interval.HOUR_1, Interval.HOUR_4)
SETTLED_NS = NS_PER_DAY // 24  # a month that ended less than this ago is still written to all the time
AT_ONCE = 2  # reads of the store


class Research:
    """Frames out of a store, by way of a cache where there is one."""

    def __init__(self, store: Store, cache: ColumnCache | None, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store, self._cache, self._now_ns = store, cache, now_ns

    async def read(self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None) -> pl.DataFrame:
        """Opens in [start_ns, end_ns), oldest first. Columns as ports.KlineFrames says."""
        months = await self._months(instrument, interval, start_ns, end_ns)
        if self._cache is None or not months:
            return await self._store.frames.klines(instrument, interval, start_ns, end_ns)
        versions = await self._store.changes.versions(instrument, interval, months)
        told = {month: version for month, version in zip(months, versions, strict=True) if version is not None}
        copies = await asyncio.gather(*(asyncio.to_thread(self._cache.get, instrument, interval, *each) for each in told.items()))
        held = {month: frame for month, frame in zip(told, copies, strict=True) if frame is not None}
        gate = asyncio.Semaphore(AT_ONCE)

        async def fetch(low: int | None, high: int | None) -> pl.DataFrame:
            if low in held and high == next_ns(Interval.MONTH_1, low):
                return held[low]
            async with gate:
                frame = await self._store.frames.klines(instrument, interval, low, high)
            if low is not None and high == next_ns(Interval.MONTH_1, low) and (version := told.get(low)) is not None and self._cache:
                await asyncio.to_thread(self._cache.put, instrument, interval, low, version, frame)
            return frame

        parts = await asyncio.gather(*(fetch(low, high) for low, high in _spans(start_ns, end_ns, months)))
        return pl.concat(parts, rechunk=False)

    async def _months(self, instrument: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> list[int]:
        """The months that lie in the range, have rows near them, and have ended."""
        if self._cache is None or interval not in COPIED:
            return []
        bounds = await self._store.klines.bounds(instrument, interval)
        if bounds is None:
            return []
        low, high = max(start_ns or 0, floor_ns(Interval.MONTH_1, bounds[0])), next_ns(Interval.MONTH_1, bounds[1])
        high = min(high, self._now_ns() - SETTLED_NS, high if end_ns is None else end_ns)
        month = low if floor_ns(Interval.MONTH_1, low) == low else next_ns(Interval.MONTH_1, low)
        months = []
        while next_ns(Interval.MONTH_1, month) <= high:
            months.append(month)
            month = next_ns(Interval.MONTH_1, month)
        return months


def _spans(start_ns: int | None, end_ns: int | None, months: list[int]) -> list[tuple[int | None, int | None]]:
    """The range, cut at its whole months: what lies before them, each of them, what lies after."""
    first, after = months[0], next_ns(Interval.MONTH_1, months[-1])
    spans: list[tuple[int | None, int | None]] = [] if start_ns == first else [(start_ns, first)]
    spans += [(month, next_ns(Interval.MONTH_1, month)) for month in months]
    return spans if after == end_ns else [*spans, (after, end_ns)]
