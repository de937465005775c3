"""Klines and trades as frames, and as the text and columns that other tools read.

Frames carry float64 and real UTC timestamps (nanoseconds). CSV writes RFC 3339 with milliseconds (nanoseconds where there are any) and
plain digits. JSON is an array of objects with decimals as strings, as the REST API writes them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import polars as pl

from zvt_crypto.domain.market import Funding, Kline, Trade
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import NS_PER_MS, Interval, to_rfc3339

Columns = dict[str, pl.DataType | type[pl.DataType]]
_TIME = pl.Datetime("ns", "UTC")
KLINE_SCHEMA: Columns = {
    "timestamp": _TIME,
    "entity_id": pl.String,
    "interval": pl.String,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "turnover": pl.Float64,
    "trades": pl.Int64,
    "final": pl.Boolean,
    "source": pl.String,
}
TRADE_SCHEMA: Columns = {
    "timestamp": _TIME,
    "entity_id": pl.String,
    "stream": pl.String,
    "trade_id": pl.String,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "side": pl.String,
}
FUNDING_SCHEMA: Columns = {"timestamp": _TIME, "entity_id": pl.String, "rate": pl.Float64, "mark_price": pl.Float64}


def kline_frame(klines: Iterable[Kline]) -> pl.DataFrame:
    """A row a bar, in the order given; columns of KLINE_SCHEMA."""
    rows = [
        (k.open_ns, k.instrument, k.interval.value, k.open, k.high, k.low, k.close, k.volume, k.turnover, k.trades, k.final, k.source)
        for k in klines
    ]
    return _frame(rows, KLINE_SCHEMA)


def trade_frame(trades: Iterable[Trade]) -> pl.DataFrame:
    """A row a trade, in the order given; columns of TRADE_SCHEMA."""
    return _frame([(t.event_ns, t.instrument, t.stream, t.trade_id, t.price, t.quantity, t.side) for t in trades], TRADE_SCHEMA)


def funding_frame(rows: Iterable[Funding]) -> pl.DataFrame:
    """A row a payment, in the order given; columns of FUNDING_SCHEMA."""
    return _frame([(f.event_ns, f.instrument, f.rate, f.mark_price) for f in rows], FUNDING_SCHEMA)


def named_klines(frame: pl.DataFrame, instrument: str, interval: Interval) -> pl.DataFrame:
    """The columns that a store gives, with those that say of what: all of KLINE_SCHEMA, in its order."""
    names = pl.lit(instrument).alias("entity_id"), pl.lit(interval.value).alias("interval")
    return frame.with_columns(*names).select(list(KLINE_SCHEMA))


def to_csv(frame: pl.DataFrame) -> str:
    """With a header line."""
    whole_ms = frame.is_empty() or bool((frame["timestamp"].dt.timestamp("ns") % NS_PER_MS == 0).all())
    buffer = io.BytesIO()
    frame.write_csv(buffer, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ" if whole_ms else "%Y-%m-%dT%H:%M:%S%.9fZ", float_scientific=False)
    return buffer.getvalue().decode()


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Beside its place, then moved there: a reader never sees half a file."""
    half = path.with_name(f".{path.name}.half")
    frame.write_parquet(half, compression="zstd")
    half.replace(path)


def klines_json(klines: Iterable[Kline], price_decimals: int | None = None, quantity_decimals: int | None = None) -> bytes:
    """An array of kdata rows: timestamp, open, high, low, close, volume, turnover, trades, final, source."""

    def text(value: float | None, decimals: int | None) -> str | None:
        return None if value is None else decimal_text(value, decimals)

    return msgspec.json.encode(
        [
            {
                "timestamp": to_rfc3339(k.open_ns),
                "open": text(k.open, price_decimals),
                "high": text(k.high, price_decimals),
                "low": text(k.low, price_decimals),
                "close": text(k.close, price_decimals),
                "volume": text(k.volume, quantity_decimals),
                "turnover": text(k.turnover, None),
                "trades": k.trades,
                "final": k.final,
                "source": k.source,
            }
            for k in klines
        ]
    )


def trades_json(trades: Iterable[Trade], price_decimals: int | None = None, quantity_decimals: int | None = None) -> bytes:
    """An array of trades: trade_id, price, quantity, side, timestamp, stream."""
    return msgspec.json.encode(
        [
            {
                "trade_id": t.trade_id,
                "price": decimal_text(t.price, price_decimals),
                "quantity": decimal_text(t.quantity, quantity_decimals),
                "side": t.side,
                "timestamp": to_rfc3339(t.event_ns),
                "stream": t.stream,
            }
            for t in trades
        ]
    )


def _frame(rows: Sequence[tuple[object, ...]], schema: Columns) -> pl.DataFrame:
    """Times come as integers: polars would cut datetimes to microseconds."""
    raw: Columns = {name: pl.Int64 if kind == _TIME else kind for name, kind in schema.items()}
    frame = pl.DataFrame(rows, schema=raw, orient="row")
    return frame.with_columns(pl.col("timestamp").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC"))
