"""ccxt.pro's `watch_…` as one stream (ports.VenueStream): a task for each subscription, one bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from zvt_crypto.domain.errors import Disconnected, Malformed, Unreachable, VenueError
from zvt_crypto.domain.events import MarketEvent
from zvt_crypto.domain.market import BookStale
from zvt_crypto.domain.plausible import is_plausible, too_early
from zvt_crypto.ports import Clock, Observer, Subscription

MOST_WAITING = 50_000
Watch = Callable[[], Awaitable[list[MarketEvent]]]


class CcxtStream:
    """`watches`: subscription → what waits for its next events. A book that ccxt lost is stale and the stream over."""

    def __init__(self, name: str, watches: dict[Subscription, Watch], clock: Clock, observer: Observer) -> None:
        self.name = name
        self.subscriptions: Sequence[Subscription] = tuple(watches)
        self._clock, self._observer = clock, observer
        self._ready: list[MarketEvent] = []
        self._ended: VenueError | None = None
        self._bell = asyncio.Event()
        self._tasks = [asyncio.create_task(self._watch(one, watch)) for one, watch in watches.items()]

    async def receive(self) -> list[MarketEvent]:
        """The next batch. Raises Disconnected once all events before the end have been given out."""
        while not self._ready:
            if self._ended is not None:
                raise self._ended
            self._bell.clear()
            await self._bell.wait()
        batch, self._ready = self._ready, []
        return batch

    def heard(self) -> set[str]:
        """As ports.VenueStream says: ccxt waits for snapshots itself, and says nothing until then."""
        return set()

    async def close(self) -> None:
        """End it."""
        self._ended = self._ended or Disconnected(f"{self.name}: closed by us")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._bell.set()

    async def _watch(self, subscription: Subscription, watch: Watch) -> None:
        while self._ended is None:
            try:
                made = self._checked(await watch())
            except Malformed as error:
                self._observer.count("venue_malformed", exchange=self.name.partition(" ")[0])
                self._end(subscription, Disconnected(str(error)))
            except Unreachable as error:
                self._end(subscription, Disconnected(str(error)))
            except VenueError as error:
                self._end(subscription, error)
            else:
                self._ready += made
                if len(self._ready) > MOST_WAITING:
                    self._end(subscription, Disconnected(f"{self.name}: {len(self._ready)} events wait and nobody takes them"))
                self._bell.set()

    def _checked(self, made: list[MarketEvent]) -> list[MarketEvent]:
        """The events, unless one is of a time that has not come. Raises Malformed."""
        now_ns = self._clock.now_ns()
        for event in made:
            if not is_plausible(event, now_ns):
                raise too_early(self.name.partition(" ")[0], event, now_ns)
        return made

    def _end(self, subscription: Subscription, error: VenueError) -> None:
        if self._ended is not None:
            return
        self._ended = error
        at_ns = self._clock.now_ns()
        self._ready += [BookStale(one.instrument, str(error), at_ns, at_ns) for one in self.subscriptions if one.channel == "depth"]
        self._bell.set()
