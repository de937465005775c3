"""CSV, a row at a time: with a header or without, comma, semicolon or tab."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import polars as pl

from zvt_crypto.stores.imports.reading import NUMBER, Broken, RowBatch

LINE_MOST = 65_536  # characters; a longer line is no row of a table
SHOWN = 200  # characters of a broken row that a report shows
DELIMITERS = (",", ";", "\t")


class CsvReader:
    """RowReader of delimited text. `names`: the columns where the file has no header, by the number of its columns; None: the first row
    is the header. A first row that begins with a letter is a header in any case."""

    def __init__(self, label: str, opened: Callable[[], BinaryIO], names: Callable[[int], Sequence[str] | None] | None = None) -> None:
        self.label = label
        self._opened = opened
        self._names = names

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """As RowReader says."""
        with self._opened() as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
            lines = _Lines(text)
            first = next(lines, None)
            if first is None:
                return
            reader = csv.reader(_chain(first, lines), delimiter=_delimiter(first))
            yield from self._batches(reader, lines, rows)

    def _batches(self, reader: Iterator[list[str]], lines: _Lines, most: int) -> Iterator[RowBatch]:
        columns: list[str] | None = None
        numbers: list[int] = []
        held: list[list[str]] = []
        broken: list[Broken] = []
        for row in reader:
            if not row:
                continue
            if columns is None:
                columns, is_header = self._columns(row)
                if is_header:
                    continue
            if lines.is_long:
                broken.append(Broken(lines.number, ",".join(row)[:SHOWN], f"line longer than {LINE_MOST} characters"))
                lines.is_long = False
            elif len(row) != len(columns):
                broken.append(Broken(lines.number, ",".join(row)[:SHOWN], f"{len(row)} columns, not {len(columns)}"))
            else:
                numbers.append(lines.number)
                held.append(row)
            if len(held) + len(broken) >= most:
                yield _batch(columns, numbers, held, broken)
                numbers, held, broken = [], [], []
        if columns is not None:
            yield _batch(columns, numbers, held, broken)

    def _columns(self, row: list[str]) -> tuple[list[str], bool]:
        stripped = [cell.strip() for cell in row]
        if self._names is None or stripped[0][:1].isalpha():
            return stripped, True
        return list(self._names(len(row)) or [str(place) for place in range(len(row))]), False


class _Lines:
    """Lines of a text, the long ones cut, counted."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.number = 0
        self.is_long = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_MOST)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == LINE_MOST and not line.endswith(("\n", "\r")):
            self.is_long = True
            while (rest := self._text.readline(LINE_MOST)) and not rest.endswith(("\n", "\r")):
                pass
            return line[:SHOWN]
        return line


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


def _batch(columns: list[str], numbers: list[int], held: list[list[str]], broken: list[Broken]) -> RowBatch:
    schema = {NUMBER: pl.Int64} | dict.fromkeys(columns, pl.String)
    cells = list(zip(*held, strict=True)) if held else [()] * len(columns)
    series = [pl.Series(NUMBER, numbers, pl.Int64)] + [pl.Series(n, c, pl.String) for n, c in zip(columns, cells, strict=True)]
    return RowBatch(pl.DataFrame(series, schema=schema), broken)
