"""Our part of decode_venues.py. Argument: the folder of the frames."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _venues_reader import Turn, serve

from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import BookSync, Continuity
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.binance import book as binance_book
from zvt_crypto.venues.binance import parse as binance_parse
from zvt_crypto.venues.bybit import book as bybit_book
from zvt_crypto.venues.bybit import parse as bybit_parse
from zvt_crypto.venues.bybit.manners import BybitManners
from zvt_crypto.venues.coinbase import book as coinbase_book
from zvt_crypto.venues.coinbase import parse as coinbase_parse
from zvt_crypto.venues.coinbase.manners import CoinbaseManners
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.okx import book as okx_book
from zvt_crypto.venues.okx.manners import OkxManners
from zvt_crypto.venues.okx.symbols import parse_instruments
from zvt_crypto.venues.okx.units import traded_of

# What of an event stands beside the peers' numbers.
LAST = {
    "trade": ("price", "quantity"),
    "agg": ("price", "quantity"),
    "kline": ("close", "volume"),
    "quote": ("bid", "ask"),
    "bybit_ticker": ("price", "volume"),
    "okx_ticker": ("bid", "ask"),
    "coinbase_ticker": ("price", "bid"),
}
CONTINUITY: dict[str, Continuity] = {
    "binance": binance_book.SpotContinuity(),
    "bybit": bybit_book.CONTINUITY,
    "okx": okx_book.CONTINUITY,
    "coinbase": coinbase_book.CONTINUITY,
}
BINANCE = "cryptopair_binance_btcusdt"
SNAPSHOT_LEVELS = 1_000  # asked for, of a side
BYBIT_TOPICS = ("publicTrade", "kline.1", "tickers", "orderbook.200")
COINBASE = "cryptopair_coinbase_btcusd"
Parse = Callable[[bytes, int], Any]


class Ours:
    """The connectors' own parsers; where a book is applied, behind the manners of their connection and into a BookSync."""

    def __init__(self, folder: Path) -> None:
        found = parse_instruments((folder / "okx_spot.json").read_bytes(), "spot").instruments
        self._okx = traded_of(Instruments(assign_ids(found, Instruments())))
        self._frames: list[bytes] = []
        self._parse: Parse = bytes.count
        self._sync: BookSync | None = None

    def begin(self, case: str, frames: list[str], snapshot: str) -> Turn:
        venue = case.partition("_")[0]
        self._frames = payloads = [frame.encode() for frame in frames]
        if snapshot:
            return self._applied(venue, payloads, snapshot.encode())
        self._parse = parse = self._parser(venue)

        def turn() -> None:
            for frame in payloads:
                parse(frame, 1)

        return turn

    def _parser(self, venue: str) -> Parse:
        """What reads the frames of a connection: the manners of the venue, or its parser where these only add a chain of numbers."""
        if venue == "binance":
            return binance_parse.FrameParser("spot", {"BTCUSDT": BINANCE}).parse
        if venue == "bybit":
            parser = bybit_parse.FrameParser("spot", {"BTCUSDT": "cryptopair_bybit_btcusdt"})
            return BybitManners("spot", parser, [f"{kind}.BTCUSDT" for kind in BYBIT_TOPICS], {}, {}).parse
        if venue == "okx":
            return OkxManners((), {}, self._okx).parse
        return coinbase_parse.FrameParser({"BTC-USD": Product(COINBASE)}, tickers=frozenset({COINBASE})).read

    def _applied(self, venue: str, frames: list[bytes], snapshot: bytes) -> Turn:
        parse = self._parser(venue)
        if venue == "coinbase":  # its numbers count from the connection's first message on
            parse = CoinbaseManners([Subscription(COINBASE, "depth")], {"BTC-USD": Product(COINBASE)}, {COINBASE: "BTC-USD"}).parse
        if venue == "binance":
            first = binance_parse.parse_depth(snapshot, BINANCE, 0, 1, SNAPSHOT_LEVELS)
            self._sync = sync = BookSync(first.instrument, CONTINUITY[venue])
            sync.on_snapshot(first)
            sync.on_delta(BookDelta(BINANCE, first.last_id, first.last_id, None, [], [], 0))  # it is taken once the stream has reached it
        else:
            (first,) = parse(snapshot, 1)
            self._sync = sync = BookSync(first.instrument, CONTINUITY[venue])
            sync.on_stream_snapshot(first)
        on_delta, best = sync.on_delta, sync.book.best

        def one() -> None:
            for frame in frames:
                on_delta(parse(frame, 1))
                best()

        def several() -> None:
            for frame in frames:
                for delta in parse(frame, 1):
                    on_delta(delta)
                best()

        return one if venue == "binance" else several

    def last(self, case: str) -> list[float]:
        if case.endswith("_applied"):
            assert self._sync is not None
            assert self._sync.book.is_valid, self._sync.book.stale_reason
            return [float(number) for level in self._sync.book.best() if level is not None for number in level]
        events = [event for frame in self._frames for event in self._events(frame)]
        if case.endswith("_book"):
            bids, asks = ([level for event in events for level in getattr(event, side)] for side in ("bids", "asks"))
            return [*map(float, bids[-1]), *map(float, asks[-1])]
        names = LAST.get(case) or LAST[case.partition("_")[2]]
        return [float(getattr(events[-1], name)) for name in names]

    def _events(self, frame: bytes) -> Sequence[Any]:
        found = self._parse(frame, 1)
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], list):  # Coinbase's: a number and events
            return found[1]
        return found if isinstance(found, list | tuple) else (found,)


if __name__ == "__main__":
    asyncio.run(serve(Ours(Path(sys.argv[1])), Path(sys.argv[1])))
