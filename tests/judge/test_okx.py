"""OKX's dialect judged by ccxt: what ccxt makes of our bytes is what the world holds.

Left out, because ccxt asks for a login first: `trades-all` and the books by the order. ccxt has no candles of seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest
from judge_kit import MINUTE_MS, START_NS, Bench, BenchClock, Silent, bench, book, levels, number, ohlcv, shown

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.emulator.model import E8, Listing
from zvt_crypto.emulator.okx.dialect import OkxDialect
from zvt_crypto.emulator.okx.names import instrument_of
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.http import NetTransport
from zvt_crypto.venues.okx import OkxConnector, OkxHosts

SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
BOTH = pytest.mark.parametrize("symbol", [SPOT, SWAP])
START_MS = START_NS // 1_000_000


@pytest.fixture
async def place() -> AsyncIterator[tuple[Bench, Any]]:
    async with bench(OkxDialect) as (held, rest_url, ws_url):
        exchange = ccxt.pro.okx({"newUpdates": True})
        exchange.urls["api"] = {"rest": rest_url, "ws": f"{ws_url}/ws/v5"}
        try:
            await exchange.load_markets()
            yield held, exchange
        finally:
            await exchange.close()


def listing(held: Bench, symbol: str) -> Listing:
    return held.world.listings("usdm" if symbol == SWAP else "spot")["BTCUSDT"]


def unit(held: Bench, symbol: str) -> int:
    """What one of ccxt's amounts is worth: contracts on a swap."""
    return instrument_of(listing(held, symbol)).contract_e8 or E8


