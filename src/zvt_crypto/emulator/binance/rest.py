"""Binance's public REST: which path, which parameters, which weight, which answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.bars import INTERVALS
from zvt_crypto.emulator.binance import wire
from zvt_crypto.emulator.binance.limits import RATE_LIMITS
from zvt_crypto.emulator.model import Listing, Market, World
from zvt_crypto.emulator.tickers import listed_best, listed_day, listed_mark

_USDM_DEPTH = (5, 10, 20, 50, 100, 500, 1000)
_HOUR_MS = 3_600_000


class Fault(Exception):
    """An error answer: Binance's code and text."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status
        self.body = b'{"code":%d,"msg":"%s"}' % (code, text.replace('"', "'").encode())


class Query:
    """The parameters of one request, read the way Binance reads them. Raises Fault."""

    def __init__(self, world: World, market: Market, text: str, now_ns: int, weight_limit: int) -> None:
        self.world = world
        self.market = market
        self.now_ns = now_ns
        self.weight_limit = weight_limit
        self.values = dict(parse_qsl(text, keep_blank_values=True))

    def listing(self, name: str = "symbol") -> Listing:
        """The mandatory symbol."""
        value = self.values.get(name, "")
        if not value:
            raise Fault(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if not re.fullmatch(r"[\w\-.]{1,30}", value):
            raise Fault(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[\\\\w\\\\-._&&[^a-z]]{{1,50}}$'.")
        found = self.world.listings(self.market).get(value)
        if found is None:
            raise Fault(-1121, "Invalid symbol.")
        return found

    def listings(self) -> tuple[list[Listing], bool]:
        """`symbol`, `symbols` or all; and whether the answer is a list."""
        if "symbols" in self.values:
            names = re.findall(r'"([^"]*)"', self.values["symbols"])
            known = self.world.listings(self.market)
            if not names or any(name not in known for name in names):
                raise Fault(-1121, "Invalid symbol.")
            return [known[name] for name in names], True
        if "symbol" in self.values:
            return [self.listing()], False
        return list(self.world.listings(self.market).values()), True

    def number(self, name: str) -> int | None:
        """A whole number, if it was sent."""
        text = self.values.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,20}", text):
            raise Fault(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """Spot cuts what is too much, USD-M refuses it."""
        limit = self.number("limit")
        if limit is None:
            return default
        if limit < 1 or (limit > most and self.market == "usdm"):
            raise Fault(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit, most)

    def times(self) -> tuple[int | None, int | None]:
        """(startTime, endTime) in ns; the end covers its whole millisecond."""
        start_ms, end_ms = self.number("startTime"), self.number("endTime")
        if start_ms is not None and end_ms is not None and start_ms > end_ms and self.market == "usdm":
            raise Fault(-1023, "Start time is greater than end time.")
        start_ns = None if start_ms is None else start_ms * NS_PER_MS
        return start_ns, None if end_ms is None else end_ms * NS_PER_MS + NS_PER_MS - 1

    def interval(self) -> str:
        """The mandatory interval."""
        value = self.values.get("interval", "")
        if not value:
            raise Fault(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if value not in INTERVALS or (value == "1s" and self.market == "usdm"):
            raise Fault(-1120, "Invalid interval.")
        if self.values.get("timeZone", "0") not in ("0", "00:00", "+00:00", "0:00"):
            raise Fault(-1130, "Data sent for parameter 'timeZone' is not valid.")
        return value


class Endpoint(NamedTuple):
    """How a path is answered, and what it weighs for a given query."""

    answer: Callable[[Query], str]
    weight: Callable[[Query], int]


def _listed(rows: list[str], many: bool) -> str:
    return "[" + ",".join(rows) + "]" if many else rows[0]


def _server_ms(q: Query) -> int:
    return q.world.server_ns(q.now_ns) // NS_PER_MS


def _exchange_info(q: Query) -> str:
    recorded = q.world.recorded(q.market, "exchangeInfo")
    if recorded is not None and "symbol" not in q.values and "symbols" not in q.values:
        return recorded.decode()
    return wire.exchange_info(q.listings()[0], q.market, _server_ms(q), RATE_LIMITS[q.market] % q.weight_limit)


def _depth(q: Query) -> str:
    listing = q.listing()
    limit = q.limit(100 if q.market == "spot" else 500, 5000 if q.market == "spot" else 1000)
    if q.market == "usdm" and limit not in _USDM_DEPTH:
        raise Fault(-4021, f"{limit} is not valid depth limit.")
    return wire.depth_answer(listing, q.world.book(listing, limit))


def _trades(q: Query) -> str:
    listing = q.listing()
    return _listed([wire.trade_row(listing, row) for row in q.world.trades(listing, None, q.limit(500, 1000))], True)


def _historical_trades(q: Query) -> str:
    listing, from_id = q.listing(), q.number("fromId")
    return _listed([wire.trade_row(listing, row) for row in q.world.trades(listing, from_id, q.limit(500, 1000))], True)


def _agg_trades(q: Query) -> str:
    listing, from_id = q.listing(), q.number("fromId")
    start_ns, end_ns = q.times()
    if q.market == "usdm" and start_ns is not None and end_ns is not None and end_ns - start_ns >= (_HOUR_MS + 1) * NS_PER_MS:
        raise Fault(-1127, "More than 1 hours between startTime and endTime.")
    rows = q.world.aggs(listing, from_id, start_ns, end_ns, q.limit(500, 1000))
    return _listed([wire.agg_row(listing, row) for row in rows], True)


def _klines(q: Query) -> str:
    listing, interval = q.listing(), q.interval()
    start_ns, end_ns = q.times()
    rows = q.world.bars(listing, interval, start_ns, end_ns, q.limit(500, 1000 if q.market == "spot" else 1500))
    return _listed([wire.kline_row(listing, interval, row) for row in rows], True)


def _mark_klines(kind: Literal["mark", "index"]) -> Callable[[Query], str]:
    def answer(q: Query) -> str:
        listing, interval = q.listing("symbol" if kind == "mark" else "pair"), q.interval()
        start_ns, end_ns = q.times()
        rows = q.world.mark_bars(listing, kind, interval, start_ns, end_ns, q.limit(500, 1500))
        return _listed([wire.mark_kline_row(interval, row) for row in rows], True)

    return answer


def _day(q: Query) -> str:
    listings, many = q.listings()
    days = [(one, listed_day(q.world, one) if many else q.world.day(one)) for one in listings]
    return _listed([wire.day_row(one, day) for one, day in days if day is not None], many or days[0][1] is None)


def _price(q: Query) -> str:
    listings, many = q.listings()
    days = [(one, listed_day(q.world, one) if many else q.world.day(one)) for one in listings]
    return _listed([wire.price_row(one, day) for one, day in days if day is not None], many or days[0][1] is None)


def _quote(q: Query) -> str:
    listings, many = q.listings()
    return _listed([wire.quote_row(one, listed_best(q.world, one) if many else q.world.book(one, 1)) for one in listings], many)


def _premium_index(q: Query) -> str:
    listings, many = q.listings()
    marks = [(one, listed_mark(q.world, one) if many else q.world.mark(one)) for one in listings]
    return _listed([wire.mark_row(one, mark) for one, mark in marks if mark is not None], many or marks[0][1] is None)


def _funding_rate(q: Query) -> str:
    start_ns, end_ns = q.times()
    limit = q.limit(100, 1000)
    listings, many = q.listings()
    asked = [one for one in listings if not many or q.world.resting(one) is None]
    rows = [(row, one) for one in asked for row in q.world.funding(one, start_ns, end_ns, limit)]
    rows.sort(key=lambda pair: (pair[0].time_ns, pair[1].symbol))
    rows = rows[:limit] if start_ns is not None else rows[-limit:]
    return _listed([wire.funding_row(one, row) for row, one in rows], True)


def _by_size(steps: tuple[tuple[int, int], ...], default: int) -> Callable[[Query], int]:
    """The weight of the first step whose limit is not below the request's."""

    def weight(q: Query) -> int:
        text = q.values.get("limit", "")
        limit = int(text) if text.isascii() and text.isdigit() else default
        return next((weight for most, weight in steps if limit <= most), steps[-1][1])

    return weight


def _fixed(weight: int) -> Callable[[Query], int]:
    return lambda q: weight


def _one_or_all(one: int, all_of_them: int) -> Callable[[Query], int]:
    return lambda q: one if "symbol" in q.values else all_of_them


def _time(q: Query) -> str:
    return f'{{"serverTime":{_server_ms(q)}}}'


_KLINE_WEIGHT = _by_size(((99, 1), (499, 2), (1000, 5), (1500, 10)), 500)

ENDPOINTS: dict[Market, dict[str, Endpoint]] = {
    "spot": {
        "ping": Endpoint(lambda q: "{}", _fixed(1)),
        "time": Endpoint(_time, _fixed(1)),
        "exchangeInfo": Endpoint(_exchange_info, _fixed(20)),
        "depth": Endpoint(_depth, _by_size(((100, 5), (500, 25), (1000, 50), (5000, 250)), 100)),
        "trades": Endpoint(_trades, _fixed(25)),
        "historicalTrades": Endpoint(_historical_trades, _fixed(25)),
        "aggTrades": Endpoint(_agg_trades, _fixed(4)),
        "klines": Endpoint(_klines, _fixed(2)),
        "ticker/24hr": Endpoint(_day, _one_or_all(2, 80)),
        "ticker/price": Endpoint(_price, _one_or_all(2, 4)),
        "ticker/bookTicker": Endpoint(_quote, _one_or_all(2, 4)),
    },
    "usdm": {
        "ping": Endpoint(lambda q: "{}", _fixed(1)),
        "time": Endpoint(_time, _fixed(1)),
        "exchangeInfo": Endpoint(_exchange_info, _fixed(1)),
        "depth": Endpoint(_depth, _by_size(((50, 2), (100, 5), (500, 10), (1000, 20)), 500)),
        "trades": Endpoint(_trades, _fixed(5)),
        "historicalTrades": Endpoint(_historical_trades, _fixed(200)),
        "aggTrades": Endpoint(_agg_trades, _fixed(20)),
        "klines": Endpoint(_klines, _KLINE_WEIGHT),
        "markPriceKlines": Endpoint(_mark_klines("mark"), _KLINE_WEIGHT),
        "indexPriceKlines": Endpoint(_mark_klines("index"), _KLINE_WEIGHT),
        "premiumIndex": Endpoint(_premium_index, _one_or_all(1, 10)),
        "fundingRate": Endpoint(_funding_rate, _fixed(1)),
        "fundingInfo": Endpoint(lambda q: "[]", _fixed(0)),
        "ticker/24hr": Endpoint(_day, _one_or_all(1, 40)),
        "ticker/price": Endpoint(_price, _one_or_all(1, 2)),
        "ticker/bookTicker": Endpoint(_quote, _one_or_all(2, 5)),
    },
}


def route(path: str) -> tuple[Market, str] | None:
    """(market, endpoint name) of a path; `/api/v1` and `/fapi/v2` are not served."""
    for prefix, market in (("/api/v3/", "spot"), ("/fapi/v1/", "usdm")):
        if path.startswith(prefix):
            name = path[len(prefix) :]
            return ("spot", name) if market == "spot" else ("usdm", name)
    return None
