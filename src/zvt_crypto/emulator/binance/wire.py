"""Binance's JSON: event frames and REST rows, in its own key order and with its own digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.bars import next_open
from zvt_crypto.emulator.model import (
    E8,
    Agg,
    Bar,
    BarEvent,
    BookImage,
    Day,
    Depth,
    Fact,
    FundingRow,
    Listing,
    Mark,
    Quote,
    Recorded,
    Trade,
    text_e8,
    text_e16,
)


def price(listing: Listing, value: int) -> str:
    """Spot writes eight decimals, USD-M those of the tick."""
    return text_e8(value, 8 if listing.market == "spot" else listing.price_decimals)


def size(listing: Listing, value: int) -> str:
    """Spot writes eight decimals, USD-M those of the lot."""
    return text_e8(value, 8 if listing.market == "spot" else listing.size_decimals)


def turnover(listing: Listing, value_e16: int) -> str:
    """Quote volume: eight decimals on spot, those of tick and lot together on USD-M."""
    return text_e16(value_e16, 8 if listing.market == "spot" else min(8, listing.price_decimals + listing.size_decimals))


def levels(listing: Listing, rows: Iterable[tuple[int, int]]) -> str:
    """`[["60000.01000000","0.50000000"],…]`."""
    return "[" + ",".join(f'["{price(listing, p)}","{size(listing, s)}"]' for p, s in rows) + "]"


def flag(value: bool) -> str:
    """A JSON boolean."""
    return "true" if value else "false"


def event(listing: Listing, stream: str, fact: Fact) -> bytes:
    """A fact as the payload of its stream."""
    if isinstance(fact, Recorded):
        return fact.raw
    encode: Callable[[Listing, str, Any], str] = _EVENTS[type(fact)]
    return encode(listing, stream, fact).encode()


def _trade(listing: Listing, _: str, t: Trade) -> str:
    ms = t.time_ns // NS_PER_MS
    return (
        f'{{"e":"trade","E":{ms},"s":"{listing.symbol}","t":{t.id},"p":"{price(listing, t.price)}","q":"{size(listing, t.size)}",'
        f'"T":{ms},"m":{flag(t.buyer_is_maker)},"M":true}}'
    )


def _agg(listing: Listing, _: str, a: Agg) -> str:
    ms, amount = a.time_ns // NS_PER_MS, size(listing, a.size)
    tail = ',"M":true' if listing.market == "spot" else f',"nq":"{amount}","st":1'
    return (
        f'{{"e":"aggTrade","E":{ms},"s":"{listing.symbol}","a":{a.id},"p":"{price(listing, a.price)}","q":"{amount}",'
        f'"f":{a.first_id},"l":{a.last_id},"T":{ms},"m":{flag(a.buyer_is_maker)}{tail}}}'
    )


def _depth(listing: Listing, _: str, d: Depth) -> str:
    ms = d.event_ns // NS_PER_MS
    sides = f'"b":{levels(listing, d.bids)},"a":{levels(listing, d.asks)}'
    if listing.market == "spot":
        return f'{{"e":"depthUpdate","E":{ms},"s":"{listing.symbol}","U":{d.first_id},"u":{d.last_id},{sides}}}'
    return (
        f'{{"e":"depthUpdate","E":{ms},"T":{ms},"s":"{listing.symbol}","ps":"{listing.symbol}","st":1,'
        f'"U":{d.first_id},"u":{d.last_id},"pu":{d.previous_id},{sides}}}'
    )


def _partial(listing: Listing, _: str, book: BookImage) -> str:
    if listing.market == "spot":
        return depth_answer(listing, book)
    return _depth(listing, _, Depth(book.last_id, book.last_id, book.last_id, book.event_ns, book.bids, book.asks))


def _quote(listing: Listing, _: str, q: Quote) -> str:
    sides = (
        f'"b":"{price(listing, q.bid[0])}","B":"{size(listing, q.bid[1])}","a":"{price(listing, q.ask[0])}","A":"{size(listing, q.ask[1])}"'
    )
    if listing.market == "spot":
        return f'{{"u":{q.last_id},"s":"{listing.symbol}",{sides}}}'
    ms = q.event_ns // NS_PER_MS
    return f'{{"e":"bookTicker","u":{q.last_id},"s":"{listing.symbol}","ps":"{listing.symbol}",{sides},"T":{ms},"E":{ms},"st":1}}'


def _bar(listing: Listing, _: str, b: BarEvent) -> str:
    bar = b.bar
    open_ms = bar.open_ns // NS_PER_MS
    close_ms = next_open(b.interval, bar.open_ns) // NS_PER_MS - 1
    return (
        f'{{"e":"kline","E":{b.event_ns // NS_PER_MS},"s":"{listing.symbol}","k":{{"t":{open_ms},"T":{close_ms},"s":"{listing.symbol}",'
        f'"i":"{b.interval}","f":{bar.first_id},"L":{bar.last_id},"o":"{price(listing, bar.open)}","c":"{price(listing, bar.close)}",'
        f'"h":"{price(listing, bar.high)}","l":"{price(listing, bar.low)}","v":"{size(listing, bar.size)}","n":{bar.trades},'
        f'"x":{flag(b.is_final)},"q":"{turnover(listing, bar.turnover)}","V":"{size(listing, bar.taker_size)}",'
        f'"Q":"{turnover(listing, bar.taker_turnover)}","B":"0"}}}}'
    )


def _mark(listing: Listing, _: str, m: Mark) -> str:
    ms = m.event_ns // NS_PER_MS
    mark = text_e8(m.mark)
    return (
        f'{{"e":"markPriceUpdate","E":{ms},"s":"{listing.symbol}","p":"{mark}","ap":"{mark}","P":"{mark}","i":"{text_e8(m.index_price)}",'
        f'"r":"{text_e8(m.rate_e8)}","T":{m.next_funding_ns // NS_PER_MS},"st":1}}'
    )


def _day(listing: Listing, stream: str, day: Day) -> str:
    bar, ms = day.bar, day.close_ns // NS_PER_MS
    shape = (
        f'"o":"{price(listing, bar.open)}","h":"{price(listing, bar.high)}","l":"{price(listing, bar.low)}",'
        f'"v":"{size(listing, bar.size)}","q":"{turnover(listing, bar.turnover)}"'
    )
    if stream.endswith("@miniTicker"):
        return f'{{"e":"24hrMiniTicker","E":{ms},"s":"{listing.symbol}","c":"{price(listing, bar.close)}",{shape}}}'
    change, percent, average = moves(listing, day)
    last_size = size(listing, day.last.size if day.last else 0)
    quotes = (
        f'"b":"{price(listing, day.bid[0])}","B":"{size(listing, day.bid[1])}",'
        f'"a":"{price(listing, day.ask[0])}","A":"{size(listing, day.ask[1])}",'
        if listing.market == "spot"
        else ""
    )
    before = f'"x":"{price(listing, day.previous_close)}",' if listing.market == "spot" else ""
    return (
        f'{{"e":"24hrTicker","E":{ms},"s":"{listing.symbol}","p":"{change}","P":"{percent}","w":"{average}",{before}'
        f'"c":"{price(listing, bar.close)}","Q":"{last_size}",{quotes}{shape},"O":{day.open_ns // NS_PER_MS},"C":{ms},'
        f'"F":{bar.first_id},"L":{bar.last_id},"n":{bar.trades}}}'
    )


_EVENTS: dict[type, Callable[..., str]] = {
    Trade: _trade,
    Agg: _agg,
    Depth: _depth,
    Quote: _quote,
    BarEvent: _bar,
    BookImage: _partial,
    Mark: _mark,
    Day: _day,
}


_PERCENT_STEP = E8 // 1000


def moves(listing: Listing, day: Day) -> tuple[str, str, str]:
    """(price change, change in percent with three digits, volume-weighted average price) of 24 hours."""
    bar = day.bar
    change = bar.close - bar.open
    percent = change * 100 * E8 // bar.open if bar.open else 0
    average = bar.turnover // bar.size if bar.size else 0
    tick = 1 if listing.market == "spot" else listing.tick_e8
    return price(listing, change), text_e8(percent // _PERCENT_STEP * _PERCENT_STEP, 3), price(listing, average // tick * tick)


# ── REST rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def depth_answer(listing: Listing, book: BookImage) -> str:
    """`/depth`."""
    times = "" if listing.market == "spot" else f'"E":{book.event_ns // NS_PER_MS},"T":{book.event_ns // NS_PER_MS},'
    return f'{{"lastUpdateId":{book.last_id},{times}"bids":{levels(listing, book.bids)},"asks":{levels(listing, book.asks)}}}'


def trade_row(listing: Listing, t: Trade) -> str:
    """`/trades`, `/historicalTrades`."""
    best = ',"isBestMatch":true' if listing.market == "spot" else ""
    value = turnover(listing, t.price * t.size)
    return (
        f'{{"id":{t.id},"price":"{price(listing, t.price)}","qty":"{size(listing, t.size)}",'
        f'"quoteQty":"{value}","time":{t.time_ns // NS_PER_MS},"isBuyerMaker":{flag(t.buyer_is_maker)}{best}}}'
    )


def agg_row(listing: Listing, a: Agg) -> str:
    """`/aggTrades`."""
    amount = size(listing, a.size)
    tail = ',"M":true' if listing.market == "spot" else f',"nq":"{amount}"'
    return (
        f'{{"a":{a.id},"p":"{price(listing, a.price)}","q":"{amount}","f":{a.first_id},"l":{a.last_id},'
        f'"T":{a.time_ns // NS_PER_MS},"m":{flag(a.buyer_is_maker)}{tail}}}'
    )


def kline_row(listing: Listing, interval: str, bar: Bar) -> str:
    """`/klines`: twelve items."""
    return (
        f'[{bar.open_ns // NS_PER_MS},"{price(listing, bar.open)}","{price(listing, bar.high)}","{price(listing, bar.low)}",'
        f'"{price(listing, bar.close)}","{size(listing, bar.size)}",{next_open(interval, bar.open_ns) // NS_PER_MS - 1},'
        f'"{turnover(listing, bar.turnover)}",{bar.trades},"{size(listing, bar.taker_size)}","{turnover(listing, bar.taker_turnover)}","0"]'
    )


def mark_kline_row(interval: str, bar: Bar) -> str:
    """`/markPriceKlines`, `/indexPriceKlines`: no volume."""
    prices = ",".join(f'"{text_e8(value)}"' for value in bar[1:5])
    return f'[{bar.open_ns // NS_PER_MS},{prices},"0",{next_open(interval, bar.open_ns) // NS_PER_MS - 1},"0",0,"0","0","0"]'


def day_row(listing: Listing, day: Day) -> str:
    """`/ticker/24hr`."""
    bar = day.bar
    change, percent, average = moves(listing, day)
    spot = listing.market == "spot"
    before = f'"prevClosePrice":"{price(listing, day.previous_close)}",' if spot else ""
    quotes = (
        f'"bidPrice":"{price(listing, day.bid[0])}","bidQty":"{size(listing, day.bid[1])}",'
        f'"askPrice":"{price(listing, day.ask[0])}","askQty":"{size(listing, day.ask[1])}",'
        if spot
        else ""
    )
    return (
        f'{{"symbol":"{listing.symbol}","priceChange":"{change}","priceChangePercent":"{percent}","weightedAvgPrice":"{average}",{before}'
        f'"lastPrice":"{price(listing, bar.close)}","lastQty":"{size(listing, day.last.size if day.last else 0)}",{quotes}'
        f'"openPrice":"{price(listing, bar.open)}","highPrice":"{price(listing, bar.high)}","lowPrice":"{price(listing, bar.low)}",'
        f'"volume":"{size(listing, bar.size)}","quoteVolume":"{turnover(listing, bar.turnover)}",'
        f'"openTime":{day.open_ns // NS_PER_MS},"closeTime":{day.close_ns // NS_PER_MS},'
        f'"firstId":{bar.first_id},"lastId":{bar.last_id},"count":{bar.trades}}}'
    )


def price_row(listing: Listing, day: Day) -> str:
    """`/ticker/price`."""
    time = "" if listing.market == "spot" else f',"time":{day.close_ns // NS_PER_MS}'
    return f'{{"symbol":"{listing.symbol}","price":"{price(listing, day.bar.close)}"{time}}}'


def quote_row(listing: Listing, book: BookImage) -> str:
    """`/ticker/bookTicker`."""
    bid, ask = (book.bids or [(0, 0)])[0], (book.asks or [(0, 0)])[0]
    time = "" if listing.market == "spot" else f',"time":{book.event_ns // NS_PER_MS},"lastUpdateId":{book.last_id}'
    return (
        f'{{"symbol":"{listing.symbol}","bidPrice":"{price(listing, bid[0])}","bidQty":"{size(listing, bid[1])}",'
        f'"askPrice":"{price(listing, ask[0])}","askQty":"{size(listing, ask[1])}"{time}}}'
    )


def mark_row(listing: Listing, m: Mark) -> str:
    """`/premiumIndex`."""
    return (
        f'{{"symbol":"{listing.symbol}","markPrice":"{text_e8(m.mark)}","indexPrice":"{text_e8(m.index_price)}",'
        f'"estimatedSettlePrice":"{text_e8(m.mark)}","lastFundingRate":"{text_e8(m.rate_e8)}","interestRate":"0.00010000",'
        f'"nextFundingTime":{m.next_funding_ns // NS_PER_MS},"time":{m.event_ns // NS_PER_MS}}}'
    )


def funding_row(listing: Listing, row: FundingRow) -> str:
    """`/fundingRate`."""
    return (
        f'{{"symbol":"{listing.symbol}","fundingRate":"{text_e8(row.rate_e8)}","fundingTime":{row.time_ns // NS_PER_MS},'
        f'"markPrice":"{text_e8(row.mark)}","rateType":"FUNDING"}}'
    )


def exchange_info(listings: Iterable[Listing], market: str, server_ms: int, limits: str) -> str:
    """`/exchangeInfo`: limits, and every symbol with its filters."""
    rows = ",".join(_spot_symbol(one) if market == "spot" else _usdm_symbol(one) for one in listings)
    futures = "" if market == "spot" else '"futuresType":"U_MARGINED",'
    return f'{{"timezone":"UTC","serverTime":{server_ms},{futures}"rateLimits":{limits},"exchangeFilters":[],"symbols":[{rows}]}}'


def _filters(listing: Listing) -> str:
    tick, lot = price(listing, listing.tick_e8), size(listing, listing.lot_e8)
    most = text_e8(9_000 * E8, 8 if listing.market == "spot" else listing.size_decimals)
    return (
        f'{{"filterType":"PRICE_FILTER","minPrice":"{tick}","maxPrice":"1000000.00000000","tickSize":"{tick}"}},'
        f'{{"filterType":"LOT_SIZE","minQty":"{lot}","maxQty":"{most}","stepSize":"{lot}"}},'
        f'{{"filterType":"MARKET_LOT_SIZE","minQty":"{lot}","maxQty":"{most}","stepSize":"{lot}"}}'
    )


def _spot_symbol(listing: Listing) -> str:
    return (
        f'{{"symbol":"{listing.symbol}","status":"TRADING","baseAsset":"{listing.base}","baseAssetPrecision":8,'
        f'"quoteAsset":"{listing.quote}","quotePrecision":8,"quoteAssetPrecision":8,'
        '"orderTypes":["LIMIT","LIMIT_MAKER","MARKET","STOP_LOSS_LIMIT","TAKE_PROFIT_LIMIT"],"icebergAllowed":true,"ocoAllowed":true,'
        '"quoteOrderQtyMarketAllowed":true,"allowTrailingStop":true,"cancelReplaceAllowed":true,"amendAllowed":true,'
        '"pegInstructionsAllowed":true,"isSpotTradingAllowed":true,"isMarginTradingAllowed":false,'
        f'"filters":[{_filters(listing)},{{"filterType":"NOTIONAL","minNotional":"{text_e8(listing.min_notional_e8)}",'
        '"applyMinToMarket":true,"maxNotional":"9000000.00000000","applyMaxToMarket":false,"avgPriceMins":5}],'
        '"permissions":[],"permissionSets":[["SPOT"]],"defaultSelfTradePreventionMode":"EXPIRE_MAKER",'
        '"allowedSelfTradePreventionModes":["EXPIRE_TAKER","EXPIRE_MAKER","EXPIRE_BOTH"]}'
    )


def _usdm_symbol(listing: Listing) -> str:
    return (
        f'{{"symbol":"{listing.symbol}","pair":"{listing.symbol}","contractType":"PERPETUAL","deliveryDate":4133404800000,'
        f'"onboardDate":{listing.listed_ns // NS_PER_MS},"status":"TRADING","baseAsset":"{listing.base}","quoteAsset":"{listing.quote}",'
        f'"marginAsset":"{listing.quote}","pricePrecision":{max(2, listing.price_decimals)},"quantityPrecision":{listing.size_decimals},'
        '"baseAssetPrecision":8,"quotePrecision":8,"underlyingType":"COIN","underlyingSubType":[],"triggerProtect":"0.0500",'
        f'"liquidationFee":"0.012500","marketTakeBound":"0.05","filters":[{_filters(listing)},'
        f'{{"filterType":"MIN_NOTIONAL","notional":"{listing.min_notional_e8 // E8}"}},'
        '{"filterType":"PERCENT_PRICE","multiplierUp":"1.0500","multiplierDown":"0.9500","multiplierDecimal":"4"}],'
        '"orderTypes":["LIMIT","MARKET"],"timeInForce":["GTC","IOC","FOK","GTX","GTD"]}'
    )
