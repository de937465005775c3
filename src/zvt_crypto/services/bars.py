"""Klines from live trades: minutes as trades close them, longer ones as their minutes do.

They are always published when final, with their own source, whether or not the venue sends klines too: the store and the live state
serve the venue's version where there is one (venue before trades before derived) and keep ours to compare. Forming ones are published
only while no venue kline of the same instrument and interval is heard, so that live listeners never get two versions of one bar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import count

import msgspec

from zvt_crypto.domain.errors import Overflow, StoreUnavailable
from zvt_crypto.domain.instrument import Kind, kind_of
from zvt_crypto.domain.market import Gap, Kline, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S, Interval, floor_ns, next_ns
from zvt_crypto.engine.bars import TradeBars
from zvt_crypto.engine.roll import ROLL_BASE, Roll, roll_up
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, Observer, Reader, Store
from zvt_crypto.services.options import IngestOptions

_HEARD: tuple[type, ...] = (Trade, Gap, Kline)
_MINUTE = Interval.MIN_1
_ASK_AGAIN_S = 0.5
_MEND_S = 3.0  # the recorder has stored a minute by then; each further look waits twice as long as the one before
_MEND_TRIES = 8  # the last one after 13 minutes: what a backfill mends later is its own to roll
_TORN_MOST = 10_000
_RECORDER_TRIES = 10  # the recorder may be some batches behind what we are given


class BarOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`forming_every_s`: how often an instrument's forming klines are told at most. `venue_quiet_s`: a venue kline older than this does
    not silence ours. `rebuild_ns`: how far back stored trades are read at a start."""

    bound: int = 100_000
    forming_every_s: float = 0.25
    venue_quiet_s: float = 60.0
    rebuild_ns: int = NS_PER_DAY
    read_rows: int = 50_000
    intervals: tuple[Interval, ...] = tuple(ROLL_BASE)
    jumping_ids: frozenset[tuple[Kind, TradeStream]] = IngestOptions().jumping_ids


class InstrumentBars:
    """The bars of one instrument: pure, fed by `on_trade`."""

    def __init__(self, instrument: str, stream: TradeStream, *, contiguous: bool, intervals: Iterable[Interval]) -> None:
        self.since_ns = 0  # minutes before are known already: of them, the state holds a part at most
        self.trades = TradeBars(instrument, stream, contiguous=contiguous)
        self.rolls = {length: Roll(instrument, length, base=ROLL_BASE[length]) for length in intervals}

    def on_trade(self, trade: Trade) -> list[Kline]:
        """All klines that this trade closes, shorter ones first."""
        made: list[Kline] = []
        for minute in self.trades.on_trade(trade):
            if minute.open_ns >= self.since_ns:
                made += [minute, *self.on_kline(minute)]
        return made

    def on_kline(self, kline: Kline) -> list[Kline]:
        """The longer klines that a closed one closes."""
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


