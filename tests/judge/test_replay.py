"""Recordings judged by ccxt: what it reads of them, as it would of the exchange, is what was recorded."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ccxt.pro
from judge_kit import Bench, shown

from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.replay import ReplayWorld

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


@asynccontextmanager
async def played(file: str, exchange: Any, urls: Any) -> AsyncIterator[Bench]:
    """A recording on real sockets, and a client of ccxt's that knows its markets."""
    capture = read_capture(FIXTURES / file)
    held = Bench(DIALECTS[capture.exchange](ReplayWorld(capture, speed=2.0, gather_s=1.0)))
    exchange.urls["api"] = urls(exchange.urls["api"], *await held.server.start())
    try:
        await exchange.load_markets()
        yield held
    finally:
        await exchange.close()
        await held.server.stop()


async def test_trades_of_bybit_are_read_id_by_id() -> None:
    exchange = ccxt.pro.bybit({"newUpdates": True, "options": {"fetchCurrencies": False}})

    def urls(known: Any, rest: str, ws: str) -> Any:
        public = {name: f"{ws}/v5/public/{name}" for name in ("spot", "inverse", "linear", "option")}
        return dict.fromkeys(known, rest) | {"ws": {"public": public, "private": known["ws"]["private"]}}

    lines = gzip.decompress((FIXTURES / "bybit" / "spot_frames.txt.gz").read_bytes()).splitlines()
    frames = [json.loads(text.partition(b" ")[2]) for text in lines]
    known = [row for frame in frames if frame.get("topic") == "publicTrade.BTCUSDT" for row in frame["data"]]
    rows: list[Any] = []
    async with played("bybit/spot_frames.txt.gz", exchange, urls) as held:
        while len(rows) < len(known):
            rows += await held.until(exchange.watch_trades("BTC/USDT"))
        assert held.dialect.world.status()["started"]
    assert [(row["id"], row["price"], row["amount"], row["side"]) for row in rows] == [
        (row["i"], float(row["p"]), float(row["v"]), row["S"].lower()) for row in known
    ]


async def test_books_of_bybit_end_as_recorded() -> None:
    exchange = ccxt.pro.bybit({"options": {"fetchCurrencies": False}})

    def urls(known: Any, rest: str, ws: str) -> Any:
        public = {name: f"{ws}/v5/public/{name}" for name in ("spot", "inverse", "linear", "option")}
        return dict.fromkeys(known, rest) | {"ws": {"public": public, "private": known["ws"]["private"]}}

    async with played("bybit/spot_frames.txt.gz", exchange, urls) as held:
        await held.until(exchange.watch_order_book("BTC/USDT", 200))
        while not held.dialect.world.done:
            await held.pass_s(2)
        seen = await exchange.fetch_order_book("BTC/USDT", 150)
        await held.holds(lambda: [whole[:150] for whole in shown(exchange.orderbooks["BTC/USDT"])] == [seen["bids"], seen["asks"]])
        assert (len(seen["bids"]), seen["bids"][0], seen["asks"][0]) == (150, [65140.4, 0.622237], [65140.5, 0.606831])


async def test_a_match_of_coinbases_feed_is_read() -> None:
    exchange = ccxt.pro.coinbaseexchange({"newUpdates": True})
    async with played(
        "coinbase/feed_frames.txt", exchange, lambda _known, rest, ws: {"public": rest, "private": rest, "ws": f"{ws}/ws-feed"}
    ) as held:
        (trade,) = await held.until(exchange.watch_trades("ETC/GBP"))
    assert (trade["id"], trade["price"], trade["amount"], trade["side"]) == ("216544", 4.978, 0.97133855, "sell")
