"""Minutes made of trades, held against the exchange's own where it streams none: fetched some minutes after they closed, and published.

All else follows as where they are streamed: the store serves the exchange's version and keeps both where they differ, longer klines that
were made of ours are made anew, and where ids show no holes a minute that does not add up is a gap.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from zvt_crypto.domain.errors import BadInput, Refused, Unsupported, VenueError
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.instrument import TradingStatus
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_S, Interval, floor_ns, next_ns
from zvt_crypto.ports import HISTORY_PRIORITY, Clock, ExchangeConnector, Observer, Store, Subscription
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.patience import patiently

_MINUTE = Interval.MIN_1


class MinuteCheck:
    """Of one exchange. `run` is one task, which asks for one instrument after another and gives way to whoever asks for live data.

    since_ns: instrument → open of the first minute to ask for.
    """

    def __init__(
        self,
        connector: ExchangeConnector,
        since_ns: Mapping[str, int],
        publish: Callable[[Event], None],
        clock: Clock,
        observer: Observer,
        options: IngestOptions,
        rng: random.Random,
    ) -> None:
        self._connector = connector
        self._since_ns = dict(since_ns)
        self._publish = publish
        self._clock = clock
        self._observer = observer
        self._options = options
        self._rng = rng

    async def run(self) -> None:
        """Round after round, until cancelled."""
        HISTORY_PRIORITY.set("backfill")
        while True:
            await self._round()
            await self._clock.sleep(self._options.check_minutes_s)

    async def _round(self) -> None:
        for name in list(self._since_ns):
            held = self._connector.instruments.get(name)
            if held is not None and held.status is TradingStatus.DELISTED:
                continue
            try:
                await self._check(name)
            except Unsupported as error:
                del self._since_ns[name]
                self._tell(name, error)
            except (Refused, BadInput) as error:  # of this instrument: the others may do
                self._tell(name, error)
            except VenueError as error:  # of the exchange: what was not asked for now is asked for in the next round
                self._tell(name, error)
                return

    async def _check(self, name: str) -> None:
        until_ns = floor_ns(_MINUTE, await self._venue_time() - int(self._options.check_settle_s * NS_PER_S))
        since_ns = max(self._since_ns[name], until_ns - int(self._options.max_catch_up_s * NS_PER_S))
        if since_ns >= until_ns:
            return
        rows: list[Kline] = await patiently(
            lambda: self._connector.fetch_kdata(name, _MINUTE, since=since_ns, until=until_ns),
            self._clock,
            self._rng,
            self._options.patience_s,
        )
        for row in rows:
            if not row.final:
                break  # it and all later ones are asked for again
            self._publish(row)
            self._since_ns[name] = next_ns(_MINUTE, row.open_ns)
            self._observer.count("minutes_checked", instrument=name)

    async def _venue_time(self) -> int:
        return await patiently(self._connector.fetch_server_time, self._clock, self._rng, self._options.patience_s)

    def _tell(self, name: str, error: Exception) -> None:
        self._observer.note("warning", "minutes_not_checked", instrument=name, reason=str(error))


def streams_minutes(connector: ExchangeConnector, instrument: str) -> bool:
    """Whether the exchange streams its own minutes of it."""
    try:
        connector.routes([Subscription(instrument, "kline", _MINUTE)])
    except Unsupported:
        return False
    return True


async def unchecked_since_ns(store: Store, instrument: str, venue_ns: int, most_ns: int) -> int:
    """Open of the oldest of the newest minutes that are not the exchange's own, at most so far back; where none is stored, that of the
    minute that forms. Raises StoreUnavailable."""
    stored = await store.klines.read(instrument, _MINUTE, floor_ns(_MINUTE, venue_ns - most_ns))
    if not stored:
        return floor_ns(_MINUTE, venue_ns)
    own = [kline.open_ns for kline in stored if kline.source == "venue" and kline.final]
    return next_ns(_MINUTE, own[-1]) if own else stored[0].open_ns
