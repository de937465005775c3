"""Reading forward where a venue only pages backward: whole windows of positions, and a search where a window is empty.

A position is a trade's id or a kline's open. "The newest `n` before `p`" holds every row of a window of `n` positions that ends at `p`,
however many of them exist: so nothing between two rows of an answer is missing but what the venue itself does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
_WHOLE = 1_000_000  # more than any window holds


class Pages(Protocol[T]):
    """Rows of one kind, each at a position."""

    async def before(self, end: int, most: int) -> list[T]:
        """The newest `most` rows before the position `end`, oldest first."""
        ...

    def position(self, row: T) -> int:
        """Where a row stands."""
        ...

    def window(self, start: int, most: int) -> tuple[int, int]:
        """(end, rows): the longest window of at most `most` positions from `start` on that one request answers."""
        ...


async def read_forward(pages: Pages[T], start: int, end: int, most: int, wanted: Callable[[T], bool]) -> list[T]:
    """The first `most` rows that are `wanted`, of the positions [start, end), oldest first."""
    made: list[T] = []
    at: int | None = start
    is_thin = False
    while at is not None and at < end and len(made) < most:
        # Where rows are few, a window as short as the number of those that are wanted holds none of them.
        upto, rows = pages.window(at, _WHOLE if is_thin else most - len(made))
        page = [row for row in await pages.before(min(upto, end), rows) if at <= pages.position(row) < end]
        made += [row for row in page if wanted(row)]
        is_thin = not page
        at = upto if page else await _next_start(pages, upto, end)
    return made[:most]


async def read_backward(pages: Pages[T], end: int, most: int, page_most: int, wanted: Callable[[T], bool]) -> list[T]:
    """The last `most` rows before `end` that are `wanted`, oldest first."""
    made: list[T] = []
    while len(made) < most:
        page = await pages.before(end, min(page_most, most - len(made)))
        if not page:
            break
        made = [row for row in page if wanted(row)] + made
        end = pages.position(page[0])
    return made[-most:]


async def _next_start(pages: Pages[T], start: int, end: int) -> int | None:
    """A position from which the next row lies in the first window, or None where [start, end) holds none. Halves, so it is quick."""
    if start >= end:
        return None
    newest = await pages.before(end, 1)
    if not newest or pages.position(newest[-1]) < start:
        return None
    found = pages.position(newest[-1])
    while pages.window(start, _WHOLE)[0] <= found:
        middle = (start + found + 1) // 2
        below = await pages.before(middle, 1)
        if below and pages.position(below[-1]) >= start:
            found = pages.position(below[-1])
        else:
            start = middle
    return start
