"""What an import of files tells: rows that are ours now, and those that were refused, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade

# What a file holds; trades of both id spaces are `trades`.
ImportNoun = Literal["klines", "trades", "mark", "funding"]
ImportedRow = Kline | Trade | MarkPrice | Funding


class Rejected(msgspec.Struct, frozen=True):
    """A row that was not taken. `row`: the line of a text, the row of a table, from 1. `value`: what stands there."""

    file: str
    row: int
    value: str
    reason: str


class ImportBatch(msgspec.Struct, frozen=True):
    """Sound rows of a file, in its order, of one type and instrument; `numbers` are their places. `repeated` rows said again what a row
    before them said, and were left out."""

    file: str
    rows: Sequence[ImportedRow]
    numbers: Sequence[int]
    read: int
    repeated: int = 0
    rejected: Sequence[Rejected] = ()


class Hole(msgspec.Struct, frozen=True):
    """What a series of files lacks between its first and last row: bars of [start_ns, end_ns), or the ids between two trades."""

    start_ns: int
    end_ns: int
    missing: int
