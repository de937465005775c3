"""Reading forward through a venue that pages backward: all rows from a position on, in few requests, however thin they lie."""

from __future__ import annotations

import asyncio

import pytest

from zvt_crypto.venues.okx.pages import read_backward, read_forward

PAGE = 100


class Rows:
    """Positions in memory, read as OKX lets them be read."""

    def __init__(self, *positions: int) -> None:
        self.positions = sorted(positions)
        self.asked = 0

    async def before(self, end: int, most: int) -> list[int]:
        self.asked += 1
        return [position for position in self.positions if position < end][-most:]

    def position(self, row: int) -> int:
        return row

    def window(self, start: int, most: int) -> tuple[int, int]:
        rows = min(most, PAGE)
        return start + rows, rows


@pytest.mark.parametrize("most", [1, 3, 1_000])
@pytest.mark.parametrize("positions", [[139_000_077], [7, 139_000_077, 139_000_078], list(range(0, 40_000, 37)), list(range(500, 900)), []])
def test_the_first_rows_are_found_in_few_requests(positions, most):
    rows = Rows(*positions)
    found = asyncio.run(read_forward(rows, 0, 200_000_000, most, lambda _: True))
    assert found == positions[:most]
    assert rows.asked <= 40 + 2 * len(positions)
    if len(positions) == 1:
        assert rows.asked <= 40


def test_only_those_in_the_range_that_are_wanted_count():
    rows = Rows(*range(1_000))
    assert asyncio.run(read_forward(rows, 10, 500, 3, lambda row: row % 100 == 0)) == [100, 200, 300]
    assert asyncio.run(read_forward(rows, 10, 150, 3, lambda row: row % 100 == 0)) == [100]
    assert asyncio.run(read_backward(rows, 500, 3, PAGE, lambda row: row % 2 == 0)) == [494, 496, 498]
