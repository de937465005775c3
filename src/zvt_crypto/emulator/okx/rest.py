"""OKX's public REST: which path, which parameters, which answer. Pure.

Rows come newest first. `after=X` asks for what is older than X, `before=X` for what is newer; of what `before` alone allows, the newest
rows come, not those next to X.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.emulator.model import Trade, World
from zvt_crypto.emulator.okx import wire
from zvt_crypto.emulator.okx.names import BARS, MARKETS, Bars, Instrument, every_instrument, instruments, newest_bars
from zvt_crypto.emulator.tickers import listed_mark

FUNDING_NS = 8 * 3600 * NS_PER_S
_RECENT = 1440  # rows that `market/candles` reaches back
_KINDS = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")


class _Recorded(msgspec.Struct):
    data: list[msgspec.Raw]


_ROWS = msgspec.json.Decoder(_Recorded)


class Fault(Exception):
    """An error answer: OKX's code, text and HTTP status."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status
        self.body = wire.refusal(code, text)


class Query:
    """The parameters of one request. Raises Fault."""

    def __init__(self, world: World, text: str, now_ns: int) -> None:
        self.world = world
        self.now_ns = now_ns
        self.values = {name: value for name, value in parse_qsl(text) if value}

    def needed(self, name: str) -> str:
        """A mandatory parameter."""
        if name not in self.values:
            raise Fault(50014, f"Parameter {name} can not be empty.")
        return self.values[name]

    def number(self, name: str) -> int | None:
        """A whole number, if it was sent."""
        text = self.values.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,19}", text):
            raise Fault(51000, f"Parameter {name} error")
        return int(text)

    def limit(self, default: int, most: int, name: str = "limit") -> int:
        """How many rows."""
        limit = self.number(name)
        if limit is None:
            return default
        if not 1 <= limit <= most:
            raise Fault(51000, f"Parameter {name} error")
        return limit

    def kind(self) -> str:
        """The mandatory instType."""
        kind = self.needed("instType")
        if kind not in _KINDS:
            raise Fault(51000, "Parameter instType error")
        return kind

    def instrument(self) -> Instrument:
        """The mandatory instId."""
        return self.known(every_instrument(self.world), self.needed("instId"))

    def swap(self) -> Instrument:
        """The mandatory instId of a perpetual."""
        return self.known(instruments(self.world, "SWAP"), self.needed("instId"))

    def index(self) -> Instrument:
        """The perpetual whose index the mandatory instId is."""
        return self.known({one.family: one for one in instruments(self.world, "SWAP").values()}, self.needed("instId"))

    def known(self, table: dict[str, Instrument], name: str) -> Instrument:
        """The instrument of a name."""
        if name not in table:
            raise Fault(51001, "Instrument ID, Instrument ID code, or Spread ID doesn't exist.", status=200)
        return table[name]

    def bars(self, *, with_seconds: bool) -> Bars:
        """The bar size; a minute unless told."""
        bar = self.values.get("bar", "1m")
        if bar not in BARS or (bar == "1s" and not with_seconds):
            raise Fault(51000, "Parameter bar error")
        return BARS[bar]

    def span(self) -> tuple[int | None, int | None]:
        """(after, before) as times in ns: rows lie strictly between."""
        after, before = self.number("after"), self.number("before")
        return None if after is None else after * NS_PER_MS, None if before is None else before * NS_PER_MS


class Endpoint(NamedTuple):
    """How a path is answered, and how often within two seconds; `by_kind`: counted for each instType."""

    answer: Callable[[Query], Iterable[str]]
    rate: int
    by_kind: bool = False


def _server_ns(q: Query) -> int:
    return q.world.server_ns(q.now_ns)


def _instruments(q: Query) -> Iterable[str]:
    kind = q.kind()
    if kind == "OPTION" and not {"uly", "instFamily"} & set(q.values):
        raise Fault(50015, "Either parameter uly or instFamily is required")
    found = instruments(q.world, kind)
    name = q.values.get("instId")
    recorded = q.world.recorded(MARKETS.get(kind, ("usdm",))[0], f"public/instruments {kind}")
    if recorded is not None and name is None:
        return [bytes(row).decode() for row in _ROWS.decode(recorded).data]
    return [wire.instrument_row(one) for one in ([q.known(found, name)] if name else found.values())]


