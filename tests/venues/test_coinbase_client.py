"""Coinbase's connector: what is asked of it, which connections it opens, what it refuses, and the whole recorded capture."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from zvt_crypto.domain.errors import BadConfig, BadInput, Disconnected, GeoBlocked, OutOfRange, Refused, UnknownSymbol, Unsupported
from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Trade
from zvt_crypto.domain.time import INTERVALS, Interval
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.coinbase import CoinbaseConnector, CoinbaseHosts, CoinbaseOptions, request
from zvt_crypto.venues.coinbase.capabilities import CAPABILITIES
from zvt_crypto.venues.coinbase.parse import FrameParser
from zvt_crypto.venues.coinbase.symbols import parse_products, products_of

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "coinbase"
SPOT = (FIXTURES / "rest_products_spot.json").read_bytes()
FUTURE = (FIXTURES / "rest_products_future.json").read_bytes()
BTC, USDC, ETH = "cryptopair_coinbase_btcusd", "cryptopair_coinbase_btcusdc", "cryptopair_coinbase_ethusd"
PERP = "cryptoperp_coinbase_btcusd"
PREFIX = "/api/v3/brokerage"


class Venue:
    """A connector with its listing read, on a transport that answers by path and sockets that a test pushes."""

    def __init__(self, kit, **options) -> None:
        self.kit, self.clock, self.observer, self.transport = kit, kit.ManualClock(), kit.ListObserver(), kit.ScriptedTransport()
        self.sent: list[tuple[int, dict]] = []
        self.spot, self.future = kit.answer(SPOT), kit.answer(FUTURE)
        rest = self.transport.rest
        rest[f"{PREFIX}/market/products"] = lambda q: self.spot if q["product_type"] == "SPOT" else self.future
        rest[f"{PREFIX}/market/product_book"] = lambda q: kit.answer((FIXTURES / "rest_book.json").read_bytes())
        rest[f"{PREFIX}/market/products/BTC-USD"] = lambda q: kit.answer((FIXTURES / "rest_product.json").read_bytes())
        rest[f"{PREFIX}/time"] = lambda q: kit.answer({"iso": "", "epochSeconds": "1", "epochMillis": "1723161255000"})
        connect = self.transport.connect

        async def opened(url: str, *, timeout_ms: int = 10_000):
            socket = await connect(url)
            number, socket.send = len(self.transport.sockets) - 1, self._acknowledging(socket)
            assert number >= 0
            return socket

        self.transport.connect = opened
        budget = LimitBudget(self.clock, self.observer)
        chosen = CoinbaseOptions(**options) if options else None
        self.connector = CoinbaseConnector(self.transport, self.clock, budget, self.observer, options=chosen)

    def _acknowledging(self, socket):
        numbers, held = iter(range(10_000)), {}

        async def send(payload: bytes) -> None:
            message = json.loads(payload)
            self.sent.append((self.transport.sockets.index(socket), message))
            held[message["channel"]] = message["product_ids"]
            answer = {"channel": "subscriptions", "sequence_num": next(numbers), "events": [{"subscriptions": dict(held)}]}
            socket.push(json.dumps(answer))

        return send

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.transport.asked]


async def venue_of(kit, **options) -> Venue:
    made = Venue(kit, **options)
    await made.connector.fetch_instruments()
    return made


# ── What is asked ──


def test_calls_are_what_the_venue_documents():
    assert request.time().target == "/api/v3/brokerage/time"
    assert request.products("spot").target == "/api/v3/brokerage/market/products?product_type=SPOT"
    assert request.products("future", 250).target == "/api/v3/brokerage/market/products?product_type=FUTURE&offset=250"
    assert request.candles("BTC-USD", "ONE_HOUR", 5, 9).target == (
        "/api/v3/brokerage/market/products/BTC-USD/candles?start=5&end=9&granularity=ONE_HOUR&limit=300"
    )
    assert request.market_trades("BIP-20DEC30-CDE", 100, 3).target == (
        "/api/v3/brokerage/market/products/BIP-20DEC30-CDE/ticker?limit=100&start=3"
    )
    assert request.book("BTC-USD", 7).target == "/api/v3/brokerage/market/product_book?product_id=BTC-USD&limit=7"
    assert request.trades_below("BTC-USD", 12, 10).target == "/products/BTC-USD/trades?limit=10&after=12"
    assert request.trades_below("BTC-USD", None, 10).target == "/products/BTC-USD/trades?limit=10"
    assert request.product("a/b?c").target == "/api/v3/brokerage/market/products/a%2Fb%3Fc"
    buckets = {request.time().bucket, request.trades_below("X", None, 1).bucket}
    assert buckets == {"coinbase.advanced.requests", "coinbase.exchange.requests"}


def test_hosts_are_the_exchanges_own_unless_all_of_them_are_named():
    local = CoinbaseHosts.local("http://127.0.0.1:1/", "ws://127.0.0.1:2/")
    assert (local.advanced_rest, local.exchange_rest, local.advanced_ws) == ("http://127.0.0.1:1",) * 2 + ("ws://127.0.0.1:2",)
    assert CoinbaseHosts().advanced_ws == "wss://advanced-trade-ws.coinbase.com"


@pytest.mark.parametrize("wrong", [{"markets": ()}, {"markets": ("spot", "perp")}, {"books_a_socket": 0}, {"books_a_socket": 31}])
def test_wrong_options_are_named(wrong):
    with pytest.raises(BadConfig, match=next(iter(wrong))):
        CoinbaseOptions(**wrong)


# ── Instruments ──


async def test_both_markets_are_listed_and_ids_stay(kit):
    venue = await venue_of(kit)
    first = {i.id for i in venue.connector.instruments}
    assert {BTC, USDC, ETH, PERP, "cryptofuture_coinbase_btcusd_260424"} <= first
    assert {i.id for i in await venue.connector.fetch_instruments()} == first
    assert venue.observer.counted == {}
    assert await venue.connector.fetch_server_time() == 1_723_161_255_000_000_000


async def test_a_listing_of_several_pages_is_read_to_its_end(kit):
    venue = Venue(kit, markets=("spot",))
    rows = json.loads(SPOT)["products"]

    def page(q):
        start = int(q.get("offset", 0))
        return kit.answer({"products": rows[start : start + 3], "pagination": {"has_next": start + 3 < len(rows)}})

    venue.transport.rest[f"{PREFIX}/market/products"] = page
    assert len(await venue.connector.fetch_instruments()) == len(rows)
    assert [q.get("offset") for _, _, q in venue.transport.asked] == [None, "3", "6"]


async def test_a_market_that_this_region_is_refused_is_left_out_and_noted(kit):
    venue = Venue(kit)
    venue.future = kit.answer(b"", 451)
    assert {type(i).__name__ for i in await venue.connector.fetch_instruments()} == {"CryptoPair"}
    assert venue.observer.noted("geo_blocked")[0]["market"] == "future"
    venue.spot = kit.answer(b"", 451)
    with pytest.raises(GeoBlocked):
        await venue.connector.fetch_instruments()


# ── Now ──


async def test_ticker_and_book_by_rest(kit):
    venue = await venue_of(kit)
    ticker = await venue.connector.fetch_ticker("BTC-USD")
    assert (ticker.instrument, ticker.price, ticker.recv_ns) == (BTC, 68923.67, venue.clock.ns)
    book = await venue.connector.get_order_book("btcusd", depth=3)
    assert (len(book.bids), len(book.asks), book.instrument) == (3, 3, BTC)
    assert venue.transport.asked[-1][2] == {"product_id": "BTC-USD", "limit": "3"}
    venue.transport.rest[f"{PREFIX}/market/products/BTC-USD"] = lambda q: kit.answer(json.loads(SPOT)["products"][0] | {"price": ""})
    with pytest.raises(Refused, match="did not trade yet"):
        await venue.connector.fetch_ticker(BTC)


async def test_wrong_calls_are_named_before_anything_is_asked(kit):
    venue = await venue_of(kit, markets=("spot",))
    connector, asked = venue.connector, len(venue.transport.asked)
    connector.instruments = Instruments(
        assign_ids([*parse_products(SPOT, "spot").instruments, *parse_products(FUTURE, "future").instruments], Instruments())
    )
    for call, error in (
        (connector.fetch_kdata("nope", "1m"), UnknownSymbol),
        (connector.get_order_book(BTC, 1_001), OutOfRange),
        (connector.get_order_book(BTC, 0), OutOfRange),
        (connector.fetch_trades(BTC, from_id=-1), OutOfRange),
        (connector.fetch_trades(BTC, to_id=2**63), OutOfRange),
        (connector.fetch_trades(BTC, stream="agg"), Unsupported),
        (connector.fetch_ticker(PERP), Unsupported),
        (connector.fetch_funding(BTC), Unsupported),
        (connector.fetch_mark(BTC), Unsupported),
        (connector.fetch_mark_kdata(BTC), Unsupported),
    ):
        with pytest.raises(error):
            await call
    assert len(venue.transport.asked) == asked


async def test_ids_of_contracts_prove_nothing(kit):
    venue = await venue_of(kit)
    assert venue.connector.trade_continuity(BTC) == "dense"
    assert venue.connector.trade_continuity(PERP) == "opaque"
    assert venue.connector.trade_stream(PERP) == "trade"
    for how in ({"from_id": 5}, {"to_id": 5}):
        with pytest.raises(Unsupported, match="only by time"):
            await venue.connector.fetch_trades(PERP, **how)
    await venue.connector.close()


# ── Routes and connections ──


async def test_books_share_a_connection_with_few_and_other_channels_with_many(kit):
    venue = await venue_of(kit, books_a_socket=2)
    names = [i.id for i in venue.connector.instruments if i.native_symbol.endswith("-USD")]
    assert len(names) >= 4
    wanted = [Subscription(name, channel) for name in names for channel in ("trade", "depth")]
    routes = venue.connector.routes(wanted)
    assert sorted(s for route in routes for s in route) == sorted(wanted)
    assert [len({s.instrument for s in route}) for route in routes] == [2] * (len(names) // 2) + [1] * (len(names) % 2)
    assert all({s.channel for s in route if s.instrument == name} in (set(), {"trade", "depth"}) for route in routes for name in names)
    (one,) = venue.connector.routes([Subscription(name, "trade") for name in names])
    assert len(one) == len(names)


async def test_a_usd_pair_never_shares_a_connection_with_its_usdc_pair(kit):
    venue = await venue_of(kit)
    wanted = [Subscription(BTC, "trade"), Subscription(USDC, "trade"), Subscription(ETH, "trade")]
    assert venue.connector.routes(wanted) == [(wanted[0], wanted[2]), (wanted[1],)]
    with pytest.raises(BadInput, match="not one of the routes"):
        await venue.connector.open_stream(wanted)


@pytest.mark.parametrize(
    ("subscription", "error"),
    [
        (Subscription(BTC, "mark"), Unsupported),
        (Subscription(BTC, "agg"), Unsupported),
        (Subscription(BTC, "kline"), BadInput),
        (Subscription(BTC, "trade", Interval.MIN_5), BadInput),
        *[(Subscription(BTC, "kline", i), Unsupported) for i in INTERVALS if i is not Interval.MIN_5],
    ],
)
async def test_what_is_not_streamed_is_refused_by_name(kit, subscription, error):
    venue = await venue_of(kit)
    with pytest.raises(error, match="btcusd"):
        venue.connector.routes([subscription])
    with pytest.raises(error, match="btcusd"):
        await venue.connector.open_stream([subscription])


async def test_a_usdc_pair_is_subscribed_as_the_pair_whose_book_it_shares(kit):
    venue = await venue_of(kit)
    stream = await venue.connector.open_stream([Subscription(USDC, "trade"), Subscription(ETH, "ticker")])
    assert [message for _, message in venue.sent] == [
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "market_trades"},
        {"type": "subscribe", "product_ids": ["ETH-USD"], "channel": "ticker"},
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "heartbeats"},
    ]
    row = {"product_id": "BTC-USD", "trade_id": "5", "price": "1", "size": "1", "time": "2024-08-08T23:54:14Z", "side": "BUY"}
    for number, native in ((3, "BTC-USD"), (4, "BTC-USDC")):
        event = {"type": "update", "trades": [row | {"product_id": native}]}
        venue.transport.sockets[0].push(json.dumps({"channel": "market_trades", "sequence_num": number, "events": [event]}))
        (trade,) = await stream.receive()
        assert (trade.instrument, trade.side) == (USDC, "sell")
    await stream.close()


async def test_a_table_that_was_not_read_here_asks_whose_book_a_pair_shares(kit):
    venue = await venue_of(kit)
    again = Venue(kit)
    again.connector.instruments = venue.connector.instruments
    usdc = next(row for row in json.loads(SPOT)["products"] if row["product_id"] == "BTC-USDC")
    again.transport.rest[f"{PREFIX}/market/products/BTC-USDC"] = lambda q: kit.answer(usdc)
    stream = await again.connector.open_stream([Subscription(USDC, "trade")])
    await stream.close()
    assert again.sent[0][1]["product_ids"] == ["BTC-USD"]
    assert again.paths() == [f"{PREFIX}/market/products/BTC-USDC"]


async def test_the_iterators_give_their_kind_and_close_their_connections(kit):
    venue = await venue_of(kit)
    row = {"product_id": "BTC-USD", "trade_id": "5", "price": "1", "size": "1", "time": "2024-08-08T23:54:14Z", "side": "BUY"}
    candle = {"product_id": "BTC-USD", "start": "300", "open": "1", "high": "1", "low": "1", "close": "1", "volume": "1"}
    level = {"side": "bid", "event_time": "2024-08-08T23:54:14Z", "price_level": "1", "new_quantity": "1"}
    at = {"timestamp": "2024-08-08T23:54:14Z", "sequence_num": 2}
    frames = (
        (venue.connector.subscribe_trades([BTC]), "Trade", at | {"channel": "market_trades", "events": [{"trades": [row]}]}),
        (venue.connector.subscribe_kdata([BTC], "5m"), "Kline", at | {"channel": "candles", "events": [{"candles": [candle]}]}),
        (
            venue.connector.subscribe_order_book([BTC]),
            "BookSnapshot",
            at | {"channel": "l2_data", "events": [{"type": "snapshot", "product_id": "BTC-USD", "updates": [level]}]},
        ),
    )
    for number, (events, kind, message) in enumerate(frames):
        first = asyncio.create_task(anext(events))
        await venue.transport.opened(number + 1)
        for _ in range(50):
            if len(venue.sent) == 2 * (number + 1):  # both of its messages are sent and acknowledged
                break
            await asyncio.sleep(0)
        venue.transport.sockets[number].push(json.dumps(message))
        assert type(await first).__name__ == kind
        await events.aclose()
        assert venue.transport.sockets[number].closed


async def test_a_refusal_closes_the_connection(kit):
    venue = await venue_of(kit)
    venue._acknowledging = lambda socket: refusing(socket)

    def refusing(socket):
        async def send(payload: bytes) -> None:
            socket.push('{"type":"error","message":"no such product"}')

        return send

    with pytest.raises(Refused, match="no such product"):
        await venue.connector.open_stream([Subscription(BTC, "trade")])
    assert venue.transport.sockets[0].closed


async def test_a_book_that_does_not_come_ends_the_connection(kit):
    venue = await venue_of(kit)
    stream = await venue.connector.open_stream([Subscription(BTC, "depth")])
    (stale,) = await stream.receive()
    assert isinstance(stale, BookStale)
    assert stale.instrument == BTC
    assert "no snapshot" in stale.reason
    with pytest.raises(Disconnected, match="only a new connection brings"):
        await stream.receive()
    await stream.close()
    assert 20.0 in venue.clock.slept


async def test_connections_and_messages_are_paced_over_all_connections(kit):
    venue = await venue_of(kit)
    slept = sum(venue.clock.slept)
    for _ in range(12):
        stream = await venue.connector.open_stream([Subscription(BTC, "trade"), Subscription(BTC, "ticker")])
        await stream.close()
    # Twelve times three messages, of seven a second.
    assert sum(venue.clock.slept) - slept > 36 / 8


# ── What is claimed ──


def test_every_claim_about_klines_is_what_the_tables_say():
    for market in ("spot", "perp"):
        how = {i: CAPABILITIES[market][f"klines.{i}"].how for i in INTERVALS}
        assert {i for i, kind in how.items() if kind == "derived"} == {Interval.HOUR_4, Interval.WEEK_1, Interval.MONTH_1}
        streamed = {i: CAPABILITIES[market][f"stream.klines.{i}"].how for i in INTERVALS}
        assert {i for i, kind in streamed.items() if kind == "native"} == {Interval.MIN_5}


# ── The whole capture ──


@pytest.mark.data
def test_every_message_of_the_recorded_capture_is_read_and_its_books_stay_valid(recorded):
    packed = (recorded / "derived_split/COINBASE_first_320_lines_DEV.jsonl.zst").open("rb")
    with packed, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed)) as lines:
        rows = [json.loads(line) for line in lines]
    (listing,) = [parse_products(row["data"].encode(), "spot") for row in rows if row["t"] == "http"]
    assert (len(listing.instruments), len(listing.aliases), listing.drift) == (920, 400, [])
    table = Instruments(assign_ids(listing.instruments, Instruments()))
    assert len({i.id for i in table}) == 920
    known = products_of([table.resolve(name, "coinbase") for name in ("BTC-USD", "ETH-USD")], listing.aliases)
    read = FrameParser(known, tickers=frozenset({BTC, ETH}), quotes=frozenset({BTC, ETH}))
    books, found, sides = {BTC: Book(BTC), ETH: Book(ETH)}, Counter(), Counter()
    for at, row in enumerate(row for row in rows if row["t"] == "recv"):
        number, made = read.read(row["data"].encode(), 1)
        assert number == at
        for one in made:
            found[type(one).__name__] += 1
            if isinstance(one, BookSnapshot | BookDelta):
                books[one.instrument].apply_event(one)
                assert books[one.instrument].is_valid
            elif isinstance(one, Trade) and at > 40:
                bid, ask = (side[0] for side in books[one.instrument].best())
                sides[one.side, "up" if one.price >= ask else "down" if one.price <= bid else "between"] += 1
    assert found == {"BookDelta": 226, "BookSnapshot": 2, "Trade": 225, "Ticker": 48, "BestQuote": 48, "Kline": 4}
    bids, asks = books[BTC].top(100_000)
    assert len(bids) + len(asks) > 45_000
    assert {("buy", "up"), ("sell", "down")} <= set(sides) <= {("buy", "up"), ("sell", "down"), ("sell", "between")}
