"""Checksums of rows: 64 bits a row for the chunk's digest, of which two bytes are kept, so that the first wrong row has a name.

Pure: columns in, numbers out. It is evidence against damage and careless hands, not against somebody who may write the checksums too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from zvt_crypto.domain.checks import Fault

Words = npt.NDArray[np.uint64]
PRINT = np.dtype("<u2")
_ALIKE = 8  # so many prints in a row agree by chance once in 2**128
_MOST_SHIFT = 10_000
# SplitMix64's finaliser: any bit of a word changes about half of the bits of the outcome.
_FIRST, _SECOND, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


class Spot(NamedTuple):
    """Where two runs of rows part: the place in the newer one, and how many rows are missing or were added there."""

    fault: Fault
    place: int
    rows: int = 1


def hash_rows(columns: Iterable[npt.NDArray[Any]]) -> Words:
    """One word a row, of columns of 8-byte numbers, bit for bit."""
    made: Words | None = None
    for column in columns:
        words = np.ascontiguousarray(column).view(np.uint64)
        made = _mixed(words + _STEP if made is None else (made * _STEP) ^ words)
    assert made is not None, "a row has columns"
    return made


def digest_of(rows: Words) -> bytes:
    """16 bytes for the chunk."""
    return hashlib.blake2b(np.ascontiguousarray(rows, "<u8").tobytes(), digest_size=16).digest()


def prints_of(rows: Words) -> bytes:
    """Two bytes a row."""
    return (rows & np.uint64(0xFFFF)).astype(PRINT).tobytes()


def first_wrong(prints: bytes, rows: Words) -> Spot:
    """Where rows whose digest is another one part from those that were signed."""
    signed, now = np.frombuffer(prints, PRINT), np.frombuffer(prints_of(rows), PRINT)
    shared = min(len(signed), len(now))
    differ = np.flatnonzero(signed[:shared] != now[:shared])
    place = int(differ[0]) if len(differ) else shared
    if not len(differ):
        if len(signed) == len(now):
            return Spot("unnamed", 0)
        return Spot("missing" if len(signed) > len(now) else "added", place, abs(len(signed) - len(now)))
    for shift in range(1, min(_MOST_SHIFT, abs(len(signed) - len(now))) + 1):
        if _follows(signed[place + shift :], now[place:]):
            return Spot("missing", place, shift)
        if _follows(now[place + shift :], signed[place:]):
            return Spot("added", place, shift)
    return Spot("changed", place)


def _follows(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether both go on alike, or end together."""
    a, b = a[:_ALIKE], b[:_ALIKE]
    return len(a) == len(b) and bool(np.array_equal(a, b))


def _mixed(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
