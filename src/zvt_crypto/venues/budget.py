"""What may still be sent to a venue (ports.RateBudget): waits for its turn at a table of limits, its own or one that the machine shares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from zvt_crypto.domain.errors import Banned, Throttled
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.engine.limits import BAN_MS, Limits, LimitTable, OwnLimits
from zvt_crypto.ports import Clock, Observer, Priority

Stated = tuple[int, int, bool]  # limit, window in ms, whether it slides
# How long each is ready to wait for its turn. A window is a minute, or five for connections and funding.
PATIENCE_MS: dict[Priority, int] = {"cancel": 1_000, "order": 1_000, "live": 90_000, "backfill": 330_000}
LONG_MS = 5_000  # somebody may sit before a command that says nothing for so long


class LimitBudget:
    """The budget for every venue and limit. Unknown buckets are unlimited until a limit is stated."""

    def __init__(
        self, clock: Clock, observer: Observer, table: LimitTable | None = None, *, patience_ms: Mapping[Priority, int] | None = None
    ) -> None:
        self._clock, self._observer = clock, observer
        self._table: LimitTable = table if table is not None else OwnLimits()
        self._patience_ms = {**PATIENCE_MS, **(patience_ms or {})}
        self._stated: dict[str, Stated] = {}

    async def acquire(self, bucket: str, weight: int, priority: Priority) -> None:
        """Wait until `weight` may be spent, and spend it. Raises Banned or Throttled where that takes longer than the priority waits."""
        deadline_ms = self._now_ms() + self._patience_ms[priority]
        while True:
            now_ms = self._now_ms()
            wait_ms, used = self._table.change(
                partial(_take, bucket=bucket, weight=weight, priority=priority, now_ms=now_ms, stated=self._stated.get(bucket))
            )
            if wait_ms <= 0:
                self._observer.gauge("rate_budget_used", used, bucket=bucket)
                return
            if now_ms + wait_ms > deadline_ms:
                kind = Banned if wait_ms >= BAN_MS else Throttled
                raise kind(f"{bucket} is closed for {wait_ms} ms: {priority} does not wait that long", wait_ms)
            self._observer.count("rate_budget_waits", bucket=bucket, priority=priority)
            if priority == "backfill" and wait_ms >= LONG_MS:
                self._observer.note("info", "rate_budget_waits", bucket=bucket, wait_s=round(wait_ms / 1000, 1))
            await self._clock.sleep(wait_ms / 1000)

    def believe(self, bucket: str, used: int) -> None:
        """The venue's own count. A higher one counts at once; a lower one only when nothing of ours is on its way."""
        now_ms = self._now_ms()
        self._table.change(lambda limits: limits.believe(bucket, used, now_ms))

    def set_limit(self, bucket: str, limit: int, window_ms: int, *, slides: bool = False) -> None:
        """State a limit, at any time. What was used in the running window stays used."""
        self._stated[bucket] = (limit, window_ms, slides)
        self._table.change(lambda limits: limits.state(bucket, limit, window_ms, slides=slides))

    def penalise(self, bucket: str, wait_ms: int) -> None:
        """Close the bucket for `wait_ms`, or longer where it is closed longer already."""
        now_ms = self._now_ms()
        self._table.change(lambda limits: limits.refused(bucket, wait_ms, now_ms))
        self._observer.count("rate_budget_penalties", bucket=bucket)

    def used(self, bucket: str) -> int:
        """What the running window holds."""
        now_ms = self._now_ms()
        return self._table.change(lambda limits: limits.used(bucket, now_ms))

    def _now_ms(self) -> int:
        return self._clock.now_ns() // NS_PER_MS


def _take(limits: Limits, bucket: str, weight: int, priority: Priority, now_ms: int, stated: Stated | None) -> tuple[int, int]:
    """(how long to wait, what is used): spent where the wait is 0. A shared table that was lost is told the limit again: what it does not
    know is unlimited."""
    if stated is not None and not limits.knows(bucket):
        limit, window_ms, slides = stated
        limits.state(bucket, limit, window_ms, slides=slides)
    wait_ms = limits.wait_ms(bucket, weight, priority, now_ms)
    return (wait_ms, 0) if wait_ms > 0 else (0, limits.spend(bucket, weight, now_ms))