def _candles(reach: int | None) -> Callable[[Query], Iterable[str]]:
    def answer(q: Query) -> Iterable[str]:
        one, bars, limit = q.instrument(), q.bars(with_seconds=reach is None), q.limit(100, 300)
        after_ns, before_ns = q.span()
        if reach is not None:
            oldest = newest_bars(q.world, one.listing, bars, None, reach)
            before_ns = max(before_ns or 0, oldest[0].open_ns - 1) if oldest else before_ns
        rows = newest_bars(q.world, one.listing, bars, after_ns, limit)
        closed = _server_ns(q)
        return [
            wire.candle_row(one, row, is_final=bars.next(row.open_ns) <= closed)
            for row in reversed(rows)
            if before_ns is None or row.open_ns > before_ns
        ]

    return answer


def _price_candles(kind: Literal["mark", "index"]) -> Callable[[Query], Iterable[str]]:
    def answer(q: Query) -> Iterable[str]:
        one, bars, limit = q.swap() if kind == "mark" else q.index(), q.bars(with_seconds=False), q.limit(100, 100)
        if bars.east_ns:
            raise Fault(51000, "Parameter bar error")  # prices east of UTC are not kept here
        after_ns, before_ns = q.span()
        rows = q.world.mark_bars(one.listing, kind, bars.interval, None, None if after_ns is None else after_ns - 1, limit)
        closed = _server_ns(q)
        return [
            wire.price_candle_row(one, row, is_final=bars.next(row.open_ns) <= closed)
            for row in reversed(rows)
            if before_ns is None or row.open_ns > before_ns
        ]

    return answer


def _trades(q: Query) -> Iterable[str]:
    one = q.instrument()
    return [wire.trade_row(one, row) for row in reversed(q.world.trades(one.listing, None, q.limit(100, 500)))]


