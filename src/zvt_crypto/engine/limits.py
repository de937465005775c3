"""How much may still be sent to a venue: a table of its limits, and the rules of who may spend from them. Pure: time is an argument.

Windows are fixed and begin at multiples of their length. A limit that a venue lowers without a word is learned from its refusals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from zvt_crypto.ports import Priority

T = TypeVar("T")
# Each may fill a window up to this share of its limit: what backfill may not touch is left for the live path, and so on.
SHARES: dict[Priority, float] = {"cancel": 1.0, "order": 0.98, "live": 0.95, "backfill": 0.90}
# Our clock and the venue's differ a little: nothing is sent in the first moments of a window, when theirs may still be the old one.
GUARD_MS = 50
# A lower count from the venue is believed once nothing of ours can be on its way any more.
QUIET_MS = 1_000
# A limit learned from a refusal is tried higher again after this long, a tenth at a time.
LEARNED_MS = 600_000
# A refusal below this share of the limit teaches nothing: it was about something else (a burst rule, another user of the address).
_LEAST_LEARNED = 0.2


class Bucket(msgspec.Struct):
    """One limit. `stated` is the venue's word, `limit` what we go by."""

    limit: int
    window_ms: int
    stated: int = 0
    window: int = 0  # index of the window that `used` counts
    used: int = 0
    last_spent_ms: int = 0
    closed_until_ms: int = 0
    learned_ms: int = 0  # when `limit` was lowered by a refusal; 0: it is the stated one

    def roll(self, now_ms: int) -> None:
        """Begin the window that holds `now_ms`. A clock that went back a little stays in the newer window."""
        window = now_ms // self.window_ms
        if window > self.window or self.window - window > 1:
            self.window, self.used = window, 0
        if self.learned_ms and now_ms - self.learned_ms >= LEARNED_MS:
            self.limit = min(self.stated, self.limit + max(1, self.stated // 10))
            self.learned_ms = 0 if self.limit == self.stated else now_ms


class Limits(msgspec.Struct):
    """Every bucket that a limit was stated for, by name. Those unknown are unlimited."""

    buckets: dict[str, Bucket] = msgspec.field(default_factory=dict)

    def wait_ms(self, bucket: str, weight: int, priority: Priority, now_ms: int) -> int:
        """0 when it may be spent now, otherwise how long until it is worth asking again."""
        held = self.buckets.get(bucket)
        if held is None:
            return 0
        if held.closed_until_ms > now_ms:
            return held.closed_until_ms - now_ms
        if held.limit <= 0:
            return 0
        held.roll(now_ms)
        share = int(held.limit * SHARES[priority])
        # An empty window always takes one request, however heavy: otherwise a limit set too low would hang for ever.
        if held.used + weight <= share or held.used == 0:
            return 0
        return held.window_ms - now_ms % held.window_ms + GUARD_MS

    def spend(self, bucket: str, weight: int, now_ms: int) -> int:
        """Count it; what the window holds then."""
        held = self.buckets.get(bucket)
        if held is None:
            return 0
        held.roll(now_ms)
        held.used += weight
        held.last_spent_ms = now_ms
        return held.used

    def believe(self, bucket: str, used: int, now_ms: int) -> None:
        """The venue's own count. A higher one counts at once; a lower one only when nothing of ours is on its way."""
        held = self.buckets.get(bucket)
        if held is None:
            return
        held.roll(now_ms)
        if used > held.used or now_ms - held.last_spent_ms > QUIET_MS:
            held.used = used

    def state(self, bucket: str, limit: int, window_ms: int) -> None:
        """A limit's word, at any time. What was used in the running window stays used; what a refusal taught stays until it is over,
        unless the word has changed."""
        held = self.buckets.get(bucket)
        if held is None:
            self.buckets[bucket] = Bucket(limit, window_ms, limit)
        elif (held.stated, held.window_ms) != (limit, window_ms):
            held.limit, held.window_ms, held.stated, held.learned_ms = limit, window_ms, limit, 0

    def refused(self, bucket: str, wait_ms: int, now_ms: int) -> None:
        """The venue throttled or banned us: close the bucket, and take what was used as the limit that holds now."""
        held = self.buckets.setdefault(bucket, Bucket(0, 60_000))
        if held.stated:
            held.roll(now_ms)
            if held.stated * _LEAST_LEARNED <= held.used < held.limit:
                held.limit, held.learned_ms = held.used, now_ms
        held.closed_until_ms = max(held.closed_until_ms, now_ms + wait_ms)

    def used(self, bucket: str, now_ms: int) -> int:
        """What the running window holds."""
        held = self.buckets.get(bucket)
        if held is None:
            return 0
        held.roll(now_ms)
        return held.used


class LimitTable(Protocol):
    """Where a budget's counts stand: in this process, or where every process of the machine sees them."""

    def change(self, apply: Callable[[Limits], T]) -> T:
        """Run `apply` on the table with nobody else at it, and keep what it changed."""
        ...


class OwnLimits:
    """A LimitTable of this process."""

    def __init__(self) -> None:
        self._limits = Limits()

    def change(self, apply: Callable[[Limits], T]) -> T:
        """Nobody else is here."""
        return apply(self._limits)
