"""Minutes that got trades after they were over (a backfill, a filled gap, an import, a recorder that caught up): their bars, made again.

The store marks such a minute in the transaction that stores the trade, whoever wrote it, so that a restart forgets none. Longer klines
follow their minutes (services/rollups.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zvt_crypto.domain.errors import BadInput, ConstraintViolated, StoreUnavailable, shown
from zvt_crypto.domain.market import Gap, Kline, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval
from zvt_crypto.engine.bars import TradeBars
from zvt_crypto.engine.instants import as_served, holds_less
from zvt_crypto.ports import Clock, ExchangeConnector, LateMinute, Observer, Store

_LISTED = 1_000  # minutes a look
_RUN_MINUTES = 60  # made at once; a minute that is not marked lies between two that are, and is made with them
_PAGE = 50_000


class LateBars:
    """`catch_up` makes what is marked; `run` does so every `every_s`."""

    def __init__(
        self, connectors: Sequence[ExchangeConnector], store: Store, clock: Clock, observer: Observer, *, every_s: float = 5.0
    ) -> None:
        self._connectors = tuple(connectors)
        self._store = store
        self._clock = clock
        self._observer = observer
        self._every_s = every_s

    async def run(self) -> None:
        """Until cancelled. What the store does not answer now stays marked."""
        while True:
            await self._clock.sleep(self._every_s)
            try:
                await self.catch_up()
            except StoreUnavailable as error:
                self._observer.note("warning", "late_bars_wait", reason=str(error))

    async def catch_up(self) -> int:
        """Make all marked minutes of these exchanges. Returns how many bars are new or corrected. Raises StoreError."""
        return sum([await self._catch_up(connector) for connector in self._connectors])

    async def _catch_up(self, connector: ExchangeConnector) -> int:
        made, after = 0, None
        while marked := await self._store.trades.late(connector.exchange, _LISTED, after):
            for run in _runs(marked):
                made += await self._make(connector, run)
            after = marked[-1]
        return made

    async def _make(self, connector: ExchangeConnector, run: Sequence[LateMinute]) -> int:
        """The bars of a run. Marks stay on minutes that no later trade has closed yet."""
        name, stream = run[0].instrument, run[0].stream
        if name not in connector.instruments:
            return 0
        if connector.trade_stream(name) != stream:  # the other stream's trades feed no bars
            await self._store.trades.remade(run)
            return 0
        start_ns, end_ns = run[0].open_ns, run[-1].open_ns + NS_PER_MINUTE
        try:
            trades = await self._trades(connector, name, stream, start_ns, end_ns)
            bars = await self._bars(connector, name, stream, trades)
            closed = [bar for bar in bars if start_ns <= bar.open_ns < end_ns]
            held = {minute.open_ns: minute for minute in await self._store.klines.read(name, Interval.MIN_1, start_ns, end_ns)}
            news = as_served(closed, trades, held) if connector.trade_continuity(name, stream) == "opaque" else closed
            news = [bar for bar in news if not holds_less(bar, held.get(bar.open_ns))]
            written = await self._store.klines.upsert([bar for bar in news if bar.final], self._clock.now_ns())
        except (ConstraintViolated, BadInput) as error:  # they will not be better the next time
            self._observer.note("error", "late_bars_refused", instrument=name, start=start_ns, reason=str(error))
            await self._store.trades.remade(run)
            return 0
        seen = {bar.open_ns for bar in closed}
        await self._store.trades.remade([minute for minute in run if minute.open_ns in seen])
        count = written.inserted + written.changed
        if count:
            self._observer.count("bars_remade", count, instrument=name)
        return count

    async def _trades(self, connector: ExchangeConnector, name: str, stream: TradeStream, start_ns: int, end_ns: int) -> list[Trade]:
        """Those stored: from the last one before the run to the first one after it."""
        read, continuity = self._store.trades.read, connector.trade_continuity(name, stream)
        before = await read(name, end_ns=start_ns, limit=1, stream=stream)
        after = await read(name, end_ns, limit=1, stream=stream)
        trades = [*before, *await self._between(name, stream, start_ns, end_ns), *after]
        if continuity != "opaque":
            odd = next((trade for trade in trades if not trade.trade_id.isdecimal()), None)
            if odd is not None:
                raise BadInput(f"trade id {shown(odd.trade_id)} of a stream whose ids are numbers")
            trades.sort(key=lambda trade: int(trade.trade_id))
        return trades

    async def _bars(self, connector: ExchangeConnector, name: str, stream: TradeStream, trades: Sequence[Trade]) -> list[Kline]:
        """Minutes from the trades."""
        continuity = connector.trade_continuity(name, stream)
        gaps = await self._gaps(name, stream, trades) if trades and continuity != "dense" else []
        holes = sorted((gap.start_ns for gap in gaps), reverse=True)
        bars, made = TradeBars(name, stream, continuity=continuity), list[Kline]()
        for gap in gaps:
            bars.on_missing(gap.start_ns, gap.end_ns)
        for trade in trades:
            while holes and trade.event_ns > holes[-1]:
                holes.pop()
                bars.on_gap()
            made += bars.on_trade(trade)
        return made

    async def _between(self, name: str, stream: TradeStream, start_ns: int, end_ns: int) -> list[Trade]:
        found: dict[str, Trade] = {}
        limit = _PAGE
        while True:
            page = await self._store.trades.read(name, start_ns, end_ns, limit=limit, stream=stream)
            found |= {trade.trade_id: trade for trade in page}
            if len(page) < limit:
                return list(found.values())
            limit = _PAGE if page[-1].event_ns > start_ns else limit * 2  # more than a page of one instant
            start_ns = page[-1].event_ns

    async def _gaps(self, name: str, stream: TradeStream, trades: Sequence[Trade]) -> list[Gap]:
        """The open holes of the stream among trades: ids do not show them."""
        start_ns, end_ns = trades[0].event_ns, trades[-1].event_ns
        gaps = await self._store.facts.read_gaps(name, open_only=True)
        return [gap for gap in gaps if gap.channel == stream and gap.start_ns <= end_ns and gap.end_ns > start_ns]


def _runs(marked: Sequence[LateMinute]) -> Iterator[list[LateMinute]]:
    """Minutes of one instrument and stream within an hour."""
    run: list[LateMinute] = []
    for each in marked:
        if run and ((each.instrument, each.stream) != (run[0].instrument, run[0].stream) or _is_far(run[0], each)):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _is_far(first: LateMinute, other: LateMinute) -> bool:
    return other.open_ns - first.open_ns >= _RUN_MINUTES * NS_PER_MINUTE
