"""cryptofeed's part of decode_venues.py: runs in cryptofeed's own environment. Argument: the folder of the frames."""

from __future__ import annotations

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from _venues_reader import Turn, serve
from cryptofeed.defines import ASK, BID, CANDLES, L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import OKX, Binance, Bybit, Coinbase
from cryptofeed.symbols import Symbols
from cryptofeed.types import OrderBook

FEEDS = {"binance": Binance, "bybit": Bybit, "okx": OKX, "coinbase": Coinbase}
PAIRS = {"binance": "BTC-USDT", "bybit": "BTC-USDT", "okx": "BTC-USDT", "coinbase": "BTC-USD"}
NATIVES = {"binance": "BTCUSDT", "bybit": "BTC/USDT", "okx": "BTC-USDT", "coinbase": "BTC-USD"}
CHANNELS = {"trade": TRADES, "agg": TRADES, "kline": CANDLES, "quote": TICKER, "ticker": TICKER, "book": L2_BOOK, "book_applied": L2_BOOK}
FIELDS = {TRADES: ("price", "amount"), CANDLES: ("close", "volume"), TICKER: ("bid", "ask")}


class Connection:
    """Bybit's handler tells spot from contracts by the address."""

    address = "wss://stream.bybit.com/v5/public/spot"
    uuid = "1"


class SinkSide:
    """A side that takes levels and keeps the last alone: what is left is decoding."""

    last: tuple[Any, Any]

    def __contains__(self, price: object) -> bool:
        return True

    def __setitem__(self, price: Any, size: Any) -> None:
        self.last = (price, size)

    def __delitem__(self, price: Any) -> None:
        self.last = (price, 0)


class SinkBook:
    """What stands for an OrderBook then."""

    delta: Any = None

    def __init__(self) -> None:
        self.book = {BID: SinkSide(), ASK: SinkSide()}


class Cryptofeed:
    """A feed's own message handler."""

    def __init__(self) -> None:
        for venue, feed in FEEDS.items():  # else it asks the exchange
            Symbols.set(feed.id, {PAIRS[venue]: NATIVES[venue]}, {"instrument_type": {PAIRS[venue]: "spot"}, "tick_size": {}})
        self._feed: Any = None
        self._kept: list[Any] = []

    def begin(self, case: str, frames: list[str], snapshot: str) -> Turn:
        venue, _, name = case.partition("_")
        kept, channel, connection = self._kept, CHANNELS[name], Connection()

        async def keep(event: Any, _: float) -> None:
            kept[:] = [event]

        self._feed = feed = FEEDS[venue](symbols=[PAIRS[venue]], channels=[channel], callbacks={channel: keep}, candle_closed_only=False)
        handle = feed.message_handler
        if venue == "binance" and channel == L2_BOOK:
            feed._reset()
        if snapshot:
            return applied(frames, handle, connection, self._loaded(venue, json.loads(snapshot)))
        if name == "book":
            feed._l2_book[PAIRS[venue]] = SinkBook()
            if venue == "binance":
                return unchained(frames, handle, feed.last_update_id)

        async def turn() -> None:
            for frame in frames:
                await handle(frame, connection, 0.0)

        return turn

    def _loaded(self, venue: str, told: Any) -> Any:
        """A book made here: Coinbase's own handler of a snapshot looks for `ask`, the venue says `offer`, and all asks would be lost."""
        if venue == "coinbase":
            levels = told["events"][0]["updates"]
            sides = [[(one["price_level"], one["new_quantity"]) for one in levels if one["side"] == side] for side in ("bid", "offer")]
        else:
            row = {"binance": lambda: told, "bybit": lambda: told["data"], "okx": lambda: told["data"][0]}[venue]()
            sides = [row["b"], row["a"]] if venue == "bybit" else [row["bids"], row["asks"]]
        bids, asks = ({Decimal(price): Decimal(size) for price, size, *_ in side} for side in sides)
        book = self._feed._l2_book[PAIRS[venue]] = OrderBook(self._feed.id, PAIRS[venue], max_depth=0, bids=bids, asks=asks)
        book.delta = {}
        if venue == "binance":
            self._feed.last_update_id[PAIRS[venue]] = told["lastUpdateId"]
        return book.book

    def last(self, case: str) -> list[float]:
        venue, _, name = case.partition("_")
        if name == "book":
            sides = self._feed._l2_book[PAIRS[venue]].book
            return [float(number) for side in (BID, ASK) for number in sides[side].last]
        if name == "book_applied":
            book = self._feed._l2_book[PAIRS[venue]].book
            return [float(number) for side in (book.bids, book.asks) for number in side.index(0)]
        return [float(getattr(self._kept[0], field)) for field in FIELDS[CHANNELS[name]]]


def applied(frames: list[str], handle: Any, connection: Connection, book: Any) -> Turn:
    """The best of each side is read after every frame."""
    bids, asks = book.bids, book.asks

    async def turn() -> None:
        for frame in frames:
            await handle(frame, connection, 0.0)
            bids.index(0), asks.index(0)

    return turn


def unchained(frames: list[str], handle: Any, last_ids: dict[str, int]) -> Turn:
    """Frames that go round do not follow one another: before each, the feed is told the id that it follows."""
    follows = [json.loads(frame)["data"]["U"] - 1 for frame in frames]

    async def turn() -> None:
        for frame, number in zip(frames, follows, strict=True):
            last_ids["BTC-USDT"] = number
            await handle(frame, None, 0.0)

    return turn


asyncio.run(serve(Cryptofeed(), Path(sys.argv[1])))
