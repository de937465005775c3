"""OKX's JSON: rows of REST and of the channels, with its own key order; nearly every number is a string."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.model import Agg, Bar, BookImage, Day, FundingRow, Mark, Trade, text_e8
from zvt_crypto.emulator.okx.names import Instrument, plain

Levels = Iterable[tuple[int, int]]


def ms(at_ns: int) -> int:
    """Milliseconds."""
    return at_ns // NS_PER_MS


def side(buyer_is_maker: bool) -> str:
    """The taker's."""
    return "sell" if buyer_is_maker else "buy"


def levels(one: Instrument, rows: Levels, tail: str = '"0",') -> str:
    """`[["60000.1","0.5","0","1"],…]`: price, size, a zero that once was something, orders."""
    return "[" + ",".join(f'["{one.price(p)}","{one.size(s)}",{tail}"{1 if s else 0}"]' for p, s in rows) + "]"


# ── Rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def trade_row(one: Instrument, t: Trade) -> str:
    """`market/trades`, `market/history-trades`, `trades-all`: a fill."""
    return (
        f'{{"instId":"{one.id}","side":"{side(t.buyer_is_maker)}","sz":"{one.size(t.size)}","px":"{one.price(t.price)}",'
        f'"source":"0","tradeId":"{t.id}","ts":"{ms(t.time_ns)}"}}'
    )


def agg_row(one: Instrument, a: Agg) -> str:
    """`trades`: the fills of one taker at one price; the id is the last one's."""
    return (
        f'{{"instId":"{one.id}","tradeId":"{a.last_id}","px":"{one.price(a.price)}","sz":"{one.size(a.size)}",'
        f'"side":"{side(a.buyer_is_maker)}","ts":"{ms(a.time_ns)}","count":"{a.last_id - a.first_id + 1}","source":"0","seqId":{a.id}}}'
    )


def candle_row(one: Instrument, bar: Bar, *, is_final: bool) -> str:
    """Nine strings. Spot: base, quote, quote; swap: contracts, base, quote."""
    size, base, quote = one.amounts(bar)
    amounts = f'"{size}","{quote if one.kind == "SPOT" else base}","{quote}"'
    return f'["{ms(bar.open_ns)}",{_prices(one, bar)},{amounts},"{int(is_final)}"]'


def price_candle_row(one: Instrument, bar: Bar, *, is_final: bool) -> str:
    """Mark and index candles: six strings."""
    return f'["{ms(bar.open_ns)}",{_prices(one, bar)},"{int(is_final)}"]'


def _prices(one: Instrument, bar: Bar) -> str:
    return ",".join(f'"{one.price(value)}"' for value in bar[1:5])


def book_row(one: Instrument, book: BookImage) -> str:
    """`market/books`."""
    return f'{{"asks":{levels(one, book.asks)},"bids":{levels(one, book.bids)},"ts":"{ms(book.event_ns)}"}}'


def full_book_row(one: Instrument, book: BookImage) -> str:
    """`market/books-full`: levels without the zero."""
    return f'{{"asks":{levels(one, book.asks, "")},"bids":{levels(one, book.bids, "")},"ts":"{ms(book.event_ns)}"}}'


def ticker_row(one: Instrument, day: Day, opens: Sequence[int]) -> str:
    """`market/ticker`, `tickers`. `opens`: the prices at which the days of UTC and UTC+8 began."""
    bar, (size, base, quote) = day.bar, one.amounts(day.bar)
    coins = quote if one.kind == "SPOT" else base
    last_size = one.size(day.last.size) if day.last else "0"
    return (
        f'{{"instType":"{one.kind}","instId":"{one.id}","last":"{one.price(bar.close)}","lastSz":"{last_size}",'
        f'"askPx":"{one.price(day.ask[0])}","askSz":"{one.size(day.ask[1])}",'
        f'"bidPx":"{one.price(day.bid[0])}","bidSz":"{one.size(day.bid[1])}",'
        f'"open24h":"{one.price(bar.open)}","high24h":"{one.price(bar.high)}","low24h":"{one.price(bar.low)}",'
        f'"volCcy24h":"{coins}","vol24h":"{size}","ts":"{ms(day.close_ns)}",'
        f'"sodUtc0":"{one.price(opens[0])}","sodUtc8":"{one.price(opens[1])}"}}'
    )


def index_row(one: Instrument, mark: Mark) -> str:
    """`market/index-tickers`, `index-tickers`."""
    return f'{{"instId":"{one.family}","idxPx":"{one.price(mark.index_price)}","ts":"{ms(mark.event_ns)}"}}'


def mark_row(one: Instrument, mark: Mark) -> str:
    """`public/mark-price`, `mark-price`."""
    return f'{{"instId":"{one.id}","instType":"SWAP","markPx":"{one.price(mark.mark)}","ts":"{ms(mark.event_ns)}"}}'


