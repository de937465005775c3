"""Bybit's JSON: rows of REST and of the topics, with its own key order; nearly every number is a string."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from uuid import UUID

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.bars import next_open
from zvt_crypto.emulator.model import E8, Bar, BarEvent, BookImage, Day, FundingRow, Listing, Mark, Trade, text_e8, text_e16

Category = Literal["spot", "linear", "inverse", "option"]
# The spot ids of 2026 have 19 digits; contracts' ids are UUIDs.
_SPOT_ID = 2_280_000_000_000_000_000
FUNDING_MINUTES = 480
# A recorded trade's number is its place in the recording, and below that its id: ids of contracts have no order, places have.
ID_BITS = 128


def ms(at_ns: int) -> int:
    """Milliseconds."""
    return at_ns // NS_PER_MS


def plain(text: str) -> str:
    """No zeros at the end: 60000.10000000 → 60000.1."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def price(value: int) -> str:
    """A price or size."""
    return plain(text_e8(value))


def size(listing: Listing, value: int) -> str:
    """A size: base, or dollars of an inverse contract, of which Bybit's are one dollar each."""
    return price(value * listing.contract_e8 // E8 if listing.contract_e8 else value)


def turnover(value_e16: int) -> str:
    """A quote amount."""
    return plain(text_e16(value_e16))


def trade_id(listing: Listing, number: int) -> str:
    """A trade's id as the market writes it: it tells nothing of the next one's on contracts."""
    if known := number & ((1 << ID_BITS) - 1) if number >> ID_BITS else 0:
        return str(known) if listing.market == "spot" else str(UUID(int=known))
    if listing.market == "spot":
        return str(_SPOT_ID + number)
    mixed = (number * 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
    text = f"{mixed:016x}{number:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def side(trade: Trade) -> str:
    """The taker's."""
    return "Sell" if trade.buyer_is_maker else "Buy"


# ── REST rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def kline_row(listing: Listing, bar: Bar) -> str:
    """Seven strings."""
    return f'["{ms(bar.open_ns)}",{_prices(bar)},"{size(listing, bar.size)}","{turnover(bar.turnover)}"]'


def price_row(bar: Bar) -> str:
    """A row of mark and index klines: five strings."""
    return f'["{ms(bar.open_ns)}",{_prices(bar)}]'


def _prices(bar: Bar) -> str:
    return ",".join(f'"{price(value)}"' for value in bar[1:5])


def recent_row(listing: Listing, t: Trade) -> str:
    """A row of recent-trade."""
    return (
        f'{{"execId":"{trade_id(listing, t.id)}","symbol":"{listing.symbol}","price":"{price(t.price)}","size":"{size(listing, t.size)}",'
        f'"side":"{side(t)}","time":"{ms(t.time_ns)}","isBlockTrade":false,"isRPITrade":false,"seq":"{t.id >> ID_BITS or t.id}"}}'
    )


def levels(listing: Listing, rows: Iterable[tuple[int, int]]) -> str:
    """`[["60000.1","0.5"],…]`."""
    return "[" + ",".join(f'["{price(p)}","{size(listing, s)}"]' for p, s in rows) + "]"


def book_row(listing: Listing, book: BookImage, number: int, now_ns: int) -> str:
    """The result of orderbook."""
    return (
        f'{{"s":"{listing.symbol}","b":{levels(listing, book.bids)},"a":{levels(listing, book.asks)},"ts":{ms(now_ns)},"u":{number},'
        f'"seq":{book.last_id},"cts":{ms(book.event_ns)}}}'
    )


def funding_row(listing: Listing, row: FundingRow) -> str:
    """A row of funding/history."""
    return f'{{"symbol":"{listing.symbol}","fundingRate":"{price(row.rate_e8)}","fundingRateTimestamp":"{ms(row.time_ns)}"}}'


def instrument_row(listing: Listing) -> str:
    """A row of instruments-info."""
    lot = "1" if listing.contract_e8 else price(listing.lot_e8)  # of contracts of a dollar the smallest order is one
    tick, least = price(listing.tick_e8), price(listing.min_notional_e8)
    names = f'"symbol":"{listing.symbol}","baseCoin":"{listing.base}","quoteCoin":"{listing.quote}"'
    if listing.market == "spot":
        return (
            f'{{{names},"innovation":"0","status":"Trading","marginTrading":"utaOnly","stTag":"0","lotSizeFilter":'
            f'{{"basePrecision":"{lot}","quotePrecision":"0.0000001","minOrderQty":"{lot}","maxOrderQty":"9000","minOrderAmt":"{least}",'
            f'"maxOrderAmt":"8000000","maxLimitOrderQty":"9000","maxMarketOrderQty":"4500"}},"priceFilter":{{"tickSize":"{tick}"}},'
            f'"riskParameters":{{"priceLimitRatioX":"0.01","priceLimitRatioY":"0.02"}}}}'
        )
    kind, settled = ("InversePerpetual", listing.base) if listing.contract_e8 else ("LinearPerpetual", listing.quote)
    return (
        f'{{{names},"contractType":"{kind}","status":"Trading","launchTime":"{ms(listing.listed_ns)}","deliveryTime":"0",'
        f'"deliveryFeeRate":"","priceScale":"{listing.price_decimals}","leverageFilter":{{"minLeverage":"1","maxLeverage":"100",'
        f'"leverageStep":"0.01"}},"priceFilter":{{"minPrice":"{tick}","maxPrice":"1999999.98","tickSize":"{tick}"}},"lotSizeFilter":'
        f'{{"maxOrderQty":"1190","minOrderQty":"{lot}","qtyStep":"{lot}","postOnlyMaxOrderQty":"1190","maxMktOrderQty":"500",'
        f'"minNotionalValue":"{least}"}},"unifiedMarginTrade":true,"fundingInterval":{FUNDING_MINUTES},"settleCoin":"{settled}",'
        f'"copyTrading":"both","upperFundingRate":"0.005","lowerFundingRate":"-0.005","isPreListing":false,"preListingInfo":null}}'
    )


# Fields of a contract's ticker that no recording is asked for: the synthetic market makes them up.
MADE_UP = ("tickDirection", "openInterest", "openInterestValue")

# ── Tickers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def ticker_fields(listing: Listing, day: Day, mark: Mark | None) -> dict[str, str]:
    """What a ticker tells, in its order. Contracts tell more."""
    bar = day.bar
    change = (bar.close - bar.open) / bar.open if bar.open else 0.0
    fields = {
        "symbol": listing.symbol,
        "lastPrice": price(bar.close),
        "highPrice24h": price(bar.high),
        "lowPrice24h": price(bar.low),
        "prevPrice24h": price(bar.open),
        "volume24h": size(listing, bar.size),
        "turnover24h": turnover(bar.turnover),
        "price24hPcnt": f"{change:.4f}",
    }
    if listing.market == "spot" or mark is None:
        return fields
    return fields | {
        "tickDirection": "PlusTick" if change >= 0 else "MinusTick",
        "markPrice": price(mark.mark),
        "indexPrice": price(mark.index_price),
        "openInterest": "53000.5",
        "openInterestValue": "3180000000",
        "nextFundingTime": str(ms(mark.next_funding_ns)),
        "fundingRate": price(mark.rate_e8),
        "bid1Price": price(day.bid[0]),
        "bid1Size": size(listing, day.bid[1]),
        "ask1Price": price(day.ask[0]),
        "ask1Size": size(listing, day.ask[1]),
    }


def ticker_row(listing: Listing, day: Day, mark: Mark | None) -> str:
    """A row of tickers by REST: spot has its quotes there, too."""
    fields = ticker_fields(listing, day, mark)
    quotes = {
        "bid1Price": price(day.bid[0]),
        "bid1Size": size(listing, day.bid[1]),
        "ask1Price": price(day.ask[0]),
        "ask1Size": size(listing, day.ask[1]),
    }
    return row_of(fields | quotes)


def row_of(fields: dict[str, str]) -> str:
    """Strings all."""
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in fields.items()) + "}"


# ── Envelopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(result: str, now_ns: int) -> bytes:
    """A REST answer."""
    return f'{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":{ms(now_ns)}}}'.encode()


def refusal(code: int, text: str, now_ns: int) -> bytes:
    """A REST answer that says no, with HTTP 200."""
    return f'{{"retCode":{code},"retMsg":"{text}","result":{{}},"retExtInfo":{{}},"time":{ms(now_ns)}}}'.encode()


def trades_push(topic: str, listing: Listing, t: Trade) -> bytes:
    """`publicTrade`."""
    spot = listing.market == "spot"
    direction = "" if spot else f'"L":"{"MinusTick" if t.buyer_is_maker else "PlusTick"}",'
    row = (
        f'{{"i":"{trade_id(listing, t.id)}","T":{ms(t.time_ns)},"p":"{price(t.price)}","v":"{size(listing, t.size)}","S":"{side(t)}",'
        f'{direction}"seq":{t.id},"s":"{listing.symbol}","BT":false,"RPI":false}}'
    )
    return f'{{"topic":"{topic}","ts":{ms(t.time_ns)},"type":"snapshot","data":[{row}]}}'.encode()


def kline_push(topic: str, listing: Listing, interval: str, name: str, event: BarEvent) -> bytes:
    """`kline`."""
    bar, at_ms = event.bar, ms(event.event_ns)
    row = (
        f'{{"start":{ms(bar.open_ns)},"end":{ms(next_open(interval, bar.open_ns)) - 1},"interval":"{name}","open":"{price(bar.open)}",'
        f'"close":"{price(bar.close)}","high":"{price(bar.high)}","low":"{price(bar.low)}","volume":"{size(listing, bar.size)}",'
        f'"turnover":"{turnover(bar.turnover)}","confirm":{"true" if event.is_final else "false"},"timestamp":{at_ms}}}'
    )
    return f'{{"type":"snapshot","topic":"{topic}","data":[{row}],"ts":{at_ms}}}'.encode()


def book_push(topic: str, kind: str, listing: Listing, book: BookImage, number: int) -> bytes:
    """`orderbook`."""
    at_ms = ms(book.event_ns)
    return (
        f'{{"topic":"{topic}","ts":{at_ms},"type":"{kind}","data":{{"s":"{listing.symbol}","b":{levels(listing, book.bids)},'
        f'"a":{levels(listing, book.asks)},"u":{number},"seq":{book.last_id}}},"cts":{at_ms}}}'
    ).encode()


def ticker_push(topic: str, kind: str, fields: dict[str, str], now_ns: int) -> bytes:
    """`tickers`."""
    return f'{{"topic":"{topic}","ts":{ms(now_ns)},"type":"{kind}","cs":{ms(now_ns)},"data":{row_of(fields)}}}'.encode()
