"""Klines of the intervals that Coinbase does not have: 4h from its hours, weeks and months from its days, calendar-true (engine.roll)."""

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_DAY, Interval, floor_ns, next_ns
from zvt_crypto.engine.roll import roll_up
from zvt_crypto.venues.coinbase import spec
from zvt_crypto.venues.coinbase.candles import Candles, Days
from zvt_crypto.venues.span import Span, bounded

# Longer klines made at once: 75 pages of hours.
_CHUNK = 5_000


class Longer:
    """Rolls what `Candles` reads. A row is final only when everything that it is made of came and is final."""

    def __init__(self, candles: Candles) -> None:
        self._candles = candles

    async def forward(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """Oldest first from the start (the listing where there is none)."""
        cursor, last_ns = await self._candles.opens(interval, span)
        days = Days(self._candles, instrument)
        made: list[Kline] = []
        while cursor <= last_ns and len(made) < span.rows():
            stop = cursor
            for _ in range(min(_CHUNK, span.rows() - len(made))):
                stop = next_ns(interval, stop)
                if stop > last_ns:
                    break
            part = await self._part(instrument, interval, cursor, stop)
            made += part
            cursor = stop
            if not part:
                following = await days.at_or_after(spec.day_of(cursor))
                if following is None:
                    break
                cursor = max(cursor, floor_ns(interval, following))
        return bounded(made[: span.rows()], span, instrument.id)

    async def newest(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """The newest `limit` before the end, oldest first."""
        _, last_ns = await self._candles.opens(interval, span)
        days = Days(self._candles, instrument)
        made: list[Kline] = []
        while (missing := span.rows() - len(made)) > 0 and last_ns >= spec.FIRST_NS:
            first_ns = last_ns
            for _ in range(min(_CHUNK, missing) - 1):
                first_ns = floor_ns(interval, first_ns - 1)
            part = await self._part(instrument, interval, first_ns, next_ns(interval, last_ns))
            made = part + made
            last_ns = floor_ns(interval, first_ns - 1)
            if not part:
                preceding = await days.at_or_before(spec.day_of(first_ns - 1))
                if preceding is None:
                    break
                last_ns = min(last_ns, floor_ns(interval, preceding + NS_PER_DAY - 1))
        return made

    async def _part(self, instrument: Instrument, interval: Interval, first_ns: int, stop_ns: int) -> list[Kline]:
        """Those that open in [first_ns, stop_ns), which are opens themselves."""
        rows = await self._candles.forward(instrument, spec.DERIVED_FROM[interval], Span(first_ns, stop_ns))
        return roll_up(rows, interval, complete_from_ns=await self._complete_from(instrument, interval, rows))

    async def _complete_from(self, instrument: Instrument, interval: Interval, rows: Sequence[Kline]) -> int | None:
        """0 where nothing was ever traded before the first row: a listing in the middle of a week makes a whole week."""
        if not rows or rows[0].open_ns == floor_ns(interval, rows[0].open_ns):
            return None
        earlier = await Days(self._candles, instrument).at_or_before(spec.day_of(rows[0].open_ns) - NS_PER_DAY)
        return 0 if earlier is None else None
