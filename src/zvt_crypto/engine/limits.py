"""How much may still be sent to a venue: a table of its limits, and the rules of who may spend from them. Pure: time is an argument.

Windows are fixed and begin at multiples of their length, or slide: then a limit holds for every stretch of that length, wherever it
begins. A limit that a venue lowers without a word is learned from its refusals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
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
# A limit learned from a refusal is tried higher again after this long, a tenth at a time; twice as long after each try that was refused.
LEARNED_MS = 600_000
_PROBE_MOST_MS = 4 * 3_600_000
# A refusal that shuts us out this long is a ban: venues throttle for a minute at most and ban for two at least. How much was too much
# was not said, and to try for it would cost the next ban: half of the limit is kept to for a day.
BAN_MS = 120_000
_AFTER_BAN_MS = 24 * 3_600_000
# What is planned of a limit whose excess shuts us out, or is not documented, and of which no answer says how much is left: another
# program behind the address, or a limit that was lowered without a word, would otherwise show by the ban alone.
UNTOLD_SHARE = 0.5
# Of each limit, what a process takes that cannot count together with the others for now: how many they are is not known.
ALONE_SHARE = 0.25
# Parts of a sliding window. What was sent is counted for one part longer than the window, since answers and requests need not travel
# equally fast: 40 ms of two seconds.
SLOTS = 50
# A refusal above this share of a limit that held so far may be one request that came late, and met those after it: nothing is learned
# from it, unless another one follows within so many windows.
_FULL, _DOUBT_WINDOWS = 0.9, 10
# A refusal below this share of the limit teaches nothing: it was about something else (a burst rule, another user of the address).
_LEAST_LEARNED = 0.2


class Bucket(msgspec.Struct):
    """One limit. `stated` is the venue's word, `limit` what we go by. Of a window that slides: `sent`, [part of time, weight], oldest
    first, at most SLOTS + 2 of them, and `more`, what the venue counts beyond that, believed for the length of the window."""

    limit: int
    window_ms: int
    stated: int = 0
    window: int = 0  # index of the window that `used` counts
    used: int = 0
    last_spent_ms: int = 0
    closed_until_ms: int = 0
    learned_ms: int = 0  # when `limit` was lowered by a refusal; 0: it is the stated one
    probe_ms: int = LEARNED_MS  # how long after that a higher one is tried
    is_probe: bool = False  # whether it was, and nobody refused yet
    doubted_ms: int = 0  # when a refusal was last held for a matter of a late request
    slides: bool = False
    sent: list[tuple[int, int]] = msgspec.field(default_factory=list)
    more: int = 0
    more_until_ms: int = 0

    def roll(self, now_ms: int) -> None:
        """Begin the window that holds `now_ms`. A clock that went back a little stays in the newer window."""
        if self.slides:
            self._slide(now_ms)
        else:
            window = now_ms // self.window_ms
            if window > self.window or self.window - window > 1:
                self.window, self.used = window, 0
        if self.learned_ms and now_ms - self.learned_ms >= self.probe_ms:
            self.limit, self.is_probe = min(self.stated, self.limit + max(1, self.stated // 10)), True
            self.learned_ms = 0 if self.limit == self.stated else now_ms

    @property
    def slot_ms(self) -> int:
        """The length of a part of a window that slides."""
        return max(1, self.window_ms // SLOTS)

    def add(self, weight: int, now_ms: int) -> None:
        """Count it in the window, which has been rolled."""
        self.used += weight
        if not self.slides:
            return
        slot = max(now_ms // self.slot_ms, self.sent[-1][0] if self.sent else 0)
        if self.sent and self.sent[-1][0] == slot:
            self.sent[-1] = (slot, self.sent[-1][1] + weight)
        else:
            self.sent.append((slot, weight))

    def room_ms(self, too_much: int, now_ms: int) -> int:
        """How long until so much weight has left the window, or all of it has."""
        if not self.slides:
            return self.window_ms - now_ms % self.window_ms + GUARD_MS
        if not self.sent:
            return max(1, self.more_until_ms - now_ms)
        gone = list(accumulate(weight for _, weight in self.sent))
        last = min(bisect_left(gone, too_much), len(gone) - 1)
        return (self.sent[last][0] + SLOTS + 2) * self.slot_ms - now_ms

    def learn(self, limit: int, probe_ms: int, now_ms: int) -> None:
        """Go by a lower limit from now on. One that is far below the stated is none."""
        if self.stated * _LEAST_LEARNED <= limit < self.limit:
            self.limit, self.learned_ms = limit, now_ms
            if self.is_probe or probe_ms > self.probe_ms:
                self.probe_ms = max(probe_ms, min(2 * self.probe_ms, _PROBE_MOST_MS))
            self.is_probe = False

    def was_late(self, now_ms: int) -> bool:
        """Whether a refusal now may be about one late request: the first one, and those of its moment, of a full window."""
        if self.learned_ms or self.is_probe or self.used - self.more < _FULL * self.limit:
            return False
        since_ms = now_ms - self.doubted_ms
        if since_ms > _DOUBT_WINDOWS * self.window_ms:
            self.doubted_ms = now_ms
            return True
        return since_ms <= self.window_ms

    def told(self, used: int, now_ms: int) -> None:
        """The venue's own count, of a window that slides."""
        self.more = max(0, used - (self.used - self.more))
        self.more_until_ms = now_ms + self.window_ms
        self._slide(now_ms)

    def give_back(self) -> None:
        """The newest request was refused, and so was not counted. Of a window that slides; refusals of fixed ones come with a count."""
        if self.sent and self.sent[-1][1] > 0:
            self.sent[-1] = (self.sent[-1][0], self.sent[-1][1] - 1)
            self.used -= 1

    def _slide(self, now_ms: int) -> None:
        slot = now_ms // self.slot_ms
        if self.sent and self.sent[-1][0] > slot + SLOTS:
            self.sent.clear()  # the clock went back by more than a window
        while self.sent and self.sent[0][0] < slot - SLOTS - 1:
            del self.sent[0]
        if now_ms >= self.more_until_ms:
            self.more = 0
        self.used = self.more + sum(weight for _, weight in self.sent)


