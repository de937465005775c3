"""Coinbase's connector (ports.ExchangeConnector): pairs and contracts, public side, over Advanced Trade and Exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import count
from typing import cast

from zvt_crypto.domain.errors import BadInput, GeoBlocked, Unsupported
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.instrument import CryptoPair, Instrument, Instruments
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
from zvt_crypto.ports import Clock, Observer, RateBudget, Subscription, Transport, VenueStream
from zvt_crypto.venues.arguments import check_depth, check_ids, check_stream
from zvt_crypto.venues.coinbase import answers, request, spec
from zvt_crypto.venues.coinbase.book import CONTINUITY
from zvt_crypto.venues.coinbase.candles import Candles
from zvt_crypto.venues.coinbase.longer import Longer
from zvt_crypto.venues.coinbase.manners import CoinbaseManners
from zvt_crypto.venues.coinbase.product import product_of
from zvt_crypto.venues.coinbase.rest import manners
from zvt_crypto.venues.coinbase.routing import divided, is_route
from zvt_crypto.venues.coinbase.spec import EXCHANGE, CoinbaseHosts, CoinbaseOptions, Market
from zvt_crypto.venues.coinbase.symbols import Listing, market_of, parse_products, products_of
from zvt_crypto.venues.coinbase.trades import ContractTrades, PairTrades
from zvt_crypto.venues.fields import FieldLog
from zvt_crypto.venues.handshake import connect
from zvt_crypto.venues.inband import InbandStream
from zvt_crypto.venues.listing import ids_of, relisted
from zvt_crypto.venues.parsed import Drift, note_drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import span_of
from zvt_crypto.venues.streams import events_of

_LISTING_PAGES_MOST = 100


class CoinbaseConnector:
    """One connector for both APIs. Give it its table of instruments, or call `fetch_instruments` first."""

    exchange = EXCHANGE

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        budget: RateBudget,
        observer: Observer,
        *,
        instruments: Instruments | None = None,
        hosts: CoinbaseHosts | None = None,
        options: CoinbaseOptions | None = None,
    ) -> None:
        self.instruments = instruments if instruments is not None else Instruments()
        self.hosts = hosts or CoinbaseHosts()
        self.options = options or CoinbaseOptions()
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
        self._fields = FieldLog(EXCHANGE, observer)
        self._rest = RestCaller(transport, clock, budget, observer, manners(self.hosts))
        self._candles = Candles(self._rest, clock, self._drifted)
        self._longer = Longer(self._candles)
        self._aliases: dict[str, str] = {}  # product → the one whose book it shares; itself where it has its own
        self._numbers = count(1)
        self.left_out: dict[str, str] = {}

    # ── What is listed, and when it is ──

    async def fetch_server_time(self) -> int:
        """The venue's clock, ns."""
        return await self._rest.ask_time("advanced")

    async def fetch_instruments(self) -> list[Instrument]:
        """Everything that the chosen markets list. A market that is not served in this region is left out and noted, unless it is all.

        Instruments that were known and are not listed now stay in the table as they were.
        """
        listed: list[Instrument] = []
        blocked: GeoBlocked | None = None
        self.left_out = {}
        for market in self.options.markets:
            try:
                for listing in await self._listings(market):
                    self._drifted(listing.drift)
                    self._aliases |= {one.native_symbol: one.native_symbol for one in listing.instruments} | listing.aliases
                    listed += listing.instruments
            except GeoBlocked as error:
                blocked, self.left_out[market] = error, str(error)
                self._observer.note("warning", "geo_blocked", exchange=EXCHANGE, market=market, reason=str(error))
        if blocked is not None and not listed:
            raise blocked
        made, self.instruments = relisted(listed, self.instruments, self._clock.now_ns())
        return made

    # ── History ──

    async def fetch_kdata(
        self, symbol: str, interval: Interval | str, since: object = None, until: object = None, limit: int | None = None
    ) -> list[Kline]:
        """Klines oldest first; without `since` and `limit`, all since the listing. The venue tells no turnover and no number of trades."""
        instrument, wanted, span = self._resolve(symbol), parse_interval(interval), span_of(since, until, limit)
        reader = self._longer if wanted in spec.DERIVED_FROM else self._candles
        if span.since_ns is None and span.limit is not None:
            return await reader.newest(instrument, wanted, span)
        return await reader.forward(instrument, wanted, span)

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

        Pairs go back to their first trade. Contracts are read by time alone, as far back as the venue answers.
        """
        instrument, span = self._resolve(symbol), span_of(since, until, limit)
        check_stream(stream)
        if stream == "agg":
            raise Unsupported(f"{instrument.id} has no aggregated trades")
        check_ids(from_id, to_id)
        if isinstance(instrument, CryptoPair):
            pair = PairTrades(self._rest, self._drifted, instrument, await self._book_owner(instrument.native_symbol))
            return await pair.read(span, from_id, to_id)
        if from_id is not None or to_id is not None:
            raise Unsupported(f"{instrument.id}: trades of contracts cannot be asked for by id, only by time")
        return await ContractTrades(self._rest, self._drifted, instrument).read(span)

    async def fetch_funding(self, symbol: str, since: object = None, until: object = None) -> list[Funding]:
        """Unsupported: the venue tells the rate of now, as a field of the product, and none of the past."""
        raise Unsupported(f"{self._resolve(symbol).id}: coinbase tells no funding of the past")

    async def fetch_mark(self, symbol: str) -> MarkPrice:
        """Unsupported."""
        raise Unsupported(f"{self._resolve(symbol).id}: coinbase tells no mark price")

    async def fetch_mark_kdata(self, symbol: str, since: object = None, until: object = None) -> list[MarkPrice]:
        """Unsupported."""
        raise Unsupported(f"{self._resolve(symbol).id}: coinbase tells no mark price")

    # ── Now ──

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """The rolling 24 hours."""
        instrument = self._resolve(symbol)
        body = await self._rest.read(request.product(instrument.native_symbol), "live")
        return answers.parse_ticker(body, product_of(instrument), self._rest.guess_server_ns("advanced"), self._clock.now_ns())

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        """The book now, `depth` levels a side. Its `last_id` is 0: the answer has no place in the stream."""
        instrument = self._resolve(symbol)
        check_depth(depth, spec.BOOK_MOST)
        body = await self._rest.read(request.book(instrument.native_symbol, depth), "live")
        now_ns = self._rest.guess_server_ns("advanced")
        return answers.parse_book(body, product_of(instrument), depth, now_ns, self._clock.now_ns())

    # ── Streams ──

    def subscribe_kdata(self, symbols: Sequence[str], interval: Interval | str = "1m") -> AsyncIterator[Kline]:
        """Klines as they form, of five minutes: the venue streams no others and never says that one is closed."""
        wanted = parse_interval(interval)
        made = [Subscription(i, "kline", wanted) for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Kline]", events_of(self, made, (Kline,)))

    def subscribe_trades(self, symbols: Sequence[str]) -> AsyncIterator[Trade]:
        """Trades; the newest hundred of each come first."""
        made = [Subscription(i, "trade") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[Trade]", events_of(self, made, (Trade,)))

    def subscribe_order_book(self, symbols: Sequence[str]) -> AsyncIterator[BookEvent]:
        """Verified book events."""
        made = [Subscription(i, "depth") for i in ids_of(symbols, self._resolve)]
        return cast("AsyncIterator[BookEvent]", events_of(self, made, (BookSnapshot, BookDelta, BookStale)))

    def trade_stream(self, symbol: str) -> TradeStream:
        """Single trades."""
        self._resolve(symbol)
        return "trade"

    def trade_continuity(self, symbol: str, stream: TradeStream | None = None) -> TradeContinuity:
        """Dense for pairs. Nobody promises anything of contracts' ids: opaque."""
        return "dense" if market_of(self._resolve(symbol)) == "spot" else "opaque"

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        """One tuple a connection, all channels of a product together: few products where books are followed, and never a USD pair
        beside the USDC pair that shares its book."""
        wanted = list(dict.fromkeys(subscriptions))
        for subscription in wanted:
            self._check(subscription)
        return divided(wanted, self._resolve, self.options.books_a_socket)

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        """Connect and subscribe. Raises Unreachable, Throttled, GeoBlocked or Refused; BadInput for what is no route."""
        for subscription in subscriptions:
            self._check(subscription)
        if not is_route(subscriptions, self._resolve, self.options.books_a_socket):
            raise BadInput(f"{len(subscriptions)} subscriptions are not one of the routes")
        instruments = [self._resolve(i) for i in dict.fromkeys(s.instrument for s in subscriptions)]
        owners = {one.native_symbol: await self._book_owner(one.native_symbol) for one in instruments}
        asked = {one.id: owners[one.native_symbol] for one in instruments}
        spoken = CoinbaseManners(subscriptions, products_of(instruments, owners), asked)
        books = {s.instrument: BookSync(s.instrument, CONTINUITY) for s in subscriptions if s.channel == "depth"}
        # All waiting comes before the connection: it is closed where nothing is subscribed within five seconds.
        await self._budget.acquire(spec.MESSAGE_BUCKET, len(spoken.subscribe()), "live")
        socket = await connect(self._transport, self._budget, self.hosts.advanced_ws, spec.CONNECT_BUCKET, spec.BUCKETS.values())
        name = f"{EXCHANGE} {next(self._numbers)}"
        stream = InbandStream(
            name, socket, spoken, subscriptions, books, self._clock, self._observer, snapshot_timeout_s=spec.SNAPSHOT_S, fields=self._fields
        )
        try:
            await stream.subscribe()
        except BaseException:
            await stream.close()
            raise
        return stream

    async def close(self) -> None:
        """Streams are closed by those who opened them, the transport by who made it: nothing is held here."""

    # ── Inside ──

    async def _listings(self, market: Market) -> list[Listing]:
        made: list[Listing] = []
        offset = 0
        while len(made) < _LISTING_PAGES_MOST:
            made.append(parse_products(await self._rest.read_page(request.products(market, offset), "live"), market))
            offset += made[-1].count
            if not made[-1].has_next or not made[-1].count:
                break
        return made

    async def _book_owner(self, native: str) -> str:
        """The product whose book and trades `native` shares. Only USDC pairs share one; asked once where the listing was not read here."""
        if native not in self._aliases and native.endswith("-USDC"):
            self._aliases[native] = answers.parse_alias(await self._rest.read(request.product(native), "live"), native)
        return self._aliases.get(native, native)

    def _check(self, subscription: Subscription) -> None:
        name, channel = self._resolve(subscription.instrument).id, subscription.channel
        if (channel == "kline") != (subscription.interval is not None):
            raise BadInput(f"channel {channel} of {name}: an interval goes with klines, and only with them")
        if channel not in spec.CHANNELS:
            raise Unsupported(f"{name}: coinbase streams no {channel}")
        if channel == "kline" and subscription.interval is not spec.STREAMED_INTERVAL:
            raise Unsupported(f"{name}: coinbase streams klines of {spec.STREAMED_INTERVAL} only, not of {subscription.interval}")

    def _resolve(self, symbol: str) -> Instrument:
        instrument = self.instruments.resolve(symbol, EXCHANGE)
        if market_of(instrument) not in self.options.markets:
            raise Unsupported(f"{instrument.id} is of the {market_of(instrument)} market, which is not among {self.options.markets}")
        return instrument

    def _drifted(self, drift: Sequence[Drift]) -> None:
        note_drift(self._observer, EXCHANGE, drift)
