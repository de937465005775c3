"""Binance's messages, field by field, with the range of every number: what lies outside is refused while it is decoded.

Single letters are the venue's names. Numbers come as decimal strings (floats here, `strict=False`). Fields that we do not read are left
out: unknown ones are ignored, missing ones raise. `st` (USD-M) is 1 for USD-M and 2 for COIN-M rows. A frame's tag is its event type `e`,
and a parser narrows `s` to the symbols that it knows: what decodes is ours, and only what does not is looked at twice.
"""

# ruff: noqa: N815, E741 -- the names are the venue's own
from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from zvt_crypto.domain.time import Interval

# NaN fails every comparison, so bounds on both sides refuse it, and the infinities too. The widest price seen is some 1e9 (IDR pairs),
# the widest quantity some 1e15 (SHIB and PEPE turnovers).
Price = Annotated[float, Meta(gt=0, lt=1e15)]
PriceOrZero = Annotated[float, Meta(ge=0, lt=1e15)]
Quantity = Annotated[float, Meta(gt=0, lt=1e18)]
Amount = Annotated[float, Meta(ge=0, lt=1e18)]
Rate = Annotated[float, Meta(gt=-10, lt=10)]
# Milliseconds up to 2200, or microseconds (from 1973 to 2200) where they were asked for, told apart by size; not zero (the documentation
# shows 1970). A decoder knows one range a field: what lies between the two the parser refuses.
MILLISECONDS_UNTIL = 7_258_118_400_000
MICROSECONDS_FROM = 100_000_000_000_000
Moment = Annotated[int, Meta(ge=86_400_000, lt=7_258_118_400_000_000)]
MomentOrZero = Annotated[int, Meta(ge=0, lt=7_258_118_400_000_000)]
# For what comes most and is cheapest with one unit. A kline of any interval opens on a full minute.
Millis = Annotated[int, Meta(ge=86_400_000, lt=MILLISECONDS_UNTIL)]
Micros = Annotated[int, Meta(ge=MICROSECONDS_FROM, lt=7_258_118_400_000_000)]
MinuteMillis = Annotated[int, Meta(ge=86_400_000, lt=MILLISECONDS_UNTIL, multiple_of=60_000)]
MinuteMicros = Annotated[int, Meta(ge=MICROSECONDS_FROM, lt=7_258_118_400_000_000, multiple_of=60_000_000)]
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Symbol = Annotated[str, Meta(min_length=1, max_length=64)]
LevelWire = tuple[Price, Amount]
# A diff of a very busy second holds some thousands of levels; a snapshot 5000 a side.
LEVELS_MOST = 20_000
Levels = Annotated[list[LevelWire], Meta(max_length=LEVELS_MOST)]


class LongLevelWire(msgspec.Struct, array_like=True, gc=False):
    """A level of a row that may be longer: slower to read than a pair, and never refused for a new element at its end."""

    price: Price
    size: Amount


LongLevels = Annotated[list[LongLevelWire], Meta(max_length=LEVELS_MOST)]


