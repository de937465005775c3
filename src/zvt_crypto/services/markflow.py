"""The live mark prices of one instrument: minutes that the stream did not show are told as a gap, and filled from the venue's minutes."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from zvt_crypto.domain.errors import BadInput, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Gap, MarkPrice
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S
from zvt_crypto.ports import Clock, ExchangeConnector, Observer
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.patience import patiently
from zvt_crypto.services.tradeflow import REST

# Streams tell a mark price every few seconds at most; of the past, venues have one a minute.
HOLE_NS = NS_PER_MINUTE
REASON = "not in the stream"
_MOST_HOLES = 100  # that wait to be filled; others stay open gaps


class MarkFlow:
    """Lives as long as the ingest, over all connections. `run` is its one task; `on_mark` never waits.

    last_ns: the newest mark price that is stored already, None where none is.
    """

    def __init__(
        self,
        connector: ExchangeConnector,
        instrument: str,
        publish: Callable[[Event], None],
        clock: Clock,
        observer: Observer,
        options: IngestOptions,
        rng: random.Random,
        last_ns: int | None = None,
    ) -> None:
        self.instrument = instrument
        self._connector = connector
        self._publish = publish
        self._clock = clock
        self._observer = observer
        self._options = options
        self._rng = rng
        self._last_ns = last_ns
        self._holes: deque[tuple[int, int]] = deque(maxlen=_MOST_HOLES)
        self._wake = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a hole is being asked for, or about to be."""
        return bool(self._holes)

    def on_mark(self, mark: MarkPrice) -> None:
        """A mark price of the stream."""
        if self._last_ns is not None and mark.event_ns - self._last_ns > HOLE_NS:
            self._tell(self._last_ns, mark.event_ns)
        self._last_ns = max(self._last_ns or 0, mark.event_ns)
        self._publish(mark)

    async def run(self) -> None:
        """Fill holes as they show. Ends only by being cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._clock.sleep(self._options.closing_s)  # the last minute may just have closed
            while self._holes:
                await self._fill(*self._holes[0])
                self._holes.popleft()

    def _tell(self, start_ns: int, end_ns: int) -> None:
        """Before anything is asked: should we end in between, the store knows of it."""
        self._publish(self._gap(start_ns, end_ns, None))
        if end_ns - start_ns > self._options.max_catch_up_s * NS_PER_S:
            self._note(f"not followed for more than {self._options.max_catch_up_s:.0f} s: backfill fetches them")
            return
        self._holes.append((start_ns, end_ns))
        self._wake.set()

    async def _fill(self, start_ns: int, end_ns: int) -> None:
        """Closes of minutes that lie in the hole; it is filled when none is missing."""
        wanted = set(range(start_ns // NS_PER_MINUTE + 1, -(-end_ns // NS_PER_MINUTE)))
        tries = Backoff(self._rng, first_s=1.0, most_s=8.0)
        while True:
            try:
                rows = await patiently(
                    lambda: self._connector.fetch_mark_kdata(self.instrument, start_ns + 1, end_ns),
                    self._clock,
                    self._rng,
                    self._options.patience_s,
                )
            except (VenueError, BadInput) as error:
                self._note(str(error))
                return
            for row in rows:
                if row.event_ns // NS_PER_MINUTE in wanted:
                    wanted.remove(row.event_ns // NS_PER_MINUTE)
                    self._publish(row)
                    self._observer.count("marks_filled", instrument=self.instrument)
            if not wanted:
                self._publish(self._gap(start_ns, end_ns, REST))
                return
            if tries.failures >= self._options.empty_tries:
                self._note(f"the venue does not have {len(wanted)} of the minutes")
                return
            await self._clock.sleep(tries.next_s())

    def _gap(self, start_ns: int, end_ns: int, filled_from: str | None) -> Gap:
        return Gap(self.instrument, "mark", start_ns, end_ns, None, None, REASON, filled_from, end_ns)

    def _note(self, reason: str) -> None:
        self._observer.note("warning", "marks_not_filled", instrument=self.instrument, reason=reason)
