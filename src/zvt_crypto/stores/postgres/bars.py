"""A chunk of bars: final klines of one instrument and interval as columns, packed into one value and back, bit for bit."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres.codec import (
    Floats,
    Ints,
    decimals_of,
    from_whole,
    pack_floats,
    pack_ints,
    scaled,
    to_whole,
    unpack_floats,
    unpack_ints,
)
from zvt_crypto.stores.precedence import SOURCES

_FORM = 1  # of the packed value; another one gets another number
_ENCODER = msgspec.msgpack.Encoder()


class Bars(NamedTuple):
    """Columns of equal length, oldest first. Times in µs since 1970. `trades` -1 and `turnover` NaN stand for None."""

    open_us: Ints
    known_us: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    turnover: Floats
    trades: Ints
    source: Ints

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> Bars:
        """From a structured array with fields of the same names."""
        return cls._make(rows[name].astype(np.float64 if name in _FLOATS else np.int64) for name in cls._fields)

    def part(self, start_us: int, end_us: int) -> Bars:
        """The rows with opens in [start_us, end_us)."""
        low, high = np.searchsorted(self.open_us, (start_us, end_us))
        return Bars._make(column[low:high] for column in self)

    def rows(self) -> int:
        """How many."""
        return len(self.open_us)

    def digest(self) -> bytes:
        """16 bytes that any change of any bit of any column changes."""
        made = hashlib.blake2b(digest_size=16)
        for name, column in zip(self._fields, self, strict=True):
            made.update(np.ascontiguousarray(column, "<f8" if name in _FLOATS else "<i8").data)
        return made.digest()

    def by_source(self) -> list[int]:
        """How many rows of each source, in the order of the codes."""
        return [int((self.source == code).sum()) for code in range(1, len(SOURCES) + 1)]

    def klines(self, instrument: str, interval: Interval) -> list[Kline]:
        """As the store's `read` gives them."""
        turnover = [None if value != value else value for value in self.turnover.tolist()]
        trades = [None if value < 0 else value for value in self.trades.tolist()]
        columns = zip(
            (self.open_us * 1000).tolist(),
            self.open.tolist(),
            self.high.tolist(),
            self.low.tolist(),
            self.close.tolist(),
            self.volume.tolist(),
            turnover,
            trades,
            self.source.tolist(),
            strict=True,
        )
        return [
            Kline(instrument, interval, at, open_, high, low, close, volume, value, count, True, SOURCES[source - 1])
            for at, open_, high, low, close, volume, value, count, source in columns
        ]


_FLOATS = ("open", "high", "low", "close", "volume", "turnover")
assert set(_FLOATS) < set(Bars._fields)


def joined(parts: Sequence[Bars]) -> Bars:
    """One after the other."""
    return Bars._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def no_bars() -> Bars:
    """None."""
    return Bars._make(np.empty(0, np.float64 if name in _FLOATS else np.int64) for name in Bars._fields)


def pack(bars: Bars) -> bytes:
    """All columns in one value; `unpack` gives every bit back."""
    prices = _pack_prices(bars)
    after = bars.known_us - bars.open_us  # of a live recording it hardly varies; of a backfill the time itself does not
    known = min(((0, pack_ints(bars.known_us)), (1, pack_ints(after))), key=lambda each: len(each[1]))
    return _ENCODER.encode(
        (
            _FORM,
            bars.rows(),
            pack_ints(bars.open_us),
            known,
            prices,
            pack_floats(bars.volume),
            _pack_turnover(bars),
            pack_ints(bars.trades),
            pack_ints(bars.source),
        )
    )


def unpack(data: bytes) -> Bars:
    """Raises StoreError for what `pack` did not make."""
    try:
        form, rows, *rest = msgspec.msgpack.decode(data)
        if form != _FORM:
            raise StoreError(f"a packed chunk has the form {form}; this build reads {_FORM}")
        return _unpack(rows, rest)
    except (msgspec.DecodeError, zstandard.ZstdError, struct.error, ValueError, TypeError, LookupError, RuntimeError) as error:
        raise StoreError(f"a packed chunk cannot be read: {error}") from error


