"""Is the run of trades unbroken, where a jump of ids shows nothing (they may jump, or be UUIDs)? Pure, as `continuity` is.

Only a lost connection makes a hole there. It is closed by overlap: what the venue answers must hold a trade that was let through before
it (then nothing is missing in between), and a live one that waits (then nothing is missing after it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from zvt_crypto.domain.market import Gap, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.services.continuity import BEFORE_NS

MOST_HELD = 50_000
MOST_KNOWN = 100_000
KNOWN_NS = 60 * NS_PER_S  # ids of trades this much older than the newest are remembered, to tell a repeated trade from a late one
OVERLAP_NS = 2 * NS_PER_S  # asked again before the last trade: trades may be stored, or stamped, a little out of order


class Step(msgspec.Struct, frozen=True):
    """What may go on. torn_from_ns: nobody knows what lies between this moment and the first of the trades. fresh: those of them that
    only the answer has, since they are older than what the stream showed."""

    trades: list[Trade]
    torn_from_ns: int | None = None
    fresh: list[Trade] = []


class LooseTrades:
    """The trades of one instrument in one id space. `ordered`: ids are integers that rise; otherwise time is all the order there is.

    last: the last trade known (stored) already; known: stored ones from `KNOWN_NS` before it on. start_ns: where a run that has no
    last one begins; without either it begins with the first trade that comes, but none from long before since_ns, the venue's clock when
    we began: its time may be wrong, and nothing that the venue could be asked would show it.
    """

    def __init__(
        self,
        instrument: str,
        stream: TradeStream,
        *,
        ordered: bool,
        last: Trade | None = None,
        known: Iterable[Trade] = (),
        start_ns: int | None = None,
        since_ns: int | None = None,
        most_held: int = MOST_HELD,
    ) -> None:
        self.instrument = instrument
        self.stream: TradeStream = stream
        self.ordered = ordered
        self.last = last  # the newest one let through
        self.start_ns = start_ns
        self.repeated = 0
        self.implausible = 0  # trades whose time cannot be that of the first one
        self._since_ns = since_ns
        self._most_held = most_held
        self._held: dict[str, Trade] = {}
        self._behind: list[dict[str, Trade]] = []  # what waits after further holes, each run by itself
        self._let_go = False
        self._is_suspect = last is not None or start_ns is not None
        # Ids let through, in that order, with their times; what is older than the first moment is forgotten, and taken for known.
        self._known: dict[str, int] = {}
        self._forgotten_ns = -1 if last is None else last.event_ns - KNOWN_NS
        for trade in (*known, *([] if last is None else [last])):
            self._remember(trade)

    @property
    def held(self) -> int:
        """How many trades wait."""
        return len(self._held) + sum(map(len, self._behind))

    @property
    def is_broken(self) -> bool:
        """Whether the venue must be asked."""
        return self._is_suspect

    @property
    def begin_ns(self) -> int | None:
        """Everything before is known: the instant of the last trade, or where the run begins."""
        return self.last.event_ns if self.last is not None else self.start_ns

    def suspect(self) -> None:
        """The connection was lost, or a frame of it: whatever came after the last trade, the last one that waits too, may be missing."""
        self._is_suspect = self.begin_ns is not None
        if self._behind[-1] if self._behind else self._held:
            self._behind.append({})

    def on_live(self, trade: Trade) -> list[Trade]:
        """A trade of the stream. Gives those that may go on."""
        if self._is_known(trade):
            self.repeated += 1
            return []
        if not self._is_suspect and self.last is None and self._is_long_before(trade):
            self.implausible += 1
            return []
        if not self._is_suspect:
            return [self._pass(trade)]
        if self.held >= self._most_held:
            self._let_go = True
            return []
        if self._let_go:
            self._let_go = False
            self.suspect()
        if not any(trade.trade_id in run for run in (self._held, *self._behind)):
            (self._behind[-1] if self._behind else self._held)[trade.trade_id] = trade
        return []

    def on_page(self, page: Sequence[Trade], *, reaches_back: bool = False) -> Step:
        """An unbroken run of the venue's, from the overlap on. `reaches_back`: it is known to begin early enough."""
        rows = self._sorted(page)
        overlaps = reaches_back or any(row.trade_id in self._known for row in rows)
        if rows and not overlaps and self.last is not None and not self._is_newer(rows[-1], self.last):
            return Step([])  # of a server that is behind the one asked before
        joins = any(row.trade_id in self._held for row in rows)
        is_past = self._is_past_held(rows)
        if is_past and not joins and not overlaps and (self._let_go or self._behind or self._is_beyond_held(rows[0])):
            step = self.give_up()  # a second hole, after those that were held: the next answer shows it
            self._is_suspect = True
            return step
        meets = joins or is_past
        fresh = [row for row in rows if not self._is_known(row)]
        first_ns = min((t.event_ns for t in self._held.values()), default=None)
        new = [row for row in fresh if row.trade_id not in self._held and (first_ns is None or row.event_ns <= first_ns)]
        going = [self._held.pop(row.trade_id, row) for row in fresh]
        if meets:
            going = self._sorted([*going, *self._freed()])
        return self._step(going, new, is_torn=not overlaps)

    def give_up(self) -> Step:
        """What was missed cannot be had. Gives what was held; without that, the next trade will show that something is missing."""
        return self._step(self._freed() if self._held else [], [], is_torn=True)

    def gap(self, start_ns: int, after: Trade, reason: str, filled_from: str | None) -> Gap:
        """A hole from `start_ns` up to and including the instant of the trade after it: others of that instant may be missing too.

        A clock that was set back has the trade after it stand before it: then all between the two is in doubt.
        """
        first_ns, last_ns = sorted((start_ns, after.event_ns))
        return Gap(self.instrument, self.stream, first_ns, last_ns + 1, None, None, reason, filled_from, after.event_ns)

    def open_gap(self, until_ns: int, reason: str) -> Gap | None:
        """All from the last trade on, or from where the run begins; None where there is neither, or no time since."""
        begin_ns = self.begin_ns
        if begin_ns is None or until_ns <= begin_ns:
            return None
        return Gap(self.instrument, self.stream, begin_ns, until_ns, None, None, reason, None, until_ns)

    def _step(self, going: Sequence[Trade], fresh: list[Trade], *, is_torn: bool) -> Step:
        torn_from_ns = self.begin_ns if is_torn and going else None
        passed = [self._pass(trade) for trade in going]
        for run in (self._held, *self._behind):  # an answer may reach over several holes
            for trade in passed:
                run.pop(trade.trade_id, None)
        while self._behind and not self._held:
            self._held = self._behind.pop(0)
        return Step(passed, torn_from_ns, fresh)

    def _is_past_held(self, rows: Sequence[Trade]) -> bool:
        """Whether the answer goes on beyond the first trade that waits, and so will never have it."""
        return bool(rows) and bool(self._held) and rows[-1].event_ns > min(t.event_ns for t in self._held.values())

    def _is_beyond_held(self, row: Trade) -> bool:
        """Whether it comes after all that wait: what lies between is not known either."""
        return all(self._is_newer(row, held) for held in self._held.values())

    def _freed(self) -> list[Trade]:
        """All that wait up to the next hole. What lies there, and what had no room, must still be asked for."""
        freed = self._sorted(self._held.values())
        if self._behind:
            self._held = self._behind.pop(0)
        else:
            self._held = {}
            self._is_suspect, self._let_go = self._let_go, False
        return freed

    def _sorted(self, trades: Iterable[Trade]) -> list[Trade]:
        return sorted(trades, key=_number if self.ordered else _time)

    def _is_known(self, trade: Trade) -> bool:
        return trade.trade_id in self._known or trade.event_ns <= self._forgotten_ns

    def _is_long_before(self, trade: Trade) -> bool:
        return self._since_ns is not None and trade.event_ns < self._since_ns - BEFORE_NS

    def _pass(self, trade: Trade) -> Trade:
        if self.last is None or self._is_newer(trade, self.last):
            self.last = trade
        self._remember(trade)
        return trade

    def _is_newer(self, trade: Trade, than: Trade) -> bool:
        """By its number, where there is an order; one that is below and yet much later shows that the other's number was wrong."""
        if not self.ordered:
            return trade.event_ns >= than.event_ns
        return _number(trade) > _number(than) or trade.event_ns > than.event_ns + KNOWN_NS

    def _remember(self, trade: Trade) -> None:
        self._known[trade.trade_id] = trade.event_ns
        newest_ns = self.last.event_ns if self.last is not None else trade.event_ns
        while len(self._known) > 1:
            oldest = next(iter(self._known))
            if self._known[oldest] >= newest_ns - KNOWN_NS and len(self._known) <= MOST_KNOWN:
                return
            self._forgotten_ns = max(self._forgotten_ns, self._known.pop(oldest))


def _number(trade: Trade) -> int:
    return int(trade.trade_id)


def _time(trade: Trade) -> int:
    return trade.event_ns
