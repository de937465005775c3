"""Binance's connector (ports.ExchangeConnector): spot and USD-M futures, public side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import count
from typing import cast
from urllib.parse import quote

from zvt_crypto.domain.errors import BadInput, GeoBlocked, Malformed, Unsupported
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.instrument import CryptoFuture, Instrument, Instruments
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
from zvt_crypto.domain.time import Interval, parse_interval
from zvt_crypto.engine.book import BookSync
from zvt_crypto.ports import Channel, Clock, Observer, RateBudget, Socket, Subscription, Transport, VenueStream
from zvt_crypto.venues.arguments import check_ids, check_stream
from zvt_crypto.venues.binance import parse, request, spec
from zvt_crypto.venues.binance.book import CONTINUITY
from zvt_crypto.venues.binance.history import History
from zvt_crypto.venues.binance.parse import FrameParser
from zvt_crypto.venues.binance.rest import manners
from zvt_crypto.venues.binance.spec import EXCHANGE, BinanceHosts, BinanceOptions, Market, Route
from zvt_crypto.venues.binance.stream import BinanceStream
from zvt_crypto.venues.binance.symbols import market_of, natives_of, parse_exchange_info
from zvt_crypto.venues.fields import FieldLog
from zvt_crypto.venues.handshake import connect
from zvt_crypto.venues.listing import ids_of, relisted
from zvt_crypto.venues.parsed import Drift, note_drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import span_of
from zvt_crypto.venues.streams import events_of


class BinanceConnector:
    """One connector for both markets. Give it its table of instruments, or call `fetch_instruments` first."""

    exchange = EXCHANGE

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        budget: RateBudget,
        observer: Observer,
        *,
        instruments: Instruments | None = None,
        hosts: BinanceHosts | None = None,
        options: BinanceOptions | None = None,
    ) -> None:
        self.instruments = instruments if instruments is not None else Instruments()
        self.hosts = hosts or BinanceHosts()
        self.options = options or BinanceOptions()
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
        self._fields = FieldLog(EXCHANGE, observer)
        self._rest = RestCaller(transport, clock, budget, observer, manners(self.hosts))
        self._history = History(self._rest, self._drifted)
        self._ws_base: dict[Route, str] = {
            "spot": self.hosts.spot_ws,
            "usdm_public": self.hosts.usdm_public_ws,
            "usdm_market": self.hosts.usdm_market_ws,
        }
        self._numbers = count(1)
        self.left_out: dict[str, str] = {}

    # ── What is listed, and when it is ──

    async def fetch_server_time(self) -> int:
        """The venue's clock, ns: the spot market's where it is used."""
        return await self._rest.ask_time("spot" if "spot" in self.options.markets else "usdm")

    async def fetch_instruments(self) -> list[Instrument]:
        """Everything that the chosen markets list. A market that is not served in this region, or lists nothing, is left out and noted,
        unless it is all: then GeoBlocked or Malformed is raised.

        Instruments that were known and are not listed now stay in the table as they were.
        """
        listed: list[Instrument] = []
        blocked: GeoBlocked | None = None
        self.left_out = {}
        for market in self.options.markets:
            try:
                body = await self._rest.read_page(request.exchange_info(market), "live")
            except GeoBlocked as error:
                blocked, self.left_out[market] = error, str(error)
                self._observer.note("warning", "geo_blocked", exchange=EXCHANGE, market=market, reason=str(error))
                continue
            listing = parse_exchange_info(body, market)
            self._drifted(listing.drift)
            for limit in listing.limits:
                self._budget.set_limit(*limit)
            listed += listing.instruments
            if not listing.instruments:
                self.left_out[market] = "it lists nothing"
                self._observer.note("warning", "lists_nothing", exchange=EXCHANGE, market=market)
        if not listed:
            raise blocked or Malformed(f"{EXCHANGE} {' and '.join(self.options.markets)} exchangeInfo lists no symbol")
        made, self.instruments = relisted(listed, self.instruments, self._clock.now_ns())
        return made

    # ── History ──

    async def fetch_kdata(
        self, symbol: str, interval: Interval | str, since: object = None, until: object = None, limit: int | None = None
    ) -> list[Kline]:
        """Klines oldest first. Without `since` and `limit`: all since the listing."""
        instrument, wanted, span = self._resolve(symbol), parse_interval(interval), span_of(since, until, limit)
        if span.since_ns is None and span.limit is not None:
            return await self._history.newest_klines(instrument, wanted, span)
        return await self._history.klines(instrument, wanted, span)

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
        """Trades oldest first. Without a beginning: the newest `limit` (1000), or those that end with `to_id`.

        USD-M serves single trades (`stream="trade"`) by id to holders of a key only; its aggregates are public.
        """
        instrument, span = self._resolve(symbol), span_of(since, until, limit)
        check_stream(stream)
        check_ids(from_id, to_id)
        chosen = stream or self.trade_stream(instrument.id)
        return await self._history.trades(instrument, chosen, span, from_id, to_id)

    async def fetch_funding(self, symbol: str, since: object = None, until: object = None) -> list[Funding]:
        """Settled funding, oldest first; without `since`, all of it."""
        return await self._history.funding(self._contract(symbol, "funding"), span_of(since, until, None))

    async def fetch_mark_kdata(self, symbol: str, since: object = None, until: object = None) -> list[MarkPrice]:
        """Mark and index price of closed minutes, each at its close; without `since`, since the listing."""
        return await self._history.marks(self._contract(symbol, "a mark price"), span_of(since, until, None))

    # ── Now ──

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """The rolling 24 hours."""
        instrument = self._resolve(symbol)
        body = await self._rest.read(request.ticker(market_of(instrument), instrument.native_symbol), "live")
        return parse.parse_ticker(body, instrument.id, self._clock.now_ns())

    async def fetch_mark(self, symbol: str) -> MarkPrice:
        """Mark and index price now."""
        instrument = self._contract(symbol, "a mark price")
        body = await self._rest.read(request.premium(instrument.native_symbol), "live")
        return parse.parse_premium(body, instrument.id, self._clock.now_ns())

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        """The book now, `depth` levels a side. Raises OutOfRange beyond what the venue gives."""
        instrument = self._resolve(symbol)
        book = await self._snapshot(instrument, spec.depth_limit(market_of(instrument), depth))
        return BookSnapshot(book.instrument, book.last_id, book.bids[:depth], book.asks[:depth], book.event_ns, book.recv_ns)

    # ── Streams ──

    def subscribe_kdata(self, symbols: Sequence[str], interval: Interval | str = "1m") -> AsyncIterator[Kline]:
        """Klines as they form and close."""
        wanted = parse_interval(interval)
        return cast(
            "AsyncIterator[Kline]", events_of(self, [Subscription(i, "kline", wanted) for i in ids_of(symbols, self._resolve)], (Kline,))
        )

    def subscribe_trades(self, symbols: Sequence[str]) -> AsyncIterator[Trade]:
        """Trades, of the stream that `trade_stream` names."""
        wanted = [Subscription(i, self.trade_stream(i)) for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Trade]", events_of(self, wanted, (Trade,)))

    def subscribe_order_book(self, symbols: Sequence[str]) -> AsyncIterator[BookEvent]:
        """Verified book events."""
        wanted = [Subscription(i, "depth") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[BookEvent]", events_of(self, wanted, (BookSnapshot, BookDelta, BookStale)))

    def trade_stream(self, symbol: str) -> TradeStream:
        """`trade` or `agg`, as the options say for the instrument's market."""
        market = market_of(self._resolve(symbol))
        return self.options.spot_trade_stream if market == "spot" else self.options.usdm_trade_stream

    def trade_continuity(self, symbol: str, stream: TradeStream | None = None) -> TradeContinuity:
        """Dense, but for USD-M's single trades: their ids leave out what insurance fund and deleveraging did."""
        chosen = stream or self.trade_stream(symbol)
        return "increasing" if chosen == "trade" and market_of(self._resolve(symbol)) == "usdm" else "dense"

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        """One tuple a connection: spot together, USD-M by host, each within the venue's number of streams."""
        by_route: dict[Route, list[Subscription]] = {}
        for subscription in dict.fromkeys(subscriptions):
            by_route.setdefault(self._route(subscription), []).append(subscription)
        made = []
        for route, wanted in by_route.items():
            most = spec.STREAMS_MOST[route]
            made += [tuple(wanted[start : start + most]) for start in range(0, len(wanted), most)]
        return made

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        """Connect and subscribe. Raises Unreachable, Throttled, GeoBlocked or Refused; BadInput for what is no route."""
        routes = {self._route(subscription) for subscription in subscriptions}
        if len(routes) != 1 or len(subscriptions) > spec.STREAMS_MOST[next(iter(routes))]:
            raise BadInput(f"{len(subscriptions)} subscriptions are not one of the routes")
        route = routes.pop()
        market: Market = "spot" if route == "spot" else "usdm"
        names = list(dict.fromkeys(self._stream_name(market, subscription) for subscription in subscriptions))
        socket = await self._connect(route, names[: spec.URL_STREAMS_MOST])
        stream = self._stream(f"{EXCHANGE} {route} {next(self._numbers)}", market, socket, subscriptions)
        try:
            await stream.subscribe(names[spec.URL_STREAMS_MOST :], spec.MESSAGES_PER_S[route])
        except BaseException:
            await stream.close()
            raise
        return stream

    async def close(self) -> None:
        """Streams are closed by those who opened them, the transport by who made it: nothing is held here."""

    # ── Inside ──

    def _stream(self, name: str, market: Market, socket: Socket, subscriptions: Sequence[Subscription]) -> BinanceStream:
        natives = natives_of(self.instruments, market)
        depth = [s.instrument for s in subscriptions if s.channel == "depth"]
        books = {instrument: BookSync(instrument, CONTINUITY[market]) for instrument in depth}
        parser = FrameParser(market, natives)
        return BinanceStream(
            name, socket, parser, subscriptions, books, natives, self._stream_snapshot, self._clock, self._observer, self._fields
        )

    async def _connect(self, route: Route, names: Sequence[str]) -> Socket:
        # Symbols outside ASCII exist; `@` and `/` stay as the venue writes them.
        path = "/stream?streams=" + "/".join(quote(name, safe="@!:+") for name in names)
        market: Market = "spot" if route == "spot" else "usdm"
        bucket, closes = spec.CONNECT_BUCKETS[market], (spec.BUCKETS[market],)
        try:
            return await connect(self._transport, self._budget, self._ws_base[route] + path, bucket, closes)
        except GeoBlocked as blocked:
            if route != "spot" or self._ws_base["spot"] == self.hosts.data_ws:
                raise
            self._ws_base["spot"] = self.hosts.data_ws
            self._observer.note("warning", "geo_blocked_fallback", exchange=EXCHANGE, host=self.hosts.data_ws, reason=str(blocked))
            return await connect(self._transport, self._budget, self._ws_base[route] + path, bucket, closes)

    async def _stream_snapshot(self, instrument_id: str) -> BookSnapshot:
        instrument = self._resolve(instrument_id)
        return await self._snapshot(instrument, spec.depth_limit(market_of(instrument), self.options.snapshot_depth))

    async def _snapshot(self, instrument: Instrument, limit: int) -> BookSnapshot:
        market = market_of(instrument)
        body = await self._rest.read(request.depth(market, instrument.native_symbol, limit), "live")
        return parse.parse_depth(body, instrument.id, self._rest.guess_server_ns(market), self._clock.now_ns(), limit)

    def _stream_name(self, market: Market, subscription: Subscription) -> str:
        native = self._resolve(subscription.instrument).native_symbol
        return spec.stream_name(market, native, subscription.channel, subscription.interval, self.options.depth_speed_ms)

    def _route(self, subscription: Subscription) -> Route:
        channel: Channel = subscription.channel
        if (channel == "kline") != (subscription.interval is not None):
            raise BadInput(f"channel {channel} of {subscription.instrument}: an interval goes with klines, and only with them")
        if market_of(self._resolve(subscription.instrument)) == "usdm":
            return spec.USDM_ROUTES[channel]
        if channel == "mark":
            raise Unsupported(f"{subscription.instrument} is a spot pair: it has no mark price")
        return "spot"

    def _resolve(self, symbol: str) -> Instrument:
        instrument = self.instruments.resolve(symbol, EXCHANGE)
        if market_of(instrument) not in self.options.markets:
            raise Unsupported(f"{instrument.id} is of the {market_of(instrument)} market, which is not among {self.options.markets}")
        return instrument

    def _contract(self, symbol: str, what: str) -> Instrument:
        instrument = self._resolve(symbol)
        if market_of(instrument) == "spot" or (isinstance(instrument, CryptoFuture) and what == "funding"):
            raise Unsupported(
                f"{instrument.id} has no {what.removeprefix('a ')}: only perpetuals have" + ("" if what == "funding" else " it")
            )
        return instrument

    def _drifted(self, drift: Sequence[Drift]) -> None:
        note_drift(self._observer, EXCHANGE, drift)