def _old_trades(q: Query) -> Iterable[str]:
    one, limit = q.instrument(), q.limit(100, 100)
    if q.values.get("type", "1") not in ("1", "2"):
        raise Fault(51000, "Parameter type error")
    by_time = q.values.get("type") == "2"
    after, before = q.number("after"), q.number("before")
    end = _first_id_at(q, one, after * NS_PER_MS) if by_time and after is not None else after
    rows = _trades_before(q, one, end, limit)
    wanted = [row for row in rows if before is None or (row.time_ns // NS_PER_MS if by_time else row.id) > before]
    return [wire.trade_row(one, row) for row in reversed(wanted)]


def _first_id_at(q: Query, one: Instrument, at_ns: int) -> int:
    """The id that follows the last trade before a time."""
    past = q.world.aggs(one.listing, None, None, at_ns - 1, 1)
    return past[-1].last_id + 1 if past and past[-1].time_ns < at_ns else 0


def _trades_before(q: Query, one: Instrument, end_id: int | None, limit: int) -> Sequence[Trade]:
    if end_id is None:
        return q.world.trades(one.listing, None, limit)
    newest = q.world.trades(one.listing, None, 1)
    end_id = min(end_id, newest[-1].id + 1) if newest else 0
    return [row for row in q.world.trades(one.listing, max(0, end_id - limit), limit) if row.id < end_id]


def _book(q: Query) -> Iterable[str]:
    one = q.instrument()
    return [wire.book_row(one, q.world.book(one.listing, q.limit(1, 400, "sz")))]


def _full_book(q: Query) -> Iterable[str]:
    one = q.instrument()
    return [wire.full_book_row(one, q.world.book(one.listing, q.limit(1, 5000, "sz")))]


def ticker_rows(world: World, one: Instrument) -> list[str]:
    """The ticker of an instrument, where anything is known."""
    day = world.day(one.listing)
    return [] if day is None else [wire.ticker_row(one, day, day_opens(world, one))]


def _listed_rows(world: World, one: Instrument) -> list[str]:
    """The same on a list."""
    resting = world.resting(one.listing)
    if resting is None:
        return ticker_rows(world, one)
    return [wire.ticker_row(one, resting.day, (resting.day.bar.open, resting.day.bar.open))]


def day_opens(world: World, one: Instrument) -> tuple[int, int]:
    """The prices at which the running days of UTC and UTC+8 opened."""
    east = newest_bars(world, one.listing, BARS["1D"], None, 1)
    utc = newest_bars(world, one.listing, BARS["1Dutc"], None, 1)
    return (utc[-1].open if utc else 0), (east[-1].open if east else 0)


def _ticker(q: Query) -> Iterable[str]:
    return ticker_rows(q.world, q.instrument())


def _tickers(q: Query) -> Iterable[str]:
    return [row for one in instruments(q.world, q.kind()).values() for row in _listed_rows(q.world, one)]


def _index_tickers(q: Query) -> Iterable[str]:
    if not {"instId", "quoteCcy"} & set(q.values):
        raise Fault(50015, "Either parameter quoteCcy or instId is required")
    quote = q.values.get("quoteCcy")
    chosen = [q.index()] if "instId" in q.values else [one for one in instruments(q.world, "SWAP").values() if one.listing.quote == quote]
    mark_of = q.world.mark if "instId" in q.values else partial(listed_mark, q.world)
    return [wire.index_row(one, mark) for one in chosen if (mark := mark_of(one.listing)) is not None]


def _mark_price(q: Query) -> Iterable[str]:
    name = q.values.get("instId")
    kind = q.kind() if "instType" in q.values or not name else "SWAP"  # whoever names an instrument may leave its type out
    found = instruments(q.world, "" if kind == "SPOT" else kind)
    chosen = [q.known(found, name)] if name else found.values()
    mark_of = q.world.mark if name else partial(listed_mark, q.world)
    return [wire.mark_row(one, mark) for one in chosen if (mark := mark_of(one.listing)) is not None]


def _funding(q: Query) -> Iterable[str]:
    is_any = q.needed("instId") == "ANY"
    chosen = instruments(q.world, "SWAP").values() if is_any else [q.swap()]
    mark_of = partial(listed_mark, q.world) if is_any else q.world.mark
    return [wire.funding_row(one, mark, FUNDING_NS) for one in chosen if (mark := mark_of(one.listing)) is not None]


def _funding_history(q: Query) -> Iterable[str]:
    one, limit = q.swap(), q.limit(100, 400)
    after_ns, before_ns = q.span()
    rows = q.world.funding(one.listing, None, None if after_ns is None else after_ns - 1, limit)
    return [wire.settled_row(one, row) for row in reversed(rows) if before_ns is None or row.time_ns > before_ns]


ENDPOINTS: dict[str, Endpoint] = {
    "public/time": Endpoint(lambda q: [f'{{"ts":"{_server_ns(q) // NS_PER_MS}"}}'], 10),
    "public/instruments": Endpoint(_instruments, 20, by_kind=True),
    "market/candles": Endpoint(_candles(_RECENT), 40),
    "market/history-candles": Endpoint(_candles(None), 20),
    "market/mark-price-candles": Endpoint(_price_candles("mark"), 20),
    "market/history-mark-price-candles": Endpoint(_price_candles("mark"), 10),
    "market/index-candles": Endpoint(_price_candles("index"), 20),
    "market/history-index-candles": Endpoint(_price_candles("index"), 10),
    "market/trades": Endpoint(_trades, 100),
    "market/history-trades": Endpoint(_old_trades, 20),
    "market/books": Endpoint(_book, 40),
    "market/books-full": Endpoint(_full_book, 10),
    "market/ticker": Endpoint(_ticker, 20),
    "market/tickers": Endpoint(_tickers, 20),
    "market/index-tickers": Endpoint(_index_tickers, 20),
    "public/mark-price": Endpoint(_mark_price, 10),
    "public/funding-rate": Endpoint(_funding, 20),
    "public/funding-rate-history": Endpoint(_funding_history, 10),
}
PREFIX = "/api/v5/"
PRIVATE = ("account/", "trade/", "asset/", "users/")
RATES: dict[str, int] = {name: one.rate for name, one in ENDPOINTS.items()}
