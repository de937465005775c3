"""Market data: klines, trades, books, tickers, funding. Frozen, float64, one struct an event.

Every event names its instrument by entity id and carries up to two times: `event_ns` (the venue's own) and `recv_ns` (ours,
at the socket; 0 where the event was not received from a wire). Prices are quote per base, quantities are base (contracts
where the instrument has a contract size), turnover is quote.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from zvt_crypto.domain.time import Interval

Side = Literal["buy", "sell"]
# `trade` and `agg` are two id spaces of one market (Binance has both); only one of them may feed bars and volume.
TradeStream = Literal["trade", "agg"]
# What the ids of a market's trades tell of missing ones: they rise by one · they rise · nothing (UUIDs).
TradeContinuity = Literal["dense", "increasing", "opaque"]
# Who made a kline: the venue itself, we from its trades, we from shorter klines, or an imported file.
KlineSource = Literal["venue", "trades", "derived", "import"]
Level = tuple[float, float]


class Trade(msgspec.Struct, frozen=True, gc=False, tag="trade", tag_field="kind"):
    """One trade of the market. `side` is the taker's. `trade_id` is the venue's own, as text: UUIDs occur."""

    instrument: str
    stream: TradeStream
    trade_id: str
    price: float
    quantity: float
    side: Side
    event_ns: int
    recv_ns: int = 0


class Kline(msgspec.Struct, frozen=True, gc=False, tag="kline", tag_field="kind"):
    """Open, high, low, close of [open_ns, close). `final` only on evidence: the venue's flag, or an unbroken run of trades
    that reaches past the close. `turnover` and `trades` are None where the source does not tell them."""

    instrument: str
    interval: Interval
    open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float | None
    trades: int | None
    final: bool
    source: KlineSource
    event_ns: int = 0
    recv_ns: int = 0


KData = Kline  # the name that ZVT users know


class BookSnapshot(msgspec.Struct, frozen=True, gc=False, tag="book_snapshot", tag_field="kind"):
    """A whole book, or its top: bids from the highest, asks from the lowest price. Replaces what was known.

    bids_to, asks_to: the outermost price of a side that the venue cut: beyond it there may be levels that neither this nor the deltas
    after it tell. None where the side ends by itself, or the venue's deltas keep the window full.
    """

    instrument: str
    last_id: int
    bids: list[Level]
    asks: list[Level]
    event_ns: int
    recv_ns: int = 0
    bids_to: float | None = None
    asks_to: float | None = None


class BookDelta(msgspec.Struct, frozen=True, gc=False, tag="book_delta", tag_field="kind"):
    """Absolute new sizes of some levels; size 0 removes. Ids as the venue gives them; `prev_id` where it chains by one."""

    instrument: str
    first_id: int
    last_id: int
    prev_id: int | None
    bids: list[Level]
    asks: list[Level]
    event_ns: int
    recv_ns: int = 0


class BookStale(msgspec.Struct, frozen=True, gc=False, tag="book_stale", tag_field="kind"):
    """From now on the book is not valid, until the next snapshot. Nobody may be served from it as if it were."""

    instrument: str
    reason: str
    event_ns: int
    recv_ns: int = 0


class BookSample(msgspec.Struct, frozen=True, gc=False, tag="book_sample", tag_field="kind"):
    """The top of a valid book at one moment, for those who keep the past: it changes no live book, and does not continue one."""

    instrument: str
    last_id: int
    bids: list[Level]
    asks: list[Level]
    event_ns: int
    recv_ns: int = 0


class Ticker(msgspec.Struct, frozen=True, gc=False, tag="ticker", tag_field="kind"):
    """Last price and the rolling 24 hours; best quotes where the venue sends them along."""

    instrument: str
    price: float
    volume: float | None
    turnover: float | None
    open: float | None
    high: float | None
    low: float | None
    bid: float | None
    ask: float | None
    event_ns: int
    recv_ns: int = 0


class BestQuote(msgspec.Struct, frozen=True, gc=False, tag="quote", tag_field="kind"):
    """Best bid and ask, at a book update id. `event_ns` is 0 where the venue gives no time."""

    instrument: str
    update_id: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float
    event_ns: int
    recv_ns: int = 0


class Funding(msgspec.Struct, frozen=True, gc=False, tag="funding", tag_field="kind"):
    """A settled funding payment: `rate` is a fraction of notional at `event_ns` (the funding time)."""

    instrument: str
    event_ns: int
    rate: float
    mark_price: float | None = None
    recv_ns: int = 0


class MarkPrice(msgspec.Struct, frozen=True, gc=False, tag="mark", tag_field="kind"):
    """Mark and index price at a moment, with the funding rate that is expected next."""

    instrument: str
    event_ns: int
    mark_price: float
    index_price: float | None
    funding_rate: float | None
    next_funding_ns: int | None
    recv_ns: int = 0


class Gap(msgspec.Struct, frozen=True, gc=False, tag="gap", tag_field="kind"):
    """A hole in a channel: [start_ns, end_ns), and the ids missing where there are ids (both ends inclusive).

    `filled_from` is None while the hole stands; otherwise where the missing part came from (`rest`, `trades`, ...). `interval`: of
    klines; None for other channels, and where the klines of all intervals are missing.
    """

    instrument: str
    channel: Literal["trade", "agg", "kline", "book", "mark", "funding"]
    start_ns: int
    end_ns: int
    first_id: int | None
    last_id: int | None
    reason: str
    filled_from: str | None
    event_ns: int = 0
    recv_ns: int = 0
    interval: Interval | None = None
