"""What is asked of Bybit by REST: path and query of each call. Pure. Each costs one of the same budget."""

from __future__ import annotations

from urllib.parse import urlencode

from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.bybit import spec
from zvt_crypto.venues.bybit.spec import Category
from zvt_crypto.venues.rest import Call


def _call(path: str, **query: object) -> Call:
    given = {name: value for name, value in query.items() if value is not None}
    # A cursor comes percent-encoded already, and goes back as it came.
    return Call(spec.MARKET, f"/v5/market/{path}" + (f"?{urlencode(given, safe='%')}" if given else ""), spec.IP_BUCKET)


def time() -> Call:
    """The venue's clock."""
    return _call("time")


def instruments(category: Category, status: str, cursor: str | None) -> Call:
    """A page of what is listed. Spot comes whole and takes neither limit nor cursor."""
    if category == "spot":
        return _call("instruments-info", category=category)
    return _call("instruments-info", category=category, status=status, limit=spec.INSTRUMENTS_MOST, cursor=cursor)


def klines(category: Category, native: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int) -> Call:
    """Klines that open in [start_ms, end_ms], both inclusive; without a start, the newest up to the end."""
    name = spec.INTERVAL_NAMES[interval]
    return _call("kline", category=category, symbol=native, interval=name, start=start_ms, end=end_ms, limit=limit)


def mark_klines(category: Category, native: str, interval: Interval, start_ms: int, end_ms: int) -> Call:
    """The mark price's klines."""
    name = spec.INTERVAL_NAMES[interval]
    return _call("mark-price-kline", category=category, symbol=native, interval=name, start=start_ms, end=end_ms, limit=spec.KLINES_MOST)


def index_klines(category: Category, native: str, interval: Interval, start_ms: int, end_ms: int) -> Call:
    """The index price's klines. Dated contracts are asked for by their own symbol."""
    name = spec.INTERVAL_NAMES[interval]
    return _call("index-price-kline", category=category, symbol=native, interval=name, start=start_ms, end=end_ms, limit=spec.KLINES_MOST)


def trades(category: Category, native: str, limit: int) -> Call:
    """The newest trades."""
    return _call("recent-trade", category=category, symbol=native, limit=limit)


def book(category: Category, native: str, limit: int) -> Call:
    """The book, `limit` levels a side."""
    return _call("orderbook", category=category, symbol=native, limit=limit)


def ticker(category: Category, native: str) -> Call:
    """The rolling 24 hours, and mark and index price of a contract."""
    return _call("tickers", category=category, symbol=native)


def funding(category: Category, native: str, end_ms: int) -> Call:
    """Settled funding up to `end_ms`, newest first. A start without an end is refused by the venue, so an end is always named."""
    return _call("funding/history", category=category, symbol=native, endTime=end_ms, limit=spec.FUNDING_MOST)
