"""OKX's connector (ports.ExchangeConnector): spot, perpetual and dated contracts, public side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import count
from typing import cast

from zvt_crypto.domain.errors import BadInput, Malformed, Unsupported
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp, Instrument, Instruments
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
from zvt_crypto.ports import Channel, Clock, Observer, RateBudget, Subscription, Transport, VenueStream
from zvt_crypto.venues.arguments import check_depth, check_ids, check_stream
from zvt_crypto.venues.fields import FieldLog
from zvt_crypto.venues.handshake import connect
from zvt_crypto.venues.inband import InbandStream
from zvt_crypto.venues.listing import ids_of, relisted
from zvt_crypto.venues.okx import parse_rest, request, spec
from zvt_crypto.venues.okx.book import CONTINUITY
from zvt_crypto.venues.okx.history import History
from zvt_crypto.venues.okx.manners import OkxManners
from zvt_crypto.venues.okx.rest import manners
from zvt_crypto.venues.okx.spec import EXCHANGE, OkxHosts, OkxOptions, Route
from zvt_crypto.venues.okx.symbols import market_of, parse_instruments
from zvt_crypto.venues.okx.units import Traded, traded, traded_of
from zvt_crypto.venues.parsed import Drift, note_drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import chunks, span_of
from zvt_crypto.venues.streams import events_of


class OkxConnector:
    """One connector for all markets. Give it its table of instruments, or call `fetch_instruments` first."""

    exchange = EXCHANGE

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        budget: RateBudget,
        observer: Observer,
        *,
        instruments: Instruments | None = None,
        hosts: OkxHosts | None = None,
        options: OkxOptions | None = None,
    ) -> None:
        self.instruments = instruments if instruments is not None else Instruments()
        self.hosts = hosts or OkxHosts()
        self.options = options or OkxOptions()
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
        self._fields = FieldLog(EXCHANGE, observer)
        self._rest = RestCaller(transport, clock, budget, observer, manners(self.hosts))
        self._history = History(self._rest, self._drifted)
        self._numbers = count(1)
        self.left_out: dict[str, str] = {}  # a market that cannot be listed fails all
        self._table: tuple[Instruments, dict[str, Traded]] = (Instruments(), {})

    # ── What is listed, and when it is ──

    async def fetch_server_time(self) -> int:
        """The venue's clock, ns."""
        return await self._rest.ask_time(spec.REST_MARKET)

    async def fetch_instruments(self) -> list[Instrument]:
        """Everything that the chosen markets list. Instruments that were known and are not listed now stay in the table as they were."""
        listed: list[Instrument] = []
        for market in self.options.markets:
            listing = parse_instruments(await self._rest.read_page(request.instruments(market), "live"), market)
            self._drifted(listing.drift)
            listed += listing.instruments
        if not listed:
            raise Malformed(f"okx lists no instrument in {', '.join(self.options.markets)}")
        made, self.instruments = relisted(listed, self.instruments, self._clock.now_ns())
        return made

    # ── History ──

    async def fetch_kdata(
        self, symbol: str, interval: Interval | str, since: object = None, until: object = None, limit: int | None = None
    ) -> list[Kline]:
        """Klines oldest first. Without `since` and `limit`: all that the venue has."""
        return await self._history.klines(self._resolve(symbol), parse_interval(interval), span_of(since, until, limit))

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
        """Single trades oldest first, of the last three months. Without a beginning: the newest `limit` (500)."""
        instrument, span = self._resolve(symbol), span_of(since, until, limit)
        check_stream(stream)
        self._single(instrument.id, stream)
        check_ids(from_id, to_id, 2**63 - 2)
        return await self._history.trades(instrument, span, from_id, to_id)

    async def fetch_funding(self, symbol: str, since: object = None, until: object = None) -> list[Funding]:
        """Settled funding of the last three months, oldest first."""
        return await self._history.funding(self._contract(symbol, "funding"), span_of(since, until, None))

    async def fetch_mark_kdata(self, symbol: str, since: object = None, until: object = None) -> list[MarkPrice]:
        """Mark and index price of closed minutes, each at its close; without `since`, all that the venue has."""
        return await self._history.marks(self._contract(symbol, "a mark price"), span_of(since, until, None))

    # ── Now ──

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """The rolling 24 hours."""
        instrument = self._resolve(symbol)
        body = await self._rest.read(request.ticker(instrument.native_symbol), "live")
        return parse_rest.parse_ticker(body, traded(instrument), self._clock.now_ns())

    async def fetch_mark(self, symbol: str) -> MarkPrice:
        """Mark and index price now, and for a perpetual the funding that comes next: calls of their own, moments apart."""
        instrument = self._contract(symbol, "a mark price")
        of, native = traded(instrument), instrument.native_symbol
        mark = await self._rest.read(request.mark(market_of(instrument), native), "live")
        index = await self._rest.read(request.index(of.index), "live")
        funding = await self._rest.read(request.funding_now(native), "live") if of.has_funding else None
        return parse_rest.parse_mark(mark, index, funding, of, self._clock.now_ns())

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        """The book now, `depth` levels a side. Raises OutOfRange beyond what the venue gives."""
        instrument = self._resolve(symbol)
        check_depth(depth, spec.FULL_BOOK_MOST)
        body = await self._rest.read(request.book(instrument.native_symbol, depth), "live")
        return parse_rest.parse_book(body, traded(instrument), self._clock.now_ns())

    # ── Streams ──

    def subscribe_kdata(self, symbols: Sequence[str], interval: Interval | str = "1m") -> AsyncIterator[Kline]:
        """Klines as they form and close."""
        wanted = [Subscription(i, "kline", parse_interval(interval)) for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Kline]", events_of(self, wanted, (Kline,)))

    def subscribe_trades(self, symbols: Sequence[str]) -> AsyncIterator[Trade]:
        """Single trades."""
        wanted = [Subscription(i, "trade") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Trade]", events_of(self, wanted, (Trade,)))

    def subscribe_order_book(self, symbols: Sequence[str]) -> AsyncIterator[BookEvent]:
        """Verified book events, of 400 levels a side."""
        wanted = [Subscription(i, "depth") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[BookEvent]", events_of(self, wanted, (BookSnapshot, BookDelta, BookStale)))

    def trade_stream(self, symbol: str) -> TradeStream:
        """Single trades: only they can be asked for afterwards."""
        self._resolve(symbol)
        return "trade"

    def trade_continuity(self, symbol: str, stream: TradeStream | None = None) -> TradeContinuity:
        """Dense: each fill has the next id of its instrument, in the stream as in the history."""
        self._single(self._resolve(symbol).id, stream)
        return "dense"

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        """One tuple a connection: trades and klines on one socket, all else on another, each of a bounded number."""
        by_route: dict[Route, list[Subscription]] = {}
        for subscription in dict.fromkeys(subscriptions):
            by_route.setdefault(self._route(subscription), []).append(subscription)
        return [part for wanted in by_route.values() for part in chunks(wanted, spec.SUBSCRIPTIONS_MOST)]

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        """Connect and subscribe. Raises Unreachable, Throttled, GeoBlocked or Refused; BadInput for what is no route."""
        routes = {self._route(subscription) for subscription in subscriptions}
        if len(routes) != 1 or len(subscriptions) > spec.SUBSCRIPTIONS_MOST:
            raise BadInput(f"{len(subscriptions)} subscriptions are not one of the routes")
        route = routes.pop()
        natives = {one.instrument: self._resolve(one.instrument).native_symbol for one in subscriptions}
        spoken = OkxManners(subscriptions, natives, self._traded())
        books = {one.instrument: BookSync(one.instrument, CONTINUITY) for one in subscriptions if one.channel == "depth"}
        socket = await connect(self._transport, self._budget, self.hosts.ws + spec.WS_PATHS[route], spec.CONNECT_BUCKET, spec.LIMITS)
        name = f"{EXCHANGE} {route} {next(self._numbers)}"
        stream = InbandStream(name, socket, spoken, subscriptions, books, self._clock, self._observer, fields=self._fields)
        try:
            await stream.subscribe()
        except BaseException:
            await stream.close()
            raise
        return stream

    async def close(self) -> None:
        """Streams are closed by those who opened them, the transport by who made it: nothing is held here."""

    # ── Inside ──

    def _traded(self) -> dict[str, Traded]:
        """What parsers need of every instrument, made anew with the table."""
        if self._table[0] is not self.instruments:
            self._table = (self.instruments, traded_of(self.instruments))
        return self._table[1]

    def _route(self, subscription: Subscription) -> Route:
        channel: Channel = subscription.channel
        if (channel == "kline") != (subscription.interval is not None):
            raise BadInput(f"channel {channel} of {subscription.instrument}: an interval goes with klines, and only with them")
        instrument = self._resolve(subscription.instrument)
        if channel == "agg":
            self._single(instrument.id, "agg")
        if channel == "mark":
            self._contract(instrument.id, "a mark price")
        return spec.ROUTES[channel]

    def _resolve(self, symbol: str) -> Instrument:
        instrument = self.instruments.resolve(symbol, EXCHANGE)
        if market_of(instrument) not in self.options.markets:
            raise Unsupported(f"{instrument.id} is of the {market_of(instrument)} market, which is not among {self.options.markets}")
        return instrument

    def _contract(self, symbol: str, what: str) -> Instrument:
        instrument = self._resolve(symbol)
        if isinstance(instrument, CryptoPair) or (what == "funding" and not isinstance(instrument, CryptoPerp)):
            raise Unsupported(f"{instrument.id} has no {what.removeprefix('a ')}")
        return instrument

    def _single(self, instrument: str, stream: TradeStream | None) -> None:
        if stream == "agg":
            raise Unsupported(f"{instrument}: aggregated trades of okx cannot be asked for afterwards; single ones can")

    def _drifted(self, drift: Sequence[Drift]) -> None:
        note_drift(self._observer, EXCHANGE, drift)
