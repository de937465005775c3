"""Columns of numbers to few bytes and back, bit for bit: deltas, zigzag, bytes of equal weight side by side, zstd.

Market data are decimals: a float64 column is kept as the integers of its decimal digits wherever these give every bit back, as the
differences of its bit patterns otherwise. Pure: no database here.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEVEL = 9  # higher ones save less than 1 % of a day of minutes, and cost twice the time
_ORDERS = (0, 1, 2)  # how often differences are taken
_EXACT = 1 << 53  # integers below are floats without loss
_SCALES = tuple(float(f"1e{digits}") for digits in range(16))
_BITS = 255  # in the place of the decimals: the column is kept as bit patterns
_MOST_MISFITS = 16  # one value in so many may be kept apart from a decimal column


def pack_ints(values: Ints) -> bytes:
    """Any int64 column. Differences may wrap around: they do so back."""
    return min((_pack_order(values, order) for order in _ORDERS), key=len)


def unpack_ints(data: bytes, rows: int) -> Ints:
    """What `pack_ints` was given."""
    order, width = data[0], data[1]
    planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(data[2:]), np.uint8).reshape(width, rows)
    wide = np.zeros((rows, 8), np.uint8)
    wide[:, :width] = planes.T
    zigzag = wide.view("<u8").reshape(rows)
    values = (zigzag >> np.uint64(1)).view(np.int64) ^ -(zigzag & np.uint64(1)).view(np.int64)
    for _ in range(order):
        values = np.cumsum(values)
    return values


def pack_floats(values: Floats) -> bytes:
    """Any float64 column, NaN, infinities and the sign of zero included."""
    decimals, misfits = _best_scale(values)
    if decimals is None:
        return struct.pack("<BI", _BITS, 0) + pack_ints(values.view(np.int64))
    whole = np.where(misfits, 0.0, np.rint(values * _SCALES[decimals])).astype(np.int64)
    places = np.flatnonzero(misfits)
    head = struct.pack("<BI", decimals, len(places)) + places.astype("<u4").tobytes() + values[places].tobytes()
    return head + pack_ints(whole)


def unpack_floats(data: bytes, rows: int) -> Floats:
    """What `pack_floats` was given."""
    decimals, apart = struct.unpack_from("<BI", data)
    rest = data[5 + 12 * apart :]
    if decimals == _BITS:
        return unpack_ints(rest, rows).view(np.float64)
    values: Floats = unpack_ints(rest, rows) / _SCALES[decimals]
    if apart:
        values[np.frombuffer(data, "<u4", apart, 5)] = np.frombuffer(data, "<f8", apart, 5 + 4 * apart)
    return values


def decimals_of(*columns: Floats) -> int | None:
    """The fewest decimals that give every bit of all columns back; None where none do."""
    for digits, scale in enumerate(_SCALES):
        if all(not _misfits(column, scale).any() for column in columns):
            return digits
    return None


def to_whole(values: Floats, decimals: int) -> Ints:
    """The digits as integers; `decimals` is from `decimals_of`."""
    return np.rint(values * _SCALES[decimals]).astype(np.int64)


def from_whole(whole: Ints, decimals: int) -> Floats:
    """The values that `to_whole` was given."""
    made: Floats = whole / _SCALES[decimals]
    return made


def scaled(values: Floats, decimals: int) -> Ints | None:
    """Rounded integers of an estimate; None where one is too large to be one."""
    whole = np.rint(values * _SCALES[decimals])
    return whole.astype(np.int64) if (np.abs(whole) < _EXACT).all() else None


def _pack_order(values: Ints, order: int) -> bytes:
    moved = np.diff(values, n=order, prepend=np.zeros(order, np.int64)) if order else values
    zigzag = (moved << 1) ^ (moved >> 63)
    bits = zigzag.view(np.uint64)
    width = max(1, (int(bits.max(initial=0)).bit_length() + 7) // 8)
    planes = np.ascontiguousarray(zigzag.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].T)
    return bytes((order, width)) + zstandard.ZstdCompressor(level=LEVEL).compress(planes.tobytes())


def _best_scale(values: Floats) -> tuple[int | None, npt.NDArray[np.bool_]]:
    best: int | None = None
    misfits: Any = None
    for digits, scale in enumerate(_SCALES):
        wrong = _misfits(values, scale)
        if best is None or wrong.sum() < misfits.sum():
            best, misfits = digits, wrong
        if not wrong.any():
            break
    return (best, misfits) if misfits.sum() * _MOST_MISFITS <= len(values) else (None, misfits)


def _misfits(values: Floats, scale: float) -> npt.NDArray[np.bool_]:
    """Which values are not the nearest float64 of a whole number over `scale`, sign of zero included."""
    with np.errstate(invalid="ignore", over="ignore"):
        whole = np.rint(values * scale)
        fits = np.abs(whole) < _EXACT
        back = np.where(fits, whole, 0.0).astype(np.int64) / scale
    wrong: npt.NDArray[np.bool_] = ~fits | (back.view(np.int64) != values.view(np.int64))
    return wrong
