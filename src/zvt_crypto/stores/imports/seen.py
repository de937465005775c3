"""Which bars a series has had so far, and what they said: eight bytes a bar, over all its files, in any order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from zvt_crypto.domain.imports import Hole
from zvt_crypto.domain.time import FIXED_NS, NS_PER_DAY, Interval

_BLOCK = 4096
_MONDAY_NS = 3 * NS_PER_DAY  # the epoch was a Thursday
Ints = npt.NDArray[np.int64]
Prints = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


class SeenBars:
    """Bars by number, counted along the interval's grid. A print is a hash of what a bar says."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._blocks: dict[int, Prints] = {}

    def add(self, opens_ns: Ints, prints: Prints) -> tuple[Mask, Mask]:
        """(new, same): bars that come for the first time, and those that say what the first one said. Opens are on the grid."""
        numbers = bar_numbers(self._interval, opens_ns)
        prints = np.where(prints == 0, np.uint64(1), prints)
        new = np.zeros(len(numbers), np.bool_)
        same = np.zeros(len(numbers), np.bool_)
        blocks = numbers // _BLOCK
        for block in np.unique(blocks):
            held = self._blocks.setdefault(int(block), np.zeros(_BLOCK, np.uint64))
            at = np.flatnonzero(blocks == block)
            places = numbers[at] % _BLOCK
            firsts = np.zeros(len(at), np.bool_)
            firsts[np.unique(places, return_index=True)[1]] = True
            firsts &= held[places] == 0
            held[places[firsts]] = prints[at][firsts]
            new[at] = firsts
            same[at] = ~firsts & (held[places] == prints[at])
        return new, same

    def holes(self) -> Iterator[Hole]:
        """Between the first and the last bar, oldest first."""
        last: int | None = None
        for block in sorted(self._blocks):
            numbers = np.flatnonzero(self._blocks[block]) + block * _BLOCK
            if last is not None:
                numbers = np.concatenate(([last], numbers))
            for at in np.flatnonzero(np.diff(numbers) > 1):
                before, after = int(numbers[at]), int(numbers[at + 1])
                yield Hole(open_of(self._interval, before + 1), open_of(self._interval, after), after - before - 1)
            last = int(numbers[-1]) if len(numbers) else last


def bar_numbers(interval: Interval, opens_ns: Ints) -> Ints:
    """Neighbours on the grid have neighbouring numbers."""
    if interval is Interval.MONTH_1:
        return opens_ns.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    if interval is Interval.WEEK_1:
        opens_ns = opens_ns + _MONDAY_NS
    return opens_ns // FIXED_NS[interval]


def open_of(interval: Interval, number: int) -> int:
    """The open of a bar by its number, in ns."""
    if interval is Interval.MONTH_1:
        first = dt.date(1970 + number // 12, number % 12 + 1, 1)
        return (first - dt.date(1970, 1, 1)).days * NS_PER_DAY
    return number * FIXED_NS[interval] - (_MONDAY_NS if interval is Interval.WEEK_1 else 0)


def on_grid(interval: Interval, opens_ns: Ints) -> Mask:
    """Which of these are opens."""
    if interval is Interval.MONTH_1:
        months = opens_ns.astype("datetime64[ns]").astype("datetime64[M]")
        return np.equal(months.astype("datetime64[ns]").astype(np.int64), opens_ns)
    offset = _MONDAY_NS if interval is Interval.WEEK_1 else 0
    return np.equal((opens_ns + offset) % FIXED_NS[interval], 0)


def closes_ns(interval: Interval, opens_ns: Ints) -> Ints:
    """When the bars end that open then."""
    if interval is Interval.MONTH_1:
        months = opens_ns.astype("datetime64[ns]").astype("datetime64[M]") + 1
        return months.astype("datetime64[ns]").astype(np.int64)
    return opens_ns + FIXED_NS[interval]