class TradeWire(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    """`trade`."""

    s: Symbol
    t: Id
    p: Price
    q: Quantity
    T: Moment
    m: bool


class UsdmTradeWire(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    """`trade` of USD-M. `X` tells what kind: insurance fund, ADL and `NA` (all zeros) are no trades of the market."""

    s: Symbol
    t: Id
    p: PriceOrZero
    q: Amount
    T: Moment
    m: bool
    X: str = "MARKET"
    st: Literal[1] = 1


class AggTradeWire(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    """`aggTrade`."""

    s: Symbol
    a: Id
    p: Price
    q: Quantity
    T: Moment
    m: bool
    st: Literal[1] = 1


class CandleWire(msgspec.Struct, gc=False):
    """`k` of a kline, all of it and in the order of the wire: a key found at its place costs less than one that is nowhere."""

    t: MinuteMillis
    T: Any
    s: Any
    i: Interval
    f: Any
    L: Any
    o: float  # open and close lie between low and high, which the parser checks
    c: float
    h: Price
    l: Price
    v: Amount
    n: Count
    x: bool
    q: Amount
    V: Any = None
    Q: Any = None
    B: Any = None


class KlineWire(msgspec.Struct, gc=False, tag_field="e", tag="kline"):
    """`kline`, in milliseconds."""

    E: Millis
    s: Symbol
    k: CandleWire
    st: Literal[1] = 1


class MicroCandleWire(CandleWire, gc=False):
    """`k` of a kline in microseconds."""

    t: MinuteMicros


class MicroKlineWire(KlineWire, gc=False):
    """`kline` of a stream that was asked for in microseconds."""

    E: Micros
    k: MicroCandleWire


class DepthWire(msgspec.Struct, gc=False, tag_field="e", tag="depthUpdate"):
    """`depthUpdate`. `pu` on USD-M only."""

    E: Moment
    s: Symbol
    U: Id
    u: Id
    b: Levels
    a: Levels
    pu: Id | None = None
    T: Moment | None = None
    st: Literal[1] = 1


class QuoteWire(msgspec.Struct, gc=False, tag_field="e", tag="bookTicker"):
    """bookTicker: no event type and no time on spot. A side without orders is all zeros."""

    u: Id
    s: Symbol
    b: PriceOrZero
    B: Amount
    a: PriceOrZero
    A: Amount
    T: MomentOrZero = 0
    st: Literal[1] = 1


class TickerWire(msgspec.Struct, gc=False, tag_field="e", tag="24hrTicker"):
    """`24hrTicker`. Prices are zero where nothing traded for a day; quotes are missing on USD-M."""

    E: Moment
    s: Symbol
    c: PriceOrZero
    o: PriceOrZero
    h: PriceOrZero
    l: PriceOrZero
    v: Amount
    q: Amount
    b: PriceOrZero | None = None
    a: PriceOrZero | None = None
    st: Literal[1] = 1


class MarkWire(msgspec.Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    """`markPriceUpdate`. Dated contracts have no rate (an empty text) and no next funding (0)."""

    E: Moment
    s: Symbol
    p: Price
    i: PriceOrZero | None = None
    r: Rate | Literal[""] | None = None
    T: MomentOrZero = 0
    st: Literal[1] = 1


class OddCandleWire(msgspec.Struct):
    """`k` of a kline whose interval may be none of ours, in either unit."""

    i: str
    t: int


class OddWire(msgspec.Struct):
    """What tells whether a frame of a known type is ours."""

    s: Symbol
    st: int = 1
    k: OddCandleWire | None = None


class ReplyError(msgspec.Struct):
    """What was wrong with a control message."""

    code: int
    msg: str = ""


class LooseWire(msgspec.Struct):
    """Whatever else a frame may be: an envelope, an answer, a notice."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    e: str | None = None
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ReplyError | None = None
    code: int | None = None
    msg: str | None = None


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ServerTimeRest(msgspec.Struct):
    """time."""

    serverTime: Moment


class KlineRest(msgspec.Struct, array_like=True, gc=False):
    """One row of klines; what follows the trades is not read."""

    open_time: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Amount
    close_time: Moment
    turnover: Amount
    trades: Count


class MarkKlineRest(msgspec.Struct, array_like=True, gc=False):
    """One row of markPriceKlines or indexPriceKlines: prices only."""

    open_time: Moment
    open: Price
    high: Price
    low: Price
    close: Price


class TradeRest(msgspec.Struct, gc=False):
    """One row of trades or historicalTrades."""

    id: Id
    price: Price
    qty: Quantity
    time: Moment
    isBuyerMaker: bool


class AggTradeRest(msgspec.Struct, gc=False):
    """One row of aggTrades."""

    a: Id
    p: Price
    q: Quantity
    f: int
    l: int
    T: Moment
    m: bool


class DepthRest(msgspec.Struct):
    """depth. The time exists on USD-M only."""

    lastUpdateId: Id
    bids: LongLevels
    asks: LongLevels
    T: Moment | None = None


class TickerRest(msgspec.Struct):
    """ticker/24hr. Quotes exist on spot only."""

    symbol: Symbol
    lastPrice: PriceOrZero
    openPrice: PriceOrZero
    highPrice: PriceOrZero
    lowPrice: PriceOrZero
    volume: Amount
    quoteVolume: Amount
    closeTime: Moment
    bidPrice: PriceOrZero | None = None
    askPrice: PriceOrZero | None = None


class PremiumRest(msgspec.Struct):
    """premiumIndex."""

    symbol: Symbol
    markPrice: Price
    time: Moment
    indexPrice: PriceOrZero | None = None
    lastFundingRate: Rate | Literal[""] | None = None
    nextFundingTime: MomentOrZero = 0


class FundingRest(msgspec.Struct):
    """One row of fundingRate. The mark price is an empty text before 2023."""

    symbol: Symbol
    fundingRate: Rate
    fundingTime: Moment
    markPrice: PriceOrZero | Literal[""] | None = None


class FilterRest(msgspec.Struct):
    """A filter of a symbol; each kind fills some of these."""

    filterType: str
    tickSize: str | None = None
    stepSize: str | None = None
    minQty: str | None = None
    minNotional: str | None = None
    notional: str | None = None


class RateLimitRest(msgspec.Struct):
    """A limit that the venue states."""

    rateLimitType: str
    interval: str
    intervalNum: Annotated[int, Meta(ge=1, le=10_000)]
    limit: Annotated[int, Meta(ge=1, le=10**9)]


class SymbolRest(msgspec.Struct):
    """A symbol of exchangeInfo, of either market."""

    symbol: Symbol
    baseAsset: Symbol
    quoteAsset: Symbol
    status: str | None = None
    contractStatus: str | None = None  # what COIN-M calls it, and what some USD-M answers carry as well
    filters: list[FilterRest] = []
    contractType: str | None = None
    marginAsset: str | None = None
    pair: str | None = None
    onboardDate: MomentOrZero | None = None
    deliveryDate: int | None = None


class ExchangeInfoRest(msgspec.Struct):
    """exchangeInfo. Symbols are decoded one by one, so that one that we cannot read costs only itself."""

    symbols: list[msgspec.Raw]
    rateLimits: list[RateLimitRest] = []


class ErrorRest(msgspec.Struct):
    """The body of a refusal."""

    code: int
    msg: str = ""
