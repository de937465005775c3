"""Paged reads of the past. Klines are read in windows that one answer can hold whole, so that the order in which the venue cuts a longer
one does not matter; what is empty is stepped over by days."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import FIXED_NS, NS_PER_MINUTE, NS_PER_MS, Interval, floor_ns
from zvt_crypto.venues.bybit import answers, request, spec
from zvt_crypto.venues.bybit.symbols import category_of
from zvt_crypto.venues.inverse import units_of
from zvt_crypto.venues.parsed import Drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import Span, bounded

_MINUTE_MS = NS_PER_MINUTE // NS_PER_MS


class History:
    """Reads pages through a RestCaller. `drifted` hears of what was odd in them."""

    def __init__(self, rest: RestCaller, drifted: Callable[[Sequence[Drift]], None]) -> None:
        self._rest, self._drifted = rest, drifted

    async def klines(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """Oldest first from the start (the listing where there is none)."""
        made: list[Kline] = []
        start_ms, end_ms = _start_ms(instrument, span.start_ms), await self._end_ms(span.last_ms)
        asked = min(spec.KLINES_MOST, span.rows())
        while len(made) < span.rows() and start_ms <= end_ms:
            stop_ms = _stop_ms(interval, start_ms, end_ms, asked)
            page, _ = await self._klines_page(instrument, interval, start_ms, stop_ms, asked)
            made += page[: span.rows() - len(made)]
            asked = spec.KLINES_MOST  # a few rows may be wanted from long before the listing
            start_ms = stop_ms + 1 if page else await self._next_day(instrument, stop_ms + 1, end_ms)
        return bounded(made, span, instrument.id)

    async def newest_klines(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """The newest `limit` before the end, oldest first."""
        made: list[Kline] = []
        last_ms = span.last_ms
        while (missing := span.rows() - len(made)) > 0:
            asked = min(spec.KLINES_MOST, missing)
            page, rows = await self._klines_page(instrument, interval, None, last_ms, asked)
            made = page + made
            if rows < asked or not page:
                break
            last_ms = page[0].open_ns // NS_PER_MS - 1
        return made

    async def _klines_page(
        self, instrument: Instrument, interval: Interval, start_ms: int | None, last_ms: int | None, asked: int
    ) -> tuple[list[Kline], int]:
        """The klines of a page, and how many rows it had."""
        # The clock before the question: a kline that closes while the answer is on its way is not final in it.
        server_ns = await self._rest.read_server_ns(spec.MARKET)
        call = request.klines(category_of(instrument), instrument.native_symbol, interval, start_ms, last_ms, asked)
        page, drift = answers.parse_klines(await self._rest.read_page(call), instrument.id, interval, server_ns - spec.FINAL_GRACE_NS)
        self._drifted(drift)
        return [units_of(instrument)(kline) for kline in page], len(page) + len(drift)

    async def _next_day(self, instrument: Instrument, start_ms: int, end_ms: int) -> int:
        """The first moment from `start_ms` on, up to `end_ms`, on a day that has klines; beyond the end where there is none."""
        while start_ms <= end_ms:
            first_ms = floor_ns(Interval.DAY_1, start_ms * NS_PER_MS) // NS_PER_MS
            stop_ms = _stop_ms(Interval.DAY_1, first_ms, end_ms, spec.KLINES_MOST)
            days, _ = await self._klines_page(instrument, Interval.DAY_1, first_ms, stop_ms, spec.KLINES_MOST)
            if days:
                return max(start_ms, days[0].open_ns // NS_PER_MS)
            start_ms = stop_ms + 1
        return start_ms

    async def trades(self, instrument: Instrument, span: Span) -> list[Trade]:
        """What the venue still gives of the span: the newest 60 (spot) or 1000, which are an unbroken run."""
        category = category_of(instrument)
        call = request.trades(category, instrument.native_symbol, spec.TRADES_MOST[category])
        told, drift = answers.parse_trades(await self._rest.read_page(call), instrument.id)
        page: list[Trade] = [units_of(instrument)(trade) for trade in told]
        self._drifted(drift)
        since_ns, until_ns = span.since_ns or 0, span.until_ns
        fits = [trade for trade in page if trade.event_ns >= since_ns and (until_ns is None or trade.event_ns < until_ns)]
        return fits[: span.rows()] if span.since_ns is not None else fits[-span.rows() :]

    async def funding(self, instrument: Instrument, span: Span) -> list[Funding]:
        """Oldest first; read from the end backwards, since a start alone is refused."""
        pages: list[list[Funding]] = []
        end_ms, since_ns = await self._end_ms(span.last_ms), span.since_ns or 0
        while end_ms * NS_PER_MS >= since_ns:
            call = request.funding(category_of(instrument), instrument.native_symbol, end_ms)
            page = answers.parse_funding(await self._rest.read_page(call), instrument.id)
            pages.append([row for row in page if row.event_ns >= since_ns])
            if len(page) < spec.FUNDING_MOST or page[0].event_ns // NS_PER_MS > end_ms:
                break
            end_ms = page[0].event_ns // NS_PER_MS - 1
        return [row for page in reversed(pages) for row in page]

    async def marks(self, instrument: Instrument, span: Span) -> list[MarkPrice]:
        """Closed minutes whose close lies in the span, oldest first."""
        made: list[MarkPrice] = []
        # A minute is stamped with its close, so the first one wanted opened a minute before.
        start_ms = _start_ms(instrument, None if span.start_ms is None else span.start_ms - _MINUTE_MS)
        end_ms = await self._end_ms(None if span.last_ms is None else span.last_ms - _MINUTE_MS)
        while len(made) < span.rows() and start_ms <= end_ms:
            stop_ms = _stop_ms(Interval.MIN_1, start_ms, end_ms, spec.KLINES_MOST)
            page = await self._marks_page(instrument, start_ms, stop_ms)
            made += page
            start_ms = stop_ms + 1 if page else await self._next_day(instrument, stop_ms + 1, end_ms)
        return bounded(made, span, instrument.id)

    async def _marks_page(self, instrument: Instrument, start_ms: int, stop_ms: int) -> list[MarkPrice]:
        server_ns = await self._rest.read_server_ns(spec.MARKET)
        asked = (category_of(instrument), instrument.native_symbol, Interval.MIN_1, start_ms, stop_ms)
        marks = await self._rest.read_page(request.mark_klines(*asked))
        indexes = await self._rest.read_page(request.index_klines(*asked))
        return answers.parse_mark_klines(marks, indexes, instrument.id, Interval.MIN_1, server_ns - spec.FINAL_GRACE_NS)

    async def _end_ms(self, last_ms: int | None) -> int:
        now_ms = await self._rest.server_ns(spec.MARKET) // NS_PER_MS
        return now_ms if last_ms is None else min(now_ms, last_ms)


def _start_ms(instrument: Instrument, since_ms: int | None) -> int:
    return max(since_ms or 0, spec.FIRST_MS[category_of(instrument)])


def _stop_ms(interval: Interval, start_ms: int, end_ms: int, rows: int) -> int:
    """The last millisecond of the window from `start_ms` on in which at most `rows` klines open. All months there are fit into one."""
    length_ns = FIXED_NS.get(interval)
    if length_ns is None:
        return end_ms
    return min(end_ms, start_ms + rows * length_ns // NS_PER_MS - 1)
