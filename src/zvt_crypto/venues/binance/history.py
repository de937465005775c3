"""Paged reads of the past: klines, trades, funding, mark prices. What a page says decides what is asked for next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_MS, Interval, next_ns
from zvt_crypto.venues.binance import parse, request, spec
from zvt_crypto.venues.binance.spec import Market
from zvt_crypto.venues.binance.symbols import market_of
from zvt_crypto.venues.parsed import Drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import Span, bounded


class History:
    """Reads pages through a RestCaller. `drifted` hears of what was odd in them."""

    def __init__(self, rest: RestCaller, drifted: Callable[[Sequence[Drift]], None]) -> None:
        self._rest, self._drifted = rest, drifted

    async def klines(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """Oldest first from the start (the listing where there is none)."""
        made: list[Kline] = []
        start_ms, last_ms = span.start_ms or 0, span.last_ms
        while len(made) < span.rows() and (last_ms is None or start_ms <= last_ms):
            asked = min(spec.KLINES_MOST[market_of(instrument)], span.rows() - len(made))
            page, rows = await self._klines_page(instrument, interval, start_ms, last_ms, asked)
            made += page
            if rows < asked or not page:
                break
            start_ms = next_ns(interval, page[-1].open_ns) // NS_PER_MS
        return bounded(made, span, instrument.id)

    async def newest_klines(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """The newest `limit` before the end, oldest first."""
        made: list[Kline] = []
        last_ms = span.last_ms
        while (missing := span.rows() - len(made)) > 0:
            asked = min(spec.KLINES_MOST[market_of(instrument)], missing)
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
        market = market_of(instrument)
        # The clock before the question: a kline that closes while the answer is on its way is not final in it.
        server_ns = await self._rest.read_server_ns(market)
        body = await self._rest.read_page(request.klines(market, instrument.native_symbol, interval, start_ms, last_ms, asked))
        page, drift = parse.parse_klines(body, instrument.id, interval, server_ns - spec.FINAL_GRACE_NS)
        self._drifted(drift)
        return page, len(page) + len(drift)

    async def trades(self, instrument: Instrument, stream: TradeStream, span: Span, from_id: int | None, to_id: int | None) -> list[Trade]:
        """By id from `from_id`, or from the first at or after the start, or the newest."""
        if from_id is None and span.since_ns is not None:
            from_id = await self._first_id(instrument, stream, span)
            if from_id is None:
                return []
        if from_id is None:
            wanted = span.limit or spec.TRADES_MOST
            last_id = to_id if to_id is not None else await self._newest_id(instrument, stream)
            if last_id is None:
                return []
            from_id, to_id = max(0, last_id - wanted + 1), last_id
        return await self._trades_by_id(instrument, stream, span, from_id, to_id)

    async def _trades_by_id(self, instrument: Instrument, stream: TradeStream, span: Span, from_id: int, to_id: int | None) -> list[Trade]:
        made: list[Trade] = []
        since_ns = span.since_ns or 0
        while len(made) < span.rows() and (to_id is None or from_id <= to_id):
            page = await self._trades_page(instrument, stream, from_id)
            for trade in page:
                number = int(trade.trade_id)
                if (to_id is not None and number > to_id) or (span.until_ns is not None and trade.event_ns >= span.until_ns):
                    return made
                if number >= from_id and trade.event_ns >= since_ns and len(made) < span.rows():
                    made.append(trade)
            if len(page) < spec.TRADES_MOST:
                break
            from_id = int(page[-1].trade_id) + 1
        return bounded(made, span, instrument.id)

    async def _trades_page(self, instrument: Instrument, stream: TradeStream, from_id: int) -> list[Trade]:
        market, native = market_of(instrument), instrument.native_symbol
        if stream == "agg":
            body = await self._rest.read_page(request.agg_trades(market, native, spec.TRADES_MOST, from_id=from_id))
            return parse.parse_agg_trades(body, instrument.id)
        body = await self._rest.read_page(request.historical_trades(market, native, from_id, spec.TRADES_MOST))
        return parse.parse_trades(body, instrument.id)

    async def _newest_id(self, instrument: Instrument, stream: TradeStream) -> int | None:
        market, native = market_of(instrument), instrument.native_symbol
        if stream == "agg":
            found = parse.parse_agg_trades(await self._rest.read_page(request.agg_trades(market, native, 1)), instrument.id)
        else:
            found = parse.parse_trades(await self._rest.read_page(request.recent_trades(market, native, 1)), instrument.id)
        return int(found[-1].trade_id) if found else None

    async def _first_id(self, instrument: Instrument, stream: TradeStream, span: Span) -> int | None:
        """The id to begin with: only aggregates can be asked for by time, and each names the first single trade in it."""
        market, native = market_of(instrument), instrument.native_symbol
        start_ms = span.start_ms or 0
        end_ms = await self._end_ms(market, span)
        while start_ms <= end_ms:
            # On spot a start alone finds the next aggregate however far it is; USD-M looks an hour ahead at most.
            window_end = None if market == "spot" else min(end_ms, start_ms + spec.USDM_AGG_WINDOW_MS)
            body = await self._rest.read_page(request.agg_trades(market, native, 1, start_ms=start_ms, end_ms=window_end))
            first = parse.parse_first_ids(body, instrument.id)
            if first is not None:
                return first[0] if stream == "agg" else first[1]
            if window_end is None:
                return None
            start_ms = window_end + 1
        return None

    async def _end_ms(self, market: Market, span: Span) -> int:
        now_ms = await self._rest.server_ns(market) // NS_PER_MS
        return now_ms if span.last_ms is None else min(now_ms, span.last_ms)

    async def funding(self, instrument: Instrument, span: Span) -> list[Funding]:
        """Oldest first."""
        made: list[Funding] = []
        start_ms, last_ms = max(span.start_ms or 0, spec.USDM_FIRST_MS), span.last_ms
        while last_ms is None or start_ms <= last_ms:
            body = await self._rest.read_page(request.funding(instrument.native_symbol, start_ms, last_ms, spec.FUNDING_MOST))
            page = parse.parse_funding(body, instrument.id)
            made += page
            if len(page) < spec.FUNDING_MOST:
                break
            start_ms = page[-1].event_ns // NS_PER_MS + 1
        return made

    async def marks(self, instrument: Instrument, span: Span) -> list[MarkPrice]:
        """Closed minutes whose close lies in the span, oldest first."""
        made: list[MarkPrice] = []
        since_ns, most = span.since_ns or 0, spec.TRADES_MOST
        # A minute is stamped with its close, so the first one wanted opened a minute before.
        start_ms = max(-(-(since_ns - NS_PER_MINUTE) // NS_PER_MS), spec.USDM_FIRST_MS)
        last_ms = None if span.last_ms is None else span.last_ms - NS_PER_MINUTE // NS_PER_MS
        while last_ms is None or start_ms <= last_ms:
            server_ns = await self._rest.read_server_ns("usdm")
            marks = await self._rest.read_page(request.mark_klines(instrument.native_symbol, start_ms, last_ms, most))
            pair = instrument.native_symbol.partition("_")[0]
            indexes = await self._rest.read_page(request.index_klines(pair, start_ms, last_ms, most))
            page, rows = parse.parse_mark_klines(marks, indexes, instrument.id, server_ns - spec.FINAL_GRACE_NS)
            made += page
            if rows < most or not page:
                break
            start_ms = page[-1].event_ns // NS_PER_MS
        return bounded(made, span, instrument.id)
