"""The live trades of one instrument whose ids rise by one: what the stream skipped is fetched, and only then do later ones go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from zvt_crypto.domain.errors import BadInput, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Gap, Trade
from zvt_crypto.domain.plausible import check_answer
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Clock, ExchangeConnector, Observer
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.continuity import DenseTrades, Range
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.patience import patiently

REST = "rest"
_END_S = 0.25  # before a venue that gave less than was asked for is asked for the rest


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
        self._is_asking = False
        self._published = continuity.last
        self._doubts = Backoff(rng, first_s=1.0, most_s=60.0)  # a stream that talks nonsense must not make us ask all the time
        self._judge_after_ns = 0

    @property
    def is_busy(self) -> bool:
        """Whether trades wait, or the venue is asked, or about to be."""
        return self._is_asking or self._wake.is_set() or bool(self.continuity.held)

    def on_trade(self, trade: Trade) -> None:
        """A trade of the stream."""
        continuity = self.continuity
        for released in continuity.on_live(trade):
            self._published = released
            self._publish(released)
        if (continuity.is_broken or continuity.doubted is not None) and not self._wake.is_set():
            self._wake.set()

    def on_connected(self) -> None:
        """A connection has replaced another, or is the first: look for what came in between."""
        self.continuity.suspect()
        self._wake.set()

    def release(self, reason: str) -> None:
        """No more will come: what waits goes on, and what is missing before it is flagged."""
        continuity = self.continuity
        if not continuity.held:
            return
        if continuity.waits_for_start:
            released = continuity.start_at(None)
            first = released[0]
            if self._start_ns is not None and self._start_ns < first.event_ns:
                ids = None, int(first.trade_id) - 1
                self._publish(
                    Gap(continuity.instrument, continuity.stream, self._start_ns, first.event_ns, *ids, reason, None, first.event_ns)
                )
            self._emit(released, [], reason)
        released, lost = continuity.give_up(continuity.newest_held)
        self._emit(released, lost, reason)

    def leave_open(self, until_ns: int, reason: str) -> None:
        """Flag all from the last trade on. Who goes on from there after a new start closes this very gap, or tells how far it reaches."""
        if (gap := self.continuity.open_gap(until_ns, reason)) is not None:
            self._publish(gap)

    async def run(self) -> None:
        """Fill holes as they show. Ends only by being cancelled."""
        if self.continuity.waits_for_start:
            await self._find_start()
        while True:
            if not self.continuity.is_broken:
                await self._wake.wait()
            self._wake.clear()
            self._is_asking = True
            try:
                await self._clock.sleep(self._options.reorder_s)
                if self.continuity.doubted is not None and self._clock.now_ns() >= self._judge_after_ns:
                    await self._judge()
                await self._fill()
            finally:
                self._is_asking = False

    async def _find_start(self) -> None:
        start_ns = self._start_ns
        try:
            rows = await self._ask(since=start_ns, limit=1)
        except (VenueError, BadInput) as error:
            self._observer.note("warning", "trades_start_unknown", instrument=self.continuity.instrument, reason=str(error))
            rows = []
        self._emit(self.continuity.start_at(int(rows[0].trade_id) if rows else None), [], "")

    async def _newest_id(self) -> int | None:
        """Of the venue, None where it does not tell."""
        try:
            rows = await self._ask(limit=1)
        except (VenueError, BadInput) as error:
            self._observer.note("warning", "newest_trade_unknown", instrument=self.continuity.instrument, reason=str(error))
            return None
        return max((int(row.trade_id) for row in rows), default=None)

    async def _judge(self) -> None:
        """Whether a trade whose id cannot be is one all the same."""
        continuity = self.continuity
        doubted, before = continuity.doubted, continuity.last
        assert doubted is not None
        newest_id = await self._newest_id()
        believed = continuity.judge(newest_id)
        self._judge_after_ns = self._clock.now_ns() + int(self._doubts.next_s() * NS_PER_S)
        if believed is None:
            self._disbelieve(1, doubted.trade_id, newest_id)
            return
        released, lost = believed
        if not lost and before is not None and before.event_ns < doubted.event_ns:
            reason = f"ids began anew, or trade {before.trade_id} before it was none of the venue's"
            self._publish(continuity.gap(None, before, doubted, reason, None))
        self._emit(released, lost, "more ids than are fetched for live data")

    def _disbelieve(self, count: int, trade_id: object, newest_id: int | None) -> None:
        name = self.continuity.instrument
        self._observer.count("trades_disbelieved", count, instrument=name)
        self._observer.note("warning", "trade_disbelieved", instrument=name, trade_id=str(trade_id), newest_id=newest_id)

    async def _fill(self) -> None:
        """Ask for what is wanted until nothing is, or nobody has it."""
        continuity, options = self.continuity, self._options
        fetched = _Fetched()
        empty = Backoff(self._rng, first_s=0.25, most_s=2.0)
        while (wanted := continuity.wanted) is not None:
            try:
                rows = await self._fetch(wanted)
            except (VenueError, BadInput) as error:
                if continuity.is_refuted:
                    self._disbelieve(continuity.disbelieve(), (wanted[1] or 0) + 1, None)
                else:
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
            elif continuity.is_refuted:
                self._disbelieve(continuity.disbelieve(), wanted[1] + 1, None)
            elif not fresh:
                if empty.failures >= options.empty_tries:
                    if await self._is_wrong():
                        break
                    absent = wanted[0], await self._absent_until(wanted[0], wanted[1])
                    self._give_up(absent, "the venue does not have them")
                    if absent[1] == wanted[1]:
                        break
                    empty.reset()
                    continue
                await self._clock.sleep(empty.next_s())
            elif len(rows) < min(options.page_rows, wanted[1] - wanted[0] + 1):
                await self._clock.sleep(_END_S)  # it has no more yet
        if fetched.first is not None and fetched.last is not None:
            self._observer.count("trades_filled", fetched.count, instrument=continuity.instrument)
            ids = (int(fetched.first.trade_id), int(fetched.last.trade_id))
            self._publish(continuity.gap(ids, fetched.before, fetched.last, "not in the stream", REST))

    async def _absent_until(self, first: int, last: int) -> int:
        """Where the ids end that the venue has not: it is asked what follows them."""
        try:
            rows = await self._ask(from_id=first, limit=1)
        except (VenueError, BadInput):
            return last
        return min([last, *(int(row.trade_id) - 1 for row in rows if int(row.trade_id) > first)])

    async def _is_wrong(self) -> bool:
        """Whether what shows a hole is a single trade that the venue does not have: then it is dropped."""
        lone = self.continuity.lone
        newest_id = await self._newest_id() if lone is not None else None
        if lone is None or newest_id is None or newest_id >= lone or self.continuity.lone != lone:
            return False
        self._disbelieve(self.continuity.disbelieve(), lone, newest_id)
        return True

    async def _fetch(self, wanted: tuple[int, int | None]) -> list[Trade]:
        (first, last), page = wanted, self._options.page_rows
        to_id = None if last is None else min(last, first + page - 1)
        rows = await self._ask(from_id=first, to_id=to_id, limit=page)
        check_answer(self._connector.exchange, rows, self._clock.now_ns())
        return rows

    async def _ask(self, *, since: int | None = None, from_id: int | None = None, to_id: int | None = None, limit: int) -> list[Trade]:
        """What the venue has, patiently. Raises VenueError, BadInput."""
        name, stream, options = self.continuity.instrument, self.continuity.stream, self._options
        return await patiently(
            lambda: self._connector.fetch_trades(name, since, stream=stream, from_id=from_id, to_id=to_id, limit=limit),
            self._clock,
            self._rng,
            options.patience_s,
            malformed_tries=options.malformed_tries,
        )

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
