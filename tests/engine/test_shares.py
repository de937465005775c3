"""Processes that only see who holds what come to a fair share each, and stay there."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.engine.shares import divide, shard_of

MOST_TURNS = 200


def settle(names: list[str], members: list[str], holders: dict[str, str]) -> int:
    """Each acts in turn on what it saw before the turn, as processes do at once; the first to reach for a shard gets it. Gives the turns
    until nobody wants anything."""
    for turn in range(MOST_TURNS):
        seen = dict(holders)
        wishes = [(me, *divide(names, me, members, seen)) for me in members]
        if not any(take or give for _, take, give in wishes):
            return turn
        for me, take, give in wishes:
            for name in give:
                assert holders.pop(name) == me
            for name in take:
                holders.setdefault(name, me)
    raise AssertionError(f"no rest: {holders}")


@given(st.integers(1, 24), st.integers(1, 8), st.integers(0, 2**32))
def test_from_anything_all_shards_are_held_within_one_of_each_other(shards: int, processes: int, start: int) -> None:
    names, members = [f"ingest:binance:{n}" for n in range(shards)], [f"p{n}" for n in range(processes)]
    holders = {name: members[start // (n + 1) % processes] for n, name in enumerate(names) if (start >> n % 32) & 1}
    settle(names, members, holders)
    counts = Counter(holders.values())
    assert set(holders) == set(names)
    assert max(counts.values()) - min(counts[member] for member in members) <= 1


@pytest.mark.parametrize("before, after", [(3, 4), (4, 3), (1, 4), (4, 1)])
def test_who_joins_or_leaves_moves_no_more_than_it_must(before: int, after: int) -> None:
    names, all_of = [f"s{n}" for n in range(12)], [f"p{n}" for n in range(4)]
    holders: dict[str, str] = {}
    settle(names, all_of[:before], holders)
    living = {name: holder for name, holder in holders.items() if holder in all_of[:after]}
    then = dict(living)
    settle(names, all_of[:after], then)
    moved = sum(then[name] != holder for name, holder in living.items())
    assert moved == max(0, 12 - 12 * before // after)


def test_what_a_stranger_holds_is_left_to_it() -> None:
    assert divide(["a", "b"], "me", ["me"], {"a": "stranger"}) == (["b"], [])
    assert divide(["a"], "me", ["me"], {"a": "stranger"}) == ([], [])


def test_an_instrument_stays_in_its_shard_whatever_build_asks() -> None:
    assert [shard_of(name, 4) for name in ("cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt")] == [
        1,
        2,
    ]  # CRC-32 as gzip writes it, modulo 4
    spread = Counter(shard_of(f"cryptopair_binance_{n}usdt", 8) for n in range(800))
    assert min(spread.values()) > 60
