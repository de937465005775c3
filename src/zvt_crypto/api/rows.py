"""Events → the JSON that clients read, at their instrument's precision."""

from __future__ import annotations

import msgspec

from zvt_crypto.api.shapes import KdataRow, Level, TradeRow
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import to_rfc3339

encode = msgspec.json.Encoder().encode


class Digits(msgspec.Struct, frozen=True):
    """The least decimals of prices and quantities; None where the venue states no step."""

    price: int | None
    quantity: int | None


def digits_of(instrument: Instrument) -> Digits:
    """The instrument's precisions."""
    return Digits(instrument.price_precision, instrument.quantity_precision)


def optional_text(value: float | None, decimals: int | None) -> str | None:
    """A decimal string, or None for a missing number."""
    return None if value is None else decimal_text(value, decimals)


def kdata_row(kline: Kline, digits: Digits) -> KdataRow:
    """A kline as REST and WebSocket show it. Turnover is money in the quote, so it has at least the price's decimals."""
    return KdataRow(
        timestamp=to_rfc3339(kline.open_ns),
        open=decimal_text(kline.open, digits.price),
        high=decimal_text(kline.high, digits.price),
        low=decimal_text(kline.low, digits.price),
        close=decimal_text(kline.close, digits.price),
        volume=decimal_text(kline.volume, digits.quantity),
        turnover=optional_text(kline.turnover, digits.price),
        trades=kline.trades,
        final=kline.final,
        source=kline.source,
    )


def trade_row(trade: Trade, digits: Digits) -> TradeRow:
    """A trade as WebSocket shows it."""
    return TradeRow(
        trade_id=trade.trade_id,
        price=decimal_text(trade.price, digits.price),
        quantity=decimal_text(trade.quantity, digits.quantity),
        side=trade.side,
        timestamp=to_rfc3339(trade.event_ns),
    )


def level_row(price: float, size: float, digits: Digits) -> Level:
    """[price, size]; a size of 0 is "0", whatever the precision."""
    return decimal_text(price, digits.price), decimal_text(size, digits.quantity) if size else "0"


def level_rows(levels: list[tuple[float, float]], digits: Digits) -> list[Level]:
    """Levels in their order."""
    return [level_row(price, size, digits) for price, size in levels]
