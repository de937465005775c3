"""What is asked of OKX by REST: path and query of each call. Pure.

The venue's words for paging: `after` an id or time means the rows older than it, newest first.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.okx import spec
from zvt_crypto.venues.okx.spec import Market
from zvt_crypto.venues.rest import Call

PriceKind = Literal["mark-price", "index"]


def _call(path: str, **query: object) -> Call:
    given = {name: value for name, value in query.items() if value is not None}
    target = f"/api/v5/{path}" + (f"?{urlencode(given)}" if given else "")
    return Call(spec.REST_MARKET, target, spec.bucket(path))


def time() -> Call:
    """The venue's clock."""
    return _call("public/time")


def instruments(market: Market) -> Call:
    """Everything that a market lists."""
    return _call("public/instruments", instType=spec.INST_TYPES[market])


def recent_candles(native: str, interval: Interval, before_ms: int, limit: int) -> Call:
    """Klines that open before a time, newest first; of the newest 1440 only."""
    return _call("market/candles", instId=native, bar=spec.BARS[interval], after=before_ms, limit=limit)


def old_candles(native: str, interval: Interval, before_ms: int, limit: int) -> Call:
    """Klines that open before a time, newest first; of all times."""
    return _call("market/history-candles", instId=native, bar=spec.BARS[interval], after=before_ms, limit=limit)


def recent_prices(kind: PriceKind, native: str, before_ms: int, limit: int) -> Call:
    """Minutes of mark or index prices that open before a time, newest first; of the newest 1440 only."""
    return _call(f"market/{kind}-candles", instId=native, bar="1m", after=before_ms, limit=limit)


def old_prices(kind: PriceKind, native: str, before_ms: int, limit: int) -> Call:
    """Minutes of mark or index prices that open before a time, newest first; of all times."""
    return _call(f"market/history-{kind}-candles", instId=native, bar="1m", after=before_ms, limit=limit)


def trades_before_id(native: str, before_id: int | None, limit: int) -> Call:
    """Single trades with smaller ids, newest first; None: the newest. The venue keeps three months."""
    return _call("market/history-trades", instId=native, type=1, after=before_id, limit=limit)


def trades_before_time(native: str, before_ms: int, limit: int) -> Call:
    """Single trades before a time, newest first."""
    return _call("market/history-trades", instId=native, type=2, after=before_ms, limit=limit)


def book(native: str, depth: int) -> Call:
    """The book, `depth` levels a side."""
    return _call("market/books" if depth <= spec.BOOK_MOST else "market/books-full", instId=native, sz=depth)


def ticker(native: str) -> Call:
    """The rolling 24 hours."""
    return _call("market/ticker", instId=native)


def mark(market: Market, native: str) -> Call:
    """The mark price now."""
    return _call("public/mark-price", instType=spec.INST_TYPES[market], instId=native)


def index(underlying: str) -> Call:
    """The index price now; `underlying` is written as a spot pair: `BTC-USDT`."""
    return _call("market/index-tickers", instId=underlying)


def funding_now(native: str) -> Call:
    """The funding that comes next."""
    return _call("public/funding-rate", instId=native)


def funding_history(native: str, before_ms: int | None, limit: int) -> Call:
    """Settled funding before a time, newest first."""
    return _call("public/funding-rate-history", instId=native, after=before_ms, limit=limit)
