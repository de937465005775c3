"""What may still be sent to a venue, counted in memory (ports.RateBudget): fixed windows that reset at :00 of their length."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zvt_crypto.domain.errors import Banned, Throttled
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.ports import Clock, Observer, Priority

# Each priority may fill a window up to this share of its limit: what backfill may not touch is left for the live path, and so on.
SHARES: dict[Priority, float] = {"cancel": 1.0, "order": 0.98, "live": 0.95, "backfill": 0.90}
# How long each is ready to wait for its turn. A window is a minute, or five for connections and funding.
PATIENCE_MS: dict[Priority, int] = {"cancel": 1_000, "order": 1_000, "live": 90_000, "backfill": 330_000}
# Venues throttle for a minute at most and ban for two at least.
BAN_MS = 120_000
# Our clock and the venue's differ a little: nothing is sent in the first moments of a window, when theirs may still be the old one.
GUARD_MS = 50
# A lower count from the venue is believed once nothing of ours can be on its way any more.
QUIET_MS = 1_000


class _Bucket(msgspec.Struct):
    limit: int
    window_ms: int
    window: int = 0  # index of the window that `used` counts
    used: int = 0
    last_spent_ms: int = 0
    closed_until_ms: int = 0


class MemoryBudget:
    """One process's budget for every venue and limit. Unknown buckets are unlimited until a limit is stated."""

    def __init__(self, clock: Clock, observer: Observer, *, patience_ms: Mapping[Priority, int] | None = None) -> None:
        self._clock = clock
        self._observer = observer
        self._patience_ms = {**PATIENCE_MS, **(patience_ms or {})}
        self._buckets: dict[str, _Bucket] = {}

    async def acquire(self, bucket: str, weight: int, priority: Priority) -> None:
        """Wait until `weight` may be spent, and spend it. Raises Banned or Throttled where that takes longer than the priority waits."""
        deadline_ms = self._now_ms() + self._patience_ms[priority]
        while (wait_ms := self._wait_ms(bucket, weight, priority)) > 0:
            if self._now_ms() + wait_ms > deadline_ms:
                kind = Banned if wait_ms >= BAN_MS else Throttled
                raise kind(f"{bucket} is closed for {wait_ms} ms: {priority} does not wait that long", wait_ms)
            self._observer.count("rate_budget_waits", bucket=bucket, priority=priority)
            await self._clock.sleep(wait_ms / 1000)
        self._spend(bucket, weight)

    def believe(self, bucket: str, used: int) -> None:
        """The venue's own count. A higher one counts at once; a lower one only when nothing of ours is on its way."""
        held = self._buckets.get(bucket)
        if held is None:
            return
        self._roll(held)
        if used > held.used or self._now_ms() - held.last_spent_ms > QUIET_MS:
            held.used = used

    def set_limit(self, bucket: str, limit: int, window_ms: int) -> None:
        """State a limit, at any time. What was used in the running window stays used."""
        held = self._buckets.get(bucket)
        if held is None:
            self._buckets[bucket] = _Bucket(limit, window_ms)
        else:
            held.limit, held.window_ms = limit, window_ms

    def penalise(self, bucket: str, wait_ms: int) -> None:
        """Close the bucket for `wait_ms`, or longer where it is closed longer already."""
        held = self._buckets.setdefault(bucket, _Bucket(0, 60_000))
        held.closed_until_ms = max(held.closed_until_ms, self._now_ms() + wait_ms)
        self._observer.count("rate_budget_penalties", bucket=bucket)

    def used(self, bucket: str) -> int:
        """What the running window holds."""
        held = self._buckets.get(bucket)
        if held is None:
            return 0
        self._roll(held)
        return held.used

    def _wait_ms(self, bucket: str, weight: int, priority: Priority) -> int:
        """0 when it may be spent now, otherwise how long until it is worth asking again."""
        held = self._buckets.get(bucket)
        if held is None:
            return 0
        now_ms = self._now_ms()
        if held.closed_until_ms > now_ms:
            return held.closed_until_ms - now_ms
        if held.limit <= 0:
            return 0
        self._roll(held)
        share = int(held.limit * SHARES[priority])
        # An empty window always takes one request, however heavy: otherwise a limit set too low would hang for ever.
        if held.used + weight <= share or held.used == 0:
            return 0
        return held.window_ms - now_ms % held.window_ms + GUARD_MS

    def _spend(self, bucket: str, weight: int) -> None:
        held = self._buckets.get(bucket)
        if held is None:
            return
        self._roll(held)
        held.used += weight
        held.last_spent_ms = self._now_ms()
        self._observer.gauge("rate_budget_used", held.used, bucket=bucket)

    def _roll(self, held: _Bucket) -> None:
        window = self._now_ms() // held.window_ms
        if window != held.window:
            held.window, held.used = window, 0

    def _now_ms(self) -> int:
        return self._clock.now_ns() // NS_PER_MS
