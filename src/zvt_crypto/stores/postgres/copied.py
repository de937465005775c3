"""Final klines out of a table as columns, by binary COPY: no object a row."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import io
from typing import Any

import numpy as np

from zvt_crypto.stores.postgres.bars import Bars
from zvt_crypto.stores.postgres.pool import Connection

_HEAD_BYTES = 19  # signature, flags and an empty extension
_TAIL_BYTES = 2
_EPOCH_2000_US = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01
# One field a column, each behind its length; a row is as long as every other since nothing in it is null.
_FIELDS = (
    ("open_us", ">i8"),
    ("known_us", ">i8"),
    ("open", ">f8"),
    ("high", ">f8"),
    ("low", ">f8"),
    ("close", ">f8"),
    ("volume", ">f8"),
    ("turnover", ">f8"),
    ("trades", ">i4"),
    ("source", ">i2"),
)
_SELECT = "open_time, known_at, open, high, low, close, volume, coalesce(turnover, 'NaN'), coalesce(trades, -1), source"


def _row_type() -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in _FIELDS:
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    return np.dtype(fields)


async def copy_bars(connection: Connection, table: str, key: int, low_ns: int, high_ns: int) -> Bars:
    """The final rows of [low_ns, high_ns), oldest first."""
    text = f"SELECT {_SELECT} FROM {table} WHERE instrument_id = $1 AND open_time >= $2 AND open_time < $3 AND final ORDER BY open_time"
    out = io.BytesIO()
    await connection.copy_from_query(text, key, low_ns, high_ns, output=out, format="binary")
    kind = _row_type()
    data = out.getbuffer()[_HEAD_BYTES:]
    rows = np.frombuffer(data, kind, (len(data) - _TAIL_BYTES) // kind.itemsize)
    bars = Bars.of(rows)
    return bars._replace(open_us=bars.open_us + _EPOCH_2000_US, known_us=bars.known_us + _EPOCH_2000_US)
