"""Binance's dialect judged by ccxt: what ccxt makes of our bytes is what the world holds, and what our connector makes of them.

USD-M's public side has aggregated trades only, so that is what ccxt is told to watch there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest
from judge_kit import MINUTE_MS, START_NS, Bench, BenchClock, Silent, bench, book, number, ohlcv, shown

from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.model import Listing
from zvt_crypto.venues.binance import BinanceConnector, BinanceHosts
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.http import NetTransport

SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
BOTH = pytest.mark.parametrize("symbol", [SPOT, SWAP])
IDS = {SPOT: "cryptopair_binance_btcusdt", SWAP: "cryptoperp_binance_btcusdt"}
START_MS = START_NS // 1_000_000


@pytest.fixture
async def place() -> AsyncIterator[tuple[Bench, Any]]:
    async with bench(BinanceDialect) as (held, rest_url, ws_url):
        exchange = ccxt.pro.binance(
            {"newUpdates": True, "options": {"fetchCurrencies": False, "fetchMarkets": {"types": ["spot", "linear"]}}}
        )
        # ccxt tells spot by `/stream` in the address; what follows /ws/ names streams, and Binance ignores unknown ones.
        ws = exchange.urls["api"]["ws"] | {"spot": f"{ws_url}/ws/stream", "linear": f"{ws_url}/ws"}
        places = {"public": "/api/v3", "private": "/api/v3", "v1": "/api/v1", "fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2"}
        exchange.urls["api"] |= {name: rest_url + path for name, path in places.items()} | {"ws": ws}
        try:
            await exchange.load_markets()
            yield held, exchange
        finally:
            await exchange.close()


@pytest.fixture
async def three(place: tuple[Bench, Any]) -> AsyncIterator[tuple[Bench, Any, BinanceConnector]]:
    held, exchange = place
    transport, clock = NetTransport(), BenchClock(held)
    rest = exchange.urls["api"]["public"].removesuffix("/api/v3")
    ws = exchange.urls["api"]["ws"]["linear"].removesuffix("/ws")
    budget = LimitBudget(clock, Silent())  # type: ignore[arg-type]
    ours = BinanceConnector(transport, clock, budget, Silent(), hosts=BinanceHosts.local(rest, ws))  # type: ignore[arg-type]
    try:
        await held.until(ours.fetch_instruments())
        yield held, exchange, ours
    finally:
        await transport.close()


def listing(held: Bench, symbol: str) -> Listing:
    return held.world.listings("usdm" if symbol == SWAP else "spot")["BTCUSDT"]


def test_ccxt_can_all_that_is_asked_here() -> None:
    wanted = ("fetchOHLCV", "fetchTrades", "fetchOrderBook", "fetchTicker", "watchTrades", "watchOrderBook", "watchOHLCV")
    assert [name for name in wanted if not ccxt.pro.binance().has[name]] == []


async def test_markets_are_the_worlds_listings(place: tuple[Bench, Any]) -> None:
    _, exchange = place
    assert set(exchange.markets) == {"BTC/USDT", "ETH/USDT", "SOL/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"}
    spot, swap = exchange.market(SPOT), exchange.market(SWAP)
    assert (spot["id"], spot["spot"], spot["active"]) == ("BTCUSDT", True, True)
    assert (spot["precision"]["price"], spot["precision"]["amount"]) == (0.01, 0.00001)
    assert (swap["id"], swap["swap"], swap["linear"], swap["settle"], swap["contractSize"]) == ("BTCUSDT", True, True, "USDT", 1)
    assert (swap["precision"]["price"], swap["precision"]["amount"]) == (0.1, 0.001)
    assert await exchange.fetch_time() == START_MS


@BOTH
@pytest.mark.parametrize("frame", ["1m", "5m", "1h", "1d", "1w"])
async def test_candles_of_all_three_are_the_same(three: Any, symbol: str, frame: str) -> None:
    held, exchange, ours = three
    rows = await exchange.fetch_ohlcv(symbol, frame, limit=40)
    truth = held.world.bars(listing(held, symbol), frame, None, None, 40)
    assert rows == ohlcv(truth)
    mine = await held.until(ours.fetch_kdata(IDS[symbol], frame, limit=40))
    assert [[k.open_ns // 1_000_000, k.open, k.high, k.low, k.close, k.volume] for k in mine] == ohlcv(truth)


@BOTH
async def test_a_range_of_candles_is_the_range(three: Any, symbol: str) -> None:
    held, exchange, ours = three
    since = START_MS - 1_500 * MINUTE_MS
    rows = await exchange.fetch_ohlcv(symbol, "1m", since=since, limit=200)
    truth = held.world.bars(listing(held, symbol), "1m", since * 1_000_000, None, 200)
    assert rows == ohlcv(truth)
    mine = await held.until(ours.fetch_kdata(IDS[symbol], "1m", since=since * 1_000_000, limit=1_400))
    assert len(mine) == 1_400
    assert [k.open_ns for k in mine[:200]] == [bar.open_ns for bar in truth]


@BOTH
async def test_trades_books_and_tickers_of_all_three_are_the_same(three: Any, symbol: str) -> None:
    held, exchange, ours = three
    one = listing(held, symbol)
    rows = await exchange.fetch_trades(symbol, limit=50)  # ccxt asks both markets for aggregates
    truth = held.world.aggs(one, None, None, None, 50)
    assert [(row["id"], row["price"], row["amount"], row["side"]) for row in rows] == [
        (str(t.id), number(t.price), number(t.size), "sell" if t.buyer_is_maker else "buy") for t in truth
    ]
    mine = await held.until(ours.fetch_trades(IDS[symbol], stream="agg", limit=50))
    assert [(t.trade_id, t.price, t.quantity, t.side) for t in mine] == [(r["id"], r["price"], r["amount"], r["side"]) for r in rows]
    seen = await exchange.fetch_order_book(symbol, 100)
    assert shown(seen) == book(held.world.book(one, 100))
    mine_book = await held.until(ours.get_order_book(IDS[symbol], 100))
    assert ([list(level) for level in mine_book.bids], [list(level) for level in mine_book.asks]) == shown(seen)
    ticker = await exchange.fetch_ticker(symbol)
    day = held.world.day(one)
    assert day is not None
    assert (ticker["last"], ticker["high"], ticker["low"]) == tuple(number(v) for v in (day.bar.close, day.bar.high, day.bar.low))
    assert (await held.until(ours.fetch_ticker(IDS[symbol]))).price == ticker["last"]


async def test_funding_of_all_three_is_the_same(three: Any) -> None:
    held, exchange, ours = three
    rows = await exchange.fetch_funding_rate_history(SWAP, limit=5)
    truth = held.world.funding(listing(held, SWAP), None, None, 5)
    assert [(row["timestamp"], row["fundingRate"]) for row in rows] == [(f.time_ns // 1_000_000, number(f.rate_e8)) for f in truth]
    mine = await held.until(ours.fetch_funding(IDS[SWAP]))
    assert [(f.event_ns, f.rate) for f in mine[-5:]] == [(f.time_ns, number(f.rate_e8)) for f in truth]


async def test_streamed_trades_are_the_worlds(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    rows: list[Any] = []
    while len(rows) < 30:
        rows += await held.until(exchange.watch_trades(SPOT))
    first = int(rows[0]["id"])
    truth = held.world.trades(listing(held, SPOT), first, len(rows))
    assert [(row["id"], row["price"], row["amount"]) for row in rows] == [(str(t.id), number(t.price), number(t.size)) for t in truth]


async def test_streamed_aggregates_of_contracts_are_the_worlds(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    rows: list[Any] = []
    while len(rows) < 30:
        rows += await held.until(exchange.watch_trades(SWAP, params={"name": "aggTrade"}))
    truth = held.world.aggs(listing(held, SWAP), int(rows[0]["id"]), None, None, len(rows))
    assert [(row["id"], row["price"], row["amount"]) for row in rows] == [(str(t.id), number(t.price), number(t.size)) for t in truth]


@BOTH
async def test_streamed_books_are_the_worlds(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    await held.until(exchange.watch_order_book(symbol))
    one, compared = listing(held, symbol), set()
    while len(compared) < 15:
        await held.pass_s(0.5)
        image = held.world.book(one, 1_000)
        shown_now = exchange.orderbooks[symbol]
        if shown_now.get("nonce") == image.last_id:
            theirs = shown(shown_now)
            assert [side[:100] for side in theirs] == [side[:100] for side in book(image)]
            compared.add(image.last_id)


async def test_streamed_candles_close_as_the_world_closed_them(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    seen: dict[int, list[float]] = {}
    while len(seen) < 3:
        for row in await held.until(exchange.watch_ohlcv(SPOT, "1m")):
            seen[row[0]] = row
    closed = sorted(seen)[:2]
    truth = held.world.bars(listing(held, SPOT), "1m", closed[0] * 1_000_000, closed[-1] * 1_000_000, 10)
    assert [seen[at] for at in closed] == ohlcv(truth)


async def test_refusals_are_what_ccxt_knows_them_as(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    with pytest.raises(ccxt.BadSymbol):
        await exchange.fetch_ohlcv("NOPE/USDT")
    held.dialect.meters["spot"].limit = 1
    with pytest.raises((ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        await exchange.fetch_ticker(SPOT)
