"""The names of OKX's fields, by kind of message: those that we read and those that we do not. REST and channels share their rows."""

from __future__ import annotations

import msgspec

from zvt_crypto.venues.fields import Kind, Shape, shape
from zvt_crypto.venues.rest import Call

_TRADE = "instId tradeId px sz side ts count source seqId"
_TICKER = "instType instId last lastSz askPx askSz bidPx bidSz open24h high24h low24h volCcy24h vol24h sodUtc0 sodUtc8 ts"
_MARK = "instType instId markPx ts"
_INDEX = "instId idxPx high24h low24h open24h sodUtc0 sodUtc8 ts"
_FUNDING = """
    instType instId fundingRate nextFundingRate fundingTime nextFundingTime prevFundingTime minFundingRate maxFundingRate interestRate
    impactValue premium settState settFundingRate method formulaType ts
"""
_BOOK = "instId asks[4] bids[4] ts checksum prevSeqId seqId"
_LISTED = """
    instType instId instIdCode instFamily uly category groupId baseCcy quoteCcy settleCcy ctVal ctMult ctValCcy ctType optType stk
    listTime auctionEndTime contTdSwTime preMktSwTime expTime lever tickSz lotSz minSz alias state ruleType futureSettlement openType
    instCategory maxLmtSz maxMktSz maxLmtAmt maxMktAmt maxTwapSz maxIcebergSz maxTriggerSz maxStopSz posLmtAmt posLmtPct maxPlatOILmt
    maxPlatOILmtCoin maxPlatOICoinLmt tradeQuoteCcyList upcChg{param newValue effTime}
"""
_FRAMES = {
    "trades-all": f"data{{{_TRADE}}}",
    "trades": f"data{{{_TRADE}}}",
    "books": f"action data{{{_BOOK}}}",
    "bbo-tbt": f"action data{{{_BOOK}}}",
    "tickers": f"data{{{_TICKER}}}",
    "mark-price": f"data{{{_MARK}}}",
    "index-tickers": f"data{{{_INDEX}}}",
    "funding-rate": f"data{{{_FUNDING}}}",
    "candle": "data[9]",
}
# The path → the names of the answer's rows.
_REST = {
    "public/time": "data{ts}",
    "public/instruments": f"data{{{_LISTED}}}",
    "market/candles": "data[9]",
    "market/history-candles": "data[9]",
    "market/mark-price-candles": "data[6]",
    "market/history-mark-price-candles": "data[6]",
    "market/index-candles": "data[6]",
    "market/history-index-candles": "data[6]",
    "market/history-trades": f"data{{{_TRADE}}}",
    "market/books": f"data{{{_BOOK}}}",
    "market/books-full": f"data{{{_BOOK}}}",
    "market/ticker": f"data{{{_TICKER}}}",
    "market/index-tickers": f"data{{{_INDEX}}}",
    "public/mark-price": f"data{{{_MARK}}}",
    "public/funding-rate": f"data{{{_FUNDING}}}",
    "public/funding-rate-history": "data{instType instId fundingRate realizedRate fundingTime method formulaType}",
}
_ARG = "arg{channel instId instType instFamily uly}"
FRAMES: dict[str, Shape] = {kind: shape(f"{_ARG} id connId {names}") for kind, names in _FRAMES.items()}
ANSWER = shape(f"event code msg id connId connCount channel {_ARG}")
REST: dict[str, Shape] = {name: shape(f"code msg inTime outTime {names}") for name, names in _REST.items()}


class _Arg(msgspec.Struct):
    channel: str = ""


class _Head(msgspec.Struct):
    """What tells the kind of a frame."""

    event: str | None = None
    arg: _Arg | None = None


_HEAD = msgspec.json.Decoder(_Head)


def frame_kind(payload: bytes) -> Kind | None:
    """The kind of a frame; none for a pong, and for one whose channel is not known: the parser tells of that."""
    if payload == b"pong":
        return None
    head = _HEAD.decode(payload)
    if head.event is not None or head.arg is None:
        return "answer", ANSWER
    name = "candle" if head.arg.channel.startswith("candle") else head.arg.channel
    known = FRAMES.get(name)
    return None if known is None else (name, known)


def answer_kind(call: Call) -> Kind | None:
    """The kind of what a call is answered with."""
    path = call.target.partition("?")[0].removeprefix("/api/v5/")
    known = REST.get(path)
    return None if known is None else (f"rest {path}", known)
