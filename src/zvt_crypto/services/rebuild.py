"""The bars of one instrument, and how they become again what they were: from stored klines and trades."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from zvt_crypto.domain.market import Kline, Trade, TradeContinuity, TradeStream
from zvt_crypto.domain.time import NS_PER_S, Interval, floor_ns, next_ns
from zvt_crypto.engine.bars import TradeBars
from zvt_crypto.engine.instants import says_the_same
from zvt_crypto.engine.roll import ROLL_BASE, Roll
from zvt_crypto.ports import Clock, Store

_MINUTE = Interval.MIN_1
_ASK_AGAIN_S = 0.5
_RECORDER_TRIES = 10  # the recorder may be some batches behind what we are given
_MINUTES_MOST = 720  # remembered of an instrument: what is caught up after a start is compared, what is older is taken as changed
_OVERTAKEN_NS = 10 * NS_PER_S  # a trade that the store gave and the feed gives again is known by its id, if it is not older than this


class InstrumentBars:
    """The bars of one instrument: pure, fed by `on_trade`."""

    def __init__(self, instrument: str, stream: TradeStream, *, continuity: TradeContinuity, intervals: Iterable[Interval]) -> None:
        self.since_ns = 0  # minutes before are known already: of them, the state holds a part at most
        self.stored: frozenset[str] = frozenset()  # ids given from the store, that the feed may give again
        self.doubted: list[tuple[Interval, int]] = []  # (interval, open) of what is out and was made of parts that have changed since
        self.served: dict[int, Kline] = {}  # minutes that the store has as final beyond where we begin, by open
        self._minutes: dict[int, int] = {}  # what each minute said last, as a hash, by open
        self.trades = TradeBars(instrument, stream, continuity=continuity)
        self.rolls = {length: Roll(instrument, length, base=ROLL_BASE[length]) for length in intervals}

    def on_trade(self, trade: Trade) -> list[Kline]:
        """All klines that this trade closes, shorter ones first."""
        made: list[Kline] = []
        if trade.trade_id in self.stored:
            return made
        for minute in self.trades.on_trade(trade):
            if minute.open_ns < self.since_ns:
                continue
            held = self.served.get(minute.open_ns)
            if held is not None and says_the_same(minute, held):  # ids told no order to make it anew by
                made += self.on_kline(held)
            else:
                made += [minute, *self.on_kline(minute)]
        return made

    def on_venue_minute(self, minute: Kline) -> None:
        """The venue's own final minute, early or late: those longer ones that hold another version of it are doubted."""
        is_old = minute.open_ns < self.since_ns
        is_rolled = is_old or any(roll.has_passed(minute.open_ns) for roll in self.rolls.values() if roll.base is _MINUTE)
        if self._differs(minute, unknown=is_rolled):
            self.doubt(_MINUTE, minute.open_ns)

    def doubt(self, length: Interval, open_ns: int) -> None:
        """A final kline has changed: what it is a part of is torn when it closes, or `doubted` if it is out already."""
        for longer, roll in self.rolls.items():
            if roll.base is length and not roll.doubt(open_ns):
                self.doubted.append((longer, floor_ns(longer, open_ns)))

    def _differs(self, minute: Kline, *, unknown: bool) -> bool:
        """Whether it was known, and said something else; `unknown`: what to answer where it was not."""
        said = hash((minute.open, minute.high, minute.low, minute.close, minute.volume))
        before = self._minutes.get(minute.open_ns)
        self._minutes[minute.open_ns] = said
        if len(self._minutes) > _MINUTES_MOST:
            del self._minutes[next(iter(self._minutes))]
        return unknown if before is None else before != said

    def on_kline(self, kline: Kline) -> list[Kline]:
        """The longer klines that a closed one closes."""
        made = self._roll(kline)
        if kline.interval is _MINUTE and kline.final and self._differs(kline, unknown=False):
            self.doubt(_MINUTE, kline.open_ns)
        return made

    def _roll(self, kline: Kline) -> list[Kline]:
        made: list[Kline] = []
        for roll in self.rolls.values():
            if roll.base == kline.interval:
                for longer in roll.on_kline(kline):
                    made.append(longer)
                    made += self.on_kline(longer)
        return made

    def forming(self) -> list[Kline]:
        """Everything that forms now and holds what came since its open: a part of a day is nobody's day."""
        minute = self.trades.forming
        if minute is None:
            return []
        made = {_MINUTE: minute}
        whole = {_MINUTE} if self.trades.forms_whole else set()
        for length, roll in self.rolls.items():
            base = made.get(roll.base)
            if base is not None:
                roll.on_kline(base)
            longer = roll.forming
            if longer is not None:
                made[length] = longer
                if roll.base in whole and roll.forms_whole:
                    whole.add(length)
        return [made[length] for length in made if length in whole]


