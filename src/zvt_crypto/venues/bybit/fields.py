"""The names of Bybit's fields, by kind of message: those that we read and those that we do not. All categories share their kinds."""

from __future__ import annotations

import msgspec

from zvt_crypto.venues.fields import Kind, Shape, shape
from zvt_crypto.venues.rest import Call

_TICKER = """
    symbol lastPrice highPrice24h lowPrice24h prevPrice24h prevPrice1h volume24h turnover24h price24hPcnt usdIndexPrice tickDirection
    markPrice indexPrice openInterest openInterestValue singleOpenInterestValue nextFundingTime fundingRate fundingIntervalHour fundingCap
    bid1Price bid1Size ask1Price ask1Size deliveryTime deliveryFeeRate basis basisRate basisRateYear predictedDeliveryPrice
    preOpenPrice preQty curPreListingPhase
"""
_LISTED = """
    symbol symbolId symbolType contractType status baseCoin quoteCoin settleCoin launchTime deliveryTime deliveryFeeRate priceScale
    leverageFilter{minLeverage maxLeverage leverageStep} priceFilter{minPrice maxPrice tickSize}
    lotSizeFilter{
        maxOrderQty maxMktOrderQty minOrderQty qtyStep postOnlyMaxOrderQty minNotionalValue basePrecision quotePrecision minOrderAmt
        maxOrderAmt maxLimitOrderQty maxMarketOrderQty postOnlyMaxLimitOrderSize
    }
    riskParameters{priceLimitRatioX priceLimitRatioY} innovation marginTrading stTag xstockMultiplier unifiedMarginTrade fundingInterval
    copyTrading upperFundingRate lowerFundingRate displayName fullName marketRegion underlyingTicker forbidUplWithdrawal isPreListing
    preListingInfo{
        curAuctionPhase phases{phase startTime endTime} auctionFeeInfo{auctionFeeRate takerFeeRate makerFeeRate} skipCallAuction
    }
"""
_FRAMES = {
    "publicTrade": "topic type ts id data{i T p v S seq s BT RPI L}",
    "orderbook": "topic type ts cts data{s b[2] a[2] u seq}",
    "kline": "topic type ts data{start end interval open close high low volume turnover confirm timestamp}",
    "tickers": f"topic type ts cs data{{{_TICKER}}}",
}
# The path → the names of the answer's result.
_REST = {
    "time": "timeSecond timeNano",
    "instruments-info": f"category nextPageCursor list{{{_LISTED}}}",
    "kline": "category symbol list[7]",
    "mark-price-kline": "category symbol list[5]",
    "index-price-kline": "category symbol list[5]",
    "recent-trade": "category list{execId symbol price size side time isBlockTrade isRPITrade seq}",
    "orderbook": "s b[2] a[2] ts u seq cts",
    "tickers": f"category list{{{_TICKER}}}",
    "funding/history": "category list{symbol fundingRate fundingRateTimestamp}",
}
FRAMES: dict[str, Shape] = {kind: shape(names) for kind, names in _FRAMES.items()}
ANSWER = shape("success ret_msg conn_id req_id op args retCode retMsg connId reqId data{*} header{*}")
REST: dict[str, Shape] = {
    name: shape(f"retCode retMsg result{{{names}}} retExtInfo{{*}} retExtMap{{*}} time") for name, names in _REST.items()
}


class _Head(msgspec.Struct):
    topic: str | None = None


_HEAD = msgspec.json.Decoder(_Head)


def frame_kind(payload: bytes) -> Kind | None:
    """The kind of a frame; none for one whose topic is not known: the parser tells of that."""
    topic = _HEAD.decode(payload).topic
    if topic is None:
        return "answer", ANSWER
    name = topic.partition(".")[0]
    known = FRAMES.get(name)
    return None if known is None else (name, known)


def answer_kind(call: Call) -> Kind | None:
    """The kind of what a call is answered with."""
    path = call.target.partition("?")[0].removeprefix("/v5/market/")
    known = REST.get(path)
    return None if known is None else (f"rest {path}", known)
