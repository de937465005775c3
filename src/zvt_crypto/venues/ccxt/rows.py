"""ccxt's unified rows → our structs. Everything is checked: ccxt gives out what an exchange sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from zvt_crypto.domain.errors import Malformed, shown
from zvt_crypto.domain.market import BookSnapshot, Kline, Level, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_MS, Interval, is_aligned


def kline(instrument: str, interval: Interval, row: Sequence[Any], *, final: bool, recv_ns: int = 0) -> Kline:
    """[open time in ms, open, high, low, close, volume]; neither turnover nor trades are told. Raises Malformed."""
    open_ns = int(row[0]) * NS_PER_MS
    opened, high, low, close = (_number(instrument, value) for value in row[1:5])
    if not (is_aligned(interval, open_ns) and low <= min(opened, close) <= max(opened, close) <= high):
        raise Malformed(f"kline {interval} of {instrument} cannot be: {shown(str(row))}")
    volume = 0.0 if row[5] is None else float(row[5])
    if not 0 <= volume < math.inf:
        raise Malformed(f"kline {interval} of {instrument} has volume {row[5]}")
    return Kline(instrument, interval, open_ns, opened, high, low, close, volume, None, None, final, "venue", 0, recv_ns)


def trade(instrument: str, row: dict[str, Any], unit: float, recv_ns: int = 0) -> Trade:
    """A public trade; an amount of ccxt's times `unit` is a quantity. Raises Malformed where the id, the side or a number is missing."""
    if not row.get("id") or row.get("side") not in ("buy", "sell") or not row.get("timestamp"):
        raise Malformed(f"trade of {instrument} lacks its id, side or time: {shown(str({k: v for k, v in row.items() if k != 'info'}))}")
    price, amount = _number(instrument, row.get("price")), _scaled(_number(instrument, row.get("amount")), unit)
    return Trade(instrument, "trade", str(row["id"]), price, amount, row["side"], int(row["timestamp"]) * NS_PER_MS, recv_ns)


def book(instrument: str, row: dict[str, Any], unit: float, number: int, now_ns: int) -> BookSnapshot:
    """A whole book; `number` is its id where the exchange gives none. Raises Malformed."""
    bids, asks = (sorted(_levels(row[side], unit)) for side in ("bids", "asks"))
    bids.reverse()
    if any(not 0 < price < math.inf or not size < math.inf for price, size in (*bids, *asks)):
        raise Malformed(f"book of {instrument} holds a level that is none")
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise Malformed(f"book of {instrument} is crossed: bid {bids[0][0]}, ask {asks[0][0]}")
    event_ns = int(row["timestamp"]) * NS_PER_MS if row.get("timestamp") else now_ns
    return BookSnapshot(instrument, int(row.get("nonce") or number), bids, asks, event_ns, now_ns)


def ticker(instrument: str, row: dict[str, Any], now_ns: int) -> Ticker:
    """The rolling 24 hours. Raises Malformed without a last price."""
    price = _number(instrument, row.get("last"))
    names = ("baseVolume", "quoteVolume", "open", "high", "low", "bid", "ask")
    volume, turnover, opened, high, low, bid, ask = (None if row.get(name) is None else float(row[name]) for name in names)
    event_ns = int(row["timestamp"]) * NS_PER_MS if row.get("timestamp") else now_ns
    return Ticker(instrument, price, volume, turnover, opened, high, low, bid, ask, event_ns, now_ns)


def _levels(rows: Sequence[Any], unit: float) -> list[Level]:
    return [(float(row[0]), _scaled(float(row[1]), unit)) for row in rows if float(row[1]) > 0]


def _scaled(amount: float, unit: float) -> float:
    """Contracts times their size, without the digits that binary fractions add."""
    return amount if unit == 1.0 else float(Decimal(str(amount)) * Decimal(str(unit)))


def _number(instrument: str, value: object) -> float:
    number = float(str(value)) if value is not None else math.nan
    if not 0 < number < math.inf:
        raise Malformed(f"{instrument}: {shown(str(value))} is no price or amount")
    return number
