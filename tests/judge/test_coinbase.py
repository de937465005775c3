"""Coinbase's dialect judged by ccxt: what ccxt makes of our bytes is what the world holds, and what our connector makes of them.

Two of ccxt's exchanges speak with one emulator: `coinbase` with Advanced Trade, `coinbaseexchange` with Exchange. What they cannot is
listed in the first test: candles are not watched by either, and Exchange's book wants a login. Advanced's sides stand here as ccxt takes
them, word for word: the maker's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest
from judge_kit import MINUTE_MS, START_NS, Bench, BenchClock, Silent, bench, book, levels, number, ohlcv, shown

from zvt_crypto.emulator.coinbase.dialect import CoinbaseDialect
from zvt_crypto.emulator.coinbase.names import product_of
from zvt_crypto.emulator.coinbase.wire import trade_id
from zvt_crypto.emulator.model import Bar, Listing, Trade
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.coinbase import CoinbaseConnector, CoinbaseHosts
from zvt_crypto.venues.http import NetTransport

SPOT, SWAP = "BTC/USD", "BTC/USDC:USDC"
BOTH = pytest.mark.parametrize("symbol", [SPOT, SWAP])
IDS = {SPOT: "cryptopair_coinbase_btcusd", SWAP: "cryptoperp_coinbase_btcusdc"}
NATIVE = {SPOT: "BTC-USD", SWAP: "BTC-PERP-INTX"}
START_MS = START_NS // 1_000_000
FRAMES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440}  # in minutes
RARELY = 0.05  # events a second: minutes without trades are usual


@pytest.fixture
async def place() -> AsyncIterator[tuple[Bench, Any, Any]]:
    """The bench, Advanced and Exchange."""
    async with bench(CoinbaseDialect) as (held, rest_url, ws_url):
        advanced, exchange = ccxt.pro.coinbase({"newUpdates": True}), ccxt.pro.coinbaseexchange({"newUpdates": True})
        advanced.urls["api"] = {"rest": rest_url, "ws": ws_url}
        exchange.urls["api"] = {"public": rest_url, "private": rest_url, "ws": f"{ws_url}/ws-feed"}
        try:
            await advanced.load_markets()
            yield held, advanced, exchange  # which asks for its markets with its first call
        finally:
            await advanced.close()
            await exchange.close()


@pytest.fixture
async def ours(place: tuple[Bench, Any, Any]) -> AsyncIterator[CoinbaseConnector]:
    held, advanced, _ = place
    transport, clock = NetTransport(), BenchClock(held)
    budget = LimitBudget(clock, Silent())
    hosts = CoinbaseHosts.local(advanced.urls["api"]["rest"], advanced.urls["api"]["ws"])
    connector = CoinbaseConnector(transport, clock, budget, Silent(), hosts=hosts)
    try:
        await held.until(connector.fetch_instruments())
        yield connector
    finally:
        await transport.close()


def listing(held: Bench, symbol: str) -> Listing:
    return held.world.listings("usdm" if symbol == SWAP else "spot")["BTCUSDT"]


def traded(bars: list[Bar]) -> list[Bar]:
    return [bar for bar in bars if bar.trades]


def told(one: Listing, trades: list[Trade], *, maker: bool) -> list[tuple[str, int, float, float, str]]:
    """Trades as ccxt has them; the side is the maker's or the taker's."""
    sides = ("sell", "buy") if maker else ("buy", "sell")
    product = product_of(one)
    return [(trade_id(product, t.id), t.time_ns // 1_000_000, number(t.price), number(t.size), sides[t.buyer_is_maker]) for t in trades]


def read(rows: list[Any]) -> list[tuple[str, int, float, float, str]]:
    return [(row["id"], row["timestamp"], row["price"], row["amount"], row["side"]) for row in rows]


def test_what_ccxt_cannot_is_known() -> None:
    wanted = ("fetchOHLCV", "fetchTrades", "fetchOrderBook", "fetchTicker", "watchTrades", "watchOrderBook", "watchTicker", "watchOHLCV")
    for exchange in (ccxt.pro.coinbase(), ccxt.pro.coinbaseexchange()):
        assert [name for name in wanted if not exchange.has[name]] == ["watchOHLCV"]
        assert not exchange.has.get("fetchMarkOHLCV")
        assert not exchange.has.get("fetchFundingRateHistory")


async def test_markets_are_the_worlds_listings(place: tuple[Bench, Any, Any]) -> None:
    held, advanced, exchange = place
    await exchange.load_markets()
    assert set(exchange.markets) == {"BTC/USD", "ETH/USD", "SOL/USD"}
    assert set(advanced.markets) == {*exchange.markets, "BTC/USDC", "ETH/USDC", "SOL/USDC", "BTC/USDC:USDC", "ETH/USDC:USDC"}
    for one in (advanced.market(SPOT), exchange.market(SPOT)):
        assert (one["id"], one["spot"], one["active"], one["precision"]) == ("BTC-USD", True, True, {"amount": 0.00001, "price": 0.01})
    swap = advanced.market(SWAP)
    assert (swap["id"], swap["swap"], swap["linear"], swap["settle"]) == ("BTC-PERP-INTX", True, True, "USDC")
    assert (swap["contractSize"], swap["active"], swap["precision"]) == (1, True, {"amount": 0.001, "price": 0.1})
    assert await advanced.fetch_time() == START_MS
    assert await advanced.fetch_time({"method": "v3PublicGetBrokerageTime"}) == START_MS
    assert await exchange.fetch_time() == START_MS
    assert set(advanced.currencies) >= {"BTC", "ETH", "SOL", "USD"}
    assert held.dialect.requests > 3


@BOTH
async def test_candles_of_all_are_the_worlds(place: Any, ours: Any, symbol: str) -> None:
    held, advanced, exchange = place
    for frame, minutes in FRAMES.items():
        since = START_MS - 40 * minutes * MINUTE_MS
        truth = ohlcv(traded(held.world.bars(listing(held, symbol), frame, since * 1_000_000, START_NS, 41)))[:40]
        assert await advanced.fetch_ohlcv(symbol, frame, since=since, limit=40) == truth
        if symbol == SPOT and frame not in ("30m", "2h"):
            assert await exchange.fetch_ohlcv(symbol, frame, since=since, limit=40) == truth
        if frame not in ("2h", "6h"):
            mine = await held.until(ours.fetch_kdata(IDS[symbol], frame, since=since * 1_000_000, limit=40))
            rows = [[k.open_ns // 1_000_000, k.open, k.high, k.low, k.close, k.volume] for k in mine if k.volume]
            assert rows == truth[: len(rows)]
            assert len(rows) > 2


async def test_minutes_without_trades_are_missing() -> None:
    async with bench(CoinbaseDialect, events_per_s=RARELY) as (held, rest_url, _):
        advanced, exchange = ccxt.pro.coinbase(), ccxt.pro.coinbaseexchange()
        advanced.urls["api"], exchange.urls["api"] = {"rest": rest_url}, {"public": rest_url}
        try:
            await advanced.load_markets()
            held.now_ns += 1_800 * 1_000_000_000
            held.step()
            minutes = held.world.bars(listing(held, SPOT), "1m", START_NS, held.now_ns, 40)
            truth = traded(minutes)
            assert 0 < len(truth) < len(minutes)
            assert await advanced.fetch_ohlcv(SPOT, "1m", since=START_MS, limit=40) == ohlcv(truth)
            assert await exchange.fetch_ohlcv(SPOT, "1m", since=START_MS, limit=40) == ohlcv(truth)
        finally:
            await advanced.close()
            await exchange.close()


@BOTH
async def test_trades_of_all_are_the_worlds_fills(place: Any, ours: Any, symbol: str) -> None:
    held, advanced, exchange = place
    one = listing(held, symbol)
    truth = held.world.trades(one, None, 200)
    assert sorted(read(await advanced.fetch_trades(symbol, limit=200))) == sorted(told(one, truth, maker=True))
    mine = await held.until(ours.fetch_trades(IDS[symbol], limit=200))
    assert [(t.trade_id, t.event_ns // 1_000_000, t.price, t.quantity, t.side) for t in mine] == told(one, truth, maker=False)
    since, until = truth[50].time_ns // 1_000_000_000 * 1_000, truth[100].time_ns // 1_000_000_000 * 1_000
    within = [t for t in truth if since <= t.time_ns // 1_000_000 <= until]
    rows = await advanced.fetch_trades(symbol, since=since, params={"until": until})
    assert sorted(read(rows)) == sorted(told(one, within, maker=True))
    if symbol == SPOT:
        assert read(await exchange.fetch_trades(symbol, limit=200)) == told(one, truth, maker=False)


async def test_pages_of_exchange_go_back_by_their_cursor(place: Any) -> None:
    held, _, exchange = place
    one, pages, cursor = listing(held, SPOT), [], None
    for _ in range(4):
        pages.append(await exchange.fetch_trades(SPOT, limit=300, params={} if cursor is None else {"after": cursor}))
        cursor = {name.lower(): value for name, value in exchange.last_response_headers.items()}["cb-after"]
        assert cursor == pages[-1][0]["id"]
    rows = [row for page in reversed(pages) for row in page]
    assert read(rows) == told(one, held.world.trades(one, None, 1_200), maker=False)
    newer = await exchange.fetch_trades(SPOT, params={"before": pages[0][-11]["id"]})
    assert read(newer) == told(one, held.world.trades(one, None, 10), maker=False)


@BOTH
async def test_books_and_tickers_of_all_are_the_worlds(place: Any, ours: Any, symbol: str) -> None:
    held, advanced, exchange = place
    one = listing(held, symbol)
    image, day = held.world.book(one, 25), held.world.day(one)
    assert day is not None
    assert day.last is not None
    seen = await advanced.fetch_order_book(symbol, 25)
    assert shown(seen) == book(image)
    assert seen["timestamp"] == held.now_ns // 1_000_000
    mine = await held.until(ours.get_order_book(IDS[symbol], 25))
    assert ([list(level) for level in mine.bids], [list(level) for level in mine.asks]) == shown(seen)
    ticker = await advanced.fetch_ticker(symbol)
    assert (ticker["last"], ticker["bid"], ticker["ask"]) == (number(day.last.price), number(day.bid[0]), number(day.ask[0]))
    row = (await advanced.fetch_tickers([symbol], {"product_type": "FUTURE" if symbol == SWAP else "SPOT"}))[symbol]
    assert (row["last"], row["baseVolume"]) == (number(day.bar.close), number(day.bar.size))
    read_by_us = await held.until(ours.fetch_ticker(IDS[symbol]))
    assert (read_by_us.price, read_by_us.open, read_by_us.volume) == (number(day.bar.close), number(day.bar.open), number(day.bar.size))
    assert (read_by_us.high, read_by_us.low) == (number(day.bar.high), number(day.bar.low))
    if symbol == SPOT:
        whole = await exchange.fetch_order_book(symbol)
        assert shown(whole) == book(held.world.book(one, 1_000_000))
        assert whole["nonce"] == image.last_id
        there = await exchange.fetch_ticker(symbol)
        assert (there["last"], there["bid"], there["ask"]) == (ticker["last"], ticker["bid"], ticker["ask"])
        exchange.options["fetchTickerMethod"] = "publicGetProductsIdStats"
        stats = await exchange.fetch_ticker(symbol)
        assert [stats[key] for key in ("open", "high", "low", "last", "baseVolume")] == [number(value) for value in day.bar[1:6]]


async def test_refusals_are_the_errors_that_ccxt_knows(place: Any) -> None:
    held, advanced, exchange = place
    with pytest.raises(ccxt.ExchangeError, match="NOT_FOUND"):
        await advanced.v3PublicGetBrokerageMarketProductsProductId({"product_id": "NOPE-USD"})
    with pytest.raises(ccxt.BadRequest):
        await advanced.fetch_ohlcv(SPOT, "1m", since=START_MS - 10_000 * MINUTE_MS, params={"until": START_MS})
    with pytest.raises(ccxt.BadRequest):
        await advanced.fetch_ohlcv(SPOT, "7m", since=START_MS)
    with pytest.raises(ccxt.ExchangeError, match="exceeds 300"):
        await exchange.fetch_ohlcv(SPOT, "1m", since=START_MS - 10_000 * MINUTE_MS, params={"until": START_MS})
    with pytest.raises(ccxt.OrderNotFound):  # ccxt's reading of NotFound
        await exchange.publicGetProductsIdTicker({"id": "NOPE-USD"})
    for one in (advanced, exchange):
        await one.fetch_ticker(SPOT)
    held.dialect.scale_limits(0)  # one a second, and time stands still
    for one in (advanced, exchange):
        await one.fetch_ticker(SPOT)
        with pytest.raises(ccxt.RateLimitExceeded):
            await one.fetch_ticker(SPOT)


@BOTH
async def test_watched_trades_are_the_worlds_in_order(place: Any, symbol: str) -> None:
    held, advanced, _ = place
    one = listing(held, symbol)
    seen: list[Any] = []
    while len(seen) < 200:
        seen += await held.until(advanced.watch_trades(symbol))
    truth = told(one, held.world.trades(one, None, 1_000), maker=True)
    first = truth.index(read(seen)[0])
    assert read(seen) == truth[first : first + len(seen)]


async def test_watched_matches_and_tickers_of_exchange_are_the_worlds(place: Any) -> None:
    held, _, exchange = place
    one = listing(held, SPOT)
    seen: list[Any] = []
    while len(seen) < 40:
        seen += await held.until(exchange.watch_trades(SPOT))
    truth = told(one, held.world.trades(one, None, 1_000), maker=False)
    first = truth.index(read(seen)[0])
    assert read(seen) == truth[first : first + len(seen)]
    await held.until(exchange.watch_ticker(SPOT))
    await held.pass_s(5)
    day = held.world.day(one)
    assert day is not None
    await held.holds(lambda: exchange.tickers[SPOT]["last"] == number(day.bar.close))
    assert exchange.tickers[SPOT]["baseVolume"] == number(day.bar.size)
    with pytest.raises(ccxt.AuthenticationError):
        await exchange.watch_order_book(SPOT)


@BOTH
async def test_a_watched_book_is_the_worlds_whenever_both_stand_at_the_same_message(place: Any, symbol: str) -> None:
    held, advanced, _ = place
    compared = set()
    await held.until(advanced.watch_order_book(symbol))
    while len(compared) < 25:
        await held.pass_s(0.5)
        truth = held.dialect.book_of(NATIVE[symbol])
        if truth is not None:
            await held.holds(lambda image=truth[1]: shown(advanced.orderbooks[symbol]) == book(image))
            compared.add(truth[0])


@BOTH
async def test_watched_tickers_are_the_worlds(place: Any, symbol: str) -> None:
    held, advanced, _ = place
    assert (await held.until(advanced.watch_ticker(symbol)))["last"] is not None
    await held.pass_s(5)
    day = held.world.day(listing(held, symbol))
    assert day is not None
    await held.holds(lambda: advanced.tickers[symbol]["last"] == number(day.bar.close))
    seen = advanced.tickers[symbol]
    assert [[seen["bid"], seen["bidVolume"]], [seen["ask"], seen["askVolume"]]] == levels([day.bid, day.ask])
    assert (seen["high"], seen["low"], seen["baseVolume"]) == tuple(number(v) for v in (day.bar.high, day.bar.low, day.bar.size))
    batch = await held.until(advanced.watch_tickers([symbol]))
    assert batch[symbol]["last"] is not None


async def test_another_name_of_a_book_hears_the_same_book(place: Any) -> None:
    held, advanced, _ = place
    seen = await held.until(advanced.watch_order_book("BTC/USDC"))
    assert shown(seen)[0]
    assert seen["symbol"] == "BTC/USD"


async def test_what_is_left_is_left(place: Any) -> None:
    held, advanced, _ = place
    await held.until(advanced.watch_trades(SPOT))
    assert held.dialect.world.status()["mode"] == "market"
    await held.until(advanced.un_watch_trades(SPOT))
    assert held.dialect.status(held.now_ns)["streams"] == 0