class BarService:
    """Listens from the moment it is made; `run` builds. State is rebuilt from the store at the first trade of each instrument."""

    def __init__(
        self,
        connectors: Sequence[ExchangeConnector],
        feed: Feed,
        store: Store,
        clock: Clock,
        observer: Observer,
        options: BarOptions | None = None,
    ) -> None:
        self._connectors = tuple(connectors)
        self._feed = feed
        self._store = store
        self._clock = clock
        self._observer = observer
        self._options = options or BarOptions()
        self._bars: dict[str, InstrumentBars] = {}
        self._streams: dict[str, TradeStream] = {}
        self._dirty: dict[str, None] = {}
        self._torn: dict[tuple[str, Interval, int], int] = {}  # longer klines to be made from the store, and how often that was tried
        self._venue_ns: dict[tuple[str, Interval], int] = {}
        self._reader: Reader = self._listen()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._tell_forming())
            group.create_task(self._mend())

    def pending(self) -> int:
        """Events that wait to be looked at."""
        return self._reader.pending()

    def _listen(self) -> Reader:
        return self._feed.subscribe("bars", bound=self._options.bound, when_full="fail", kinds=_HEARD)

    async def _read(self) -> None:
        while True:
            try:
                events = await self._reader.receive()
            except Overflow as error:  # bars with a hole in them are worth nothing: begin again from the store
                self._observer.note("warning", "bars_rebuilt", reason=str(error))
                self._reader.close()
                self._bars.clear()
                self._reader = self._listen()
                continue
            for event in events:
                if isinstance(event, Trade):
                    await self._on_trade(event)
                elif isinstance(event, Gap):
                    self._on_gap(event)
                elif isinstance(event, Kline) and event.source == "venue":
                    self._venue_ns[event.instrument, event.interval] = self._clock.now_ns()

    async def _on_trade(self, trade: Trade) -> None:
        if self._stream_of(trade.instrument) != trade.stream:
            return
        bars = self._bars.get(trade.instrument)
        if bars is None:
            bars = self._bars[trade.instrument] = await self._rebuilt_patiently(trade)
        self._publish_finals(bars.on_trade(trade))
        self._dirty[trade.instrument] = None

    def _on_gap(self, gap: Gap) -> None:
        bars = self._bars.get(gap.instrument)
        if bars is not None and gap.filled_from is None and gap.channel == bars.trades.stream:
            bars.trades.on_gap(gap.first_id, gap.last_id)

    def _publish_finals(self, klines: Iterable[Kline]) -> None:
        for kline in klines:
            if kline.final:
                self._feed.publish(kline)
                continue
            self._observer.count("bars_torn", interval=kline.interval)
            if kline.interval is not _MINUTE and len(self._torn) < _TORN_MOST:
                self._torn[kline.instrument, kline.interval, kline.open_ns] = 0

    async def _mend(self) -> None:
        """Longer klines of which a part did not come from our trades: made of the stored shorter ones, once those are whole.

        The venue's own minutes close what we came into, or missed; they may be a moment, or a backfill, behind.
        """
        for turn in count(1):
            await self._clock.sleep(_MEND_S)
            for key in [key for key, tries in self._torn.items() if turn % 2**tries == 0]:
                try:
                    mended = await self._rolled_anew(*key)
                except StoreUnavailable as error:
                    self._observer.note("warning", "bars_wait", instrument=key[0], reason=str(error))
                    break
                if mended is not None:
                    self._feed.publish(mended)
                self._torn[key] += 1
                if mended is not None or self._torn[key] > _MEND_TRIES:
                    del self._torn[key]

    async def _rolled_anew(self, instrument: str, length: Interval, open_ns: int) -> Kline | None:
        parts = await self._store.klines.read(instrument, ROLL_BASE[length], open_ns, next_ns(length, open_ns))
        made = roll_up([part for part in parts if part.final], length)
        return made[0] if made and made[0].final else None

    async def _tell_forming(self) -> None:
        while True:
            await self._clock.sleep(self._options.forming_every_s)
            dirty, self._dirty = self._dirty, {}
            for instrument in dirty:
                bars = self._bars.get(instrument)
                for kline in bars.forming() if bars is not None else ():
                    if not self._venue_speaks(instrument, kline.interval):
                        self._feed.publish(kline)

    def _venue_speaks(self, instrument: str, interval: Interval) -> bool:
        heard_ns = self._venue_ns.get((instrument, interval))
        return heard_ns is not None and self._clock.now_ns() - heard_ns < self._options.venue_quiet_s * NS_PER_S

    def _stream_of(self, instrument: str) -> TradeStream | None:
        stream = self._streams.get(instrument)
        if stream is None:
            connector = next((c for c in self._connectors if instrument in c.instruments), None)
            if connector is not None:
                stream = self._streams[instrument] = connector.trade_stream(instrument)
        return stream

    # ── from the store ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _rebuilt_patiently(self, first: Trade) -> InstrumentBars:
        """Events wait meanwhile: a store that is away for long makes us begin again, no more."""
        while True:
            try:
                return await self._rebuilt(first)
            except StoreUnavailable as error:
                self._observer.note("warning", "bars_wait", instrument=first.instrument, reason=str(error))
                await self._clock.sleep(_ASK_AGAIN_S)

    async def _rebuilt(self, first: Trade) -> InstrumentBars:
        """The state as it was before `first`, from stored klines and trades. What closed but was not stored is published again."""
        name = first.instrument
        instrument = next(i for c in self._connectors if (i := c.instruments.get(name)) is not None)
        contiguous = (kind_of(instrument), first.stream) not in self._options.jumping_ids
        bars = InstrumentBars(name, first.stream, contiguous=contiguous, intervals=self._options.intervals)
        resume_ns = await self._resume_ns(first)
        bars.since_ns = resume_ns
        await self._feed_klines(bars, resume_ns)
        before = await self._store.trades.read(name, end_ns=resume_ns, limit=1, stream=first.stream)
        for trade in before:
            bars.trades.on_trade(trade)  # only to know that the run reaches back beyond the open
        tries = 0
        last_id = _by_id(before[0]) if before else None
        while await self._feed_trades(bars, resume_ns, first, last_id) and tries < _RECORDER_TRIES:
            tries += 1
            await self._clock.sleep(_ASK_AGAIN_S)
        return bars

    async def _resume_ns(self, first: Trade) -> int:
        """The open of the oldest minute that is not stored as final, within bounds."""
        open_ns = floor_ns(_MINUTE, first.event_ns)
        bounds = await self._store.klines.bounds(first.instrument, _MINUTE)
        oldest_ns = open_ns - self._options.rebuild_ns
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
                self._publish_finals(bars.on_kline(kline))

    async def _feed_trades(self, bars: InstrumentBars, start_ns: int, first: Trade, last_id: int | None) -> bool:
        """Stored trades from `start_ns` up to `first`, page by page. Returns whether some seem not to be stored yet."""
        rows = self._options.read_rows
        while True:
            page = await self._store.trades.read(first.instrument, start_ns, first.event_ns + 1, limit=rows, stream=first.stream)
            for trade in sorted(page, key=_by_id):
                if _by_id(trade) < _by_id(first):
                    last_id = _by_id(trade)
                    self._publish_finals(bars.on_trade(trade))
            if len(page) < rows or page[-1].event_ns == start_ns:
                return bars.trades.contiguous and last_id is not None and last_id + 1 < _by_id(first)
            start_ns = page[-1].event_ns


def _by_id(trade: Trade) -> int:
    return int(trade.trade_id)
