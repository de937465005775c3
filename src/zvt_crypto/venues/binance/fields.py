"""The names of Binance's fields, by kind of message: those that we read and those that we do not. Spot and USD-M share their kinds."""

from __future__ import annotations

import msgspec

from zvt_crypto.venues.fields import Kind, Shape, shape
from zvt_crypto.venues.rest import Call

_EVENTS = {
    "trade": "e E s t p q b a T m M X st",
    "aggTrade": "e E s a p q nq f l T m M st",
    "kline": "e E s st ps k{t T s i f L o c h l v n x q V Q B}",
    "depthUpdate": "e E T s ps st U u pu b[2] a[2]",
    "bookTicker": "e u E T s ps st b B a A",
    "24hrTicker": "e E s p P w x c Q b B a A o h l v q O C F L n st ps",
    "24hrMiniTicker": "e E s c o h l v q st ps",
    "markPriceUpdate": "e E s p ap i P r T st",
    "serverShutdown": "e E",
}
_ANSWER = "id result code msg error{code msg}"
_LIMIT = "rateLimitType interval intervalNum limit"
_FILTERS = """
    filterType minPrice maxPrice tickSize minQty maxQty stepSize limit notional minNotional maxNotional applyToMarket applyMinToMarket
    applyMaxToMarket avgPriceMins multiplierUp multiplierDown multiplierDecimal bidMultiplierUp bidMultiplierDown askMultiplierUp
    askMultiplierDown maxNumOrders maxNumAlgoOrders maxNumIcebergOrders maxNumOrderLists maxNumOrderAmends maxPosition minTrailingAboveDelta
    maxTrailingAboveDelta minTrailingBelowDelta maxTrailingBelowDelta positionControlSide
"""
_SYMBOLS = f"""
    symbol status contractStatus baseAsset baseAssetPrecision quoteAsset quotePrecision quoteAssetPrecision baseCommissionPrecision
    quoteCommissionPrecision orderTypes OrderType icebergAllowed ocoAllowed otoAllowed opoAllowed quoteOrderQtyMarketAllowed
    allowTrailingStop cancelReplaceAllowed amendAllowed pegInstructionsAllowed isSpotTradingAllowed isMarginTradingAllowed permissions
    permissionSets defaultSelfTradePreventionMode allowedSelfTradePreventionModes filters{{{_FILTERS}}} pair contractType deliveryDate
    onboardDate maintMarginPercent requiredMarginPercent marginAsset pricePrecision quantityPrecision underlyingType underlyingSubType
    settlePlan triggerProtect liquidationFee marketTakeBound maxMoveOrderLimit timeInForce permissionSets
"""
# The last part of the path → the names of its answer.
_REST = {
    "time": "serverTime",
    "exchangeInfo": f"""
        timezone serverTime futuresType rateLimits{{{_LIMIT}}} exchangeFilters{{{_FILTERS}}} symbols{{{_SYMBOLS}}}
        assets{{asset marginAvailable autoAssetExchange}} sors{{baseAsset symbols}}
    """,
    "klines": "[12]",
    "markPriceKlines": "[12]",
    "indexPriceKlines": "[12]",
    "trades": "id price qty quoteQty baseQty time isBuyerMaker isBestMatch isRPITrade",
    "historicalTrades": "id price qty quoteQty baseQty time isBuyerMaker isBestMatch isRPITrade",
    "aggTrades": "a p q nq f l T m M",
    "depth": "lastUpdateId E T bids[2] asks[2]",
    "ticker/24hr": """
        symbol priceChange priceChangePercent weightedAvgPrice prevClosePrice lastPrice lastQty bidPrice bidQty askPrice askQty openPrice
        highPrice lowPrice volume quoteVolume openTime closeTime firstId lastId count
    """,
    "premiumIndex": "symbol markPrice indexPrice estimatedSettlePrice lastFundingRate interestRate nextFundingTime time",
    "fundingRate": "symbol fundingRate fundingTime markPrice rateType",
}
EVENTS: dict[str, Shape] = {kind: shape(names) for kind, names in _EVENTS.items()}
COMBINED: dict[str, Shape] = {kind: shape(f"stream data{{{names}}}") for kind, names in _EVENTS.items()}
ANSWER = shape(_ANSWER)
REST: dict[str, Shape] = {name: shape(names) for name, names in _REST.items()}


class _Event(msgspec.Struct):
    e: str | None = None


class _Head(msgspec.Struct):
    """What tells the kind of a frame."""

    stream: str | None = None
    data: _Event | None = None
    e: str | None = None
    u: int | None = None
    id: int | str | None = None
    code: int | None = None
    error: msgspec.Raw = msgspec.Raw()


_HEAD = msgspec.json.Decoder(_Head)


def frame_kind(payload: bytes) -> Kind | None:
    """The kind of a frame; none for one whose event is not known: the parser tells of that."""
    head = _HEAD.decode(payload)
    if head.stream is not None:
        told = head.data.e if head.data is not None else None
        return _kind(told or head.stream.partition("@")[2].partition("@")[0], COMBINED)
    if head.e is not None or head.u is not None:
        return _kind(head.e or "bookTicker", EVENTS)
    return ("answer", ANSWER) if head.id is not None or head.code is not None or bytes(head.error) else None


def _kind(name: str, shapes: dict[str, Shape]) -> Kind | None:
    known = shapes.get(name)
    return None if known is None else (name, known)


def answer_kind(call: Call) -> Kind | None:
    """The kind of what a call is answered with."""
    path = call.target.partition("?")[0].removeprefix("/api/v3/").removeprefix("/fapi/v1/")
    known = REST.get(path)
    return None if known is None else (f"rest {path}", known)