async def test_markets_are_the_worlds_listings(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    assert set(exchange.markets) == {"BTC/USDT", "ETH/USDT", "SOL/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"}
    spot, swap = exchange.market(SPOT), exchange.market(SWAP)
    assert (spot["id"], spot["spot"], spot["active"], spot["precision"]) == ("BTC-USDT", True, True, {"amount": 0.00001, "price": 0.01})
    assert (swap["id"], swap["swap"], swap["linear"], swap["settle"]) == ("BTC-USDT-SWAP", True, True, "USDT")
    assert (swap["contractSize"], swap["precision"]) == (0.01, {"amount": 0.1, "price": 0.1})
    assert swap["created"] == listing(held, SWAP).listed_ns // 1_000_000
    assert await exchange.fetch_time() == START_MS


@BOTH
@pytest.mark.parametrize(("timeframe", "interval"), [("1m", "1m"), ("5m", "5m"), ("1h", "1h"), ("4h", "4h"), ("1d", "1d"), ("1w", "1w")])
async def test_candles_are_the_worlds_bars(place: tuple[Bench, Any], symbol: str, timeframe: str, interval: str) -> None:
    held, exchange = place
    truth = held.world.bars(listing(held, symbol), interval, None, None, 300)
    assert await exchange.fetch_ohlcv(symbol, timeframe, limit=300) == ohlcv(truth)


@BOTH
async def test_a_page_of_old_candles_begins_where_it_was_asked_for(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    since = START_MS - 2 * 24 * 60 * MINUTE_MS
    rows = await exchange.fetch_ohlcv(symbol, "1m", since=since, limit=100)
    assert rows == ohlcv(held.world.bars(listing(held, symbol), "1m", since * 1_000_000, None, 100))
    assert rows[0][0] == since


@BOTH
async def test_trades_are_the_worlds_fills(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    truth = held.world.trades(listing(held, symbol), None, 200)
    rows = await exchange.fetch_trades(symbol, limit=200)
    seen = [(row["id"], row["timestamp"], row["price"], row["amount"], row["side"]) for row in rows]
    assert seen == [
        (
            str(t.id),
            t.time_ns // 1_000_000,
            number(t.price),
            number(t.size * E8 // unit(held, symbol)),
            "sell" if t.buyer_is_maker else "buy",
        )
        for t in truth
    ]
    assert sum(row["cost"] for row in rows) == pytest.approx(sum(t.price * t.size for t in truth) / E8 / E8)


@BOTH
@pytest.mark.parametrize("limit", [5, 400, 1000])
async def test_an_order_book_is_the_worlds(place: tuple[Bench, Any], symbol: str, limit: int) -> None:
    held, exchange = place
    seen = await exchange.fetch_order_book(symbol, limit)
    assert shown(seen) == book(held.world.book(listing(held, symbol), limit), unit(held, symbol))
    assert seen["timestamp"] == START_MS


@BOTH
async def test_a_ticker_is_the_worlds_day(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    day, one = held.world.day(listing(held, symbol)), unit(held, symbol)
    assert day is not None
    assert day.last is not None
    for seen in (await exchange.fetch_ticker(symbol), (await exchange.fetch_tickers([symbol]))[symbol]):
        assert [seen[key] for key in ("open", "high", "low", "close")] == [number(value) for value in day.bar[1:5]]
        assert [[seen["bid"], seen["bidVolume"]], [seen["ask"], seen["askVolume"]]] == levels([day.bid, day.ask], one)
        assert seen["baseVolume"] == number(day.bar.size * E8 // one)


async def test_prices_and_funding_of_a_perpetual_are_the_worlds(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    one = listing(held, SWAP)
    mark = held.world.mark(one)
    assert mark is not None
    assert (await exchange.fetch_mark_price(SWAP))["markPrice"] == number(mark.mark)
    rate = await exchange.fetch_funding_rate(SWAP)
    assert (rate["fundingRate"], rate["fundingTimestamp"], rate["interval"]) == (
        number(mark.rate_e8),
        mark.next_funding_ns // 1_000_000,
        "8h",
    )
    settled = held.world.funding(one, None, None, 5)
    history = await exchange.fetch_funding_rate_history(SWAP, limit=5)
    assert [(row["timestamp"], row["fundingRate"]) for row in history] == [(r.time_ns // 1_000_000, number(r.rate_e8)) for r in settled]
    for price in ("mark", "index"):
        rows = await exchange.fetch_ohlcv(SWAP, "1h", limit=50, params={"price": price})
        assert [row[:5] for row in rows] == [row[:5] for row in ohlcv(held.world.mark_bars(one, price, "1h", None, None, 50))]  # type: ignore[arg-type]


async def test_refusals_are_the_errors_that_ccxt_knows(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    with pytest.raises(ccxt.BadSymbol):
        await exchange.public_get_market_ticker({"instId": "NOPE-USDT"})
    with pytest.raises(ccxt.BadRequest):
        await exchange.fetch_ohlcv(SPOT, "7m")
    with pytest.raises(ccxt.AuthenticationError):
        await _login(exchange)
    held.dialect.rates["market/trades"] = 1
    await exchange.fetch_trades(SPOT)
    with pytest.raises(ccxt.RateLimitExceeded):
        await exchange.fetch_trades(SPOT)


async def _login(exchange: Any) -> None:
    exchange.apiKey, exchange.secret, exchange.password = "nobody", "nothing", "none"
    await exchange.fetch_balance()


@BOTH
async def test_watched_trades_are_the_worlds_in_order(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    seen: list[Any] = []
    while len(seen) < 40:
        seen += await held.until(exchange.watch_trades(symbol))
    first, last = int(seen[0]["id"]), int(seen[-1]["id"])
    rows = held.world.aggs(listing(held, symbol), None, None, None, 1000)
    truth = [a for a in rows if first <= a.last_id <= last]
    assert [(row["id"], row["price"], row["amount"], row["timestamp"]) for row in seen] == [
        (str(a.last_id), number(a.price), number(a.size * E8 // unit(held, symbol)), a.time_ns // 1_000_000) for a in truth
    ]


@BOTH
@pytest.mark.parametrize(("limit", "channel"), [(None, "books"), (5, "books5"), (1, "bbo-tbt")])
async def test_a_watched_book_is_the_worlds_whenever_both_stand_at_the_same_id(
    place: tuple[Bench, Any], symbol: str, limit: int | None, channel: str
) -> None:
    held, exchange = place
    native = exchange.market(symbol)["id"]
    compared = set()
    await held.until(exchange.watch_order_book(symbol, limit))
    while len(compared) < 25:
        await held.pass_s(0.5)
        truth = held.dialect.book_of(native, channel)
        if truth is None:
            continue
        seq_id, image = truth
        expected = book(image, unit(held, symbol))
        if channel == "books":
            await held.holds(lambda seq_id=seq_id: exchange.orderbooks[symbol]["nonce"] == seq_id)
            assert shown(exchange.orderbooks[symbol]) == expected
        else:
            await held.holds(lambda expected=expected: shown(exchange.orderbooks[symbol]) == expected)
        compared.add(seq_id)


@BOTH
async def test_watched_candles_end_as_the_worlds_bars(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    await held.until(exchange.watch_ohlcv(symbol, "1m"))
    await held.pass_s(150)
    truth = held.world.bars(listing(held, symbol), "1m", START_NS, held.now_ns, 10)
    await held.holds(lambda: len(exchange.ohlcvs[symbol]["1m"]) == 3)
    assert [list(row) for row in exchange.ohlcvs[symbol]["1m"]][:2] == ohlcv(truth)[:2]


@BOTH
async def test_watched_tickers_and_quotes_are_the_worlds(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    ticker = await held.until(exchange.watch_ticker(symbol))
    assert ticker["last"] is not None
    await held.pass_s(5)
    day = held.world.day(listing(held, symbol))
    assert day is not None
    await held.holds(lambda: exchange.tickers[symbol]["last"] == number(day.bar.close))
    quotes = await held.until(exchange.watch_bids_asks([symbol]))
    assert quotes[symbol]["bid"] < quotes[symbol]["ask"]


async def test_watched_mark_prices_and_funding_are_the_worlds(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    mark = held.world.mark(listing(held, SWAP))
    assert mark is not None
    assert (await held.until(exchange.watch_funding_rate(SWAP)))["fundingRate"] == number(mark.rate_e8)
    seen = await held.until(exchange.watch_mark_price(SWAP))
    assert seen["markPrice"] == pytest.approx(number(mark.mark), rel=0.01)


async def test_a_book_is_read_on_over_maintenance_and_after_a_lost_frame(place: tuple[Bench, Any]) -> None:
    held, exchange = place
    await held.until(exchange.watch_order_book(SPOT))
    held.dialect.restart_books()
    await held.pass_s(5)
    await held.holds(lambda: 0 < exchange.orderbooks[SPOT]["nonce"] < 1_000_000)
    held.dialect.faults.drop_frame(lambda frame: b'"action":"update"' in frame)
    await held.pass_s(2)
    gaps = 0
    while gaps == 0 or SPOT not in exchange.orderbooks:  # after a gap, ccxt unsubscribes and subscribes
        try:
            await held.until(exchange.watch_order_book(SPOT))
        except ccxt.InvalidNonce:
            gaps += 1
    await held.pass_s(2)
    seq_id, image = None, None
    while seq_id is None:
        await held.pass_s(0.1)
        seq_id, image = held.dialect.book_of("BTC-USDT") or (None, None)
    await held.holds(lambda: exchange.orderbooks[SPOT]["nonce"] == seq_id)
    assert image is not None
    assert shown(exchange.orderbooks[SPOT]) == book(image)


@BOTH
async def test_our_connector_reads_what_ccxt_reads(place: tuple[Bench, Any], symbol: str) -> None:
    held, exchange = place
    clock, silent, transport = BenchClock(held), Silent(), NetTransport()
    urls = exchange.urls["api"]
    hosts = OkxHosts.local(urls["rest"], urls["ws"].removesuffix("/ws/v5"))
    connector = OkxConnector(transport, clock, LimitBudget(clock, silent), silent, instruments=Instruments(), hosts=hosts)
    contract = unit(held, symbol) / E8 if symbol == SWAP else 1.0
    try:
        await connector.fetch_instruments()
        since = START_MS - 120 * MINUTE_MS
        theirs = await exchange.fetch_ohlcv(symbol, "1m", since=since, limit=120)
        ours = await connector.fetch_kdata(symbol, "1m", since * 1_000_000, START_NS)
        assert [[k.open_ns // 1_000_000, k.open, k.high, k.low, k.close, k.volume] for k in ours] == theirs
        trades = await exchange.fetch_trades(symbol, limit=100)
        read = {trade.trade_id: trade for trade in await connector.fetch_trades(symbol, trades[0]["timestamp"] * 1_000_000)}
        for trade in trades:
            ours_of_it = read[trade["id"]]
            assert (ours_of_it.price, ours_of_it.side) == (trade["price"], trade["side"])
            assert ours_of_it.quantity == pytest.approx(trade["amount"] * contract)
        seen = await exchange.fetch_order_book(symbol, 50)
        image = await connector.get_order_book(symbol, 50)
        assert [list(level) for level in image.bids] == [[price, pytest.approx(size * contract)] for price, size, *_ in seen["bids"]]
        assert [list(level) for level in image.asks] == [[price, pytest.approx(size * contract)] for price, size, *_ in seen["asks"]]
    finally:
        await connector.close()
        await transport.close()
