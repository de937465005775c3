"""What is asked of Coinbase by REST: host, path and query of each call. Pure. Every call costs one."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from zvt_crypto.venues.coinbase import spec
from zvt_crypto.venues.coinbase.spec import Api, Market
from zvt_crypto.venues.rest import Call


def _call(api: Api, path: str, **query: object) -> Call:
    given = {name: value for name, value in query.items() if value is not None}
    prefix = spec.PREFIX if api == "advanced" else ""
    return Call(api, f"{prefix}/{path}" + (f"?{urlencode(given)}" if given else ""), spec.BUCKETS[api])


def time() -> Call:
    """The venue's clock."""
    return _call("advanced", "time")


def products(market: Market, offset: int = 0) -> Call:
    """Everything that is listed, from the row `offset` on."""
    return _call("advanced", "market/products", product_type=spec.PRODUCT_TYPE[market], offset=offset or None)


def product(native: str) -> Call:
    """One product: its ticker, and whose book it shares."""
    return _call("advanced", f"market/products/{quote(native, safe='')}")


def candles(native: str, granularity: str, first_s: int, last_s: int) -> Call:
    """Candles that open in [first_s, last_s], both inclusive; both are required."""
    path = f"market/products/{quote(native, safe='')}/candles"
    return _call("advanced", path, start=first_s, end=last_s, granularity=granularity, limit=spec.CANDLES_MOST)


def market_trades(native: str, limit: int, start_s: int | None = None, end_s: int | None = None) -> Call:
    """The newest trades, of [start_s, end_s] where given. The path is called ticker."""
    return _call("advanced", f"market/products/{quote(native, safe='')}/ticker", limit=limit, start=start_s, end=end_s)


def book(native: str, limit: int) -> Call:
    """The book, `limit` levels a side."""
    return _call("advanced", "market/product_book", product_id=native, limit=limit)


def trades_below(native: str, below_id: int | None, limit: int) -> Call:
    """The newest trades whose ids are below `below_id`; without one, the newest. `after` means older: pages go back in time."""
    return _call("exchange", f"products/{quote(native, safe='')}/trades", limit=limit, after=below_id)
