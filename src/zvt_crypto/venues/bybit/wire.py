"""Bybit's messages, field by field, with the range of every number: what lies outside is refused while it is decoded.

Names are the venue's. Prices and sizes come as decimal strings, times as numbers or strings of milliseconds (`strict=False` reads both).
Fields that we do not read are left out: unknown ones are ignored, missing ones raise. A number that does not exist is an empty text.
"""

# ruff: noqa: N815 -- the names are the venue's own
from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

# NaN fails every comparison, so bounds on both sides refuse it, and the infinities too.
Price = Annotated[float, Meta(gt=0, lt=1e15)]
PriceOrNone = Annotated[float, Meta(ge=0, lt=1e15)] | Literal[""] | None
Quantity = Annotated[float, Meta(gt=0, lt=1e18)]
Amount = Annotated[float, Meta(ge=0, lt=1e18)]
AmountOrNone = Amount | Literal[""] | None
Rate = Annotated[float, Meta(gt=-10, lt=10)]
RateOrNone = Rate | Literal[""] | None
# Milliseconds, up to 2200, and not zero.
Moment = Annotated[int, Meta(ge=86_400_000, lt=7_258_118_400_000)]
MomentOrNone = Annotated[int, Meta(ge=0, lt=7_258_118_400_000)] | Literal[""] | None
Nanoseconds = Annotated[int, Meta(ge=86_400_000_000_000, lt=7_258_118_400_000_000_000)]
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Symbol = Annotated[str, Meta(min_length=1, max_length=64)]
TradeId = Annotated[str, Meta(min_length=1, max_length=64)]
LevelWire = tuple[Price, Amount]
# The deepest stream has 1000 levels a side.
LEVELS_MOST = 10_000
Levels = Annotated[list[LevelWire], Meta(max_length=LEVELS_MOST)]
TRADES_MOST = 5_000


class LongLevelWire(msgspec.Struct, array_like=True, gc=False):
    """A level of a row that may be longer: slower to read than a pair, and never refused for a new element at its end."""

    price: Price
    size: Amount


LongLevels = Annotated[list[LongLevelWire], Meta(max_length=LEVELS_MOST)]

# ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class TradeWire(msgspec.Struct, gc=False):
    """A row of `publicTrade`. `S` is the taker's side; `BT` marks a block trade, which was agreed upon outside of the book."""

    i: TradeId
    T: Moment
    p: Price
    v: Quantity
    S: str
    s: Symbol
    BT: bool = False


class TradesFrame(msgspec.Struct, gc=False):
    """`publicTrade`: up to 1024 rows, oldest first."""

    data: Annotated[list[TradeWire], Meta(max_length=TRADES_MOST)]


class BookWire(msgspec.Struct, gc=False):
    """`data` of `orderbook`."""

    s: Symbol
    b: Levels
    a: Levels
    u: Id


class BookFrame(msgspec.Struct, gc=False):
    """`orderbook`. `cts` is the matching engine's time, `ts` that of the machine that sends."""

    type: str
    ts: Moment
    data: BookWire
    cts: Moment | None = None


class CandleWire(msgspec.Struct, gc=False):
    """A row of `kline`."""

    start: Moment
    interval: str
    open: Price
    close: Price
    high: Price
    low: Price
    volume: Amount
    turnover: Amount
    confirm: bool


class KlineFrame(msgspec.Struct, gc=False):
    """`kline`."""

    ts: Moment
    data: Annotated[list[CandleWire], Meta(max_length=100)]


class TickerWire(msgspec.Struct, gc=False):
    """`data` of `tickers`. Of contracts, a message without a field says that it has not changed."""

    symbol: Symbol
    lastPrice: PriceOrNone = None
    prevPrice24h: PriceOrNone = None
    highPrice24h: PriceOrNone = None
    lowPrice24h: PriceOrNone = None
    volume24h: AmountOrNone = None
    turnover24h: AmountOrNone = None
    bid1Price: PriceOrNone = None
    ask1Price: PriceOrNone = None
    markPrice: PriceOrNone = None
    indexPrice: PriceOrNone = None
    fundingRate: RateOrNone = None
    nextFundingTime: MomentOrNone = None


class TickerFrame(msgspec.Struct, gc=False):
    """`tickers`."""

    type: str
    ts: Moment
    data: TickerWire


class LooseWire(msgspec.Struct):
    """Whatever else a frame may be. Public sockets answer with success and ret_msg, others with retCode and retMsg."""

    topic: str | None = None
    op: str | None = None
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | None = None
    retCode: int | None = None
    retMsg: str | None = None
    reqId: str | None = None


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Verdict(msgspec.Struct):
    """What decides whether an answer is one, whatever the HTTP status says."""

    retCode: int
    retMsg: str = ""
    time: int | None = None


class Answer(msgspec.Struct, Generic[T]):
    """The envelope of every answer; `time` is the venue's clock."""

    result: T
    time: Moment


class Rows(msgspec.Struct, Generic[T]):
    """A list, and what asks for the next part of it."""

    rows: list[T] = msgspec.field(name="list")
    nextPageCursor: str | None = None


class TimeRest(msgspec.Struct):
    """time."""

    timeNano: Nanoseconds


class KlineRest(msgspec.Struct, array_like=True, gc=False):
    """One row of kline."""

    start: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Amount
    turnover: Amount


class PriceKlineRest(msgspec.Struct, array_like=True, gc=False):
    """One row of mark-price-kline or index-price-kline: prices only."""

    start: Moment
    open: Price
    high: Price
    low: Price
    close: Price


class TradeRest(msgspec.Struct, gc=False):
    """One row of recent-trade. `side` is the taker's."""

    execId: TradeId
    price: Price
    size: Quantity
    side: str
    time: Moment
    isBlockTrade: bool = False


class BookRest(msgspec.Struct):
    """orderbook."""

    s: Symbol
    b: LongLevels
    a: LongLevels
    ts: Moment
    u: Id
    cts: Moment | None = None


class FundingRest(msgspec.Struct, gc=False):
    """One row of funding/history."""

    symbol: Symbol
    fundingRate: Rate
    fundingRateTimestamp: Moment


class PriceFilter(msgspec.Struct):
    """Of an instrument."""

    tickSize: str


class LotFilter(msgspec.Struct):
    """Of an instrument. Contracts have qtyStep, minOrderQty and minNotionalValue; spot has basePrecision (its step) and minOrderAmt.

    Spot's minOrderQty still stands in the answer, but is checked no more.
    """

    qtyStep: str | None = None
    minOrderQty: str | None = None
    minNotionalValue: str | None = None
    basePrecision: str | None = None
    minOrderAmt: str | None = None


class InstrumentRest(msgspec.Struct):
    """One row of instruments-info, of any category."""

    symbol: Symbol
    baseCoin: Symbol
    quoteCoin: Symbol
    status: str
    priceFilter: PriceFilter
    lotSizeFilter: LotFilter
    contractType: str | None = None
    settleCoin: str | None = None
    launchTime: MomentOrNone = None
    deliveryTime: MomentOrNone = None
