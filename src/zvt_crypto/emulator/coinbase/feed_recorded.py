"""Messages of Exchange's feed in a recording, read, and told again as Advanced Trade's: both speak of the same books and trades."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from zvt_crypto.domain.errors import BadTime
from zvt_crypto.domain.time import NS_PER_DAY, parse_time
from zvt_crypto.emulator.coinbase import wire
from zvt_crypto.emulator.coinbase.names import Product
from zvt_crypto.emulator.model import Bar, BookImage, Day, Trade, read_e8
from zvt_crypto.emulator.tape import checked_id

Levels = list[tuple[int, int]]


class FeedBook(NamedTuple):
    """A whole book, or what changed in it: levels of (price, size), size 0 where one went. `at_ns` is 0 where no time was told."""

    is_whole: bool
    bids: Levels
    asks: Levels
    at_ns: int


class _Message(msgspec.Struct):
    type: str
    time: str = ""
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    changes: list[tuple[str, str, str]] = []


class _Match(msgspec.Struct):
    trade_id: int
    side: str
    size: str
    price: str
    time: str


class _Ticker(msgspec.Struct):
    price: str
    open_24h: str = "0"
    volume_24h: str = "0"
    low_24h: str = "0"
    high_24h: str = "0"
    best_bid: str = "0"
    best_bid_size: str = "0"
    best_ask: str = "0"
    best_ask_size: str = "0"
    time: str = ""


_MESSAGES, _MATCHES, _TICKERS = msgspec.json.Decoder(_Message), msgspec.json.Decoder(_Match), msgspec.json.Decoder(_Ticker)


def read_book(raw: bytes) -> FeedBook:
    """`snapshot` or `l2update`."""
    message = _MESSAGES.decode(raw)
    if message.type == "snapshot":
        return FeedBook(True, _levels(message.bids), _levels(message.asks), moment_ns(message.time))
    sides = [[(price, size) for side, price, size in message.changes if side == wanted] for wanted in ("buy", "sell")]
    return FeedBook(False, _levels(sides[0]), _levels(sides[1]), moment_ns(message.time))


def read_match(raw: bytes) -> Trade:
    """`match` or `last_match`; the side is the maker's."""
    row = _MATCHES.decode(raw)
    return Trade(checked_id(row.trade_id), read_e8(row.price), read_e8(row.size), moment_ns(row.time), row.side == "buy")


def read_ticker(raw: bytes) -> Day:
    """`ticker`: the rolling day with its best quotes; old ones tell no sizes of them."""
    row = _TICKERS.decode(raw)
    at_ns = moment_ns(row.time)
    opened, high, low, last, size = (read_e8(text) for text in (row.open_24h, row.high_24h, row.low_24h, row.price, row.volume_24h))
    bar = Bar(at_ns - NS_PER_DAY, opened, high, low, last, size, 0, 0, 0, 0, -1, -1)
    bid, ask = (read_e8(row.best_bid), read_e8(row.best_bid_size)), (read_e8(row.best_ask), read_e8(row.best_ask_size))
    return Day(bar, None, opened, bid, ask, bar.open_ns, at_ns)


def moment_ns(text: str) -> int:
    """A time, 0 where there is none: some changes of books are of the year 1."""
    try:
        return max(0, parse_time(text)) if text else 0
    except BadTime:
        return 0


def _levels(rows: list[tuple[str, str]]) -> Levels:
    return [(read_e8(price), max(0, read_e8(size))) for price, size in rows]  # `0.-10000` was seen


# ── The same as events of Advanced's channels ─────────────────────────────────────────────────────────────────────────


def _book_event(raw: bytes, product: Product, server_ns: int) -> str:
    book = read_book(raw)
    return wire.book_event("snapshot" if book.is_whole else "update", product, book.bids, book.asks, book.at_ns or server_ns)


def _trades_event(raw: bytes, product: Product, server_ns: int) -> str:
    return wire.trades_event("snapshot" if b'"last_match"' in raw else "update", product, [read_match(raw)])


def _ticker_event(raw: bytes, product: Product, server_ns: int) -> str:
    day = read_ticker(raw)
    return wire.ticker_event("update", "ticker", product, day, BookImage(0, server_ns, [day.bid], [day.ask]))


# channel of Advanced → (raw, product, the exchange's time) → the event
RETOLD: dict[str, Callable[[bytes, Product, int], str]] = {
    "level2": _book_event,
    "market_trades": _trades_event,
    "ticker": _ticker_event,
}
