"""Do the trades of a minute add up to the exchange's own? Where ids show no holes, this is the last evidence of a lost trade. Pure."""

from __future__ import annotations

from collections import deque

from zvt_crypto.domain.market import Gap, Kline, TradeStream
from zvt_crypto.domain.time import Interval, next_ns

REASON = "the trades of this minute do not add up to the exchange's own"
# So many minutes in a row, and it is the exchange that counts otherwise than by its trades: that is told once, not minute by minute.
MOST_IN_A_ROW = 5
_SHARE = 1e-9  # sums of doubles differ by less
_REMEMBERED = 720  # minutes whose other version has not come


class AddUp:
    """Of one instrument. Each final minute is given once in either version, in any order."""

    def __init__(self, instrument: str, stream: TradeStream) -> None:
        self.is_otherwise = False  # whether the exchange's minutes never are what its trades make
        self._instrument = instrument
        self._stream: TradeStream = stream
        self._volumes: dict[tuple[str, int], float] = {}
        self._order: deque[tuple[str, int]] = deque()
        self._row = 0

    def on_minute(self, minute: Kline) -> Gap | None:
        """A gap where ours, now that both are known, holds less than the exchange's."""
        is_ours = minute.source != "venue"
        other = self._volumes.pop(("venue" if is_ours else "ours", minute.open_ns), None)
        if other is None:
            self._remember(("ours" if is_ours else "venue", minute.open_ns), minute.volume)
            return None
        ours, theirs = (minute.volume, other) if is_ours else (other, minute.volume)
        if ours >= theirs * (1 - _SHARE):
            self._row = 0
            self.is_otherwise = False
            return None
        self._row += 1
        self.is_otherwise = self._row > MOST_IN_A_ROW
        if self.is_otherwise:
            return None
        end_ns = next_ns(Interval.MIN_1, minute.open_ns)
        return Gap(self._instrument, self._stream, minute.open_ns, end_ns, None, None, REASON, None, end_ns)

    def _remember(self, key: tuple[str, int], volume: float) -> None:
        self._volumes[key] = volume
        self._order.append(key)
        if len(self._order) > _REMEMBERED:
            self._volumes.pop(self._order.popleft(), None)
