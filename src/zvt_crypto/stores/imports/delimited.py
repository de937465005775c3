"""CSV, a row at a time: with a header or without, separated by comma, semicolon or tab."""

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
                reader = csv.reader(itertools.chain([first], lines), delimiter=max(DELIMITERS, key=first.count))
                yield from self._batches(reader, lines, rows)

    def _batches(self, reader: Iterator[list[str]], lines: _Lines, most: int) -> Iterator[RowBatch]:
        columns: list[str] = []
        numbers: list[int] = []
        held: list[list[str]] = []
        broken: list[Broken] = []
        for row in reader:
            if not row:
                continue
            if not columns:
                columns = [cell.strip() for cell in row] if self._names is None else list(self._names(len(row)))
                if self._names is None or row[0].strip()[:1].isalpha():
                    continue
            if lines.is_cut:
                broken.append(Broken(lines.number, ",".join(row)[:SHOWN], f"line longer than {LINE_MOST} characters"))
                lines.is_cut = False
            elif len(row) != len(columns):
                broken.append(Broken(lines.number, ",".join(row)[:SHOWN], f"{len(row)} columns, not {len(columns)}"))
            else:
                numbers.append(lines.number)
                held.append(row)
            if len(held) + len(broken) >= most:
                yield _batch(columns, numbers, held, broken)
                numbers, held, broken = [], [], []
        if columns:
            yield _batch(columns, numbers, held, broken)


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
        return line[:SHOWN].replace('"', "'")  # a quote without its partner would take the next lines in


def _batch(columns: list[str], numbers: list[int], held: list[list[str]], broken: list[Broken]) -> RowBatch:
    cells: Sequence[Sequence[str]] = list(zip(*held, strict=True)) if held else [()] * len(columns)
    named = dict(zip(columns, cells, strict=True))  # of two columns with one name the last
    series = [pl.Series(NUMBER, numbers, pl.Int64)] + [pl.Series(name, values, pl.String) for name, values in named.items()]
    return RowBatch(pl.DataFrame(series), broken)
