"""What travels on the feed, and the order of things that happen at the same moment."""

from __future__ import annotations

from typing import Literal

import msgspec

from zvt_crypto.domain.market import (
    BestQuote,
    BookDelta,
    BookSample,
    BookSnapshot,
    BookStale,
    Funding,
    Gap,
    Kline,
    MarkPrice,
    Ticker,
    Trade,
    TradeStream,
)

FEED_VERSION = 1


class StreamStatus(msgspec.Struct, frozen=True, gc=False, tag="status", tag_field="kind"):
    """A connection changed its state. `stream` names it, for example `binance spot 1`."""

    exchange: str
    stream: str
    state: Literal["connecting", "live", "lost", "geo_blocked", "stopped"]
    reason: str
    event_ns: int
    recv_ns: int = 0


class TradesDoubted(msgspec.Struct, frozen=True, gc=False, tag="trades_doubted", tag_field="kind"):
    """From here on trades of a connection may be missing without their ids showing it: a frame could not be read. It ends with who
    follows the connection, and never stands on the feed."""

    instrument: str
    stream: TradeStream
    reason: str
    event_ns: int
    recv_ns: int = 0


class FeedPosition(msgspec.Struct, frozen=True, gc=False, tag="position", tag_field="kind"):
    """All that a shard of the shared feed said up to here came before this: who stores events stores it together with them.

    `mark`: what the feed's reader needs in order to go on from here; nobody else reads it.
    """

    shard: int
    mark: bytes


BookEvent = BookSnapshot | BookDelta | BookStale
FeedEvent = Trade | Kline | BookSnapshot | BookDelta | BookStale | Ticker | BestQuote | Funding | MarkPrice
MarketEvent = FeedEvent | TradesDoubted  # what a connection says
Event = FeedEvent | BookSample | Gap | StreamStatus | FeedPosition

# At equal times facts come before what is concluded from them: books and trades before the bar that they close.
RANK: dict[type, int] = {
    StreamStatus: 0,
    Gap: 1,
    BookStale: 2,
    BookSnapshot: 3,
    BookDelta: 4,
    BookSample: 5,
    BestQuote: 6,
    Trade: 7,
    MarkPrice: 8,
    Funding: 9,
    Ticker: 10,
    Kline: 11,
    FeedPosition: 12,
}
