"""Which of the shards that several processes divide one of them takes, and which one it gives away."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def shard_of(entity_id: str, shards: int) -> int:
    """The shard of an instrument: the same in every process and build."""
    return zlib.crc32(entity_id.encode()) % shards


def divide(names: Sequence[str], me: str, members: Collection[str], holders: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(to take, to give) of one process, from what all see alike; processes that follow it come to rest within one shard of each other.

    names: all shards. members: the living processes, `me` among them. holders: name → who holds it now; absent where nobody does. What a
    stranger holds is left to it. One shard is given away at a time, and only to whom it is due.
    """
    ours = [name for name in names if holders.get(name, me) in members]
    free = [name for name in ours if name not in holders]
    mine = [name for name in ours if holders.get(name) == me]
    counts = Counter(holders[name] for name in ours if name in holders)
    least, rest = divmod(len(ours), len(members))
    most = least + (1 if rest else 0)
    owed = sum(max(0, least - counts[member]) for member in members)
    # Where more may than should, their order says who does: else they would all do it, and all undo it.
    rich = sorted(member for member in members if counts[member] > least)
    if len(mine) > most or (not free and me in rich[:owed]):
        return [], [min(mine, key=lambda name: _weight(me, name))]
    even = sorted(member for member in members if counts[member] == least)
    extra = even[: max(0, len(free) - owed)] if rest else []
    room = least - len(mine) if len(mine) < least else int(me in extra)
    return sorted(free, key=lambda name: _weight(me, name), reverse=True)[:room], []


def _weight(holder: str, name: str) -> int:
    """How much a process wants a shard: each wants others first, so that they seldom reach for the same one."""
    return zlib.crc32(f"{holder} {name}".encode())
