"""Inverse contracts judged by ccxt: what it makes of two exchanges that count differently is the same as what our connectors make of them.

ccxt keeps sizes of trades and books in contracts, beside their `contractSize`; its candles are in base, as ours are throughout.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ccxt.pro
import pytest
from judge_kit import START_NS, Bench, BenchClock, Silent, bench, ohlcv

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import READY_SYMBOLS
from zvt_crypto.emulator.model import Bar
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.bybit import BybitConnector, BybitHosts
from zvt_crypto.venues.http import NetTransport
from zvt_crypto.venues.okx import OkxConnector, OkxHosts

INVERSE = "BTC/USD:BTC"
AT_VENUE = pytest.mark.parametrize("name", ["bybit", "okx"])
SIZES = {"bybit": 1, "okx": 100}  # dollars of a contract, as each exchange counts


@asynccontextmanager
async def three(name: str) -> AsyncIterator[tuple[Bench, Any, Any]]:
    """The bench, ccxt's exchange and our connector."""
    async with bench(DIALECTS[name], symbols=READY_SYMBOLS) as (held, rest, ws):
        exchange = getattr(ccxt.pro, name)({"newUpdates": True, "options": {"fetchCurrencies": False}})
        if name == "bybit":
            public = {one: f"{ws}/v5/public/{one}" for one in ("spot", "inverse", "linear", "option")}
            private = exchange.urls["api"]["ws"]["private"]
            exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], rest) | {"ws": {"public": public, "private": private}}
        else:
            exchange.urls["api"] = {"rest": rest, "ws": f"{ws}/ws/v5"}
        transport, clock, silent = NetTransport(), BenchClock(held), Silent()
        make: Any = {"bybit": BybitConnector, "okx": OkxConnector}[name]
        hosts: Any = {"bybit": BybitHosts, "okx": OkxHosts}[name]
        ours = make(transport, clock, LimitBudget(clock, silent), silent, instruments=Instruments(), hosts=hosts.local(rest, ws))  # type: ignore[arg-type]
        try:
            await exchange.load_markets()
            await held.until(ours.fetch_instruments())
            yield held, exchange, ours
        finally:
            await exchange.close()
            await transport.close()


@AT_VENUE
async def test_ccxt_knows_the_contract_and_its_size(name: str) -> None:
    async with three(name) as (held, exchange, ours):
        market = exchange.market(INVERSE)
        assert (market["swap"], market["inverse"], market["settle"], market["contractSize"]) == (True, True, "BTC", SIZES[name])
        mine = ours.instruments.get(f"cryptoperp_{name}_btcusd")
        assert (float(mine.contract_size), float(mine.lot)) == (SIZES[name], 1.0)
        assert held.world.listings("coinm")["BTCUSD"].contract_e8 == 100 * 10**8


@AT_VENUE
@pytest.mark.parametrize("timeframe", ["1m", "1h"])
async def test_candles_are_in_base_for_all(name: str, timeframe: str) -> None:
    async with three(name) as (held, exchange, ours):
        theirs = await exchange.fetch_ohlcv(INVERSE, timeframe, limit=50)
        bars: list[Bar] = held.world.bars(held.world.listings("coinm")["BTCUSD"], timeframe, None, None, 50)
        truth = ohlcv([bar._replace(size=bar.turnover // 10**8) for bar in bars])
        assert theirs == truth
        mine = await held.until(ours.fetch_kdata(f"cryptoperp_{name}_btcusd", timeframe, limit=50))
        assert [[k.open_ns // 1_000_000, k.open, k.high, k.low, k.close, k.volume] for k in mine] == truth


@AT_VENUE
async def test_trades_and_books_are_the_same_in_base(name: str) -> None:
    async with three(name) as (held, exchange, ours):
        size, symbol = SIZES[name], f"cryptoperp_{name}_btcusd"
        rows = await exchange.fetch_trades(INVERSE, limit=60)
        mine = await held.until(ours.fetch_trades(symbol, limit=60))
        theirs = {row["id"]: (row["price"], row["amount"] * size / row["price"], row["side"]) for row in rows}
        assert {t.trade_id: (t.price, t.quantity, t.side) for t in mine} == theirs
        assert [row["cost"] for row in rows] == [pytest.approx(row["amount"] * size / row["price"]) for row in rows], "cost is base"
        seen = await exchange.fetch_order_book(INVERSE, 25)
        book = await held.until(ours.get_order_book(symbol, 25))
        for side, levels in (("bids", book.bids), ("asks", book.asks)):
            assert [(price, amount * size / price) for price, amount, *_ in seen[side]] == list(levels)


@AT_VENUE
async def test_streamed_trades_are_the_worlds(name: str) -> None:
    async with three(name) as (held, exchange, _):
        rows: list[Any] = []
        while len(rows) < 20:
            rows += await held.until(exchange.watch_trades(INVERSE))
        dollars = [row["amount"] * SIZES[name] for row in rows]
        truth = held.world.trades(held.world.listings("coinm")["BTCUSD"], None, 1_000)
        told = {(t.time_ns // 1_000_000, t.price / 1e8): 0.0 for t in truth}
        assert all(count % 100 == 0 for count in dollars)
        assert all((row["timestamp"], row["price"]) in told for row in rows)
        assert held.now_ns > START_NS


async def test_binance_and_coinbase_list_no_such_thing() -> None:
    for name in ("binance", "coinbase"):
        dialect = DIALECTS[name]
        async with bench(dialect, symbols=READY_SYMBOLS) as (held, _, _):
            paths = {"binance": ("/fapi/v1/exchangeInfo", ""), "coinbase": ("/api/v3/brokerage/market/products", "product_type=FUTURE")}
            status, _, body = held.dialect.handle_http("GET", *paths[name], {}, held.now_ns)
            assert status == 200
            assert b'"BTCUSD"' not in body
            assert body.count(b"BTC-PERP-INTX") in (0, 1)