class Rebuild:
    """`publish` is given all klines that stored ones and trades close, final or torn."""

    def __init__(self, store: Store, clock: Clock, publish: Callable[[Iterable[Kline]], None], rebuild_ns: int, read_rows: int) -> None:
        self._store = store
        self._clock = clock
        self._publish = publish
        self._rebuild_ns = rebuild_ns
        self._read_rows = read_rows

    async def fill(self, bars: InstrumentBars, first: Trade) -> None:
        """To the state before `first`. Raises StoreUnavailable."""
        resume_ns = await self._resume_ns(first)
        bars.since_ns = resume_ns
        await self._feed_klines(bars, resume_ns)
        before = await self._store.trades.read(first.instrument, end_ns=resume_ns, limit=1, stream=first.stream)
        for trade in before:
            bars.trades.on_trade(trade)  # only to know that the run reaches back beyond the open
        if bars.trades.continuity == "dense":
            await self._feed_dense(bars, resume_ns, first, _by_id(before[0]) if before else None)
        else:
            await self._feed_loose(bars, resume_ns, first)

    async def _resume_ns(self, first: Trade) -> int:
        """The open of the oldest minute that is not stored as final, within bounds."""
        open_ns = floor_ns(_MINUTE, first.event_ns)
        bounds = await self._store.klines.bounds(first.instrument, _MINUTE)
        oldest_ns = open_ns - self._rebuild_ns
        if bounds is not None:
            return max(min(open_ns, next_ns(_MINUTE, bounds[1])), oldest_ns)
        stored = await self._store.trades.read(first.instrument, oldest_ns, open_ns, limit=1, stream=first.stream)
        return floor_ns(_MINUTE, stored[0].event_ns) if stored else open_ns

    async def _feed_klines(self, bars: InstrumentBars, resume_ns: int) -> None:
        """Finals since the longer spans opened: days for weeks and months, minutes of the day for the rest."""
        day_ns = floor_ns(Interval.DAY_1, resume_ns - 1)
        long_ns = min(floor_ns(Interval.WEEK_1, day_ns), floor_ns(Interval.MONTH_1, day_ns))
        name = bars.trades.instrument
        days = await self._store.klines.read(name, Interval.DAY_1, long_ns, day_ns) if long_ns < day_ns else []
        minutes = await self._store.klines.read(name, _MINUTE, day_ns, resume_ns)
        for kline in (*days, *minutes):
            if kline.final:
                self._publish(bars.on_kline(kline))

    async def _feed_dense(self, bars: InstrumentBars, start_ns: int, first: Trade, last_id: int | None) -> None:
        """Stored trades from `start_ns` up to `first`, by id; again while ids show that some are not stored yet."""
        for _ in range(1 + _RECORDER_TRIES):
            async for page in self._stored_pages(first, start_ns):
                for trade in sorted(page, key=_by_id):
                    if _by_id(trade) < _by_id(first):
                        last_id = _by_id(trade)
                        self._publish(bars.on_trade(trade))
            if last_id is None or last_id + 1 >= _by_id(first):
                return
            await self._clock.sleep(_ASK_AGAIN_S)

    async def _feed_loose(self, bars: InstrumentBars, start_ns: int, first: Trade) -> None:
        """The same by time, once `first` is stored, and with it what came before. The holes among them are those that were told."""
        name = first.instrument
        for _ in range(_RECORDER_TRIES):
            stored = await self._store.trades.read(name, first.event_ns, first.event_ns + 1, stream=first.stream)
            if any(trade.trade_id == first.trade_id for trade in stored):
                break
            await self._clock.sleep(_ASK_AGAIN_S)
        if bars.trades.continuity == "opaque":
            bars.served = {held.open_ns: held for held in await self._store.klines.read(name, _MINUTE, start_ns)}
        gaps = await self._store.facts.read_gaps(name, open_only=True)
        gaps = [gap for gap in gaps if gap.channel == first.stream and gap.end_ns > start_ns]
        for gap in gaps:
            bars.trades.on_missing(gap.start_ns, gap.end_ns)
        torn_ns = sorted((gap.start_ns for gap in gaps), reverse=True)
        recent: list[str] = []
        async for page in self._stored_pages(first, start_ns):
            for trade in sorted(page, key=_by_id) if bars.trades.continuity == "increasing" else page:
                if trade.trade_id == first.trade_id:
                    continue
                if _pass_gaps(torn_ns, trade.event_ns):
                    bars.trades.on_gap()
                self._publish(bars.on_trade(trade))
                if trade.event_ns > first.event_ns - _OVERTAKEN_NS:
                    recent.append(trade.trade_id)
        if _pass_gaps(torn_ns, first.event_ns):
            bars.trades.on_gap()
        bars.stored = frozenset(recent)

    async def _stored_pages(self, first: Trade, start_ns: int) -> AsyncIterator[list[Trade]]:
        """Stored trades from `start_ns` to the instant of `first`, each once."""
        rows, seen = self._read_rows, frozenset[str]()
        while True:
            page = await self._store.trades.read(first.instrument, start_ns, first.event_ns + 1, limit=rows, stream=first.stream)
            yield [trade for trade in page if trade.trade_id not in seen]
            if len(page) < rows:
                return
            rows = rows if page[-1].event_ns > start_ns else rows * 2  # more than a page of one instant
            start_ns = page[-1].event_ns
            seen = frozenset(trade.trade_id for trade in page if trade.event_ns == start_ns)


def _pass_gaps(begins_ns: list[int], at_ns: int) -> bool:
    """Whether a hole began before `at_ns`; those that did are taken from the end of the list, which is the newest first."""
    before = len(begins_ns)
    while begins_ns and at_ns > begins_ns[-1]:
        begins_ns.pop()
    return len(begins_ns) < before


def _by_id(trade: Trade) -> int:
    return int(trade.trade_id)