def funding_row(one: Instrument, mark: Mark, interval_ns: int) -> str:
    """`public/funding-rate`, `funding-rate`: the rate of the coming settlement; the one after it is not told."""
    return (
        f'{{"formulaType":"withRate","fundingRate":"{plain(text_e8(mark.rate_e8))}","fundingTime":"{ms(mark.next_funding_ns)}",'
        f'"impactValue":"","instId":"{one.id}","instType":"SWAP","interestRate":"0.0001","maxFundingRate":"0.015",'
        f'"method":"current_period","minFundingRate":"-0.015","nextFundingRate":"",'
        f'"nextFundingTime":"{ms(mark.next_funding_ns + interval_ns)}",'
        f'"premium":"0","settFundingRate":"","settState":"settled","ts":"{ms(mark.event_ns)}"}}'
    )


def settled_row(one: Instrument, row: FundingRow) -> str:
    """`public/funding-rate-history`."""
    rate = plain(text_e8(row.rate_e8))
    return (
        f'{{"formulaType":"withRate","fundingRate":"{rate}","fundingTime":"{ms(row.time_ns)}","instId":"{one.id}","instType":"SWAP",'
        f'"method":"current_period","realizedRate":"{rate}"}}'
    )


def _ends(native: str) -> str:
    """Of a dated contract, milliseconds: its name tells the day, BTC-USD-220527, and all end at 08:00."""
    day = native.rpartition("-")[2]
    if not re.fullmatch(r"\d{6}", day):
        return ""
    try:
        ends = datetime.strptime(f"{day}08+0000", "%y%m%d%H%z")
    except ValueError:
        return ""
    return str(int(ends.timestamp()) * 1_000)


def instrument_row(one: Instrument) -> str:
    """`public/instruments`, `instruments`: what spot and swaps have apart is empty on the other."""
    listing, spot = one.listing, one.kind == "SPOT"
    lot = one.size(listing.lot_e8)
    most = "9999999999" if spot else "100000000"
    if listing.contract_e8:
        kind, unit, settled, value = "inverse", listing.quote, listing.base, listing.contract_e8
    else:
        kind, unit, settled, value = "linear", listing.base, listing.quote, one.contract_e8
    swap_only = {
        "ctVal": plain(text_e8(value)), "ctMult": "1", "ctType": kind, "ctValCcy": unit,
        "settleCcy": settled, "uly": one.family, "instFamily": one.family,
    }  # fmt: skip
    swap = ",".join(f'"{key}":"{"" if spot else value}"' for key, value in swap_only.items())
    ceilings = ",".join(f'"{key}":"{most}"' for key in ("maxLmtSz", "maxTwapSz", "maxIcebergSz", "maxTriggerSz"))
    return (
        f'{{"alias":"","auctionEndTime":"","baseCcy":"{listing.base if spot else ""}","category":"1",{swap},"expTime":"{_ends(one.id)}",'
        f'"instId":"{one.id}","instIdCode":{one.code},"instType":"{one.kind}","lever":"{10 if spot else 100}",'
        f'"listTime":"{ms(listing.listed_ns)}","lotSz":"{lot}",{ceilings},"maxLmtAmt":"20000000","maxMktAmt":"{1000000 if spot else ""}",'
        f'"maxMktSz":"{1000000 if spot else 35000}","maxStopSz":"{1000000 if spot else 35000}","minSz":"{lot}","optType":"",'
        f'"quoteCcy":"{listing.quote if spot else ""}","ruleType":"normal","state":"live","stk":"",'
        f'"tickSz":"{plain(text_e8(listing.tick_e8))}","tradeQuoteCcyList":[{f"{chr(34)}{listing.quote}{chr(34)}" if spot else ""}]}}'
    )


# ── Envelopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(rows: Iterable[str]) -> bytes:
    """A REST answer."""
    return ('{"code":"0","msg":"","data":[' + ",".join(rows) + "]}").encode()


def refusal(code: int | str, text: str) -> bytes:
    """A REST answer that says no."""
    return f'{{"code":"{code}","msg":"{text}","data":[]}}'.encode()


def push(arg: str, rows: Iterable[str]) -> bytes:
    """A channel's frame."""
    return (f'{{"arg":{arg},"data":[' + ",".join(rows) + "]}").encode()


def book_push(arg: str, action: str, one: Instrument, book: BookImage, previous_id: int, seq_id: int) -> bytes:
    """A frame of `books`. The checksum has been a constant 0 since 2026-06-23."""
    return (
        f'{{"arg":{arg},"action":"{action}","data":[{{"asks":{levels(one, book.asks)},"bids":{levels(one, book.bids)},'
        f'"ts":"{ms(book.event_ns)}","checksum":0,"prevSeqId":{previous_id},"seqId":{seq_id}}}]}}'
    ).encode()


def best_push(arg: str, one: Instrument, book: BookImage, seq_id: int, *, named: bool) -> bytes:
    """A frame of `books5` (it names its instrument) or `bbo-tbt`."""
    name = f'"instId":"{one.id}",' if named else ""
    row = f'{{"asks":{levels(one, book.asks)},"bids":{levels(one, book.bids)},{name}"ts":"{ms(book.event_ns)}","seqId":{seq_id}}}'
    return push(arg, (row,))
