"""How long may a stream be silent? Pure: arrivals in, verdicts out.

Heartbeats and answers to pings do not count: only data does. What a stream may do is learnt from what it did: five times the
99.9th percentile of the time between arrivals, within a floor and a cap. A stream whose own habit is beyond the cap cannot be
judged by its silence and is left alone; the connection as a whole still can.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S

QUANTILE = 0.999
FACTOR = 5
LEARNT_AFTER = 64  # arrivals before a habit is believed
_MOST_PATIENCE = 64.0
_BUCKETS = 96  # four a doubling from 1 ms: up to 4.6 hours
_FORGET_AFTER = 8_192  # then counts are halved, so that a habit can change


class Habit:
    """The times between arrivals, as counts in logarithmic buckets; bounded memory, 19 % resolution."""

    __slots__ = ("_counts", "_is_first", "_total", "last_ns", "patience")

    def __init__(self, now_ns: int) -> None:
        self.last_ns = now_ns
        self.patience = 1.0  # doubled by each alarm that a reconnect did not cure, until data comes
        self._counts = [0] * _BUCKETS
        self._total = 0
        self._is_first = True

    def begin(self, now_ns: int) -> None:
        """A new connection: how long it takes to speak is no habit."""
        self.last_ns = now_ns
        self._is_first = True

    @property
    def is_learnt(self) -> bool:
        """Whether there was enough to learn from."""
        return self._total >= LEARNT_AFTER

    def arrived(self, now_ns: int) -> None:
        """Data came."""
        gap_ms = (now_ns - self.last_ns) / NS_PER_MS
        self.last_ns = now_ns
        self.patience = 1.0
        if self._is_first:
            self._is_first = False
            return
        bucket = min(_BUCKETS - 1, int(4 * math.log2(gap_ms))) if gap_ms > 1 else 0
        self._counts[bucket] += 1
        self._total += 1
        if self._total > _FORGET_AFTER:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)

    def stirred(self, now_ns: int) -> None:
        """It is not silent. How often is not told, so nothing is learnt."""
        self.last_ns = now_ns
        self.patience = 1.0

    def usual_ns(self) -> int:
        """Five times the 99.9th percentile."""
        rest = self._total * QUANTILE
        for bucket, count in enumerate(self._counts):
            rest -= count
            if rest <= 0:
                return int(FACTOR * 2 ** ((bucket + 1) / 4) * NS_PER_MS)
        return int(FACTOR * 2 ** (_BUCKETS / 4) * NS_PER_MS)


class Watchdog:
    """The habits of one connection's streams, kept over reconnects, and of the connection as a whole.

    floor_s: shortest silence that alarms. cap_s: longest habit of a stream that is watched by itself. first_s: silence of a
    connection that nothing is known of yet.
    """

    def __init__(self, keys: Iterable[Hashable], now_ns: int, *, floor_s: float = 4.5, cap_s: float = 25.0, first_s: float = 10.0) -> None:
        self._floor_ns = int(floor_s * NS_PER_S)
        self._cap_ns = int(cap_s * NS_PER_S)
        self._first_ns = int(first_s * NS_PER_S)
        self._whole = Habit(now_ns)
        self._habits = {key: Habit(now_ns) for key in keys}
        self.is_one = False  # whether the last alarm was of a single stream, while others of the connection spoke

    def await_only(self, keys: Iterable[Hashable], now_ns: int) -> None:
        """These streams are awaited from now on, and no others. Habits of those that stay are kept."""
        self._habits = {key: self._habits.get(key) or Habit(now_ns) for key in keys}

    def connected(self, now_ns: int) -> None:
        """A new connection: silence counts from here."""
        self._whole.begin(now_ns)
        for habit in self._habits.values():
            habit.begin(now_ns)

    def arrived(self, keys: Iterable[Hashable], now_ns: int) -> None:
        """Data came for these streams (each once a batch)."""
        self._whole.arrived(now_ns)
        for key in keys:
            habit = self._habits.get(key)
            if habit is not None:
                habit.arrived(now_ns)

    def stirred(self, keys: Iterable[Hashable], now_ns: int) -> None:
        """Frames of these streams came, though no data could be made of them."""
        for key in keys:
            self._whole.stirred(now_ns)
            if (habit := self._habits.get(key)) is not None:
                habit.stirred(now_ns)

    def mute(self, now_ns: int) -> str | None:
        """Why the connection should be replaced, or None. Each alarm makes the next one of the same stream more patient."""
        if self._is_mute(self._whole, now_ns, self._whole_allowed_ns()):
            for habit in self._habits.values():
                habit.patience = min(habit.patience * 2, _MOST_PATIENCE)
            self.is_one = False
            return self._alarm("the connection", self._whole, now_ns)
        for key, habit in self._habits.items():
            if habit.is_learnt and habit.usual_ns() <= self._cap_ns:
                allowed = max(self._floor_ns, habit.usual_ns())
                if self._is_mute(habit, now_ns, allowed):
                    self.is_one = self.age_ns(now_ns) < allowed // 2
                    return self._alarm(str(key), habit, now_ns)
        return None

    def age_ns(self, now_ns: int) -> int:
        """Since when the connection as a whole has been silent."""
        return now_ns - self._whole.last_ns

    def _whole_allowed_ns(self) -> int:
        if not self._whole.is_learnt:
            return self._first_ns
        return max(self._floor_ns, min(self._cap_ns, self._whole.usual_ns()))

    def _is_mute(self, habit: Habit, now_ns: int, allowed_ns: int) -> bool:
        return now_ns - habit.last_ns > allowed_ns * habit.patience

    def _alarm(self, name: str, habit: Habit, now_ns: int) -> str:
        habit.patience = min(habit.patience * 2, _MOST_PATIENCE)
        return f"no data of {name} for {(now_ns - habit.last_ns) / NS_PER_S:.1f} s"
