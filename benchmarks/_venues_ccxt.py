"""ccxt.pro's part of decode_venues.py: runs in ccxt's own environment. Argument: the folder of the frames."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt.pro
from _venues_reader import Turn, serve
from ccxt.async_support.base.ws.order_book_side import OrderBookSide

SYMBOLS = {"binance": "BTC/USDT", "bybit": "BTC/USDT", "okx": "BTC/USDT", "coinbase": "BTC/USD"}
IDS = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT", "coinbase": "BTC-USD"}
URLS = {
    "binance": "wss://stream.binance.com:9443/ws/1",
    "bybit": "wss://stream.bybit.com/v5/public/spot",
    "okx": "wss://ws.okx.com:8443/ws/v5/public",
    "coinbase": "wss://advanced-trade-ws.coinbase.com",
}


class Sink(OrderBookSide):
    """A side of a book that takes levels and keeps the last alone: what is left is decoding."""

    last: list[float]

    def storeArray(self, delta: Any) -> None:  # noqa: N802 -- ccxt's name
        self.last = delta


class Ccxt:
    """A ccxt.pro exchange behind its own WebSocket client, whose handler decodes (orjson is installed)."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Any] = {}

    def exchange(self, venue: str) -> Any:
        """Made once, with the one market that the frames are of."""
        if venue not in self._exchanges:
            made = getattr(ccxt.pro, venue)()
            made.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}  # else Binance's asks the exchange
            base, quote = SYMBOLS[venue].split("/")
            market = {"id": IDS[venue], "symbol": SYMBOLS[venue], "base": base, "quote": quote, "type": "spot", "spot": True}
            market |= {"precision": {"price": 0.01, "amount": 1e-8}}
            made.set_markets([made.safe_market_structure(market)])
            self._exchanges[venue] = made
        return self._exchanges[venue]

    def begin(self, case: str, frames: list[str], snapshot: str) -> Turn:
        venue = case.partition("_")[0]
        exchange = self.exchange(venue)
        client = exchange.client(URLS[venue])
        client.subscriptions[f"books:{SYMBOLS[venue]}"] = True  # else OKX's stops after a frame
        if venue == "binance":  # it subscribes by message and so receives the bare event
            frames = [json.dumps(json.loads(frame)["data"], separators=(",", ":")) for frame in frames]
        handle = client.handle_text_or_binary_message
        if snapshot:
            return applied(frames, handle, self._loaded(venue, snapshot))
        if case.endswith("_book"):
            book = exchange.orderbooks[SYMBOLS[venue]] = exchange.order_book({}, 1000)
            book["bids"], book["asks"] = Sink(), Sink()
            if venue in ("okx", "binance"):
                return unchained(venue, frames, handle, book)

        def turn() -> None:
            for frame in frames:
                handle(frame)

        return turn

    def _loaded(self, venue: str, snapshot: str) -> Any:
        """A book that begins with the snapshot."""
        exchange, symbol = self.exchange(venue), SYMBOLS[venue]
        exchange.orderbooks.pop(symbol, None)
        if venue != "binance":
            exchange.client(URLS[venue]).handle_text_or_binary_message(snapshot)
            return exchange.orderbooks[symbol]
        told = json.loads(snapshot)
        book = exchange.orderbooks[symbol] = exchange.order_book({}, 1000)
        book.reset({**exchange.parse_order_book(told, symbol), "nonce": told["lastUpdateId"]})
        return book

    async def close(self) -> None:
        for exchange in self._exchanges.values():
            await exchange.close()

    def last(self, case: str) -> list[float]:
        venue, _, channel = case.partition("_")
        exchange, symbol = self.exchange(venue), SYMBOLS[venue]
        if channel == "book":
            sides = exchange.orderbooks[symbol]
            return [float(number) for side in ("bids", "asks") for number in sides[side].last[:2]]
        if channel == "book_applied":
            sides = exchange.orderbooks[symbol]
            return [float(number) for side in ("bids", "asks") for number in sides[side][0][:2]]
        if channel in ("trade", "agg"):
            trade = exchange.trades[symbol][-1]
            return [trade["price"], trade["amount"]]
        if channel == "kline":
            bar = exchange.ohlcvs[symbol]["1m"][-1]
            return [float(bar[4]), float(bar[5])]
        if channel == "quote":
            return [exchange.bidsasks[symbol][name] for name in ("bid", "ask")]
        names = {"bybit": ("last", "baseVolume"), "okx": ("bid", "ask"), "coinbase": ("last", "bid")}[venue]
        return [exchange.tickers[symbol][name] for name in names]


def applied(frames: list[str], handle: Callable[[str], Any], book: Any) -> Turn:
    """The best of each side is read after every frame."""
    bids, asks = book["bids"], book["asks"]

    def turn() -> None:
        for frame in frames:
            handle(frame)
            bids[0], asks[0]

    return turn


def unchained(venue: str, frames: list[str], handle: Callable[[str], Any], book: Any) -> Turn:
    """Frames that go round do not follow one another: before each, the book is told the id that it follows."""
    if venue == "okx":
        follows = [json.loads(frame)["data"][0]["prevSeqId"] for frame in frames]
    else:
        follows = [json.loads(frame)["U"] - 1 for frame in frames]

    def turn() -> None:
        for frame, number in zip(frames, follows, strict=True):
            book["nonce"] = number
            handle(frame)

    return turn


async def main() -> None:
    reader = Ccxt()
    await serve(reader, Path(sys.argv[1]))
    await reader.close()


asyncio.run(main())
