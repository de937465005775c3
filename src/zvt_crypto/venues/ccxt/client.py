"""One exchange through ccxt (ports.ExchangeConnector). What ccxt or the exchange cannot is Unsupported, named so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import count
from typing import Any, cast

from zvt_crypto.domain.errors import BadInput, Unsupported
from zvt_crypto.domain.events import BookEvent, MarketEvent
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp, Instrument, Instruments, ccxt_symbol
from zvt_crypto.domain.market import (
    BookDelta,
    BookSnapshot,
    BookStale,
    Funding,
    Kline,
    MarkPrice,
    Ticker,
    Trade,
    TradeContinuity,
    TradeStream,
)
from zvt_crypto.domain.time import NS_PER_MS, Interval, next_ns, parse_interval
from zvt_crypto.ports import Clock, Observer, Subscription, VenueStream
from zvt_crypto.venues.arguments import check_depth, check_stream
from zvt_crypto.venues.ccxt import rows
from zvt_crypto.venues.ccxt.library import asked, make_client
from zvt_crypto.venues.ccxt.stream import CcxtStream, Watch
from zvt_crypto.venues.ccxt.symbols import instruments_of
from zvt_crypto.venues.inverse import units_of
from zvt_crypto.venues.listing import ids_of, relisted
from zvt_crypto.venues.parsed import note_drift
from zvt_crypto.venues.span import Span, bounded, span_of
from zvt_crypto.venues.streams import events_of

# The newest kline counts as closed once the exchange's clock is this far past its close.
FINAL_GRACE_NS = 2_000_000_000
PAGE = 500  # rows asked for at once: exchanges that give fewer are paged all the same
DEPTH_MOST = 1_000
STREAMS_MOST = 50  # subscriptions of one stream: each is a task, and ccxt decides about its own sockets
# channel → what ccxt's `has` calls it
WATCHES = {"trade": "watchTrades", "kline": "watchOHLCV", "depth": "watchOrderBook", "ticker": "watchTicker"}


class CcxtConnector:
    """`config` goes to ccxt (proxies, URLs, options). Its own rate limiter is used: `RateBudget` cannot count what it cannot see."""

    def __init__(
        self,
        exchange: str,
        clock: Clock,
        observer: Observer,
        *,
        instruments: Instruments | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.exchange = exchange
        self.instruments = instruments if instruments is not None else Instruments()
        self._clock, self._observer = clock, observer
        self._client = make_client(exchange, config)
        self._books = count(1)
        self.left_out: dict[str, str] = {}  # ccxt lists all or nothing
        self._offset_ns: int | None = None

    async def fetch_server_time(self) -> int:
        """The exchange's clock, ns."""
        self._need("fetchTime", "tell its time")
        before_ns = self._clock.now_ns()
        theirs_ns = int(await self._ask("time", self._client.fetch_time())) * NS_PER_MS
        self._offset_ns = theirs_ns - (before_ns + self._clock.now_ns()) // 2
        return theirs_ns

    async def fetch_instruments(self) -> list[Instrument]:
        """Everything that ccxt lists: spot, swaps, dated contracts."""
        markets = await self._ask("markets", self._client.load_markets(True))
        listed, drift = instruments_of(self.exchange, markets.values(), self._client.precisionMode)
        note_drift(self._observer, self.exchange, drift)
        made, self.instruments = relisted(listed, self.instruments, self._clock.now_ns())
        return made

    # ── History ──

    async def fetch_kdata(
        self, symbol: str, interval: Interval | str, since: object = None, until: object = None, limit: int | None = None
    ) -> list[Kline]:
        """Klines oldest first; neither turnover nor number of trades. Without `since`: the newest `limit` (500)."""
        instrument, wanted, span = self._resolve(symbol), parse_interval(interval), span_of(since, until, limit)
        self._need("fetchOHLCV", "give klines")
        frame = self._timeframe(wanted)
        final_ns = await self._server_ns() - FINAL_GRACE_NS
        if span.since_ns is None:
            most = span.limit or PAGE
            raw = await self._ask("klines", self._client.fetch_ohlcv(ccxt_symbol(instrument), frame, None, most))
            made = self._klines(instrument, wanted, raw, final_ns)
            return [k for k in made if span.until_ns is None or k.open_ns < span.until_ns][-most:]
        made, start_ms = [], span.start_ms or 0
        while len(made) < span.rows():
            raw = await self._ask("klines", self._client.fetch_ohlcv(ccxt_symbol(instrument), frame, start_ms, PAGE))
            page = [k for k in self._klines(instrument, wanted, raw, final_ns) if k.open_ns >= start_ms * NS_PER_MS]
            made += [k for k in page if span.until_ns is None or k.open_ns < span.until_ns]
            if not page or (span.until_ns is not None and page[-1].open_ns >= span.until_ns) or not page[-1].final:
                break
            start_ms = next_ns(wanted, page[-1].open_ns) // NS_PER_MS
        return bounded(made, span, instrument.id)[: span.rows()]

    async def fetch_trades(
        self,
        symbol: str,
        since: object = None,
        *,
        until: object = None,
        stream: TradeStream | None = None,
        from_id: int | None = None,
        to_id: int | None = None,
        limit: int | None = None,
    ) -> list[Trade]:
        """Trades oldest first, as far back as the exchange gives them. By id: Unsupported."""
        instrument, span = self._resolve(symbol), span_of(since, until, limit)
        if from_id is not None or to_id is not None:
            raise Unsupported(f"{self.exchange} through ccxt gives no trades by id")
        check_stream(stream)
        if stream == "agg":
            raise Unsupported(f"{self.exchange} through ccxt has no aggregated trades")
        self._need("fetchTrades", "give trades")
        return await self._trades(instrument, span)

    async def _trades(self, instrument: Instrument, span: Span) -> list[Trade]:
        name, start_ms = ccxt_symbol(instrument), span.start_ms
        made: dict[str, Trade] = {}
        while True:
            raw = await self._ask("trades", self._client.fetch_trades(name, start_ms, span.limit or 1_000))
            in_base = units_of(instrument)
            page = sorted((in_base(rows.trade(instrument.id, row, _unit(instrument))) for row in raw), key=lambda one: one.event_ns)
            fresh = [one for one in page if one.trade_id not in made and (span.since_ns is None or one.event_ns >= span.since_ns)]
            if span.since_ns is not None and not made and page and page[0].event_ns > span.since_ns and start_ms is None:
                break
            made |= {one.trade_id: one for one in fresh if span.until_ns is None or one.event_ns < span.until_ns}
            past_end = bool(page) and span.until_ns is not None and page[-1].event_ns >= span.until_ns
            if start_ms is None or not fresh or past_end or len(made) >= span.rows():
                break
            start_ms = page[-1].event_ns // NS_PER_MS
        ordered = sorted(made.values(), key=lambda one: one.event_ns)
        if span.limit is not None:
            ordered = ordered[-span.limit :] if span.since_ns is None else ordered[: span.limit]
        return bounded(ordered, span, instrument.id)

    async def fetch_funding(self, symbol: str, since: object = None, until: object = None) -> list[Funding]:
        """Settled funding, oldest first, one page of what the exchange gives."""
        instrument, span = self._perpetual(symbol), span_of(since, until, None)
        self._need("fetchFundingRateHistory", "give settled funding")
        raw = await self._ask("funding", self._client.fetch_funding_rate_history(ccxt_symbol(instrument), span.start_ms))
        made = [Funding(instrument.id, int(row["timestamp"]) * NS_PER_MS, float(row["fundingRate"])) for row in raw]
        within = [f for f in made if (span.since_ns or 0) <= f.event_ns and (span.until_ns is None or f.event_ns < span.until_ns)]
        return sorted(within, key=lambda one: one.event_ns)

    async def fetch_mark(self, symbol: str) -> MarkPrice:
        """Mark and index price now."""
        instrument = self._perpetual(symbol)
        self._need("fetchFundingRate", "tell mark prices")
        row = await self._ask("mark", self._client.fetch_funding_rate(ccxt_symbol(instrument)))
        if row.get("markPrice") is None:
            raise Unsupported(f"{self.exchange} tells no mark price of {instrument.id}")
        next_at = row.get("fundingTimestamp")
        rate, index_price = row.get("fundingRate"), row.get("indexPrice")
        return MarkPrice(
            instrument.id,
            int(row["timestamp"]) * NS_PER_MS if row.get("timestamp") else self._clock.now_ns(),
            float(row["markPrice"]),
            None if index_price is None else float(index_price),
            None if rate is None else float(rate),
            None if next_at is None else int(next_at) * NS_PER_MS,
            self._clock.now_ns(),
        )

    async def fetch_mark_kdata(self, symbol: str, since: object = None, until: object = None) -> list[MarkPrice]:
        """Not through ccxt."""
        raise Unsupported(f"{self.exchange} through ccxt gives no history of mark prices ({self._resolve(symbol).id})")

    # ── Now ──

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """The rolling 24 hours."""
        instrument = self._resolve(symbol)
        self._need("fetchTicker", "give tickers")
        row = await self._ask("ticker", self._client.fetch_ticker(ccxt_symbol(instrument)))
        return rows.ticker(instrument.id, row, self._clock.now_ns())

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        """The book now."""
        instrument = self._resolve(symbol)
        check_depth(depth, DEPTH_MOST)
        raw = await self._ask("book", self._client.fetch_order_book(ccxt_symbol(instrument)))
        book = units_of(instrument)(rows.book(instrument.id, raw, _unit(instrument), next(self._books), self._clock.now_ns()))
        return BookSnapshot(book.instrument, book.last_id, book.bids[:depth], book.asks[:depth], book.event_ns, book.recv_ns)

    # ── Streams ──

    def subscribe_kdata(self, symbols: Sequence[str], interval: Interval | str = "1m") -> AsyncIterator[Kline]:
        """Klines as they form; a closed one comes once the exchange's REST has confirmed it."""
        chosen = parse_interval(interval)
        wanted = [Subscription(i, "kline", chosen) for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Kline]", events_of(self, wanted, (Kline,)))

    def subscribe_trades(self, symbols: Sequence[str]) -> AsyncIterator[Trade]:
        """Trades."""
        wanted = [Subscription(i, "trade") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Trade]", events_of(self, wanted, (Trade,)))

    def subscribe_order_book(self, symbols: Sequence[str]) -> AsyncIterator[BookEvent]:
        """Books, each time whole: how ccxt joins them is ccxt's."""
        wanted = [Subscription(i, "depth") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[BookEvent]", events_of(self, wanted, (BookSnapshot, BookDelta, BookStale)))

    def trade_stream(self, symbol: str) -> TradeStream:
        """Always `trade`."""
        self._resolve(symbol)
        return "trade"

    def trade_continuity(self, symbol: str, stream: TradeStream | None = None) -> TradeContinuity:
        """What ids tell differs from exchange to exchange, and ccxt does not say: nothing."""
        self._resolve(symbol)
        return "opaque"

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        """At most 50 together."""
        wanted = list(dict.fromkeys(subscriptions))
        for one in wanted:
            self._check(one)
        return [tuple(wanted[start : start + STREAMS_MOST]) for start in range(0, len(wanted), STREAMS_MOST)]

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        """ccxt connects by itself, with the first event asked for."""
        for one in subscriptions:
            self._check(one)
        watches = {one: self._watch(one) for one in dict.fromkeys(subscriptions)}
        return cast("VenueStream", CcxtStream(f"{self.exchange} ccxt", watches, self._clock, self._observer))

    async def close(self) -> None:
        """End all of ccxt's connections."""
        await self._client.close()

    # ── Inside ──

    def _watch(self, one: Subscription) -> Watch:
        instrument = self._resolve(one.instrument)
        name = ccxt_symbol(instrument)

        async def trades() -> list[MarketEvent]:
            raw = await self._ask("trades", self._client.watch_trades(name))
            in_base = units_of(instrument)
            return [in_base(rows.trade(instrument.id, row, _unit(instrument), self._clock.now_ns())) for row in raw]

        async def books() -> list[MarketEvent]:
            raw = await self._ask("book", self._client.watch_order_book(name))
            return [units_of(instrument)(rows.book(instrument.id, raw, _unit(instrument), next(self._books), self._clock.now_ns()))]

        async def tickers() -> list[MarketEvent]:
            return [rows.ticker(instrument.id, await self._ask("ticker", self._client.watch_ticker(name)), self._clock.now_ns())]

        if one.channel == "kline":
            assert one.interval is not None, "checked"
            return _Klines(self, instrument, one.interval).next
        return {"trade": trades, "depth": books, "ticker": tickers}[one.channel]

    async def watched_klines(self, instrument: Instrument, interval: Interval) -> list[Kline]:
        """The next forming klines of ccxt's stream; none of them counts as closed."""
        raw = await self._ask("klines", self._client.watch_ohlcv(ccxt_symbol(instrument), self._timeframe(interval)))
        now_ns = self._clock.now_ns()
        return [rows.kline(instrument.id, interval, row, final=False, recv_ns=now_ns) for row in raw]

    def _check(self, one: Subscription) -> None:
        self._resolve(one.instrument)
        if (one.channel == "kline") != (one.interval is not None):
            raise BadInput(f"channel {one.channel} of {one.instrument}: an interval goes with klines, and only with them")
        if one.channel not in WATCHES:
            raise Unsupported(f"{self.exchange} through ccxt has no {one.channel} stream")
        self._need(WATCHES[one.channel], f"stream {one.channel}")
        if one.interval is not None:
            self._timeframe(one.interval)

    def _klines(self, instrument: Instrument, interval: Interval, raw: Sequence[Any], final_ns: int) -> list[Kline]:
        made = [rows.kline(instrument.id, interval, row, final=next_ns(interval, int(row[0]) * NS_PER_MS) <= final_ns) for row in raw]
        return sorted(made, key=lambda one: one.open_ns)

    def _timeframe(self, interval: Interval) -> str:
        if str(interval) not in (self._client.timeframes or {}):
            raise Unsupported(f"{self.exchange} through ccxt has no {interval} klines; it has {' '.join(self._client.timeframes or {})}")
        return str(interval)

    async def _server_ns(self) -> int:
        if self._client.has.get("fetchTime"):
            await self.fetch_server_time()  # each time: what is final hangs on it
        elif self._offset_ns is None:
            self._offset_ns = 0
        return self._clock.now_ns() + (self._offset_ns or 0)

    async def _ask(self, what: str, call: Any) -> Any:
        return await asked(self.exchange, what, call)

    def _need(self, feature: str, what: str) -> None:
        if not self._client.has.get(feature):
            raise Unsupported(f"{self.exchange} through ccxt cannot {what}")

    def _resolve(self, symbol: str) -> Instrument:
        return self.instruments.resolve(symbol, self.exchange)

    def _perpetual(self, symbol: str) -> Instrument:
        instrument = self._resolve(symbol)
        if isinstance(instrument, CryptoPair) or not isinstance(instrument, CryptoPerp):
            raise Unsupported(f"{instrument.id} is no perpetual: it has neither funding nor a mark price")
        return instrument


def _unit(instrument: Instrument) -> float:
    """What one of ccxt's amounts of trades and books is: base, or quote of inverse contracts, which `units_of` turns into base."""
    return 1.0 if isinstance(instrument, CryptoPair) else float(instrument.contract_size)


class _Klines:
    """A stream of klines in which a closed one is final only when REST says the same after its close."""

    def __init__(self, connector: CcxtConnector, instrument: Instrument, interval: Interval) -> None:
        self._connector, self._instrument, self._interval = connector, instrument, interval
        self._open_ns = 0

    async def next(self) -> list[MarketEvent]:
        """Forming ones, and those that closed since."""
        forming = await self._connector.watched_klines(self._instrument, self._interval)
        newest = max((one.open_ns for one in forming), default=self._open_ns)
        closed: list[Kline] = []
        if self._open_ns and newest > self._open_ns:
            told = await self._connector.fetch_kdata(self._instrument.id, self._interval, since=self._open_ns, until=newest)
            closed = [one for one in told if one.final]
        # A close that REST does not confirm yet is asked for again with the next news.
        if closed or not self._open_ns:
            self._open_ns = newest
        return [*closed, *(one for one in forming if one.open_ns >= self._open_ns)]
