"""Settled funding of one perpetual. No stream tells of it, so it is asked for now and then."""

from __future__ import annotations

from zvt_crypto.domain.errors import BadInput, Refused, Throttled, VenueError
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, Observer

_LOOK_BACK_NS = 3 * 86_400 * 1_000_000_000  # what was settled while nobody looked, at least at the usual eight hours


class FundingPoll:
    """Publishes each settlement once a run; the store knows it by its time."""

    def __init__(self, connector: ExchangeConnector, instrument: str, feed: Feed, clock: Clock, observer: Observer, poll_s: float) -> None:
        self._connector = connector
        self._instrument = instrument
        self._feed = feed
        self._clock = clock
        self._observer = observer
        self._poll_s = poll_s
        self._last_ns: int | None = None

    async def run(self) -> None:
        """Until cancelled, or until the venue says that it has none."""
        while True:
            wait_s = self._poll_s
            try:
                await self._poll()
            except Throttled as error:
                wait_s = max(wait_s, error.wait_ms / 1_000)
            except (Refused, BadInput) as error:
                self._observer.note("warning", "no_funding", instrument=self._instrument, reason=str(error))
                return
            except VenueError as error:
                self._observer.note("warning", "funding_not_polled", instrument=self._instrument, reason=str(error))
            await self._clock.sleep(wait_s)

    async def _poll(self) -> None:
        if self._last_ns is None:
            self._last_ns = max(0, await self._connector.fetch_server_time() - _LOOK_BACK_NS)
        for row in await self._connector.fetch_funding(self._instrument, since=self._last_ns + 1):
            if row.event_ns > self._last_ns:
                self._last_ns = row.event_ns
                self._feed.publish(row)
