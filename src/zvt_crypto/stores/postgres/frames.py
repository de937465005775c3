"""Klines as columns, for those who compute with many: by binary COPY and out of packed chunks."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl

from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres.bars import Bars
from zvt_crypto.stores.postgres.chunks import FAR_NS, packed_until, read_chunks
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.precedence import SOURCES

_HEAD_BYTES, _TAIL_BYTES = 19, 2  # of a binary COPY
_EPOCH_2000_US = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01
_FLOATS = ("open", "high", "low", "close", "volume", "turnover")
# One field a column, each behind its length; nothing in it is null, so that every row is as long as every other.
_FIELDS = (("open_us", ">i8"), *((name, ">f8") for name in _FLOATS), ("trades", ">i4"), ("final", "?"), ("source", ">i2"))
_ROW = np.dtype([("fields", ">i2"), *(part for name, kind in _FIELDS for part in ((f"{name}_bytes", ">i4"), (name, kind)))])
_SELECT = "open_time, open, high, low, close, volume, coalesce(turnover, 'NaN'), coalesce(trades, -1), final, source"
_READ = f"SELECT {_SELECT} FROM {{table}} WHERE instrument_id = $1 AND open_time >= $2 AND open_time < $3 ORDER BY open_time"
_SOURCES = pl.Series([None, *SOURCES], dtype=pl.String)


class PostgresFrames:
    """ports.KlineFrames."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool, self._keys = pool, keys

    async def klines(self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None) -> pl.DataFrame:
        """As ports.KlineFrames says."""
        low, high = _up(start_ns or 0), FAR_NS if end_ns is None else _up(end_ns)

        async def work(connection: Connection) -> pl.DataFrame:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return _frame(np.empty(0, _ROW))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                packed = None
                if await packed_until(connection, interval) > low:
                    packed = await read_chunks(connection, key, interval, low, high)
                rows = await _copy(connection, f"kline_{interval.slug}", key, low, high)
            hot = _frame(rows)
            return hot if packed is None or not packed.rows() else pl.concat([_packed_frame(packed), hot]).sort("timestamp")

        return await self._pool.run(f"read klines of {instrument}", work)


def _up(at_ns: int) -> int:
    """To the next full microsecond: opens have no more."""
    return -(-at_ns // 1000) * 1000


async def _copy(connection: Connection, table: str, key: int, low_ns: int, high_ns: int) -> np.ndarray[Any, Any]:
    out = io.BytesIO()
    await connection.copy_from_query(_READ.format(table=table), key, low_ns, high_ns, output=out, format="binary")
    data = out.getbuffer()[_HEAD_BYTES:]
    return np.frombuffer(data, _ROW, (len(data) - _TAIL_BYTES) // _ROW.itemsize)


def _frame(rows: np.ndarray[Any, Any]) -> pl.DataFrame:
    return _columns(
        rows["open_us"].astype(np.int64) + _EPOCH_2000_US,
        {name: rows[name].astype(np.float64) for name in _FLOATS},
        rows["trades"].astype(np.int64),
        rows["final"],
        rows["source"].astype(np.uint8),
    )


def _packed_frame(bars: Bars) -> pl.DataFrame:
    floats = {name: getattr(bars, name) for name in _FLOATS}
    return _columns(bars.open_us, floats, bars.trades, np.ones(bars.rows(), np.bool_), bars.source.astype(np.uint8))


def _columns(open_us: Any, floats: dict[str, Any], trades: Any, final: Any, source: Any) -> pl.DataFrame:
    times = pl.Series("timestamp", open_us * 1000).cast(pl.Datetime("ns", "UTC"))
    made = [times, *(pl.Series(name, values) for name, values in floats.items()), pl.Series("trades", trades)]
    frame = pl.DataFrame([*made, pl.Series("final", np.ascontiguousarray(final)), _SOURCES.gather(source).alias("source")])
    held = pl.col("turnover").fill_nan(None), pl.when(pl.col("trades") >= 0).then(pl.col("trades")).alias("trades")
    return frame.with_columns(*held)
