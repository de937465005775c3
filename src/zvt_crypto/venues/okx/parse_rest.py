"""OKX's REST answers → events, oldest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import Malformed, Refused
from zvt_crypto.domain.market import BookSnapshot, Funding, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_MS, Interval, next_ns
from zvt_crypto.venues.decode import decode
from zvt_crypto.venues.okx import wire
from zvt_crypto.venues.okx.parse import make_kline, make_ticker, make_trade, next_funding
from zvt_crypto.venues.okx.units import Traded
from zvt_crypto.venues.parsed import Drift

T = TypeVar("T")


def _rows(row: type[T], body: bytes, what: str) -> list[T]:
    """`data` of an answer, in the venue's order."""
    envelope = msgspec.defstruct("Answer", [("data", list[row])])  # type: ignore[valid-type]
    found: list[T] = decode(envelope, body, f"okx {what}").data  # type: ignore[attr-defined]
    return found


def _only(row: type[T], body: bytes, what: str) -> T:
    """The one row of an answer. Raises Refused for none: the venue knows the name and has nothing to say."""
    rows = _rows(row, body, what)
    if not rows:
        raise Refused(f"okx answered no row for {what}")
    return rows[0]


def _sorted_out(made: Sequence[T | Drift]) -> tuple[list[T], list[Drift]]:
    """The events, oldest first, and what was strange."""
    return [one for one in reversed(made) if not isinstance(one, Drift)], [one for one in made if isinstance(one, Drift)]


def parse_time(body: bytes) -> int:
    """`time` → ns."""
    return _only(wire.TimeRest, body, "time").ts * NS_PER_MS


def parse_klines(body: bytes, of: Traded, interval: Interval) -> tuple[list[Kline], list[Drift]]:
    """`candles` and `history-candles`. Raises Malformed."""
    rows = _rows(wire.CandleWire, body, f"klines of {of.id}")
    _check_falling([row.ts for row in rows], f"klines of {of.id} {interval}")
    klines, drift = _sorted_out([make_kline(of, interval, row, 0) for row in rows])
    return klines, drift


def parse_prices(body: bytes, what: str) -> dict[int, float]:
    """Minutes of mark or index prices: close time (ns) → close, of closed minutes alone; oldest first."""
    rows = _rows(wire.PriceCandleWire, body, what)
    _check_falling([row.ts for row in rows], what)
    return {next_ns(Interval.MIN_1, row.ts * NS_PER_MS): row.close for row in reversed(rows) if row.confirm == "1"}


def parse_trades(body: bytes, of: Traded) -> tuple[list[Trade], list[Drift]]:
    """`history-trades`, by id."""
    made, drift = _sorted_out([make_trade(of, row, 0) for row in _rows(wire.TradeWire, body, f"trades of {of.id}")])
    return sorted(made, key=trade_number), drift


def trade_number(trade: Trade) -> int:
    """The id, which is a number here."""
    return int(trade.trade_id)


def parse_book(body: bytes, of: Traded, recv_ns: int) -> BookSnapshot:
    """`books` and `books-full`; the id is 0 where the venue does not tell it."""
    row = _only(wire.BookRest, body, f"book of {of.id}")
    bids, asks = sorted(of.levels(row.bids), key=lambda level: -level[0]), sorted(of.levels(row.asks))
    return BookSnapshot(of.id, row.seqId, bids, asks, row.ts * NS_PER_MS, recv_ns)


def parse_ticker(body: bytes, of: Traded, recv_ns: int) -> Ticker:
    """`ticker`. Raises Refused for an instrument that never traded."""
    made = make_ticker(of, _only(wire.TickerWire, body, f"ticker of {of.id}"), recv_ns)
    if isinstance(made, Drift):
        raise Refused(f"okx has no last price for {of.id}: it did not trade yet")
    return made


def parse_mark(mark: bytes, index: bytes, funding: bytes | None, of: Traded, recv_ns: int) -> MarkPrice:
    """`mark-price`, `index-tickers` and, for perpetuals, `funding-rate`."""
    row = _only(wire.MarkWire, mark, f"mark price of {of.id}")
    price = _only(wire.IndexWire, index, f"index {of.index}").idxPx
    rate, at_ns = (None, None) if funding is None else next_funding(_only(wire.FundingRateWire, funding, f"funding of {of.id}"))
    return MarkPrice(of.id, row.ts * NS_PER_MS, row.markPx, price, rate, at_ns, recv_ns)


def parse_funding(body: bytes, of: Traded) -> list[Funding]:
    """`funding-rate-history`: what was paid, or, where that is not told, what had been foretold last."""
    made = []
    for row in reversed(_rows(wire.FundingRest, body, f"funding of {of.id}")):
        rate = row.realizedRate if isinstance(row.realizedRate, float) else row.fundingRate
        if not isinstance(rate, float):
            raise Malformed(f"okx funding of {of.id} at {row.fundingTime} has no rate")
        made.append(Funding(of.id, row.fundingTime * NS_PER_MS, rate))
    return made


def _check_falling(times: Sequence[int], what: str) -> None:
    if any(newer <= older for newer, older in pairwise(times)):
        raise Malformed(f"okx {what}: rows are not newest first, each once")
