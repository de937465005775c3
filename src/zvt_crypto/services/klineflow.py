"""The live klines of one instrument and interval, made whole: a final kline that the stream did not show is fetched."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

import msgspec

from zvt_crypto.domain.errors import BadInput, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.time import Interval, count_opens, next_ns
from zvt_crypto.ports import Clock, ExchangeConnector, Observer
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.patience import patiently
from zvt_crypto.services.tradeflow import REST

STREAM = "stream"
_MOST_AHEAD = 5_000  # finals known beyond a hole; more of them are only asked for again
_AT_ONCE = 1_000  # fetched klines that are taken in without a pause for others


class KlineFlow:
    """Lives as long as the ingest, over all connections. `run` is its one task; `on_kline` never waits.

    A kline is final because the venue says so, in the stream or by REST; a later kline only shows that a final one is missing.
    Finals may come in any order: those fetched later are published when they are known. A hole with finals beyond it is told as an open
    gap before it is asked for, and closed when it is filled: should we end in between, the store knows of it.

    known: opens of finals after `done_until_ns` that are stored already.
    """

    def __init__(
        self,
        connector: ExchangeConnector,
        instrument: str,
        interval: Interval,
        publish: Callable[[Event], None],
        clock: Clock,
        observer: Observer,
        options: IngestOptions,
        rng: random.Random,
        done_until_ns: int | None = None,
        known: Iterable[int] = (),
    ) -> None:
        self.instrument = instrument
        self.interval = interval
        self.done_until_ns = done_until_ns  # every kline that opens before is final and published
        self._ahead = set(known)
        # Every kline that opens before must be final by now.
        self._seen_until_ns = max([done_until_ns or 0, *(next_ns(interval, open_ns) for open_ns in self._ahead)])
        self._told: dict[int, Gap] = {}  # the open gaps that were told, by their start
        self._is_asking = False
        self._is_awake = False  # the same, and the pause before it
        self._newest: Kline | None = None
        self._connector = connector
        self._publish = publish
        self._clock = clock
        self._observer = observer
        self._options = options
        self._rng = rng
        self._wake = asyncio.Event()

    @property
    def is_broken(self) -> bool:
        """Whether a final kline is missing."""
        return self.done_until_ns is not None and self.done_until_ns < self._seen_until_ns

    @property
    def is_busy(self) -> bool:
        """Whether the venue is asked, or about to be."""
        return self._is_awake or self._wake.is_set()

    def on_kline(self, kline: Kline) -> None:
        """A kline of the stream, forming or final."""
        if self.done_until_ns is None:
            self.done_until_ns = self._seen_until_ns = kline.open_ns
        if kline.final:
            self._publish(kline)
            self._note_final(kline)
            if self._is_asking:
                self._tell_holes()  # the task, which would tell, may wait for the venue a long time
            self._close_told(STREAM)
        elif not self._is_outdated(kline):
            self._newest = kline
            self._seen_until_ns = max(self._seen_until_ns, kline.open_ns)
            self._publish(kline)
        if self.is_broken and not self._wake.is_set():
            self._wake.set()

    def on_connected(self) -> None:
        """A connection has replaced another, or is the first: look for what closed in between."""
        self._wake.set()

    async def run(self) -> None:
        """Fetch finals as they are missed. Ends only by being cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._is_awake = True
            try:
                if self.is_broken:
                    await self._clock.sleep(self._options.closing_s)
                    self._tell_holes()
                self._is_asking = True
                await self._fill()
            finally:
                self._is_asking = self._is_awake = False

    def _is_outdated(self, kline: Kline) -> bool:
        """Forming news of a kline that is final or followed already, or older than what was told of it."""
        assert self.done_until_ns is not None
        if kline.open_ns < self.done_until_ns or kline.open_ns in self._ahead:
            return True
        newest = self._newest
        return newest is not None and (kline.open_ns, kline.event_ns) <= (newest.open_ns, newest.event_ns)

    def _note_final(self, kline: Kline) -> None:
        assert self.done_until_ns is not None
        after_ns = next_ns(self.interval, kline.open_ns)
        self._seen_until_ns = max(self._seen_until_ns, after_ns)
        if kline.open_ns == self.done_until_ns:
            self.done_until_ns = after_ns
            self._pass_ahead()
        elif kline.open_ns > self.done_until_ns and len(self._ahead) < _MOST_AHEAD:
            self._ahead.add(kline.open_ns)

    def _pass_ahead(self) -> None:
        assert self.done_until_ns is not None
        while self.done_until_ns in self._ahead:
            self._ahead.remove(self.done_until_ns)
            self.done_until_ns = next_ns(self.interval, self.done_until_ns)

    async def _fill(self) -> None:
        if self.done_until_ns is None:
            return
        most = self._options.max_klines
        if count_opens(self.interval, self.done_until_ns, self._seen_until_ns) > most:
            self._give_up(f"more than {most} klines are missing at once: backfill fetches them")
            return
        tries = Backoff(self._rng, first_s=0.5, most_s=4.0)
        while True:
            try:
                rows = await patiently(self._fetch, self._clock, self._rng, self._options.patience_s)
            except (VenueError, BadInput) as error:
                self._give_up(str(error))
                return
            await self._take([row for row in rows if row.final])
            if not self.is_broken:
                return
            if tries.failures >= self._options.empty_tries:
                self._give_up("the venue does not have it")
                return
            await self._clock.sleep(tries.next_s())

    async def _fetch(self) -> list[Kline]:
        return await self._connector.fetch_kdata(self.instrument, self.interval, since=self.done_until_ns, limit=self._options.max_klines)

    async def _take(self, finals: list[Kline]) -> None:
        for number, kline in enumerate(finals, 1):
            self._take_final(kline)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self._close_told(REST)

    def _take_final(self, kline: Kline) -> None:
        assert self.done_until_ns is not None
        if kline.open_ns < self.done_until_ns:
            return
        is_known = kline.open_ns in self._ahead
        if kline.open_ns > self.done_until_ns and not is_known:
            self._skip_to(kline.open_ns, "the venue does not have it")
        if not is_known:
            self._observer.count("klines_filled", instrument=self.instrument, interval=self.interval)
            self._publish(kline)
        self._ahead.discard(kline.open_ns)
        self._note_final(kline)

    def _give_up(self, reason: str) -> None:
        if self.is_broken:
            self._skip_to(self._seen_until_ns, reason)
            self._close_told(REST)
        self._observer.note("warning", "klines_not_filled", instrument=self.instrument, interval=str(self.interval), reason=reason)

    # ── holes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _missing_before(self, until_ns: int) -> list[tuple[int, int]]:
        """What is not known from `done_until_ns` on: ranges, however many klines they hold."""
        assert self.done_until_ns is not None
        made, at_ns = [], self.done_until_ns
        for known_ns in sorted(open_ns for open_ns in self._ahead if open_ns < until_ns):
            if known_ns > at_ns:
                made.append((at_ns, known_ns))
            at_ns = next_ns(self.interval, known_ns)
        if at_ns < until_ns:
            made.append((at_ns, until_ns))
        return made

    def _skip_to(self, open_ns: int, reason: str) -> None:
        """Flag every missing kline before `open_ns`, and go on there."""
        for start_ns, end_ns in self._missing_before(open_ns):
            self._cut_told(start_ns)
            self._publish(self._gap(start_ns, end_ns, reason))
        self.done_until_ns = open_ns
        self._ahead = {known_ns for known_ns in self._ahead if known_ns >= open_ns}
        self._pass_ahead()

    def _tell_holes(self) -> None:
        """Those that have finals beyond them: after a new start nobody would look for them."""
        for start_ns, end_ns in self._missing_before(max(self._ahead, default=0)):
            if not any(gap.start_ns <= start_ns < gap.end_ns for gap in self._told.values()):
                self._told[start_ns] = self._gap(start_ns, end_ns, "not in the stream")
                self._publish(self._told[start_ns])

    def _close_told(self, filled_from: str) -> None:
        """Of the gaps that were told: those that lie before `done_until_ns` are filled."""
        assert self.done_until_ns is not None
        for gap in [gap for gap in self._told.values() if gap.end_ns <= self.done_until_ns]:
            del self._told[gap.start_ns]
            self._publish(msgspec.structs.replace(gap, filled_from=filled_from))

    def _cut_told(self, lost_ns: int) -> None:
        """From here on a hole that was told is lost, and told anew; what lies before is filled."""
        for gap in [gap for gap in self._told.values() if gap.start_ns <= lost_ns < gap.end_ns]:
            del self._told[gap.start_ns]
            if gap.start_ns < lost_ns:
                self._publish(msgspec.structs.replace(gap, end_ns=lost_ns, filled_from=REST))

    def _gap(self, start_ns: int, end_ns: int, reason: str) -> Gap:
        return Gap(self.instrument, "kline", start_ns, end_ns, None, None, reason, None, end_ns, interval=self.interval)
