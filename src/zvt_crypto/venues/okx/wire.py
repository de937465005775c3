"""OKX's messages, field by field, with the range of every number: what lies outside is refused while it is decoded.

Names are the venue's. Nearly every number is a decimal string (`strict=False`), and what is not set is an empty one. Fields that we do
not read are left out: unknown ones are ignored, missing ones raise.
"""

# ruff: noqa: N815 -- the names are the venue's own
from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

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
MomentOrNone = Moment | Literal[""] | None
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Before a snapshot stands no id: -1.
PreviousId = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
Symbol = Annotated[str, Meta(min_length=1, max_length=64)]


class LevelWire(msgspec.Struct, array_like=True, gc=False):
    """A level; what follows (a zero, the number of orders) is not read."""

    price: Price
    size: Amount


Levels = Annotated[list[LevelWire], Meta(max_length=10_000)]


class TradeWire(msgspec.Struct, gc=False):
    """`trades-all`, and a row of `history-trades`. `side` is the taker's; `instId` is that of the frame, said again."""

    tradeId: Id
    px: Price
    sz: Quantity
    side: str
    ts: Moment
    instId: str = ""


class CandleWire(msgspec.Struct, array_like=True, gc=False):
    """A candle: `vol` is base on spot and contracts elsewhere, `volCcy` quote on spot and base elsewhere, `volCcyQuote` always quote."""

    ts: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    vol: Amount
    volCcy: Amount
    volCcyQuote: AmountOrNone
    confirm: str


class PriceCandleWire(msgspec.Struct, array_like=True, gc=False):
    """A candle of mark or index prices."""

    ts: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    confirm: str


class BooksWire(msgspec.Struct, gc=False):
    """`books`. The ids came in 2023; without them nobody can tell what is missing."""

    asks: Levels
    bids: Levels
    ts: Moment
    seqId: Id | None = None
    prevSeqId: PreviousId | None = None


class QuoteWire(msgspec.Struct, gc=False):
    """`bbo-tbt`: at most one level a side."""

    asks: Levels
    bids: Levels
    ts: Moment
    seqId: Id = 0


class TickerWire(msgspec.Struct, gc=False):
    """`tickers`, and a row of `ticker`."""

    last: PriceOrNone
    bidPx: PriceOrNone
    askPx: PriceOrNone
    open24h: PriceOrNone
    high24h: PriceOrNone
    low24h: PriceOrNone
    vol24h: AmountOrNone
    volCcy24h: AmountOrNone
    ts: Moment


class MarkWire(msgspec.Struct, gc=False):
    """`mark-price`."""

    markPx: Price
    ts: Moment


class IndexWire(msgspec.Struct, gc=False):
    """`index-tickers`."""

    idxPx: Price


class FundingRateWire(msgspec.Struct, gc=False):
    """`funding-rate`: what will be paid at `fundingTime`."""

    fundingRate: RateOrNone
    fundingTime: MomentOrNone


class ArgWire(msgspec.Struct):
    """What a frame is about."""

    channel: str
    instId: str = ""


class LooseWire(msgspec.Struct):
    """Whatever else a frame may be: an answer, a notice, data whose head we did not see before."""

    arg: ArgWire | None = None
    event: str | None = None
    code: str | int | None = None
    msg: str | None = None


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class CodeRest(msgspec.Struct):
    """What every answer begins with: "0" is success. Somebody else's answer may write a number."""

    code: str | int
    msg: str = ""

    @property
    def name(self) -> str:
        """The code as the venue's lists write it."""
        return str(self.code)


class TimeRest(msgspec.Struct):
    """time."""

    ts: Moment


class BookRest(msgspec.Struct):
    """books and books-full."""

    asks: Levels
    bids: Levels
    ts: Moment
    seqId: Id = 0


class FundingRest(msgspec.Struct):
    """A row of funding-rate-history; `realizedRate` is what was paid, `fundingRate` what had been foretold."""

    fundingTime: Moment
    fundingRate: RateOrNone = None
    realizedRate: RateOrNone = None


class InstrumentRest(msgspec.Struct):
    """A row of instruments, of any type. Steps are texts: decimals are read from them exactly."""

    instId: Symbol
    state: str
    tickSz: str
    lotSz: str
    minSz: str
    baseCcy: str = ""
    quoteCcy: str = ""
    settleCcy: str = ""
    uly: str = ""
    ctVal: str = ""
    ctMult: str = ""
    ctValCcy: str = ""
    ctType: str = ""
    listTime: MomentOrNone = None
    expTime: MomentOrNone = None
