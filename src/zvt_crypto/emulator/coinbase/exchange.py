"""Exchange's public REST, and the few answers of the older retail API that clients ask for on the way. Pure. Pairs only.

`after=id` means older than that id; `before=id` gives the newest page above it. Sides are the makers'.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadTime
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S, parse_time
from zvt_crypto.emulator.bars import LENGTH_NS, floor_open
from zvt_crypto.emulator.coinbase import wire
from zvt_crypto.emulator.coinbase.names import CURRENCY_NAMES, SECONDS, Product, products
from zvt_crypto.emulator.coinbase.query import Fault, Query, traded_bars, trades_below
from zvt_crypto.emulator.model import Trade

CANDLES_MOST = 300
TRADES_MOST = 1000
_ALL = 1_000_000  # levels: the whole book
PRIVATE = ("accounts", "orders", "fills", "transfers", "fees", "profiles", "users", "deposits", "withdrawals", "reports")
Found = tuple[bytes, dict[str, str]]  # body, headers


def refused(text: str, status: int = 400) -> Fault:
    """Exchange's words for a wrong request."""
    return Fault(status, {"message": text})


def answer(path: str, q: Query) -> Found:
    """The answer to a path without its first slash, and its headers. Raises Fault."""
    match path.split("/"):
        case ["time"]:
            return _json({"iso": wire.moment(q.server_ns // NS_PER_MS * NS_PER_MS), "epoch": q.server_ns // NS_PER_MS / 1000})
        case ["products"] if (known := q.world.recorded("spot", "products")) is not None:
            return known, {}
        case ["products"]:
            return _json([_product(one) for one in products(q.world).values() if one.book_id == one.id])
        case ["currencies"]:
            return _json([_currency(name) for name in _currencies(q)])
        case ["products", product_id]:
            return _json(_product(q.pair(product_id)))
        case ["products", product_id, what] if what in _OF_A_PAIR:
            return _OF_A_PAIR[what](q, q.pair(product_id))
        case ["v2", *rest]:
            return _json({"data": _retail("/".join(rest), q)})
        case [name, *_] if name in PRIVATE:
            raise refused("CB-ACCESS-KEY header is required", 401)
    raise refused("NotFound", 404)


def _json(value: object) -> Found:
    return msgspec.json.encode(value), {}


def _product(one: Product) -> dict[str, Any]:
    return {
        "id": one.id,
        "base_currency": one.base,
        "quote_currency": one.quote,
        "quote_increment": wire.number(one.listing.tick_e8),
        "base_increment": wire.number(one.listing.lot_e8),
        "display_name": f"{one.base}-{one.quote}",
        "min_market_funds": wire.number(one.listing.min_notional_e8),
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def _at(text: str) -> int:
    """A moment: RFC 3339 or seconds."""
    if re.fullmatch(r"[0-9]{1,11}", text):
        return int(text) * NS_PER_S
    try:
        return parse_time(text)
    except BadTime:
        raise refused(f"invalid time: {text[:40]}") from None


def _candles(q: Query, one: Product) -> Found:
    text = q.values.get("granularity", "60")
    if not text.isascii() or not text.isdigit() or int(text[:9]) not in SECONDS:
        raise refused("Unsupported granularity")
    interval = SECONDS[int(text)]
    length, now_ns = LENGTH_NS[interval], q.server_ns
    start_ns, end_ns = now_ns - (CANDLES_MOST - 1) * length, now_ns
    if {"start", "end"} <= set(q.values):  # where one is missing, both are ignored
        start_ns, end_ns = _at(q.values["start"]), _at(q.values["end"])
        if end_ns < start_ns:
            raise refused("start must be before end")
        if (end_ns - start_ns) // length > CANDLES_MOST:
            raise refused(f"granularity too small for the requested time range. Count of aggregations requested exceeds {CANDLES_MOST}")
    # The row that holds the start comes too, though it opens before it.
    bars = traded_bars(q.world, one.listing, interval, floor_open(interval, start_ns), end_ns, CANDLES_MOST + 1)
    rows = [
        f"[{bar.open_ns // NS_PER_S},{','.join(wire.number(value) for value in (bar.low, bar.high, bar.open, bar.close, bar.size))}]"
        for bar in bars
    ]
    return f"[{','.join(rows)}]".encode(), {}


def _trades(q: Query, one: Product) -> Found:
    limit, after, before = q.limit(TRADES_MOST, TRADES_MOST), q.number("after"), q.number("before")
    if after is not None and before is not None:
        raise refused("only one of before and after may be given")
    rows = trades_below(q.world, one.listing, after, limit)
    if before is not None:
        rows = [row for row in rows if row.id > before]
    headers = {"CB-BEFORE": str(rows[0].id), "CB-AFTER": str(rows[-1].id)} if rows else {}
    return msgspec.json.encode([trade_row(row) for row in rows]), headers


def trade_row(row: Trade) -> dict[str, Any]:
    """A row of trades."""
    side = wire.maker_side(row).lower()
    return {
        "trade_id": row.id,
        "side": side,
        "size": wire.number(row.size),
        "price": wire.number(row.price),
        "time": wire.moment(row.time_ns),
    }


def _book(q: Query, one: Product) -> Found:
    level = q.values.get("level", "1")
    if level == "3":
        raise refused("level 3 requires authentication", 401)
    if level not in ("1", "2"):
        raise refused("Invalid level")
    image = q.world.book(one.listing, 1 if level == "1" else _ALL)
    bids, asks = ([[wire.number(price), wire.number(size), 1] for price, size in side] for side in (image.bids, image.asks))
    return _json(
        {
            "bids": bids,
            "asks": asks,
            "sequence": image.last_id,
            "auction_mode": False,
            "auction": None,
            "time": wire.moment(image.event_ns),
        }
    )


def _ticker(q: Query, one: Product) -> Found:
    day = q.world.day(one.listing)
    if day is None or day.last is None:
        raise refused("NotFound", 404)
    last = day.last
    return _json(
        {
            "ask": wire.number(day.ask[0]),
            "bid": wire.number(day.bid[0]),
            "volume": wire.number(day.bar.size),
            "trade_id": last.id,
            "price": wire.number(last.price),
            "size": wire.number(last.size),
            "time": wire.moment(last.time_ns),
            "rfq_volume": "0",
        }
    )


def _stats(q: Query, one: Product) -> Found:
    day = q.world.day(one.listing)
    if day is None:
        raise refused("NotFound", 404)
    opened, high, low, last, volume = (wire.number(value) for value in day.bar[1:6])
    return _json({"open": opened, "high": high, "low": low, "last": last, "volume": volume, "volume_30day": volume})


def _currencies(q: Query) -> list[str]:
    listed = [one for one in products(q.world).values() if one.book_id == one.id]
    return sorted({name for one in listed for name in (one.base, one.quote)})


def _currency(name: str) -> dict[str, Any]:
    kind = "fiat" if name == "USD" else "crypto"
    return {
        "id": name,
        "name": CURRENCY_NAMES.get(name, name),
        "min_size": "0.00000001",
        "status": "online",
        "message": "",
        "max_precision": "0.01" if kind == "fiat" else "0.00000001",
        "convertible_to": [],
        "details": {"type": kind, "symbol": None},
        "default_network": "",
        "supported_networks": [],
    }


def _retail(path: str, q: Query) -> Any:
    """What the retail API says: its clock, and its currencies."""
    names = _currencies(q)
    if path == "time":
        return {"iso": wire.moment(q.server_ns // NS_PER_S * NS_PER_S), "epoch": q.server_ns // NS_PER_S}
    if path == "currencies":
        return [{"id": name, "name": CURRENCY_NAMES.get(name, name), "min_size": "0.01"} for name in names if name == "USD"]
    if path == "currencies/crypto":
        coins = [name for name in names if name != "USD"]
        return [{"code": name, "name": CURRENCY_NAMES.get(name, name), "exponent": 8, "type": "crypto"} for name in coins]
    if path == "exchange-rates":
        return {"currency": "USD", "rates": dict.fromkeys(names, "1.00")}
    raise Fault(404, {"errors": [{"id": "not_found", "message": "Not found"}]})


_OF_A_PAIR: dict[str, Callable[[Query, Product], Found]] = {
    "candles": _candles,
    "trades": _trades,
    "book": _book,
    "ticker": _ticker,
    "stats": _stats,
}
