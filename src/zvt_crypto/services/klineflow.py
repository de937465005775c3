"""The live klines of one instrument and interval, made whole: a final kline that the stream did not show is fetched."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from zvt_crypto.domain.errors import BadInput, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.time import Interval, next_ns
from zvt_crypto.ports import Clock, ExchangeConnector, Observer
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.patience import patiently

_MOST_AHEAD = 5_000  # finals known beyond a hole; more of them are only asked for again


class KlineFlow:
    """Lives as long as the ingest, over all connections. `run` is its one task; `on_kline` never waits.

    A kline is final because the venue says so, in the stream or by REST; a later kline only shows that a final one is missing.
    Finals may come in any order: those fetched later are published when they are known.
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
    ) -> None:
        self.instrument = instrument
        self.interval = interval
        self.done_until_ns = done_until_ns  # every kline that opens before is final and published
        self._seen_until_ns = done_until_ns or 0  # every kline that opens before must be final by now
        self._ahead: set[int] = set()
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

    def on_kline(self, kline: Kline) -> None:
        """A kline of the stream, forming or final."""
        if self.done_until_ns is None:
            self.done_until_ns = self._seen_until_ns = kline.open_ns
        if kline.final:
            self._publish(kline)
            self._note_final(kline)
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
            if self.is_broken:
                await self._clock.sleep(self._options.closing_s)
            await self._fill()

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
        tries = Backoff(self._rng, first_s=0.5, most_s=4.0)
        while True:
            try:
                rows = await patiently(self._fetch, self._clock, self._rng, self._options.patience_s)
            except (VenueError, BadInput) as error:
                self._give_up(str(error))
                return
            self._take([row for row in rows if row.final])
            if not self.is_broken:
                return
            if tries.failures >= self._options.empty_tries:
                self._give_up("the venue does not have it")
                return
            await self._clock.sleep(tries.next_s())

    async def _fetch(self) -> list[Kline]:
        return await self._connector.fetch_kdata(self.instrument, self.interval, since=self.done_until_ns, limit=self._options.max_klines)

    def _take(self, finals: list[Kline]) -> None:
        for kline in finals:
            assert self.done_until_ns is not None
            if kline.open_ns < self.done_until_ns:
                continue
            if kline.open_ns > self.done_until_ns and kline.open_ns not in self._ahead:
                self._skip_to(kline.open_ns, "the venue does not have it")
            if kline.open_ns not in self._ahead:
                self._observer.count("klines_filled", instrument=self.instrument, interval=self.interval)
                self._publish(kline)
            self._ahead.discard(kline.open_ns)
            self._note_final(kline)

    def _give_up(self, reason: str) -> None:
        if self.is_broken:
            self._skip_to(self._seen_until_ns, reason)
        self._observer.note("warning", "klines_not_filled", instrument=self.instrument, interval=str(self.interval), reason=reason)

    def _skip_to(self, open_ns: int, reason: str) -> None:
        """Flag every missing kline before `open_ns`, and go on there."""
        assert self.done_until_ns is not None
        while self.done_until_ns < open_ns:
            start_ns = self.done_until_ns
            while self.done_until_ns < open_ns and self.done_until_ns not in self._ahead:
                self.done_until_ns = next_ns(self.interval, self.done_until_ns)
            if self.done_until_ns > start_ns:
                self._publish(self._gap(start_ns, self.done_until_ns, reason))
            self._pass_ahead()

    def _gap(self, start_ns: int, end_ns: int, reason: str) -> Gap:
        return Gap(self.instrument, "kline", start_ns, end_ns, None, None, reason, None, end_ns, interval=self.interval)
