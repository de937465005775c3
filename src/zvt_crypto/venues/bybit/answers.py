"""Bybit's REST bodies → our rows, oldest first: the venue gives the newest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from zvt_crypto.domain.errors import Malformed, Refused
from zvt_crypto.domain.market import BookSnapshot, Funding, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import Interval, is_aligned, next_ns
from zvt_crypto.venues.bybit import tickers, wire
from zvt_crypto.venues.bybit.parse import SIDES
from zvt_crypto.venues.decode import decode, pairs
from zvt_crypto.venues.parsed import Drift

T = TypeVar("T")


def parse_time(body: bytes) -> int:
    """`time` → ns."""
    return decode(wire.Answer[wire.TimeRest], body, "bybit time").result.timeNano


def parse_klines(body: bytes, instrument: str, interval: Interval, server_ns: int) -> tuple[list[Kline], list[Drift]]:
    """`kline`. A row is final where the venue's clock stood past its close when it was asked (`server_ns`).

    A row off the interval's grid is left out and comes back as drift.
    """
    klines, drift, before = [], [], 0
    rows = decode(wire.Answer[wire.Rows[wire.KlineRest]], body, f"bybit klines of {instrument}").result.rows
    for row in reversed(rows):
        open_ns = row.start * 1_000_000
        if not is_aligned(interval, open_ns):
            drift.append(Drift("kline off the grid", f"{instrument} {interval} {row.start}"))
            continue
        sound = row.low <= row.open <= row.high and row.low <= row.close <= row.high
        if open_ns <= before or not sound:
            raise Malformed(f"bybit klines of {instrument} {interval}: row {row.start} is out of order or has high below low")
        before = open_ns
        values = (row.open, row.high, row.low, row.close, row.volume, row.turnover)
        klines.append(Kline(instrument, interval, open_ns, *values, None, next_ns(interval, open_ns) <= server_ns, "venue"))
    return klines, drift


def parse_mark_klines(marks: bytes, indexes: bytes, instrument: str, interval: Interval, server_ns: int) -> list[MarkPrice]:
    """`mark-price-kline` and `index-price-kline` → the closes of closed klines, stamped with the close of the kline."""
    index_at = {row.start: row.close for row in _price_rows(indexes, f"bybit index klines of {instrument}")}
    made = []
    for row in sorted(_price_rows(marks, f"bybit mark klines of {instrument}"), key=lambda row: row.start):
        close_ns = next_ns(interval, row.start * 1_000_000)
        if close_ns <= server_ns:
            made.append(MarkPrice(instrument, close_ns, row.close, index_at.get(row.start), None, None))
    return made


def parse_trades(body: bytes, instrument: str) -> tuple[list[Trade], list[Drift]]:
    """`recent-trade`. Block trades, and sides that we do not know, are left out as they are in the stream."""
    made, drift = [], []
    rows = decode(wire.Answer[wire.Rows[wire.TradeRest]], body, f"bybit trades of {instrument}").result.rows
    for row in reversed(rows):
        side = SIDES.get(row.side)
        if row.isBlockTrade or side is None:
            drift.append(Drift("block trade", instrument) if row.isBlockTrade else Drift("side", row.side))
            continue
        made.append(Trade(instrument, "trade", row.execId, row.price, row.size, side, row.time * 1_000_000))
    return sorted(made, key=lambda trade: trade.event_ns), drift


def parse_book(body: bytes, instrument: str, recv_ns: int) -> BookSnapshot:
    """`orderbook`. Its `u` is that of the stream of 1000 levels."""
    row = decode(wire.Answer[wire.BookRest], body, f"bybit book of {instrument}").result
    bids, asks = sorted(pairs(row.b), reverse=True), sorted(pairs(row.a))
    return BookSnapshot(instrument, row.u, bids, asks, (row.cts or row.ts) * 1_000_000, recv_ns)


def parse_ticker(body: bytes, instrument: str, recv_ns: int) -> Ticker:
    """`tickers` of one symbol. Raises Refused for an instrument that never traded."""
    row, event_ns = _ticker_row(body, instrument)
    return _present(tickers.ticker_of(row, instrument, event_ns, recv_ns), row.symbol)


def parse_mark(body: bytes, instrument: str, recv_ns: int) -> MarkPrice:
    """Mark and index price of `tickers` of one symbol."""
    row, event_ns = _ticker_row(body, instrument)
    return _present(tickers.mark_of(row, instrument, event_ns, recv_ns), row.symbol)


def parse_funding(body: bytes, instrument: str) -> list[Funding]:
    """`funding/history`."""
    rows = decode(wire.Answer[wire.Rows[wire.FundingRest]], body, f"bybit funding of {instrument}").result.rows
    made = [Funding(instrument, row.fundingRateTimestamp * 1_000_000, row.fundingRate) for row in rows]
    return sorted(made, key=lambda row: row.event_ns)


def _price_rows(body: bytes, what: str) -> Sequence[wire.PriceKlineRest]:
    return decode(wire.Answer[wire.Rows[wire.PriceKlineRest]], body, what).result.rows


def _ticker_row(body: bytes, instrument: str) -> tuple[wire.TickerWire, int]:
    """The row, and the venue's time: rows have none, the envelope does."""
    answer = decode(wire.Answer[wire.Rows[wire.TickerWire]], body, f"bybit ticker of {instrument}")
    if not answer.result.rows:
        raise Refused(f"bybit has no ticker of {instrument}")
    return answer.result.rows[0], answer.time * 1_000_000


def _present(found: T | Drift, symbol: str) -> T:
    if isinstance(found, Drift):
        raise Refused(f"bybit: {found.what} of {symbol}: it did not trade yet")
    return found
