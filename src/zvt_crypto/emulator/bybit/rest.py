"""Bybit's public REST: which path, which parameters, which answer. Pure. HTTP is 200 for refusals, too: `retCode` decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.bybit import wire
from zvt_crypto.emulator.model import Listing, Market, World
from zvt_crypto.emulator.tickers import listed_day, listed_mark

PREFIX = "/v5/market/"
PRIVATE = ("/v5/order/", "/v5/position/", "/v5/account/", "/v5/execution/", "/v5/asset/", "/v5/user/")
MARKETS: dict[str, Market] = {"spot": "spot", "linear": "usdm", "inverse": "coinm"}
# Bybit's name → the world's.
INTERVALS: dict[str, str] = {
    **{str(n): f"{n}m" for n in (1, 3, 5, 15, 30)},
    **{str(60 * n): f"{n}h" for n in (1, 2, 4, 6, 12)},
    "D": "1d",
    "W": "1w",
    "M": "1M",
}
_INSTRUMENTS_MOST = 1000
_TRADES_MOST = {"spot": 60, "usdm": 1000, "coinm": 1000}


class _Row(msgspec.Struct):
    """What a recorded row of instruments-info is chosen by."""

    symbol: str
    status: str
    baseCoin: str  # noqa: N815 - the wire's name


class Fault(Exception):
    """An error answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Query:
    """The parameters of one request. Raises Fault."""

    def __init__(self, world: World, text: str, now_ns: int, book_number: Callable[[Listing], int]) -> None:
        self.world, self.now_ns, self.book_number = world, now_ns, book_number
        self.values = {name: value for name, value in parse_qsl(text) if value}

    @property
    def server_ns(self) -> int:
        """The exchange's clock."""
        return self.world.server_ns(self.now_ns)

    def category(self) -> str:
        """The mandatory category."""
        category = self.values.get("category", "")
        if category not in ("spot", "linear", "inverse", "option"):
            raise Fault(10001, "Category is invalid")
        return category

    def listings(self) -> dict[str, Listing]:
        """What the category lists; options are none here."""
        category = self.category()
        return self.world.listings(MARKETS[category]) if category in MARKETS else {}

    def listing(self) -> Listing:
        """The mandatory symbol."""
        name, found = self.values.get("symbol", ""), self.listings()
        if name not in found:
            raise Fault(10001, "Not supported symbols" if name else "params error: symbol can not be empty")
        return found[name]

    def number(self, name: str) -> int | None:
        """A whole number, if it was sent."""
        text = self.values.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,16}", text):
            raise Fault(10001, f"params error: {name} invalid")
        return int(text)

    def limit(self, usual: int, most: int) -> int:
        """How many rows; more than there may be is as many as there may be."""
        limit = self.number("limit")
        if limit == 0:
            raise Fault(10001, "params error: limit invalid")
        return usual if limit is None else min(limit, most)

    def interval(self) -> str:
        """The mandatory interval, by the world's name."""
        name = self.values.get("interval", "")
        if name not in INTERVALS:
            raise Fault(10001, "Invalid period!")
        return INTERVALS[name]

    def span_ns(self, start: str = "start", end: str = "end") -> tuple[int | None, int | None]:
        """[start, end], both inclusive."""
        low, high = self.number(start), self.number(end)
        if low is not None and high is not None and low > high:
            raise Fault(10001, "params error: start is after end")
        return (None if low is None else low * NS_PER_MS), (None if high is None else high * NS_PER_MS)


def _listed(q: Query, rows: list[str], extra: str = "") -> str:
    return f'{{"category":"{q.category()}",{extra}"list":[{",".join(rows)}]}}'


def _time(q: Query) -> str:
    return f'{{"timeSecond":"{q.server_ns // 1_000_000_000}","timeNano":"{q.server_ns}"}}'


def _instruments(q: Query) -> str:
    category, found = q.category(), q.listings()
    known = q.world.recorded(MARKETS.get(category, "usdm"), f"instruments-info {category}")
    if known is not None:
        return _recorded_instruments(q, category, msgspec.json.decode(known, type=list[msgspec.Raw]))
    if "symbol" in q.values:
        chosen = [q.listing()]
    elif q.values.get("status", "Trading") != "Trading":
        chosen = []
    else:
        chosen = [one for one in found.values() if q.values.get("baseCoin", one.base) == one.base]
    if category == "spot":
        return _listed(q, [wire.instrument_row(one) for one in chosen])
    return _page(q, [wire.instrument_row(one) for one in chosen])


