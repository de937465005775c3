"""Klines from live trades: minutes as trades close them, longer ones as their minutes do.

They are always published when final, with their own source, whether or not the venue sends klines too: the store and the live state
serve the venue's version where there is one (venue before trades before derived) and keep ours to compare. Forming ones are published
only while no venue kline of the same instrument and interval is heard, so that live listeners never get two versions of one bar.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from zvt_crypto.domain.errors import Overflow, StoreUnavailable
from zvt_crypto.domain.market import Gap, Kline, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S, Interval
from zvt_crypto.engine.roll import ROLL_BASE
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, Observer, Reader, Store
from zvt_crypto.services.addup import AddUp
from zvt_crypto.services.mend import Mender
from zvt_crypto.services.rebuild import InstrumentBars, Rebuild

_HEARD: tuple[type, ...] = (Trade, Gap, Kline)
_MINUTE = Interval.MIN_1
_ASK_AGAIN_S = 0.5
_MOST_GAPS = 100  # kept of an instrument


class BarOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`forming_every_s`: how often an instrument's forming klines are told at most. `venue_quiet_s`: a venue kline older than this does
    not silence ours. `rebuild_ns`: how far back stored trades are read at a start."""

    bound: int = 100_000
    forming_every_s: float = 0.25
    venue_quiet_s: float = 60.0
    rebuild_ns: int = NS_PER_DAY
    read_rows: int = 50_000
    intervals: tuple[Interval, ...] = tuple(ROLL_BASE)


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
        self._gaps: dict[str, deque[Gap]] = {}  # the newest before the first trade of an instrument
        self._dirty: dict[str, None] = {}
        self._sums: dict[str, AddUp] = {}
        self._making = asyncio.Lock()
        self._venue_ns: dict[tuple[str, Interval], int] = {}
        self._mender = Mender(store, clock, observer, self._publish_mended)
        self._rebuild = Rebuild(store, clock, self._publish_finals, self._options.rebuild_ns, self._options.read_rows)
        self._reader: Reader = self._listen()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._tell_forming())
            group.create_task(self._mender.run())

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
                    self._on_venue_kline(event)

    async def _on_trade(self, trade: Trade) -> None:
        if self._stream_of(trade.instrument) != trade.stream:
            return
        bars = self._bars.get(trade.instrument) or await self._made(trade)
        self._publish_finals(bars.on_trade(trade))
        self._pass_doubts(bars)
        self._dirty[trade.instrument] = None

    async def _made(self, first: Trade) -> InstrumentBars:
        async with self._making:
            if first.instrument not in self._bars:
                self._bars[first.instrument] = await self._rebuilt_patiently(first)
            return self._bars[first.instrument]

    async def catch_up(self, instruments: Iterable[str]) -> None:
        """Publish what stored trades have closed and nobody stored, of those that have not traded since the start: it may have ended
        between the two, and where a recording is over no trade will come to show it."""
        for name in instruments:
            stream = self._stream_of(name)
            if name in self._bars or stream is None:
                continue
            last = await self._store.trades.last(name, stream)
            if last is not None:
                bars = await self._made(last)
                self._publish_finals(bars.on_trade(last))
                self._pass_doubts(bars)

    def _on_venue_kline(self, kline: Kline) -> None:
        if kline.recv_ns or not kline.final:  # what was fetched tells nothing of whether the venue streams them
            self._venue_ns[kline.instrument, kline.interval] = self._clock.now_ns()
        bars = self._bars.get(kline.instrument)
        if bars is not None and kline.final and kline.interval is _MINUTE:
            bars.on_venue_minute(kline)
            self._pass_doubts(bars)
            self._add_up(bars, kline)

    def _on_gap(self, gap: Gap) -> None:
        if gap.filled_from is not None or gap.channel != self._stream_of(gap.instrument):
            return
        bars = self._bars.get(gap.instrument)
        if bars is not None:
            forming = bars.trades.forming
            is_past = gap.first_id is None and forming is not None and gap.end_ns <= forming.open_ns
            if not is_past:  # what is known to lack something by now is out
                _tell_gap(bars, gap)
        else:
            self._gaps.setdefault(gap.instrument, deque(maxlen=_MOST_GAPS)).append(gap)

    def _publish_finals(self, klines: Iterable[Kline]) -> None:
        for kline in klines:
            if kline.final:
                self._feed.publish(kline)
                if kline.interval is _MINUTE and kline.source == "trades" and (bars := self._bars.get(kline.instrument)) is not None:
                    self._add_up(bars, kline)
                continue
            self._observer.count("bars_torn", interval=kline.interval)
            if kline.interval is not _MINUTE:
                self._mender.tear((kline.instrument, kline.interval, kline.open_ns))

    def _add_up(self, bars: InstrumentBars, minute: Kline) -> None:
        """Where ids do not show what is missing, the exchange's own minute does."""
        if bars.trades.continuity != "opaque":
            return
        name = minute.instrument
        sums = self._sums.setdefault(name, AddUp(name, bars.trades.stream))
        was_otherwise = sums.is_otherwise
        gap = sums.on_minute(minute)
        if gap is not None:
            self._observer.count("trades_not_adding_up", instrument=name)
            self._feed.publish(gap)
        elif sums.is_otherwise and not was_otherwise:
            self._observer.note("warning", "minutes_never_add_up", instrument=name, since=minute.open_ns)

    def _publish_mended(self, kline: Kline) -> None:
        self._feed.publish(kline)
        bars = self._bars.get(kline.instrument)
        if bars is not None:
            bars.doubt(kline.interval, kline.open_ns)
            self._pass_doubts(bars)

    def _pass_doubts(self, bars: InstrumentBars) -> None:
        for length, open_ns in bars.doubted:
            self._mender.doubt((bars.trades.instrument, length, open_ns))
        bars.doubted.clear()

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

    async def _rebuilt_patiently(self, first: Trade) -> InstrumentBars:
        """Events wait meanwhile: a store that is away for long makes us begin again, no more."""
        while True:
            try:
                return await self._rebuilt(first)
            except StoreUnavailable as error:
                self._observer.note("warning", "bars_wait", instrument=first.instrument, reason=str(error))
                await self._clock.sleep(_ASK_AGAIN_S)

    async def _rebuilt(self, first: Trade) -> InstrumentBars:
        """The state as it was before `first`. What closed but was not stored is published again."""
        name = first.instrument
        connector = next(c for c in self._connectors if name in c.instruments)
        continuity = connector.trade_continuity(name, first.stream)
        bars = InstrumentBars(name, first.stream, continuity=continuity, intervals=self._options.intervals)
        await self._rebuild.fill(bars, first)
        for gap in self._gaps.pop(name, ()):
            _tell_gap(bars, gap)
        return bars


def _tell_gap(bars: InstrumentBars, gap: Gap) -> None:
    """Where ids do not show what is missing, the time does, and may lie after trades that are still to be given."""
    bars.trades.on_gap(gap.first_id, gap.last_id)
    if bars.trades.continuity != "dense":
        bars.trades.on_missing(gap.start_ns, gap.end_ns)