def unpack_checked(data: bytes, digest: bytes, whose: str) -> Bars:
    """Rows that are those that were packed, bit for bit. Raises StoreError, naming `whose` they are, where they are not."""
    try:
        bars = unpack(data)
    except StoreError as error:
        raise StoreError(f"{whose}: {error}") from error
    if bars.digest() != digest:
        raise StoreError(f"{whose}: the rows are not those that were packed: their digest is another one")
    return bars


def _unpack(rows: int, rest: Iterable[Any]) -> Bars:
    opens, (known_is_after, known), prices, volume, turnover, trades, source = rest
    open_us = unpack_ints(opens, rows)
    known_us = unpack_ints(known, rows) + (open_us if known_is_after else 0)
    open_, high, low, close = _unpack_prices(prices, rows)
    volumes = unpack_floats(volume, rows)
    estimate = _estimate(volumes, open_, high, low, close)
    turnovers = _unpack_turnover(turnover, rows, estimate)
    counts, sources = unpack_ints(trades, rows), unpack_ints(source, rows)
    return Bars(open_us, known_us, open_, high, low, close, volumes, turnovers, counts, sources)


def _pack_prices(bars: Bars) -> tuple[int, list[bytes]]:
    """As steps of one grid: the open from the close before, the close from the open, high and low from the nearer of the two."""
    decimals = decimals_of(bars.open, bars.high, bars.low, bars.close)
    if decimals is None:
        return -1, [pack_floats(column) for column in (bars.open, bars.high, bars.low, bars.close)]
    open_, high, low, close = (to_whole(column, decimals) for column in (bars.open, bars.high, bars.low, bars.close))
    jump = open_ - np.concatenate((np.zeros(min(1, len(close)), np.int64), close[:-1]))
    steps = (jump, high - np.maximum(open_, close), np.minimum(open_, close) - low, close - open_)
    return decimals, [pack_ints(step) for step in steps]


def _unpack_prices(packed: tuple[int, list[bytes]], rows: int) -> list[Floats]:
    decimals, columns = packed
    if decimals < 0:
        return [unpack_floats(column, rows) for column in columns]
    jump, above, below, move = (unpack_ints(column, rows) for column in columns)
    close = np.cumsum(jump + move)
    open_ = close - move
    wholes = (open_, np.maximum(open_, close) + above, np.minimum(open_, close) - below, close)
    return [from_whole(whole, decimals) for whole in wholes]


def _estimate(volume: Floats, open_: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    """What the turnover should be about: each operation is one of IEEE 754, so that it is the same everywhere."""
    made: Floats = volume * (((open_ + high) + low) + close) * 0.25
    return made


def _pack_turnover(bars: Bars) -> tuple[int, bytes, bytes]:
    """(decimals, or -1: bit patterns; where there is none; what it differs from the estimate by)."""
    absent = np.isnan(bars.turnover)
    mask = np.packbits(absent).tobytes() if absent.any() else b""
    estimate = _estimate(bars.volume, bars.open, bars.high, bars.low, bars.close)
    held = np.where(absent, estimate, bars.turnover)
    decimals = decimals_of(np.where(absent, 0.0, bars.turnover))
    near = None if decimals is None else scaled(estimate, decimals)
    if decimals is None or near is None:
        return -1, mask, pack_ints(held.view(np.int64) - estimate.view(np.int64))
    whole = np.where(absent, near, to_whole(np.where(absent, 0.0, bars.turnover), decimals))
    return decimals, mask, pack_ints(whole - near)


def _unpack_turnover(packed: tuple[int, bytes, bytes], rows: int, estimate: Floats) -> Floats:
    decimals, mask, data = packed
    apart = unpack_ints(data, rows)
    if decimals < 0:
        values = (apart + estimate.view(np.int64)).view(np.float64)
    else:
        near = scaled(estimate, decimals)
        assert near is not None, "it was a number when this was packed"
        values = from_whole(apart + near, decimals)
    if mask:
        values[np.unpackbits(np.frombuffer(mask, np.uint8), count=rows).astype(bool)] = np.nan
    return values
