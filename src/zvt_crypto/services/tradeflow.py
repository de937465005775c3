"""The live trades of one instrument whose ids rise by one: what the stream skipped is fetched, and only then do later ones go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from zvt_crypto.domain.errors import BadInput, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Trade
from zvt_crypto.ports import Clock, ExchangeConnector, Observer
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.continuity import DenseTrades, Range
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.patience import patiently

REST = "rest"


class TradeFlow:
    """Lives as long as the ingest, over all connections. `run` is its one task; `on_trade` never waits.

    `start_ns`: where a run that has no stored beginning begins (its first trade at or after that time is asked for).
    """

    def __init__(
        self,
        connector: ExchangeConnector,
        continuity: DenseTrades,
        publish: Callable[[Event], None],
        clock: Clock,
        observer: Observer,
        options: IngestOptions,
        rng: random.Random,
        start_ns: int | None = None,
    ) -> None:
        assert continuity.waits_for_start == (start_ns is not None)
        self.continuity = continuity
        self._connector = connector
        self._publish = publish
        self._clock = clock
        self._observer = observer
        self._options = options
        self._rng = rng
        self._start_ns = start_ns
        self._wake = asyncio.Event()
        self._published = continuity.last

    def on_trade(self, trade: Trade) -> None:
        """A trade of the stream."""
        continuity = self.continuity
        for released in continuity.on_live(trade):
            self._published = released
            self._publish(released)
        if continuity.is_broken and not self._wake.is_set():
            self._wake.set()

    def on_connected(self) -> None:
        """A connection has replaced another, or is the first: look for what came in between."""
        self.continuity.suspect()
        self._wake.set()

    async def run(self) -> None:
        """Fill holes as they show. Ends only by being cancelled."""
        if self.continuity.waits_for_start:
            await self._find_start()
        while True:
            if not self.continuity.is_broken:
                await self._wake.wait()
            self._wake.clear()
            await self._clock.sleep(self._options.reorder_s)
            await self._fill()

    async def _find_start(self) -> None:
        start_ns = self._start_ns
        try:
            rows = await patiently(
                lambda: self._connector.fetch_trades(self.continuity.instrument, since=start_ns, stream=self.continuity.stream, limit=1),
                self._clock,
                self._rng,
                self._options.patience_s,
            )
        except (VenueError, BadInput) as error:
            self._observer.note("warning", "trades_start_unknown", instrument=self.continuity.instrument, reason=str(error))
            rows = []
        self._emit(self.continuity.start_at(int(rows[0].trade_id) if rows else None), [], "")

    async def _fill(self) -> None:
        """Ask for what is wanted until nothing is, or nobody has it."""
        continuity, options = self.continuity, self._options
        fetched = _Fetched()
        empty = Backoff(self._rng, first_s=0.25, most_s=2.0)
        while (wanted := continuity.wanted) is not None:
            try:
                rows = await patiently(lambda want=wanted: self._fetch(want), self._clock, self._rng, options.patience_s)  # type: ignore[misc]
            except (VenueError, BadInput) as error:
                self._give_up(wanted, str(error))
                break
            fresh = [row for row in rows if int(row.trade_id) >= wanted[0]]
            before = self._published
            released, lost = continuity.on_fetched(rows)
            self._emit(released, lost, "the venue does not have them")
            fetched.add(fresh, before)
            if wanted[1] is None:
                if len(rows) < options.page_rows or not fresh:
                    self._emit(continuity.caught_up(), [], "")
            elif not fresh and continuity.next_id == wanted[0]:
                if empty.failures >= options.empty_tries:
                    self._give_up(wanted, "the venue does not have them")
                    break
                await self._clock.sleep(empty.next_s())
        if fetched.first is not None and fetched.last is not None:
            self._observer.count("trades_filled", fetched.count, instrument=continuity.instrument)
            ids = (int(fetched.first.trade_id), int(fetched.last.trade_id))
            self._publish(continuity.gap(ids, fetched.before, fetched.last, "not in the stream", REST))

    async def _fetch(self, wanted: tuple[int, int | None]) -> list[Trade]:
        first, last = wanted
        name, stream, page = self.continuity.instrument, self.continuity.stream, self._options.page_rows
        if last is None:
            return await self._connector.fetch_trades(name, stream=stream, from_id=first, limit=page)
        return await self._connector.fetch_trades(name, stream=stream, from_id=first, to_id=min(last, first + page - 1), limit=page)

    def _give_up(self, wanted: tuple[int, int | None], reason: str) -> None:
        """Flag what cannot be had, and let live trades go on."""
        continuity = self.continuity
        first, last = wanted
        if last is not None:
            released, lost = continuity.give_up(last)
            self._emit(released, lost, reason)
        else:  # only a suspicion: should ids be missing, the next trade shows it
            continuity.caught_up()
        self._observer.note("warning", "trades_not_filled", instrument=continuity.instrument, first_id=first, reason=reason)

    def _emit(self, trades: list[Trade], lost: list[Range], reason: str) -> None:
        """Publish trades in order, each hole told of before the trade after it."""
        holes = iter([*lost, None])
        hole = next(holes)
        for trade in trades:
            while hole is not None and hole[1] < int(trade.trade_id):
                self._publish(self.continuity.gap(hole, self._published, trade, reason, None))
                hole = next(holes)
            self._published = trade
            self._publish(trade)
        while hole is not None:
            self._publish(self.continuity.gap(hole, self._published, None, reason, None))
            hole = next(holes)


class _Fetched:
    """How many trades REST gave, the first and the last of them, and the one before the first."""

    def __init__(self) -> None:
        self.count = 0
        self.before: Trade | None = None
        self.first: Trade | None = None
        self.last: Trade | None = None

    def add(self, trades: list[Trade], before: Trade | None) -> None:
        if not trades:
            return
        if self.first is None:
            self.first, self.before = trades[0], before
        self.count += len(trades)
        self.last = trades[-1]
