"""How long to wait before the next try."""

from __future__ import annotations

import random

from zvt_crypto.domain.time import NS_PER_S

_AFTER_SUCCESS = 2


class Backoff:
    """Exponential, with jitter so that many clients do not come back at once: between half and all of first, 2 first, 4 first, … most.

    `rng` is given, so that a seed replays. After `stable_s` of good work (told by `worked`) it begins anew.
    """

    def __init__(self, rng: random.Random, *, first_s: float = 0.25, most_s: float = 30.0, stable_s: float = 30.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._most_s = most_s
        self._stable_ns = int(stable_s * NS_PER_S)
        self.failures = 0

    def worked(self, for_ns: int) -> None:
        """The last try was good for `for_ns` before it ended. A short success still keeps the next wait short, about a second:
        who cuts us often is no reason to stay away long, and one connection a second is within every venue's rule."""
        self.failures = 0 if for_ns >= self._stable_ns else min(self.failures, _AFTER_SUCCESS)

    def reset(self) -> None:
        """Begin anew."""
        self.failures = 0

    def next_s(self) -> float:
        """Seconds to wait now."""
        whole = min(self._most_s, self._first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return whole * (0.5 + self._rng.random() / 2)
