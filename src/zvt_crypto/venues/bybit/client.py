"""Bybit's connector (ports.ExchangeConnector): spot, linear and inverse contracts, public side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import count
from typing import cast

from zvt_crypto.domain.errors import BadInput, Malformed, Unsupported, shown
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
from zvt_crypto.ports import Clock, Observer, RateBudget, Socket, Subscription, Transport, VenueStream
from zvt_crypto.venues.arguments import check_stream
from zvt_crypto.venues.bybit import answers, request, spec
from zvt_crypto.venues.bybit.book import CONTINUITY
from zvt_crypto.venues.bybit.history import History
from zvt_crypto.venues.bybit.manners import BybitManners
from zvt_crypto.venues.bybit.parse import FrameParser
from zvt_crypto.venues.bybit.rest import manners
from zvt_crypto.venues.bybit.spec import EXCHANGE, BybitHosts, BybitOptions, Category
from zvt_crypto.venues.bybit.symbols import category_of, natives_of, parse_instruments
from zvt_crypto.venues.fields import FieldLog
from zvt_crypto.venues.handshake import connect
from zvt_crypto.venues.inband import InbandStream
from zvt_crypto.venues.inverse import units_of
from zvt_crypto.venues.listing import ids_of, relisted
from zvt_crypto.venues.parsed import Drift, note_drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import span_of
from zvt_crypto.venues.streams import events_of


class BybitConnector:
    """One connector for all categories. Give it its table of instruments, or call `fetch_instruments` first."""

    exchange = EXCHANGE

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        budget: RateBudget,
        observer: Observer,
        *,
        instruments: Instruments | None = None,
        hosts: BybitHosts | None = None,
        options: BybitOptions | None = None,
    ) -> None:
        self.instruments = instruments if instruments is not None else Instruments()
        self.hosts = hosts or BybitHosts()
        self.options = options or BybitOptions()
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
        self._fields = FieldLog(EXCHANGE, observer)
        self._rest = RestCaller(transport, clock, budget, observer, manners(self.hosts))
        self._history = History(self._rest, self._drifted)
        self._numbers = count(1)
        self.left_out: dict[str, str] = {}  # a market that cannot be listed fails all

    # ── What is listed, and when it is ──

    async def fetch_server_time(self) -> int:
        """The venue's clock, ns."""
        return await self._rest.ask_time(spec.MARKET)

    async def fetch_instruments(self) -> list[Instrument]:
        """Everything that the chosen categories list. Instruments that were known and are not listed now stay in the table as they were."""
        listed: dict[tuple[Category, str], Instrument] = {}
        for category in self.options.markets:
            for status in spec.STATUSES[category]:
                for instrument in await self._listed(category, status):
                    listed.setdefault((category, instrument.native_symbol), instrument)
        made, self.instruments = relisted(list(listed.values()), self.instruments, self._clock.now_ns())
        return made

    async def _listed(self, category: Category, status: str) -> list[Instrument]:
        """All pages."""
        made: list[Instrument] = []
        cursor: str | None = None
        for _ in range(spec.INSTRUMENT_PAGES_MOST):
            listing = parse_instruments(await self._rest.read_page(request.instruments(category, status, cursor), "live"), category)
            self._drifted(listing.drift)
            made += listing.instruments
            cursor = listing.cursor
            if cursor is None:
                return made
        raise Malformed(
            f"bybit {category} instruments-info has no end: {spec.INSTRUMENT_PAGES_MOST} pages, and another cursor {shown(cursor)}"
        )

    # ── History ──

    async def fetch_kdata(
        self, symbol: str, interval: Interval | str, since: object = None, until: object = None, limit: int | None = None
    ) -> list[Kline]:
        """Klines oldest first. Without `since` and `limit`: all since the listing. Bybit does not tell how many trades they hold."""
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
        """Trades oldest first, of the newest that the venue still gives: 60 on spot, 1000 of a contract. Nothing older can be asked for."""
        instrument, span = self._resolve(symbol), span_of(since, until, limit)
        check_stream(stream)
        if from_id is not None or to_id is not None:
            raise Unsupported(f"{instrument.id}: bybit's trade ids have no order, trades cannot be asked for by id")
        self._single_trades(instrument, stream or "trade")
        return await self._history.trades(instrument, span)

    async def fetch_funding(self, symbol: str, since: object = None, until: object = None) -> list[Funding]:
        """Settled funding, oldest first; without `since`, all of it."""
        instrument = self._contract(symbol, "funding")
        if isinstance(instrument, CryptoFuture):
            raise Unsupported(f"{instrument.id} has no funding: only perpetuals have")
        return await self._history.funding(instrument, span_of(since, until, None))

    async def fetch_mark_kdata(self, symbol: str, since: object = None, until: object = None) -> list[MarkPrice]:
        """Mark and index price of closed minutes, each at its close; without `since`, since the listing."""
        return await self._history.marks(self._contract(symbol, "mark price"), span_of(since, until, None))

    # ── Now ──

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """The rolling 24 hours."""
        instrument = self._resolve(symbol)
        body = await self._rest.read(request.ticker(category_of(instrument), instrument.native_symbol), "live")
        ticker: Ticker = units_of(instrument)(answers.parse_ticker(body, instrument.id, self._clock.now_ns()))
        return ticker

    async def fetch_mark(self, symbol: str) -> MarkPrice:
        """Mark and index price now."""
        instrument = self._contract(symbol, "mark price")
        body = await self._rest.read(request.ticker(category_of(instrument), instrument.native_symbol), "live")
        return answers.parse_mark(body, instrument.id, self._clock.now_ns())

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        """The book now, `depth` levels a side. Raises OutOfRange beyond what the venue gives."""
        instrument = self._resolve(symbol)
        call = request.book(category_of(instrument), instrument.native_symbol, spec.book_limit(depth))
        told = answers.parse_book(await self._rest.read(call, "live"), instrument.id, self._clock.now_ns())
        book: BookSnapshot = units_of(instrument)(told)
        return book

    # ── Streams ──

    def subscribe_kdata(self, symbols: Sequence[str], interval: Interval | str = "1m") -> AsyncIterator[Kline]:
        """Klines as they form and close."""
        wanted = parse_interval(interval)
        subscriptions = [Subscription(i, "kline", wanted) for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Kline]", events_of(self, subscriptions, (Kline,)))

    def subscribe_trades(self, symbols: Sequence[str]) -> AsyncIterator[Trade]:
        """Trades."""
        wanted = [Subscription(i, "trade") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Trade]", events_of(self, wanted, (Trade,)))

    def subscribe_order_book(self, symbols: Sequence[str]) -> AsyncIterator[BookEvent]:
        """Verified book events."""
        wanted = [Subscription(i, "depth") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[BookEvent]", events_of(self, wanted, (BookSnapshot, BookDelta, BookStale)))

    def trade_stream(self, symbol: str) -> TradeStream:
        """Single trades: Bybit has no others."""
        self._resolve(symbol)
        return "trade"

    def trade_continuity(self, symbol: str, stream: TradeStream | None = None) -> TradeContinuity:
        """Opaque: UUIDs on contracts; spot's numbers rise, but none can be asked for."""
        self._single_trades(self._resolve(symbol), stream or "trade")
        return "opaque"

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        """A connection belongs to one category, and holds as many topics as it may. Raises Unsupported, or BadInput."""
        by_category: dict[Category, list[Subscription]] = {}
        for subscription in dict.fromkeys(subscriptions):
            by_category.setdefault(self._category(subscription), []).append(subscription)
        return [route for wanted in by_category.values() for route in self._routes(wanted)]

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        """Connect and subscribe. Raises Unreachable, Throttled, GeoBlocked or Refused; BadInput for what is no route."""
        categories = {self._category(subscription) for subscription in subscriptions}
        if len(categories) != 1 or len(self._routes(subscriptions)) != 1:
            raise BadInput(f"{len(subscriptions)} subscriptions are not one of the routes")
        category = categories.pop()
        socket = await connect(self._transport, self._budget, self.hosts.socket(category), spec.CONNECT_BUCKET)
        stream = self._stream(f"{EXCHANGE} {category} {next(self._numbers)}", category, socket, subscriptions)
        try:
            await stream.subscribe()
        except BaseException:
            await stream.close()
            raise
        return stream

    async def close(self) -> None:
        """Streams are closed by those who opened them, the transport by who made it: nothing is held here."""

    # ── Inside ──

    def _stream(self, name: str, category: Category, socket: Socket, subscriptions: Sequence[Subscription]) -> InbandStream:
        natives = {channel: {self._native(s) for s in subscriptions if s.channel == channel} for channel in ("ticker", "mark")}
        parser = FrameParser(category, natives_of(self.instruments, category), tickers=natives["ticker"], marks=natives["mark"])
        books, trades = ({s.instrument: self._topic(s) for s in subscriptions if s.channel == one} for one in ("depth", "trade"))
        speaks = BybitManners(category, parser, list(dict.fromkeys(map(self._topic, subscriptions))), books, trades)
        syncs = {instrument: BookSync(instrument, CONTINUITY) for instrument in books}
        return InbandStream(name, socket, speaks, subscriptions, syncs, self._clock, self._observer, fields=self._fields)

    def _routes(self, subscriptions: Sequence[Subscription]) -> list[tuple[Subscription, ...]]:
        """Of one category: a new one is begun where the topics of the last have grown to what a connection takes."""
        made: list[list[Subscription]] = []
        topics: set[str] = set()
        chars = 0
        for subscription in subscriptions:
            topic = self._topic(subscription)
            size = 0 if topic in topics else len(topic) + 3  # with quotes and a comma
            if not made or chars + size > spec.ARGS_CHARS_MOST or len(topics) + bool(size) > spec.TOPICS_MOST:
                made.append([])
                topics, chars, size = set(), 0, len(topic) + 3
            made[-1].append(subscription)
            topics.add(topic)
            chars += size
        return [tuple(route) for route in made]

    def _topic(self, subscription: Subscription) -> str:
        return spec.topic_name(self._native(subscription), subscription.channel, subscription.interval, self.options.book_levels)

    def _native(self, subscription: Subscription) -> str:
        return self._resolve(subscription.instrument).native_symbol

    def _category(self, subscription: Subscription) -> Category:
        channel = subscription.channel
        if (channel == "kline") != (subscription.interval is not None):
            raise BadInput(f"channel {channel} of {subscription.instrument}: an interval goes with klines, and only with them")
        if channel == "mark":
            return category_of(self._contract(subscription.instrument, "mark price"))
        instrument = self._resolve(subscription.instrument)
        self._single_trades(instrument, channel)
        return category_of(instrument)

    def _single_trades(self, instrument: Instrument, channel: str) -> None:
        if channel == "agg":
            raise Unsupported(f"{instrument.id}: bybit has no aggregated trades")

    def _resolve(self, symbol: str) -> Instrument:
        instrument = self.instruments.resolve(symbol, EXCHANGE)
        category = category_of(instrument)
        if category not in self.options.markets:
            raise Unsupported(f"{instrument.id} is of the {category} market, which is not among {self.options.markets}")
        return instrument

    def _contract(self, symbol: str, what: str) -> Instrument:
        instrument = self._resolve(symbol)
        if category_of(instrument) == "spot":
            raise Unsupported(f"{instrument.id} is a spot pair: it has no {what}")
        return instrument

    def _drifted(self, drift: Sequence[Drift]) -> None:
        note_drift(self._observer, EXCHANGE, drift)