def _recorded_instruments(q: Query, category: str, rows: list[msgspec.Raw]) -> str:
    """The recorded rows, chosen as the exchange chooses."""
    named = [(msgspec.json.decode(raw, type=_Row), bytes(raw).decode()) for raw in rows]
    if "symbol" in q.values:
        chosen = [text for row, text in named if row.symbol == q.values["symbol"]]
        if not chosen:
            raise Fault(10001, "Not supported symbols")
    else:
        status = q.values.get("status", "Trading")
        chosen = [text for row, text in named if row.status == status and q.values.get("baseCoin", row.baseCoin) == row.baseCoin]
    return _listed(q, chosen) if category == "spot" else _page(q, chosen)


def _page(q: Query, rows: list[str]) -> str:
    limit, first = q.limit(500, _INSTRUMENTS_MOST), q.number("cursor") or 0
    cursor = str(first + limit) if first + limit < len(rows) else ""
    return _listed(q, rows[first : first + limit], f'"nextPageCursor":"{cursor}",')


def _klines(q: Query) -> str:
    listing, interval, limit = q.listing(), q.interval(), q.limit(200, 1000)
    start_ns, end_ns = q.span_ns()
    if start_ns is not None and end_ns is not None:
        # Of a range longer than the limit, the end comes.
        rows = [bar for bar in q.world.bars(listing, interval, None, end_ns, limit) if bar.open_ns >= start_ns]
    else:
        rows = q.world.bars(listing, interval, start_ns, end_ns, limit)
    return _listed(q, [wire.kline_row(listing, bar) for bar in reversed(rows)], f'"symbol":"{listing.symbol}",')


def _price_klines(kind: Literal["mark", "index"]) -> Callable[[Query], str]:
    def answer(q: Query) -> str:
        if q.category() == "spot":
            raise Fault(10001, "Category is invalid")
        listing, interval, limit = q.listing(), q.interval(), q.limit(200, 1000)
        start_ns, end_ns = q.span_ns()
        first_ns = None if end_ns is not None else start_ns
        rows = q.world.mark_bars(listing, kind, interval, first_ns, end_ns, limit)
        wanted = [wire.price_row(bar) for bar in reversed(rows) if start_ns is None or bar.open_ns >= start_ns]
        return _listed(q, wanted, f'"symbol":"{listing.symbol}",')

    return answer


def _book(q: Query) -> str:
    listing = q.listing()
    limit = q.limit(1 if listing.market == "spot" else 25, 1000)
    return wire.book_row(listing, q.world.book(listing, limit), q.book_number(listing), q.server_ns)


def _trades(q: Query) -> str:
    listing = q.listing()
    most = _TRADES_MOST[listing.market]
    rows = q.world.trades(listing, None, q.limit(min(500, most), most))
    return _listed(q, [wire.recent_row(listing, row) for row in reversed(rows)])


def _tickers(q: Query) -> str:
    world = q.world
    if "symbol" in q.values:
        one = q.listing()
        known = [(one, world.day(one), None if one.market == "spot" else world.mark(one))]
    else:
        chosen = q.listings().values()
        known = [(one, listed_day(world, one), None if one.market == "spot" else listed_mark(world, one)) for one in chosen]
    return _listed(q, [wire.ticker_row(one, day, mark) for one, day, mark in known if day is not None])


def _funding(q: Query) -> str:
    if q.category() == "spot":
        raise Fault(10001, "Category is invalid")
    listing, limit = q.listing(), q.limit(200, 200)
    start_ns, end_ns = q.span_ns("startTime", "endTime")
    if start_ns is not None and end_ns is None:
        raise Fault(10001, "params error: endTime can not be empty when startTime is sent")
    rows = q.world.funding(listing, None, end_ns, limit)
    wanted = [wire.funding_row(listing, row) for row in reversed(rows) if start_ns is None or row.time_ns >= start_ns]
    return _listed(q, wanted)


ENDPOINTS: dict[str, Callable[[Query], str]] = {
    "time": _time,
    "instruments-info": _instruments,
    "kline": _klines,
    "mark-price-kline": _price_klines("mark"),
    "index-price-kline": _price_klines("index"),
    "orderbook": _book,
    "recent-trade": _trades,
    "tickers": _tickers,
    "funding/history": _funding,
}
