"""Trades of the past. Pairs by id, over Exchange's cursor; contracts by time, over what Advanced still has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Trade
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S
from zvt_crypto.venues.coinbase import request, spec
from zvt_crypto.venues.coinbase.answers import parse_exchange_trades, parse_market_trades
from zvt_crypto.venues.coinbase.product import product_of
from zvt_crypto.venues.parsed import Drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import Span, bounded

# Contracts are read through windows of time; a second that fills a page cannot be read any further. The smallest page that clients tell
# of is a hundred.
_WINDOW_NS = 60 * NS_PER_S
_WINDOW_MOST_NS = 30 * NS_PER_DAY
_PAGE_LEAST = 100


class PairTrades:
    """Trades of one pair. `native` is the product whose book it shares: Exchange knows no other name."""

    def __init__(self, rest: RestCaller, drifted: Callable[[Sequence[Drift]], None], instrument: Instrument, native: str) -> None:
        self._rest, self._drifted, self._instrument, self._native = rest, drifted, instrument, native

    async def read(self, span: Span, from_id: int | None, to_id: int | None) -> list[Trade]:
        """By id from `from_id`, or from the first at or after the start, or the newest."""
        newest = await self._below(None) if from_id is None or to_id is None else []
        if newest:
            top = _id(newest[-1])
            to_id = top if to_id is None else min(to_id, top)
        if to_id is None:
            return []
        if from_id is None and span.since_ns is not None:
            from_id = await self._first_id(span.since_ns, newest) if newest else None
            if from_id is None:
                return []
        if from_id is None:
            from_id = max(0, to_id - (span.limit or spec.TRADES_MOST) + 1)
        return await self._by_id(span, from_id, to_id, newest)

    async def _by_id(self, span: Span, from_id: int, to_id: int, newest: list[Trade]) -> list[Trade]:
        """Pages upwards. A page is asked for by the id above it: `before` would give the newest ones instead of the next."""
        made: list[Trade] = []
        cursor, since_ns, is_thin = from_id, span.since_ns or 0, False
        while cursor <= to_id and len(made) < span.rows():
            # Behind a jump, ids as few as the trades that are wanted may be none.
            stop = min(to_id + 1, cursor + (spec.TRADES_MOST if is_thin else min(spec.TRADES_MOST, span.rows() - len(made))))
            if newest and _id(newest[0]) <= cursor:
                page, stop = newest, to_id + 1
            else:
                page = await self._below(stop, stop - cursor)
            for trade in page:
                number = _id(trade)
                if number > to_id or (number >= cursor and span.until_ns is not None and trade.event_ns >= span.until_ns):
                    return made
                if number >= cursor and trade.event_ns >= since_ns and len(made) < span.rows():
                    made.append(trade)
            if not newest and (not page or _id(page[-1]) < stop - 1):  # the last id, or a hole of the venue's own
                newest = await self._below(None)
                to_id = min(to_id, _id(newest[-1]) if newest else -1)
            is_thin = not page or _id(page[-1]) < cursor
            cursor = await self._next_start(stop, to_id) if is_thin else stop
        return bounded(made, span, self._instrument.id)

    async def _next_start(self, start: int, to_id: int) -> int:
        """An id from which a page up reaches the next trade; above `to_id` where [start, to_id] has none. Halves: holes may be long."""
        newest = await self._below(to_id + 1, 1) if start <= to_id else []
        found = _id(newest[-1]) if newest else -1
        if found < start:
            return to_id + 1
        while start + spec.TRADES_MOST <= found:
            middle = (start + found + 1) // 2
            below = await self._below(middle, 1)
            if below and _id(below[-1]) >= start:
                found = _id(below[-1])
            else:
                start = middle
        return start

    async def _first_id(self, since_ns: int, newest: list[Trade]) -> int | None:
        """The id of the first trade at or after a time. Ids are not asked for by time: guessed between two known ones, page by page."""
        if newest[-1].event_ns < since_ns:
            return None
        high = _first_at(newest, since_ns)
        if high is not newest[0]:
            return _id(high)
        oldest = await self._below(spec.TRADES_MOST + 1)
        if oldest and oldest[-1].event_ns >= since_ns:
            return _id(_first_at(oldest, since_ns))
        # low: traded before `since_ns`, or nothing is known of it; high: traded at or after it.
        low_id, low_ns = (_id(oldest[-1]), oldest[-1].event_ns) if oldest else (0, None)
        for turn in range(128):
            width = _id(high) - low_id
            if width <= 1:
                break
            share = 0.5
            if low_ns is not None and high.event_ns > low_ns and turn % 3 < 2:
                share = (since_ns - low_ns) / (high.event_ns - low_ns)
            middle = low_id + min(max(1, int(width * share)), width - 1)
            page = [t for t in await self._below(middle + spec.TRADES_MOST // 2) if low_id < _id(t) <= _id(high)]
            if not page:
                low_id, low_ns = middle, None  # the venue has nothing so old, or a hole: look above
            elif _id(page[0]) == _id(high):
                break  # nothing is between the two
            elif page[-1].event_ns < since_ns:
                low_id, low_ns = _id(page[-1]), page[-1].event_ns
            else:
                found = _first_at(page, since_ns)
                if found is not page[0]:
                    return _id(found)
                high = found
        return _id(high)

    async def _below(self, below_id: int | None, limit: int = spec.TRADES_MOST) -> list[Trade]:
        """The newest trades below an id, by id."""
        body = await self._rest.read_page(request.trades_below(self._native, below_id, limit))
        trades, drift = parse_exchange_trades(body, product_of(self._instrument))
        self._drifted(drift)
        return trades


class ContractTrades:
    """Trades of one contract: their ids have no order that anybody promised."""

    def __init__(self, rest: RestCaller, drifted: Callable[[Sequence[Drift]], None], instrument: Instrument) -> None:
        self._rest, self._drifted, self._instrument = rest, drifted, instrument

    async def read(self, span: Span) -> list[Trade]:
        """Of the span, as far back as the venue goes; without a start the newest `limit`."""
        if span.since_ns is None:
            most = span.limit or spec.TRADES_MOST
            return (await self._backward(span, most))[0][-most:]
        if span.limit is None:
            return bounded((await self._backward(span, None))[0][: span.rows()], span, self._instrument.id)
        return await self._first(span, span.since_ns, span.limit)

    async def _first(self, span: Span, since_ns: int, limit: int) -> list[Trade]:
        """The first ones from the start: windows forward, each read backwards, so that a page of many days does not read all of them."""
        end_ns = await self._rest.server_ns("advanced") + NS_PER_S
        end_ns = end_ns if span.until_ns is None else min(end_ns, span.until_ns)
        made: list[Trade] = []
        width_ns, start_ns = _WINDOW_NS, max(since_ns, spec.FIRST_NS)
        while len(made) < limit and start_ns < end_ns:
            stop_ns = min(start_ns + width_ns, end_ns)
            part, is_whole = await self._backward(Span(start_ns, stop_ns), None)
            made = [*made, *part] if is_whole else part  # what is cut off from what came before begins a run of its own
            start_ns = stop_ns
            if len(part) * 4 < limit:
                width_ns = min(width_ns * 4, _WINDOW_MOST_NS)
        return made[:limit]

    async def _backward(self, span: Span, most: int | None) -> tuple[list[Trade], bool]:
        """The trades of a span, or the newest `most` of it; and whether none is missing at its beginning.

        Pages go back in time until one brings nothing new: how many rows the venue gives at most is not documented.
        """
        known: list[list[Trade]] = []  # newest pages first
        seen: set[str] = set()
        limit = min(most or spec.TRADES_MOST, spec.TRADES_MOST)
        start_s = None if span.since_ns is None else span.since_ns // NS_PER_S
        end_s = None if span.until_ns is None else -(-span.until_ns // NS_PER_S)
        fullest, count = _PAGE_LEAST, 0
        while most is None or count < most:
            page = await self._page(limit, start_s, end_s)
            fresh = [trade for trade in page if trade.trade_id not in seen]
            if not fresh:
                return _joined(known), len(page) < fullest
            seen.update(trade.trade_id for trade in fresh)
            known.append([trade for trade in fresh if _inside(trade, span)])
            fullest, count = max(fullest, len(page)), count + len(known[-1])
            if span.since_ns is not None and page[0].event_ns < span.since_ns:
                break
            # A page may begin in the middle of a second: the one before is asked for with the whole of it.
            end_s, limit = page[0].event_ns // NS_PER_S + 1, spec.TRADES_MOST
        return _joined(known), True

    async def _page(self, limit: int, start_s: int | None, end_s: int | None) -> list[Trade]:
        if end_s is not None and start_s is None:
            start_s = spec.FIRST_NS // NS_PER_S
        call = request.market_trades(self._instrument.native_symbol, limit, start_s, end_s)
        trades, drift = parse_market_trades(await self._rest.read_page(call), product_of(self._instrument))
        self._drifted(drift)
        return trades


def _joined(pages: list[list[Trade]]) -> list[Trade]:
    return [trade for page in reversed(pages) for trade in page]


def _inside(trade: Trade, span: Span) -> bool:
    return (span.since_ns or 0) <= trade.event_ns and (span.until_ns is None or trade.event_ns < span.until_ns)


def _first_at(trades: list[Trade], since_ns: int) -> Trade:
    """The first of them at or after a time; the last of them is."""
    return next(trade for trade in trades if trade.event_ns >= since_ns)


def _id(trade: Trade) -> int:
    return int(trade.trade_id)