class Limits(msgspec.Struct):
    """Every bucket that a limit was stated for, by name. Those unknown are unlimited. `share`: what may be spent of each limit."""

    buckets: dict[str, Bucket] = msgspec.field(default_factory=dict)
    share: float = 1.0

    def knows(self, bucket: str) -> bool:
        """Whether a limit was stated for it."""
        held = self.buckets.get(bucket)
        return held is not None and held.stated > 0

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
        share = int(held.limit * self.share * SHARES[priority] + 0.5)
        # An empty window always takes one request, however heavy: otherwise a limit set too low would hang for ever.
        if held.used + weight <= share or held.used == 0:
            return 0
        return held.room_ms(held.used + weight - share, now_ms)

    def spend(self, bucket: str, weight: int, now_ms: int) -> int:
        """Count it; what the window holds then."""
        held = self.buckets.get(bucket)
        if held is None:
            return 0
        held.roll(now_ms)
        held.add(weight, now_ms)
        held.last_spent_ms = now_ms
        return held.used

    def believe(self, bucket: str, used: int, now_ms: int) -> None:
        """The venue's own count. A higher one counts at once; a lower one only when nothing of ours is on its way."""
        held = self.buckets.get(bucket)
        if held is None:
            return
        held.roll(now_ms)
        if held.slides:
            held.told(used, now_ms)
        elif used > held.used or now_ms - held.last_spent_ms > QUIET_MS:
            held.used = used

    def state(self, bucket: str, limit: int, window_ms: int, *, slides: bool = False) -> None:
        """A limit's word, at any time. What was used in the running window stays used; what a refusal taught stays until it is over,
        unless the word has changed."""
        held = self.buckets.get(bucket)
        if held is None or (held.window_ms, held.slides) != (window_ms, slides):
            closed_until_ms = held.closed_until_ms if held is not None else 0
            self.buckets[bucket] = Bucket(limit, window_ms, limit, closed_until_ms=closed_until_ms, slides=slides)
        elif held.stated != limit:
            held.limit, held.stated, held.learned_ms, held.probe_ms = limit, limit, 0, LEARNED_MS

    def refused(self, bucket: str, wait_ms: int, now_ms: int) -> None:
        """The venue throttled or banned us: close the bucket, and take what was used as the limit that holds now."""
        held = self.buckets.setdefault(bucket, Bucket(0, 60_000))
        if held.stated:
            held.roll(now_ms)
            held.give_back()
            if wait_ms >= BAN_MS:
                was_open = held.closed_until_ms <= now_ms  # several that were on their way are one ban
                held.learn(min(held.used, held.limit // 2) if was_open else held.limit, _AFTER_BAN_MS, now_ms)
            elif not held.was_late(now_ms):
                held.learn(held.used - held.more, LEARNED_MS, now_ms)
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
