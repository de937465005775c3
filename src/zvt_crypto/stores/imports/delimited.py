"""CSV, a line a row: with a header or without, separated by comma, semicolon or tab. A quoted cell ends in its line."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import polars as pl

from zvt_crypto.stores.imports.reading import NUMBER, SHOWN, Broken, RowBatch

LINE_MOST = 65_536  # characters; a longer line is no row of a table
DELIMITERS = (",", ";", "\t")
# The columns of a file by how many it has; raises BadInput where that cannot be.
Naming = Callable[[int], Sequence[str]]


class CsvReader:
    """RowReader of delimited text. `names`: what the columns are, whatever a header says (a first row that begins with a letter is one,
    and left out); None: the first row is the header."""

    def __init__(self, label: str, opened: Callable[[], BinaryIO], names: Naming | None = None) -> None:
        self.label = label
        self._opened = opened
        self._names = names

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """As RowReader says."""
        with self._opened() as raw:
            lines = _Lines(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline=""))
            first = next(lines, None)
            if first is not None:
                yield from self._batches(itertools.chain([first], lines), lines, max(DELIMITERS, key=first.count), rows)

    def _batches(self, texts: Iterator[str], lines: _Lines, delimiter: str, most: int) -> Iterator[RowBatch]:
        columns: list[str] = []
        numbers: list[int] = []
        held: list[str | list[str]] = []
        broken: list[Broken] = []
        for text in texts:
            row = _row(text, delimiter)
            if not row:
                continue
            if not columns:
                cells = row.split(delimiter) if isinstance(row, str) else row
                columns = [cell.strip() for cell in cells] if self._names is None else list(self._names(len(cells)))
                if self._names is None or cells[0].strip()[:1].isalpha():
                    continue
            count = row.count(delimiter) + 1 if isinstance(row, str) else len(row)
            if lines.is_cut:
                broken.append(Broken(lines.number, text[:SHOWN], f"line longer than {LINE_MOST} characters"))
                lines.is_cut = False
            elif count != len(columns):
                broken.append(Broken(lines.number, text.strip()[:SHOWN], f"{count} columns, not {len(columns)}"))
            else:
                numbers.append(lines.number)
                held.append(row)
            if len(held) + len(broken) >= most:
                yield RowBatch(_frame(columns, numbers, held, delimiter), broken)
                numbers, held, broken = [], [], []
        if columns:
            yield RowBatch(_frame(columns, numbers, held, delimiter), broken)


class _Lines:
    """Lines of a text, counted; one that is too long is cut, and `is_cut` says so until somebody clears it."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.number = 0
        self.is_cut = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_MOST)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < LINE_MOST or line.endswith("\n"):
            return line
        self.is_cut = True
        while (rest := self._text.readline(LINE_MOST)) and not rest.endswith("\n"):
            pass
        return line[:SHOWN]


def _row(text: str, delimiter: str) -> str | list[str]:
    """The line without its end, or, where there are quotes in it, its cells; one cell if a quote has no partner."""
    line = text.rstrip("\r\n")
    if '"' not in line:
        return line
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return [line]


def _frame(columns: list[str], numbers: list[int], held: list[str | list[str]], delimiter: str) -> pl.DataFrame:
    """Text as it stands; an empty cell may come as null. Of two columns with one name the last."""
    plain = [row for row in held if isinstance(row, str)]
    if plain and len(plain) == len(held):
        made = pl.read_csv(
            io.BytesIO("\n".join(plain).encode()),
            separator=delimiter,
            has_header=False,
            infer_schema=False,
            quote_char=None,
        ).get_columns()
    else:
        rows = [row.split(delimiter) if isinstance(row, str) else row for row in held]
        cells: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
        made = [pl.Series(values=values, dtype=pl.String) for values in cells]
    named = dict(zip(columns, made, strict=True))
    named.pop(NUMBER, None)
    return pl.DataFrame([pl.Series(NUMBER, numbers, pl.Int64), *(column.alias(name) for name, column in named.items())])
