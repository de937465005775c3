"""The live trades of one instrument whose ids show no holes, made whole: after each lost connection the venue's answer is stitched
between the last trade before and the first after it. What cannot be stitched is flagged, from trade to trade."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from zvt_crypto.domain.errors import BadInput, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Trade
from zvt_crypto.domain.plausible import check_answer
from zvt_crypto.domain.time import to_rfc3339
from zvt_crypto.ports import Clock, ExchangeConnector, Observer
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.overlap import OVERLAP_NS, LooseTrades, Step
from zvt_crypto.services.patience import patiently
from zvt_crypto.services.reach import reaches_back
from zvt_crypto.services.tradeflow import REST

_UNREACHED = "the venue does not go back that far"
_MOST_ROWS = 100_000  # of one instant


class LooseTradeFlow:
    """Lives as long as the ingest, over all connections. `run` is its one task; `on_trade` never waits."""

    def __init__(
        self,
        connector: ExchangeConnector,
        trades: LooseTrades,
        publish: Callable[[Event], None],
        clock: Clock,
        observer: Observer,
        options: IngestOptions,
        rng: random.Random,
    ) -> None:
        self.trades = trades
        self._connector = connector
        self._publish = publish
        self._clock = clock
        self._observer = observer
        self._options = options
        self._rng = rng
        self._wake = asyncio.Event()
        self._is_asking = False

    @property
    def is_busy(self) -> bool:
        """Whether trades wait, or the venue is asked, or about to be."""
        return self._is_asking or self._wake.is_set() or bool(self.trades.held)

    def on_trade(self, trade: Trade) -> None:
        """A trade of the stream."""
        refused = self.trades.implausible
        for released in self.trades.on_live(trade):
            self._publish(released)
        if self.trades.implausible > refused:
            self._tell_implausible(trade)
        if self.trades.is_broken and not self._wake.is_set():
            self._wake.set()

    def on_connected(self) -> None:
        """A connection has replaced another, or is the first: look for what came in between."""
        self.trades.suspect()
        self._wake.set()

    def release(self, reason: str) -> None:
        """No more will come: what waits goes on, and what may be missing before it is flagged."""
        while self.trades.held:
            self._tell(self.trades.give_up(), reason)

    def leave_open(self, until_ns: int, reason: str) -> None:
        """Flag all from the last trade on. Who goes on from there after a new start closes this very gap, or tells how far it reaches."""
        if (gap := self.trades.open_gap(until_ns, reason)) is not None:
            self._publish(gap)

    async def run(self) -> None:
        """Close holes as they show. Ends only by being cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.trades.is_broken:
                continue
            self._is_asking = True
            try:
                await self._clock.sleep(self._options.reorder_s)
                await self._fill()
                if self.trades.held:  # after a further hole
                    self._wake.set()
            finally:
                self._is_asking = False

    async def _fill(self) -> None:
        """Ask from the last trade on, until a live one is met, or there is none to meet, or nobody has it."""
        trades, begin_ns = self.trades, self.trades.begin_ns
        filled = _Filled()
        try:
            reason = await self._stitch(filled)
        except (VenueError, BadInput) as error:
            reason = str(error)
        if reason:
            self._tell(trades.give_up(), reason)
            self._observer.note("warning", "trades_not_filled", instrument=trades.instrument, reason=reason)
        if filled.last is not None and begin_ns is not None and not filled.is_torn:
            self._publish(trades.gap(begin_ns, filled.last, "not in the stream", REST))

    async def _stitch(self, filled: _Filled) -> str:
        """Why it cannot be done; empty if it was, or waits for the next live trade. Raises VenueError, BadInput."""
        trades, options = self.trades, self._options
        tries = Backoff(self._rng, first_s=0.25, most_s=2.0)
        rows, again_ns = options.page_rows, OVERLAP_NS
        reaches = trades.last is None and await self._reaches_back(trades.begin_ns or 0)
        while trades.is_broken:
            page = await self._page(rows, again_ns)
            step = trades.on_page(page, reaches_back=reaches and trades.last is None)
            self._tell(step, _UNREACHED)
            filled.add(step)
            if len(page) >= rows:  # there is more
                again_ns, rows = 0, rows if step.trades else rows * 2
                if rows > _MOST_ROWS:
                    return f"more than {_MOST_ROWS} trades of one instant"
            elif trades.is_broken:
                if not trades.held:
                    return ""
                if tries.failures >= options.empty_tries:
                    return "the venue does not have them"
                await self._clock.sleep(tries.next_s())
        return ""

    async def _reaches_back(self, begin_ns: int) -> bool:
        """Whether an answer from there on lacks nothing. Where ids rise, it is found by them; a recording has nothing before it."""
        if self._options.of_recording is not None and self.trades.ordered:
            return True
        return await reaches_back(self._fetch, begin_ns, self._options.page_rows)

    async def _page(self, rows: int, again_ns: int) -> list[Trade]:
        last = self.trades.last
        if last is None:
            return await self._fetch(since=self.trades.begin_ns, limit=rows)
        if self.trades.ordered:
            return await self._fetch(from_id=int(last.trade_id), limit=rows)
        return await self._fetch(since=max(0, last.event_ns - again_ns), limit=rows)

    async def _fetch(
        self, *, since: int | None = None, until: int | None = None, from_id: int | None = None, to_id: int | None = None, limit: int
    ) -> list[Trade]:
        name, stream = self.trades.instrument, self.trades.stream
        rows = await patiently(
            lambda: self._connector.fetch_trades(name, since, until=until, stream=stream, from_id=from_id, to_id=to_id, limit=limit),
            self._clock,
            self._rng,
            self._options.patience_s,
            malformed_tries=self._options.malformed_tries,
        )
        check_answer(self._connector.exchange, rows, self._clock.now_ns())
        return rows

    def _tell_implausible(self, trade: Trade) -> None:
        """Each is counted. The first is told with its time: a market that is silent shows a hundred old ones at once."""
        self._observer.count("trades_disbelieved", instrument=trade.instrument)
        if self.trades.implausible == 1:
            at = to_rfc3339(trade.event_ns)
            self._observer.note("warning", "trade_disbelieved", instrument=trade.instrument, trade_id=trade.trade_id, at=at)

    def _tell(self, step: Step, reason: str) -> None:
        """Publish trades in order, a hole told of before the trade after it."""
        if step.torn_from_ns is not None:
            self._publish(self.trades.gap(step.torn_from_ns, step.trades[0], reason, None))
        for trade in step.trades:
            self._publish(trade)
        if step.fresh:
            self._observer.count("trades_filled", len(step.fresh), instrument=self.trades.instrument)


class _Filled:
    """The last trade that only the venue's answers had, and whether one of them left a hole."""

    def __init__(self) -> None:
        self.last: Trade | None = None
        self.is_torn = False

    def add(self, step: Step) -> None:
        self.is_torn = self.is_torn or step.torn_from_ns is not None
        if step.fresh:
            self.last = step.fresh[-1]
