"""Is the run of trade ids unbroken, where ids rise by one (dense)? Pure: trades in, trades in order out, and what must be fetched.

A venue's stream may repeat, skip (a reconnect) and reorder. What continues is let through at once; what comes beyond a hole is
held until the hole is filled or declared lost. The memory for held trades is bounded: when it is full, newer ones are let go, since
they can be asked for by id again.

No id is believed because one frame says so. One that a market cannot have come to since is doubted until the venue's newest is known; one
below which the stream goes on, or that the venue does not have, is dropped. A wrong id would otherwise be a hole of any size, and
everything after it a repetition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from zvt_crypto.domain.market import Gap, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_S

MOST_HELD = 50_000
# How far ids may jump without a doubt: at ten times the busiest second recorded (950 trades, spot BTCUSDT), for as long as nothing was
# heard, and ten such seconds more.
IDS_PER_S = 10_000
IDS_AT_ONCE = 100_000
# A trade that is so much later than the last one and has a lower id is no repetition: ids began anew (a pair that is listed again), or the
# last one's was wrong.
LATER_NS = 10 * NS_PER_S
# No exchange stamps the next trade so long before the last one: its time is wrong, and it would be stored out of its minute.
BEFORE_NS = 3_600 * NS_PER_S
# So many trades of the stream below those that are held, and these are wrong: frames overtake one another by one or two.
REFUTED_BY = 10
_MOST_LOST = 1_000  # ranges given up that are remembered

Range = tuple[int, int]


def plausible_ids(elapsed_ns: int) -> int:
    """How many trades a market may have made in that time, at most."""
    return IDS_AT_ONCE + IDS_PER_S * max(0, elapsed_ns) // NS_PER_S


class DenseTrades:
    """The trades of one instrument in one id space, whose ids are integers that rise by one: a jump is a hole.

    `last` is the last trade known (stored) already. `waits_for_start`: hold everything until `start_at` says where the run begins.
    `since_ns`: the venue's clock when we began. A first trade from long before is not believed until the venue has told it by REST: its
    time may be wrong, or the market silent.
    """

    def __init__(
        self,
        instrument: str,
        stream: TradeStream,
        *,
        last: Trade | None = None,
        waits_for_start: bool = False,
        since_ns: int | None = None,
        most_held: int = MOST_HELD,
    ) -> None:
        self.instrument = instrument
        self.stream: TradeStream = stream
        self.last = last  # the last one let through
        self.next_id: int | None = None if last is None else int(last.trade_id) + 1
        self.repeated = 0
        self.waits_for_start = waits_for_start and last is None
        self._since_ns = since_ns
        self._most_held = most_held
        self._held: dict[int, Trade] = {}
        self._beyond = -1  # the highest id seen
        self._below = 0  # trades of the stream that continued the run since the last one was held
        self._lost: deque[Range] = deque(maxlen=_MOST_LOST)
        self.doubted: Trade | None = None  # its id cannot be, unless the venue has it
        self._suspect = last is not None

    @property
    def held(self) -> int:
        """How many trades wait."""
        return len(self._held)

    @property
    def newest_held(self) -> int:
        """The highest id that waits, -1 where none does."""
        return max(self._held, default=-1)

    @property
    def is_broken(self) -> bool:
        """Whether something must be asked for."""
        return self.next_id is not None and (self._suspect or self._beyond >= self.next_id)

    @property
    def wanted(self) -> tuple[int, int | None] | None:
        """What to ask for: (first id, last id), both inclusive, or (first id, None) for everything up to now; None: nothing."""
        if self.next_id is None or not self.is_broken:
            return None
        ahead = min((n for n in self._held if n >= self.next_id), default=None)
        if ahead is not None:
            return self.next_id, ahead - 1
        return self.next_id, (self._beyond if self._beyond >= self.next_id else None)

    @property
    def is_refuted(self) -> bool:
        """Whether the stream goes on below what is held."""
        return bool(self._held) and self._below >= REFUTED_BY

    @property
    def lone(self) -> int | None:
        """The id that alone says that something is missing before it."""
        return next(iter(self._held)) if len(self._held) == 1 else None

    def suspect(self) -> None:
        """The connection was lost: whatever came after the last id may be missing."""
        self._suspect = self.next_id is not None

    def start_at(self, first_id: int | None) -> list[Trade]:
        """Where the run begins; None: with what was held, or the first that comes. What came before is ignored."""
        self.waits_for_start = False
        if first_id is None:
            first_id = min(self._held, default=None)
        self.next_id = first_id
        self._suspect = first_id is not None and first_id not in self._held
        held, self._held, self._beyond = self._held, {}, -1
        return [released for trade in held.values() for released in self.on_live(trade)]

    def on_live(self, trade: Trade) -> list[Trade]:
        """A trade of the stream. Gives those that may go on, in order."""
        number = int(trade.trade_id)
        if self.waits_for_start:
            return self._hold(number, trade)
        if self.next_id is None and not self._is_long_before(trade):
            return [self._pass(number, trade)]
        if self.next_id is None:
            self.next_id = number
        if number >= self.next_id and self._is_long_before(trade):
            self._beyond = max(self._beyond, number)  # so that the venue is asked for it
            return []
        if number == self.next_id:
            self._suspect = False  # it continues: nothing was missed
            self._below += 1
            return [self._pass(number, trade), *self._released()]
        if abs(number - self.next_id) > self._plausible(trade):
            self.doubted = self.doubted or trade
            return []
        if number > self.next_id:
            return self._hold(number, trade)
        if any(first <= number <= last for first, last in self._lost):
            return [trade]  # it was given up too early
        if self._is_later(trade):
            self.doubted = self.doubted or trade
            return []
        self.repeated += 1
        return []

    def judge(self, newest_id: int | None) -> tuple[list[Trade], list[Range]] | None:
        """The doubted trade, now that the venue's newest id is known: None where it is not believed; otherwise the trades that may go
        on, and the ids that are given up for it: so many are no work for live data."""
        trade, self.doubted = self.doubted, None
        assert trade is not None, "nothing is doubted"
        assert self.next_id is not None, "a run has begun"
        number = int(trade.trade_id)
        if newest_id is None or newest_id < number:
            return None
        if number > self.next_id:
            released, lost = self.give_up(number - 1)
            return [*released, *self.on_live(trade)], lost
        if newest_id + (0 if self._is_later(trade) else IDS_AT_ONCE) >= self.next_id - 1:
            return None  # told long ago
        self._held.clear()  # it is the run that stands where the venue never was: its first trade was wrong
        self._beyond = -1
        self._lost.clear()
        return [self._pass(number, trade)], []

    def disbelieve(self) -> int:
        """What is held is wrong. Gives how many trades that were."""
        count = len(self._held)
        self._held.clear()
        self._beyond = -1
        self._suspect = True  # so that the venue is asked, should it have been right
        return count

    def on_fetched(self, trades: Iterable[Trade]) -> tuple[list[Trade], list[Range]]:
        """The venue's answer to a request from `next_id` on. Gives the trades that may go on, and the ids between them that the venue
        itself does not have. An answer says nothing about ids after its own last one."""
        released: list[Trade] = []
        lost: list[Range] = []
        for trade in sorted(trades, key=_number):
            number = int(trade.trade_id)
            assert self.next_id is not None, "nothing was asked for"
            if number < self.next_id or (self.last is not None and self._is_long_before(trade)):
                continue
            if number > self.next_id:
                passed, absent = self._skip_to(number)
                released += passed
                lost += absent
            if number >= self.next_id:
                released.append(self._pass(number, trade))
        return [*released, *self._released()], lost

    def caught_up(self) -> list[Trade]:
        """The venue has no more than what it answered. Gives what was held for that."""
        self._suspect = False
        return self._released()

    def give_up(self, last: int) -> tuple[list[Trade], list[Range]]:
        """Ids up to `last` cannot be had. Gives what may go on now, and the ids that are lost."""
        self._suspect = False
        released, lost = self._skip_to(last + 1)
        self._lost += lost
        return [*released, *self._released()], lost

    def gap(self, ids: Range | None, before: Trade | None, after: Trade | None, reason: str, filled_from: str | None) -> Gap:
        """The event that tells of missing ids, between the trades `before` and `after` them, where these are known."""
        start_ns = (before or after).event_ns if before or after else self._since_ns or 0  # type: ignore[union-attr]
        end_ns = max(start_ns, after.event_ns if after is not None else start_ns)
        first, last = ids or (None, None)
        return Gap(self.instrument, self.stream, start_ns, end_ns, first, last, reason, filled_from, end_ns)

    def open_gap(self, until_ns: int, reason: str) -> Gap | None:
        """All from the last trade on, whatever ids it holds; None where there is no last trade, or no time since."""
        if self.last is None or until_ns <= self.last.event_ns:
            return None
        return Gap(self.instrument, self.stream, self.last.event_ns, until_ns, self.next_id, None, reason, None, until_ns)

    def _pass(self, number: int, trade: Trade) -> Trade:
        self.next_id = number + 1
        self.last = trade
        self._beyond = max(self._beyond, number)
        return trade

    def _plausible(self, trade: Trade) -> int:
        """How many ids may lie between the run's end and a trade."""
        return plausible_ids(trade.event_ns - self.last.event_ns if self.last is not None else 0)

    def _is_long_before(self, trade: Trade) -> bool:
        at_ns = self.last.event_ns if self.last is not None else self._since_ns
        return at_ns is not None and trade.event_ns < at_ns - BEFORE_NS

    def _is_later(self, trade: Trade) -> bool:
        return self.last is not None and trade.event_ns > self.last.event_ns + LATER_NS

    def _hold(self, number: int, trade: Trade) -> list[Trade]:
        self._below = 0
        self._beyond = max(self._beyond, number)
        if number in self._held:
            self.repeated += 1
        elif len(self._held) < self._most_held:
            self._held[number] = trade
        return []

    def _released(self) -> list[Trade]:
        """What is held and continues now."""
        if not self._held or self.next_id is None:
            return []
        released: list[Trade] = []
        while self.next_id in self._held:
            self._suspect = False
            released.append(self._pass(self.next_id, self._held.pop(self.next_id)))
        self._forget_passed()
        return released

    def _skip_to(self, number: int) -> tuple[list[Trade], list[Range]]:
        """Go on to `number`, through the held ones before it; what is not held is lost."""
        assert self.next_id is not None
        released: list[Trade] = []
        lost: list[Range] = []
        for held in sorted(n for n in self._held if self.next_id <= n < number):
            if held > self.next_id:
                lost.append((self.next_id, held - 1))
            released.append(self._pass(held, self._held.pop(held)))
        if number > self.next_id:
            lost.append((self.next_id, number - 1))
            self.next_id = number
        self._forget_passed()
        return released, lost

    def _forget_passed(self) -> None:
        assert self.next_id is not None
        if self._held and min(self._held) < self.next_id:
            self._held = {n: t for n, t in self._held.items() if n >= self.next_id}


def _number(trade: Trade) -> int:
    return int(trade.trade_id)
