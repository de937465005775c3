"""Paged reads of the past: klines, trades, funding, mark prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zvt_crypto.domain.errors import Refused
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import FIXED_NS, MAX_NS, NS_PER_MINUTE, NS_PER_MS, Interval, floor_ns, is_aligned, next_ns
from zvt_crypto.venues.okx import parse_rest, request, spec
from zvt_crypto.venues.okx.pages import read_backward, read_forward
from zvt_crypto.venues.okx.symbols import index_of
from zvt_crypto.venues.okx.units import traded
from zvt_crypto.venues.parsed import Drift
from zvt_crypto.venues.rest import Call, RestCaller
from zvt_crypto.venues.span import Span, bounded

Drifted = Callable[[Sequence[Drift]], None]
FIRST_NS = spec.FIRST_MS * NS_PER_MS
# What comes where neither a beginning nor a number was asked for.
NEWEST_TRADES = 500


class History:
    """Reads pages through a RestCaller. `drifted` hears of what was odd in them."""

    def __init__(self, rest: RestCaller, drifted: Drifted) -> None:
        self._rest, self._drifted = rest, drifted

    async def klines(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """Oldest first from the start (the venue's first where there is none), or, for a limit without a start, the newest."""
        now_ns = await self._rest.server_ns(spec.REST_MARKET)
        pages = KlinePages(self._rest, self._drifted, instrument, interval, now_ns)
        end_ns = min(span.until_ns if span.until_ns is not None else MAX_NS, next_ns(interval, now_ns))
        if span.since_ns is None and span.limit is not None:
            return await read_backward(pages, _up(interval, end_ns), span.limit, spec.CANDLES_MOST, _every)
        start_ns = _up(interval, max(span.since_ns or 0, FIRST_NS))
        return bounded(await read_forward(pages, start_ns, _up(interval, end_ns), span.rows(), _every), span, instrument.id)

    async def trades(self, instrument: Instrument, span: Span, from_id: int | None, to_id: int | None) -> list[Trade]:
        """By id from `from_id`, or from the first at or after the start, or the newest."""
        pages = TradePages(self._rest, self._drifted, instrument)

        def wanted(trade: Trade) -> bool:
            return (span.since_ns or 0) <= trade.event_ns < (span.until_ns if span.until_ns is not None else MAX_NS)

        end = await pages.end(span.last_ms, to_id)
        if from_id is None and span.start_ms is None:
            return await read_backward(pages, end, span.limit or NEWEST_TRADES, spec.TRADES_MOST, wanted)
        start = from_id if from_id is not None else await pages.after_time((span.start_ms or 0) - 1)
        return bounded(await read_forward(pages, start, end, span.rows(), wanted), span, instrument.id)

    async def funding(self, instrument: Instrument, span: Span) -> list[Funding]:
        """Oldest first; the venue keeps three months."""
        made: list[Funding] = []
        of, before_ms = traded(instrument), None if span.last_ms is None else span.last_ms + 1
        since_ns = span.since_ns or 0
        while True:
            body = await self._rest.read_page(request.funding_history(instrument.native_symbol, before_ms, spec.FUNDING_MOST))
            page = parse_rest.parse_funding(body, of)
            if page and made and page[-1].event_ns >= made[0].event_ns:
                raise Refused(f"okx funding of {instrument.id}: the page before {before_ms} does not lie before it")
            made = [row for row in page if row.event_ns >= since_ns] + made
            if len(page) < spec.FUNDING_MOST or page[0].event_ns < since_ns:
                return made
            before_ms = page[0].event_ns // NS_PER_MS

    async def marks(self, instrument: Instrument, span: Span) -> list[MarkPrice]:
        """Closed minutes whose close lies in the span, oldest first."""
        now_ns = await self._rest.server_ns(spec.REST_MARKET)
        pages = MarkPages(self._rest, instrument, now_ns)
        # A minute is stamped with its close, so the first one wanted opened a minute before.
        start_ns = _up(Interval.MIN_1, max((span.since_ns or 0) - NS_PER_MINUTE, FIRST_NS))
        until_ns = min(span.until_ns if span.until_ns is not None else MAX_NS, now_ns + 1)
        end_ns = _up(Interval.MIN_1, until_ns - NS_PER_MINUTE)
        return bounded(await read_forward(pages, start_ns, end_ns, span.rows(), _every), span, instrument.id)


class KlinePages:
    """Klines by their open (ns). Newer ones come from one call, older ones from another: the venue's own division."""

    def __init__(self, rest: RestCaller, drifted: Drifted, instrument: Instrument, interval: Interval, now_ns: int) -> None:
        self._rest, self._drifted = rest, drifted
        self._of, self._native, self._interval = traded(instrument), instrument.native_symbol, interval
        self._recent_ns = recent_from(interval, now_ns)

    async def before(self, end: int, most: int) -> list[Kline]:
        """Those that open before `end`."""
        before_ms = -(-end // NS_PER_MS)
        if end > self._recent_ns:
            found = await self._read(request.recent_candles(self._native, self._interval, before_ms, min(most, spec.CANDLES_MOST)))
            if found:
                return found
        return await self._read(request.old_candles(self._native, self._interval, before_ms, min(most, spec.HISTORY_CANDLES_MOST)))

    def position(self, row: Kline) -> int:
        """Its open."""
        return row.open_ns

    def window(self, start: int, most: int) -> tuple[int, int]:
        """Old ones and recent ones are not asked for together."""
        if start >= self._recent_ns:
            rows = min(most, spec.CANDLES_MOST)
            return _opens_after(self._interval, start, rows), rows
        rows = min(most, spec.HISTORY_CANDLES_MOST)
        return min(_opens_after(self._interval, start, rows), self._recent_ns), rows

    async def _read(self, call: Call) -> list[Kline]:
        klines, drift = parse_rest.parse_klines(await self._rest.read_page(call), self._of, self._interval)
        self._drifted(drift)
        return klines


class MarkPages:
    """Closed minutes of mark prices by their open (ns), each with its index price. An event stands at the minute's close."""

    def __init__(self, rest: RestCaller, instrument: Instrument, now_ns: int) -> None:
        self._rest, self._id = rest, instrument.id
        self._native, self._index = instrument.native_symbol, index_of(instrument)
        self._recent_ns = recent_from(Interval.MIN_1, now_ns)

    async def before(self, end: int, most: int) -> list[MarkPrice]:
        """Those that open before `end`."""
        rows = min(most, spec.PRICE_CANDLES_MOST)
        marks = await self._read("mark-price", self._native, end, rows)
        indexes = await self._read("index", self._index, end, rows) if marks else {}
        return [MarkPrice(self._id, at_ns, price, indexes.get(at_ns), None, None) for at_ns, price in marks.items()]

    def position(self, row: MarkPrice) -> int:
        """The open of its minute."""
        return row.event_ns - NS_PER_MINUTE

    def window(self, start: int, most: int) -> tuple[int, int]:
        """As many minutes as a page holds."""
        rows = min(most, spec.PRICE_CANDLES_MOST)
        end = start + rows * NS_PER_MINUTE
        return (end if start >= self._recent_ns else min(end, self._recent_ns)), rows

    async def _read(self, kind: request.PriceKind, native: str, end: int, rows: int) -> dict[int, float]:
        before_ms, what = -(-end // NS_PER_MS), f"{kind} minutes of {native}"
        if end > self._recent_ns:
            found = parse_rest.parse_prices(await self._rest.read_page(request.recent_prices(kind, native, before_ms, rows)), what)
            if found:
                return found
        return parse_rest.parse_prices(await self._rest.read_page(request.old_prices(kind, native, before_ms, rows)), what)


class TradePages:
    """Single trades by their id."""

    def __init__(self, rest: RestCaller, drifted: Drifted, instrument: Instrument) -> None:
        self._rest, self._drifted = rest, drifted
        self._of, self._native = traded(instrument), instrument.native_symbol

    async def before(self, end: int | None, most: int) -> list[Trade]:
        """Those with smaller ids; None: the newest."""
        return await self._read(request.trades_before_id(self._native, end, min(most, spec.TRADES_MOST)))

    def position(self, row: Trade) -> int:
        """Its id."""
        return parse_rest.trade_number(row)

    def window(self, start: int, most: int) -> tuple[int, int]:
        """As many ids as a page holds."""
        rows = min(most, spec.TRADES_MOST)
        return start + rows, rows

    async def after_time(self, at_ms: int) -> int:
        """An id at or before that of the first trade at or after a time (0 where the venue has none that is older).

        Whether `after` a time excludes the time itself does not matter: the trades of the millisecond before come along.
        """
        older = await self._read(request.trades_before_time(self._native, at_ms, 1)) if at_ms > 0 else []
        return self.position(older[-1]) + 1 if older else 0

    async def end(self, last_ms: int | None, to_id: int | None) -> int:
        """An id behind the last one wanted."""
        ends = [to_id + 1] if to_id is not None else []
        if last_ms is not None:
            ends.append(await self.after_time(last_ms + 2))
        if not ends:
            newest = await self.before(None, 1)
            ends.append(self.position(newest[-1]) + 1 if newest else 0)
        return min(ends)

    async def _read(self, call: Call) -> list[Trade]:
        trades, drift = parse_rest.parse_trades(await self._rest.read_page(call), self._of)
        self._drifted(drift)
        return trades


def recent_from(interval: Interval, now_ns: int) -> int:
    """The open from which on the venue's call for recent candles surely answers. It never listed that many months."""
    if interval is Interval.MONTH_1:
        return 0
    return max(0, floor_ns(interval, now_ns) - spec.RECENT_CANDLES_SURE * FIXED_NS[interval])


def _opens_after(interval: Interval, open_ns: int, count: int) -> int:
    """The open `count` klines later."""
    if interval is not Interval.MONTH_1:
        return open_ns + count * FIXED_NS[interval]
    for _ in range(count):
        open_ns = next_ns(interval, open_ns)
    return open_ns


def _up(interval: Interval, at_ns: int) -> int:
    """The first open at or after a time."""
    return at_ns if is_aligned(interval, at_ns) else next_ns(interval, at_ns)


def _every(_row: object) -> bool:
    return True
