"""Advanced Trade's public REST: which path, which parameters, which answer. Pure. Rows come newest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.bars import LENGTH_NS
from zvt_crypto.emulator.coinbase import wire
from zvt_crypto.emulator.coinbase.names import GRANULARITY, Kind, Product, products
from zvt_crypto.emulator.coinbase.query import Query, traded_bars, trades_within, unknown, wrong
from zvt_crypto.emulator.model import read_e8
from zvt_crypto.emulator.tickers import listed_day, listed_mark

PREFIX = "/api/v3/brokerage/"
CANDLES_MOST = 350
TRADES_MOST = 1000
_ALL = 1_000_000  # levels: the whole book
_KINDS: dict[str, Kind] = {"SPOT": "SPOT", "FUTURE": "FUTURE"}
_PRODUCTS_MOST = 1000


def answer(path: str, q: Query) -> bytes:
    """The answer to a path below `PREFIX`. Raises Fault."""
    match path.split("/"):
        case ["time"]:
            found: Any = _time(q)
        case ["market", "products"]:
            return _products(q)
        case ["market", "product_book"]:
            found = _book(q)
        case ["market", "products", product_id]:
            found = _row(q, q.product(product_id))
        case ["market", "products", product_id, ("candles" | "ticker") as what]:
            found = _OF_A_PRODUCT[what](q, q.product(product_id))
        case _:
            raise unknown("route not found")
    return msgspec.json.encode(found)


def _time(q: Query) -> dict[str, str]:
    at_ns = q.server_ns
    return {
        "iso": wire.moment(at_ns // NS_PER_S * NS_PER_S),
        "epochSeconds": str(at_ns // NS_PER_S),
        "epochMillis": str(at_ns // 1_000_000),
    }


def _row(q: Query, product: Product) -> dict[str, Any]:
    mark = q.world.mark(product.listing) if product.kind == "FUTURE" else None
    return wire.product_row(product, q.world.day(product.listing), mark)


def _listed_row(q: Query, product: Product) -> dict[str, Any]:
    mark = listed_mark(q.world, product.listing) if product.kind == "FUTURE" else None
    return wire.product_row(product, listed_day(q.world, product.listing), mark)


def _products(q: Query) -> bytes:
    name = q.values.get("product_type", "SPOT")
    if name not in _KINDS:
        raise wrong(f"product_type is invalid: {name[:40]}")
    recorded = q.world.recorded("spot" if name == "SPOT" else "usdm", f"market/products {name}")
    wanted = {value for key, value in q.pairs if key == "product_ids"}
    if recorded is not None and not wanted:
        return recorded
    listed = list(products(q.world, _KINDS[name]).values())
    if wanted:
        listed = [one for one in listed if one.id in wanted]
    limit, first = q.limit(_PRODUCTS_MOST, _PRODUCTS_MOST), q.number("offset") or 0
    page = listed[first : first + limit]
    pagination = {"prev_cursor": "", "next_cursor": "", "has_next": first + limit < len(listed), "has_prev": first > 0}
    rows = [_listed_row(q, one) for one in page]
    return msgspec.json.encode({"products": rows, "num_products": len(page), "pagination": pagination})


def _candles(q: Query, product: Product) -> dict[str, Any]:
    start_s, end_s = q.needed("start"), q.needed("end")
    name = q.values.get("granularity", "")
    if name not in GRANULARITY:
        raise wrong(f"granularity is invalid: {name[:40]}")
    interval = GRANULARITY[name]
    if end_s < start_s:
        raise wrong("start must be before end")
    limit = q.limit(CANDLES_MOST, CANDLES_MOST)
    if (end_s - start_s) * NS_PER_S // LENGTH_NS[interval] > CANDLES_MOST:
        raise wrong(f"number of candles requested should be less than {CANDLES_MOST}")
    bars = traded_bars(q.world, product.listing, interval, start_s * NS_PER_S, end_s * NS_PER_S, CANDLES_MOST + 1)
    return {"candles": [wire.candle_row(bar) for bar in bars[:limit]]}


def _trades(q: Query, product: Product) -> dict[str, Any]:
    limit, start_s, end_s = q.limit(100, TRADES_MOST), q.number("start"), q.number("end")
    rows = trades_within(q.world, product.listing, start_s, end_s, limit)
    best = q.world.book(product.listing, 1)
    bid, ask = (wire.number(side[0][0]) if side else "" for side in (best.bids, best.asks))
    return {"trades": [wire.trade_row(product, row) for row in rows], "best_bid": bid, "best_ask": ask}


def _book(q: Query) -> dict[str, Any]:
    product = q.product(q.values.get("product_id", ""))
    image = q.world.book(product.listing, _ALL)
    limit, step = q.limit(_ALL, _ALL), q.values.get("aggregation_price_increment")
    bids, asks = image.bids, image.asks
    if step is not None:
        bids, asks = _gathered(bids, _step(step), up=False), _gathered(asks, _step(step), up=True)
    newest = q.world.trades(product.listing, None, 1)
    return wire.book_answer(product, bids[:limit], asks[:limit], image, newest[0].price if newest else None)


def _step(text: str) -> int:
    try:
        step = read_e8(text)
    except ValueError:
        step = 0
    if step <= 0:
        raise wrong(f"aggregation_price_increment is invalid: {text[:40]}")
    return step


def _gathered(levels: list[tuple[int, int]], step: int, *, up: bool) -> list[tuple[int, int]]:
    """Levels on a wider grid: bids go down to it, asks up."""
    made: dict[int, int] = {}
    for price, size in levels:
        at = -(-price // step) * step if up else price // step * step
        made[at] = made.get(at, 0) + size
    return list(made.items())


_OF_A_PRODUCT: dict[str, Callable[[Query, Product], dict[str, Any]]] = {"candles": _candles, "ticker": _trades}
