"""Settled funding of one perpetual. No stream tells of it, so it is asked for now and then."""

from __future__ import annotations

from zvt_crypto.domain.errors import BadInput, Refused, Throttled, VenueError
from zvt_crypto.domain.market import Gap
from zvt_crypto.domain.time import NS_PER_DAY
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, Observer

_FIRST_NS = 3 * NS_PER_DAY  # where nothing is stored: older settlements are backfill's work
MOST_NS = 90 * NS_PER_DAY  # a page of the venues': what nobody looked at for longer is told as a gap


class FundingPoll:
    """Publishes each settlement once a run; the store knows it by its time. `last_ns`: the newest that is stored, None where none is."""

    def __init__(
        self,
        connector: ExchangeConnector,
        instrument: str,
        feed: Feed,
        clock: Clock,
        observer: Observer,
        poll_s: float,
        last_ns: int | None = None,
    ) -> None:
        self._connector = connector
        self._instrument = instrument
        self._feed = feed
        self._clock = clock
        self._observer = observer
        self._poll_s = poll_s
        self._stored_ns = last_ns
        self._last_ns: int | None = None  # up to where settlements are known

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
            self._last_ns = self._begin(await self._connector.fetch_server_time())
        for row in await self._connector.fetch_funding(self._instrument, since=self._last_ns + 1):
            if row.event_ns > self._last_ns:
                self._last_ns = row.event_ns
                self._feed.publish(row)

    def _begin(self, now_ns: int) -> int:
        """After what is stored; where that is long ago, what lies between is a gap, for `heal` to fill."""
        stored_ns = self._stored_ns
        if stored_ns is None:
            return max(0, now_ns - _FIRST_NS)
        if now_ns - stored_ns <= MOST_NS:
            return stored_ns
        begin_ns = now_ns - MOST_NS
        reason = f"not looked at for more than {MOST_NS // NS_PER_DAY} days"
        self._feed.publish(Gap(self._instrument, "funding", stored_ns, begin_ns, None, None, reason, None, now_ns))
        return begin_ns
