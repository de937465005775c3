"""What several pasts hold together: the newest used, and never another's."""

from __future__ import annotations

import numpy as np

from zvt_crypto.sim.chance import generator
from zvt_crypto.sim.past import DAY_NS, DayTrades, Ints, Past, Shelf


def past(seed: int, shelf: Shelf[DayTrades] | None = None, walks: Shelf[Ints] | None = None) -> Past:
    return Past(
        lambda day: generator(seed, "past", day),
        days=3,
        end_ns=100 * DAY_NS,
        end_price=50_000,
        end_id=1_000_000,
        trades_per_minute=4,
        shelf=shelf,
        walks=walks,
    )


def test_a_shelf_forgets_what_was_not_used_for_longest() -> None:
    shelf: Shelf[str] = Shelf(2)
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    for name in "ababcacb":
        assert shelf.get(name, lambda name=name: make(name)) == name  # type: ignore[misc]
    assert made == ["a", "b", "c", "a", "b"]
    assert len(shelf) == 2


def test_pasts_that_share_a_shelf_too_small_for_them_tell_the_same_as_alone() -> None:
    shelf: Shelf[DayTrades] = Shelf(1)
    walks: Shelf[Ints] = Shelf(1)
    shared = [past(seed, shelf, walks) for seed in (1, 2)]
    for index in (2, 0, 2, 1):
        for seed, one in zip((1, 2), shared, strict=True):
            alone = past(seed).day(index)
            assert all(np.array_equal(here, there) for here, there in zip(one.day(index), alone, strict=True))
    assert (len(shelf), len(walks)) == (1, 1)
