"""A market's past, made backwards from the price at which its present begins: trades by id, days at a time.

Every day holds the same number of trades, so that a trade id names its day by arithmetic, and any day can be made alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

MINUTE_NS = 60_000_000_000
MINUTES = 1440
DAY_NS = MINUTES * MINUTE_NS
_KEPT_DAYS = 4  # days of trades held at once, about 1 MB each at 12 trades a minute

Ints = npt.NDArray[np.int64]
T = TypeVar("T")


class DayTrades(NamedTuple):
    """One day's trades, oldest first: ids are first_id, first_id + 1, …; `starts[m]` is the index of minute m's first trade."""

    open_ns: int
    first_id: int
    time_ns: Ints
    price: Ints
    lots: Ints
    buyer_is_maker: npt.NDArray[np.bool_]
    starts: Ints  # MINUTES + 1 entries


class Shelf(Generic[T]):
    """What was made last, `most` things at once, of all who share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing of a key; made if it is not here any more."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found


class Past:
    """`days` days of trades that end at `end_ns` with a trade at `end_price` ticks, whose id is `end_id - 1`.

    `rng(day)` gives that day's Generator (day -1: the walk of closes). Same arguments, same trades, in any order of asking.
    Several may share a shelf of days, and one of walks.
    """

    def __init__(
        self,
        rng: Callable[[int], np.random.Generator],
        *,
        days: int,
        end_ns: int,
        end_price: int,
        end_id: int,
        trades_per_minute: int = 12,
        typical_lots: float = 100.0,
        volatility: float = 5e-4,
        shelf: Shelf[DayTrades] | None = None,
        walks: Shelf[Ints] | None = None,
    ) -> None:
        self.days = days
        self.end_ns = end_ns
        self.end_id = end_id
        self.per_day = MINUTES * trades_per_minute
        self.first_ns = end_ns - days * DAY_NS
        self.first_id = end_id - days * self.per_day
        self._rng = rng
        self._typical_lots = typical_lots
        self._volatility = volatility
        self._end_price = end_price
        self._shelf: Shelf[DayTrades] = Shelf(_KEPT_DAYS) if shelf is None else shelf
        self._walks: Shelf[Ints] = Shelf(1) if walks is None else walks

    def day_of_time(self, at_ns: int) -> int:
        """Index of the day (0 = oldest) that holds the time."""
        return (at_ns - self.first_ns) // DAY_NS

    def day_of_id(self, trade_id: int) -> int:
        """Index of the day that holds the trade id."""
        return (trade_id - self.first_id) // self.per_day

    def day(self, index: int) -> DayTrades:
        """The trades of day `index`, 0 <= index < days."""
        return self._shelf.get((self, index), lambda: self._make(index))

    def _walk(self) -> Ints:
        """The close of every minute of the past, ticks; the last one is `end_price`."""
        rng = self._rng(-1)
        steps = rng.standard_normal(self.days * MINUTES) * self._volatility
        calm = np.repeat(np.exp(0.5 * rng.standard_normal(self.days * 24)), 60)  # volatility changes by the hour
        ahead = np.cumsum((steps * calm)[::-1])[::-1]  # log distance from each minute's open to the end
        return np.append(np.maximum(200, np.rint(self._end_price * np.exp(-ahead))).astype(np.int64), self._end_price)

    def _make(self, index: int) -> DayTrades:
        rng = self._rng(index)
        path = self._walks.get(self, self._walk)[index * MINUTES : (index + 1) * MINUTES + 1]
        counts = rng.multinomial(self.per_day, _weights(rng)).astype(np.int64)
        for minute in (0, MINUTES - 1):  # a day begins and ends with a trade, so that it stands alone
            if counts[minute] == 0:
                counts[int(np.argmax(counts))] -= 1
                counts[minute] += 1
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        minute_of = np.repeat(np.arange(MINUTES), counts)
        rank = np.arange(self.per_day) - starts[minute_of]
        share = (rank + 1) / counts[minute_of]  # 1 at a minute's last trade, which is its close
        swing = path[:-1][minute_of] * self._volatility * rng.standard_normal(self.per_day) * np.sqrt(share * (1 - share))
        price = np.rint(path[:-1][minute_of] + (path[1:] - path[:-1])[minute_of] * share + swing).astype(np.int64)
        offset = (rank + rng.random(self.per_day)) / counts[minute_of] * 59_999
        open_ns = self.first_ns + index * DAY_NS
        return DayTrades(
            open_ns=open_ns,
            first_id=self.first_id + index * self.per_day,
            time_ns=open_ns + minute_of * MINUTE_NS + offset.astype(np.int64) * 1_000_000,
            price=np.maximum(1, price),
            lots=1 + np.floor(self._typical_lots * np.exp(0.9 * rng.standard_normal(self.per_day))).astype(np.int64),
            buyer_is_maker=rng.random(self.per_day) < 0.5,
            starts=starts,
        )


def _weights(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How a day's trades spread over its minutes: some are busy, a few are empty."""
    weights = rng.gamma(2.0, 1.0, MINUTES)
    return np.asarray(weights / weights.sum(), dtype=np.float64)
