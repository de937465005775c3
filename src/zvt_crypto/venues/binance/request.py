"""What is asked of Binance by REST: path, query and price of each call. Pure."""

from __future__ import annotations

from urllib.parse import urlencode

from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.binance import spec
from zvt_crypto.venues.binance.spec import Market
from zvt_crypto.venues.rest import Call


def _call(market: Market, path: str, weight: int, *, bucket: str | None = None, **query: object) -> Call:
    given = {name: value for name, value in query.items() if value is not None}
    target = f"{spec.PREFIX[market]}/{path}" + (f"?{urlencode(given)}" if given else "")
    return Call(market, target, bucket or spec.BUCKETS[market], weight)


def time(market: Market) -> Call:
    """The venue's clock."""
    return _call(market, "time", spec.WEIGHTS[market]["time"])


def exchange_info(market: Market) -> Call:
    """Everything listed, and the limits."""
    return _call(market, "exchangeInfo", spec.WEIGHTS[market]["exchangeInfo"])


def klines(market: Market, native: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int) -> Call:
    """Klines that open in [start_ms, end_ms], both inclusive; without a start, the newest."""
    weight = spec.klines_weight(market, limit)
    return _call(market, "klines", weight, symbol=native, interval=interval, startTime=start_ms, endTime=end_ms, limit=limit)


def mark_klines(native: str, start_ms: int | None, end_ms: int | None, limit: int) -> Call:
    """The mark price's minutes."""
    weight = spec.klines_weight("usdm", limit)
    return _call("usdm", "markPriceKlines", weight, symbol=native, interval="1m", startTime=start_ms, endTime=end_ms, limit=limit)


def index_klines(pair: str, start_ms: int | None, end_ms: int | None, limit: int) -> Call:
    """The index price's minutes. The index belongs to the pair: a dated contract has its perpetual's."""
    weight = spec.klines_weight("usdm", limit)
    return _call("usdm", "indexPriceKlines", weight, pair=pair, interval="1m", startTime=start_ms, endTime=end_ms, limit=limit)


def recent_trades(market: Market, native: str, limit: int) -> Call:
    """The newest trades."""
    return _call(market, "trades", spec.WEIGHTS[market]["trades"], symbol=native, limit=limit)


def historical_trades(market: Market, native: str, from_id: int, limit: int) -> Call:
    """Trades from an id on."""
    return _call(market, "historicalTrades", spec.WEIGHTS[market]["historicalTrades"], symbol=native, fromId=from_id, limit=limit)


def agg_trades(
    market: Market,
    native: str,
    limit: int,
    *,
    from_id: int | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Call:
    """Aggregates from an id on, or of [start_ms, end_ms], or the newest."""
    weight = spec.WEIGHTS[market]["aggTrades"]
    return _call(market, "aggTrades", weight, symbol=native, fromId=from_id, startTime=start_ms, endTime=end_ms, limit=limit)


def depth(market: Market, native: str, limit: int) -> Call:
    """The book, `limit` levels a side (one of the venue's limits)."""
    return _call(market, "depth", spec.depth_weight(market, limit), symbol=native, limit=limit)


def ticker(market: Market, native: str) -> Call:
    """The rolling 24 hours."""
    return _call(market, "ticker/24hr", spec.WEIGHTS[market]["ticker/24hr"], symbol=native)


def premium(native: str) -> Call:
    """Mark, index and the expected funding now."""
    return _call("usdm", "premiumIndex", spec.WEIGHTS["usdm"]["premiumIndex"], symbol=native)


def funding(native: str, start_ms: int | None, end_ms: int | None, limit: int) -> Call:
    """Settled funding; with a start, ascending from it."""
    weight = spec.WEIGHTS["usdm"]["fundingRate"]
    return _call(
        "usdm",
        "fundingRate",
        weight,
        bucket=spec.FUNDING_BUCKET,
        symbol=native,
        startTime=start_ms,
        endTime=end_ms,
        limit=limit,
    )
