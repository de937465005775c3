"""The live books, kept for the past: now and then the top of each one that is valid, as an event that the recorder stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookSample
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Clock, LiveState


class BookOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`levels` a side, `every_s` seconds; 0 seconds keep none."""

    levels: int = 50
    every_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0


class BookSampler:
    """At each full period of the clock (each minute, say), so that the books of all instruments are of one moment.

    A book that is stale, or has not changed since it was kept last, is left out; the next valid one is kept at its own period.
    """

    def __init__(
        self,
        live: LiveState,
        followed: Callable[[], Iterable[str]],
        publish: Callable[[Event], None],
        clock: Clock,
        options: BookOptions,
    ) -> None:
        self._live = live
        self._followed = followed
        self._publish = publish
        self._clock = clock
        self._levels = options.levels
        self._every_ns = int(options.every_s * NS_PER_S)
        self._kept: dict[str, tuple[int, int]] = {}  # update id and time of the last one, by instrument

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due_ns = (self._clock.now_ns() // self._every_ns + 1) * self._every_ns
            while (left_ns := due_ns - self._clock.now_ns()) > 0:
                await self._clock.sleep(left_ns / NS_PER_S)
            self.sample()

    def sample(self) -> None:
        """Publish the books as they are now."""
        for instrument in self._followed():
            book = self._live.book(instrument)
            if book is None or not book.is_valid:
                continue
            at_ns = book.event_ns or book.recv_ns
            if self._kept.get(instrument) == (book.last_id, at_ns):
                continue
            self._kept[instrument] = book.last_id, at_ns
            bids, asks = book.top(self._levels)
            self._publish(BookSample(instrument, book.last_id, bids, asks, at_ns, book.recv_ns))
