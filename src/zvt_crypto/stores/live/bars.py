"""The recent bars of one instrument and interval: final ones in an unbroken run, and the one that forms."""

from __future__ import annotations

from bisect import bisect_left

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import Interval, next_ns
from zvt_crypto.stores.precedence import replaces

MOST_FINALS = 1_500


class RecentBars:
    """Takes versions of bars in any order; gives the unbroken run that ends with the newest."""

    __slots__ = ("_finals", "_forming", "_interval", "_most", "_opens", "_run")

    def __init__(self, interval: Interval, most: int = MOST_FINALS) -> None:
        self._interval = interval
        self._most = most
        self._opens: list[int] = []  # of _finals, ascending
        self._finals: list[Kline] = []
        self._run = 0  # where in _finals the unbroken run begins that ends with the last
        self._forming: Kline | None = None

    def apply(self, kline: Kline) -> None:
        """Take a version in; one that ranks below the version held is ignored."""
        if kline.final:
            self._apply_final(kline)
        elif not self._opens or kline.open_ns > self._opens[-1]:
            held = self._forming
            if held is None or kline.open_ns > held.open_ns or (kline.open_ns == held.open_ns and replaces(kline, held)):
                self._forming = kline

    def forming(self) -> Kline | None:
        """The bar that is not final yet."""
        return self._forming

    def newest(self, limit: int) -> list[Kline]:
        """The last `limit` bars of the unbroken run, oldest first, the forming one last."""
        if limit <= 0:
            return []
        if self._forming is None:
            return self._finals[max(self._run, len(self._finals) - limit) :]
        if not self._opens or next_ns(self._interval, self._opens[-1]) != self._forming.open_ns:
            return [self._forming]
        return [*self._finals[max(self._run, len(self._finals) - limit + 1) :], self._forming]

    def _apply_final(self, kline: Kline) -> None:
        if self._forming is not None and self._forming.open_ns <= kline.open_ns:
            self._forming = None
        if not self._opens or kline.open_ns > self._opens[-1]:
            self._append(kline)
            return
        place = bisect_left(self._opens, kline.open_ns)
        if self._opens[place] != kline.open_ns:
            self._opens.insert(place, kline.open_ns)
            self._finals.insert(place, kline)
            self._trim()
            self._run = self._find_run()
        elif replaces(kline, self._finals[place]):
            self._finals[place] = kline

    def _append(self, kline: Kline) -> None:
        if self._opens and next_ns(self._interval, self._opens[-1]) != kline.open_ns:
            self._run = len(self._finals)
        self._opens.append(kline.open_ns)
        self._finals.append(kline)
        self._trim()

    def _trim(self) -> None:
        over = len(self._finals) - self._most
        if over > 0:
            del self._opens[:over], self._finals[:over]
            self._run = max(0, self._run - over)

    def _find_run(self) -> int:
        start = len(self._opens) - 1
        while start > 0 and next_ns(self._interval, self._opens[start - 1]) == self._opens[start]:
            start -= 1
        return start
