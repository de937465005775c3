"""Coinbase's JSON of Advanced Trade: texts of numbers and times, rows of REST, events of the channels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.coinbase.names import CURRENCY_NAMES, Product
from zvt_crypto.emulator.model import E8, Bar, BookImage, Day, Mark, Trade, text_e8

Levels = Iterable[tuple[int, int]]
_HIGH, _LOW = "126296", "57717.55"  # of 52 weeks: nobody here remembers as long


@lru_cache(maxsize=4_096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def moment(at_ns: int) -> str:
    """RFC 3339 with as many digits as it needs, at most nine."""
    seconds, rest = divmod(at_ns, NS_PER_S)
    return f"{_second(seconds)}Z" if not rest else f"{_second(seconds)}.{rest:09d}".rstrip("0") + "Z"


def plain(text: str) -> str:
    """No zeros at the end: 60000.10000000 → 60000.1."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(value: int) -> str:
    """A price or size."""
    return plain(text_e8(value))


def trade_id(product: Product, number_: int) -> str:
    """A trade's id. Pairs count; contracts' ids tell nothing of the next one's."""
    if product.kind == "SPOT":
        return str(number_)
    mixed = (number_ * 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
    text = f"{mixed:016x}{number_:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def maker_side(trade: Trade) -> str:
    """The maker's side: BUY where the taker sold."""
    return "BUY" if trade.buyer_is_maker else "SELL"


def percent(day: Day) -> str:
    """The change within a day."""
    opened = day.bar.open
    return f"{(day.bar.close - opened) / opened * 100:.14f}" if opened else "0"


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def product_row(product: Product, day: Day | None, mark: Mark | None) -> dict[str, Any]:
    """A product, with its ticker."""
    one, tick = product.listing, number(product.listing.tick_e8)
    is_spot = product.kind == "SPOT"
    row: dict[str, Any] = {
        "product_id": product.id,
        "price": "" if day is None else number(day.bar.close),
        "price_percentage_change_24h": "" if day is None else percent(day),
        "volume_24h": "" if day is None else number(day.bar.size),
        "volume_percentage_change_24h": "0",
        "base_increment": number(one.lot_e8),
        "quote_increment": tick,
        "quote_min_size": number(one.min_notional_e8),
        "quote_max_size": "150000000",
        "base_min_size": number(one.lot_e8),
        "base_max_size": "3400",
        "base_name": CURRENCY_NAMES.get(one.base, one.base) if is_spot else "",
        "quote_name": CURRENCY_NAMES.get(product.quote, product.quote),
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "online" if is_spot else "",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": product.kind,
        "quote_currency_id": product.quote,
        "base_currency_id": one.base if is_spot else "",
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": product.book_id if product.book_id != product.id else "",
        "alias_to": list(product.alias_to),
        "base_display_symbol": one.base if is_spot else "",
        "quote_display_symbol": product.quote,
        "view_only": False,
        "price_increment": tick,
        "display_name": product.id if is_spot else f"{one.base} PERP",
        "product_venue": "CBE" if is_spot else "INTX",
        "approximate_quote_24h_volume": "" if day is None else number(day.bar.size * day.bar.close // E8),
        "new_at": moment(one.listed_ns),
        "best_bid_price": "",
        "best_ask_price": "",
        "high_24h": "" if day is None else number(day.bar.high),
        "low_24h": "" if day is None else number(day.bar.low),
    }
    return row if is_spot else row | {"future_product_details": _details(product, mark)}


def _details(product: Product, mark: Mark | None) -> dict[str, Any]:
    rate = "" if mark is None else plain(text_e8(mark.rate_e8))
    due = None if mark is None else moment(mark.next_funding_ns)
    return {
        "venue": "intx",
        "contract_code": product.base,
        "contract_expiry": None,
        "contract_size": "1",
        "contract_root_unit": product.base,
        "group_description": f"{product.base} Perpetual",
        "contract_expiry_timezone": "",
        "group_short_description": f"{product.base} PERP",
        "risk_managed_by": "MANAGED_BY_VENUE",
        "contract_expiry_type": "PERPETUAL",
        "perpetual_details": {"open_interest": "530.5", "funding_rate": rate, "funding_time": due, "max_leverage": "20"},
        "contract_display_name": f"{product.base} PERP",
        "time_to_expiry_ms": None,
        "non_crypto": False,
        "contract_expiry_name": "",
        "twenty_four_by_seven": True,
        "funding_interval": "28800s",
        "open_interest": "530.5",
        "funding_rate": rate,
        "funding_time": due,
        "index_price": "" if mark is None else number(mark.index_price),
        "futures_asset_type": "FUTURES_ASSET_TYPE_CRYPTO",
    }


def candle_row(bar: Bar) -> dict[str, str]:
    """A row of candles."""
    low, high, opened, close, size = (number(value) for value in (bar.low, bar.high, bar.open, bar.close, bar.size))
    return {"start": str(bar.open_ns // NS_PER_S), "low": low, "high": high, "open": opened, "close": close, "volume": size}


def trade_row(product: Product, trade: Trade) -> dict[str, str]:
    """A row of trades by REST."""
    return {
        "trade_id": trade_id(product, trade.id),
        "product_id": product.id,
        "price": number(trade.price),
        "size": number(trade.size),
        "time": moment(trade.time_ns),
        "side": maker_side(trade),
        "bid": "",
        "ask": "",
        "exchange": "coinbase",
    }


def book_answer(product: Product, bids: Levels, asks: Levels, best: BookImage, last: int | None) -> dict[str, Any]:
    """product_book. `last`: the newest trade's price."""
    sides = [[{"price": number(price), "size": number(size)} for price, size in side] for side in (bids, asks)]
    answer: dict[str, Any] = {"pricebook": {"product_id": product.id, "bids": sides[0], "asks": sides[1], "time": moment(best.event_ns)}}
    if best.bids and best.asks:
        bid, ask = best.bids[0][0], best.asks[0][0]
        middle = (bid + ask) // 2
        spread = f"{(ask - bid) / middle * 10_000:.12f}"
        answer |= {
            "last": number(middle if last is None else last),
            "mid_market": number(middle),
            "spread_bps": spread,
            "spread_absolute": number(ask - bid),
        }
    return answer


# ── Events of the channels ────────────────────────────────────────────────────────────────────────────────────────────


def trades_event(kind: str, product: Product, trades: Iterable[Trade]) -> str:
    """market_trades, newest first."""
    rows = ",".join(
        f'{{"product_id":"{product.book_id}","trade_id":"{trade_id(product, t.id)}","price":"{number(t.price)}","size":"{number(t.size)}",'
        f'"time":"{moment(t.time_ns)}","side":"{maker_side(t)}"}}'
        for t in trades
    )
    return f'{{"type":"{kind}","trades":[{rows}]}}'


def book_event(kind: str, product: Product, bids: Levels, asks: Levels, at_ns: int) -> str:
    """l2_data."""
    time = moment(at_ns)
    rows = ",".join(
        f'{{"side":"{side}","event_time":"{time}","price_level":"{number(price)}","new_quantity":"{number(size)}"}}'
        for side, levels in (("bid", bids), ("offer", asks))
        for price, size in levels
    )
    return f'{{"type":"{kind}","product_id":"{product.book_id}","updates":[{rows}]}}'


def candles_event(kind: str, product: Product, bars: Iterable[Bar]) -> str:
    """candles."""
    rows = ",".join(
        f'{{"start":"{bar.open_ns // NS_PER_S}","high":"{number(bar.high)}","low":"{number(bar.low)}","open":"{number(bar.open)}",'
        f'"close":"{number(bar.close)}","volume":"{number(bar.size)}","product_id":"{product.book_id}"}}'
        for bar in bars
    )
    return f'{{"type":"{kind}","candles":[{rows}]}}'


def ticker_event(kind: str, channel: str, product: Product, day: Day, best: BookImage | None) -> str:
    """ticker, with the best quotes; ticker_batch has none."""
    bar = day.bar
    quotes = ""
    if best is not None and best.bids and best.asks:
        (bid, bid_size), (ask, ask_size) = best.bids[0], best.asks[0]
        quotes = (
            f',"best_bid":"{number(bid)}","best_ask":"{number(ask)}","best_bid_quantity":"{number(bid_size)}",'
            f'"best_ask_quantity":"{number(ask_size)}"'
        )
    row = (
        f'{{"type":"{channel}","product_id":"{product.book_id}","price":"{number(bar.close)}","volume_24_h":"{number(bar.size)}",'
        f'"low_24_h":"{number(bar.low)}","high_24_h":"{number(bar.high)}","low_52_w":"{_LOW}","high_52_w":"{_HIGH}",'
        f'"price_percent_chg_24_h":"{percent(day)}"{quotes}}}'
    )
    return f'{{"type":"{kind}","tickers":[{row}]}}'


def status_event(listed: Iterable[Product]) -> str:
    """status."""
    rows = ",".join(
        f'{{"product_type":"{one.kind}","id":"{one.id}","base_currency":"{one.base}","quote_currency":"{one.quote}",'
        f'"base_increment":"{number(one.listing.lot_e8)}","quote_increment":"{number(one.listing.tick_e8)}",'
        f'"display_name":"{one.base}/{one.quote}","status":"online","status_message":"",'
        f'"min_market_funds":"{number(one.listing.min_notional_e8)}"}}'
        for one in listed
    )
    return f'{{"type":"snapshot","products":[{rows}]}}'
