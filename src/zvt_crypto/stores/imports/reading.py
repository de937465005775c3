"""Rows of a file in batches, however it is written: CSV, JSON, Parquet, feather; plain, gzipped or zipped. Never the whole file at once.

A reader knows nothing of prices: it hands on columns as they stand (text of CSV, typed values of the others) with the number that a person
would look a row up by: the line of a text, the row of a table, both counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec
import polars as pl

NUMBER = "\0row"  # the column of line or row numbers; a column of the file that is called so is left out
SHOWN = 200  # characters of a broken row that a report shows


class Broken(msgspec.Struct, frozen=True):
    """A row that is not one: its number, what stands there, and why it cannot be read."""

    number: int
    value: str
    reason: str


class RowBatch(msgspec.Struct, frozen=True):
    """Columns of a file as they stand, and NUMBER; what could not be read beside them."""

    frame: pl.DataFrame
    broken: list[Broken] = []


class RowReader(Protocol):
    """A file, or a member of one. `label`: how a person names it (`data/a.zip:a.csv`)."""

    label: str

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """At most so many rows each, in the file's order. Raises BadInput, naming the file, where it cannot be read on; OSError."""
        ...
