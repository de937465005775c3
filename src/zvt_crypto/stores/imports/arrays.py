"""JSON as freqtrade writes it: one array of rows, each an array of numbers, text and nulls. Read row by row, never whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import msgspec
import polars as pl

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.stores.imports.reading import NUMBER, SHOWN, Broken, RowBatch

CHUNK = 1 << 20
_ROW = re.compile(r'\[(?:[^\[\]"]|"(?:[^"\\]|\\.)*")*\]')


class ArrayReader:
    """RowReader of rows that have `columns` in this order. Values come as the text that stands there; a null is none."""

    def __init__(self, label: str, opened: Callable[[], BinaryIO], columns: Sequence[str]) -> None:
        self.label = label
        self._opened = opened
        self._columns = tuple(columns)

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """As RowReader says."""
        numbers: list[int] = []
        held: list[list[str | None]] = []
        broken: list[Broken] = []
        for number, text in enumerate(self._texts(), 1):
            row = _values(text)
            if row is None or len(row) != len(self._columns):
                why = "is not JSON" if row is None else f"{len(row)} columns, not {len(self._columns)}"
                broken.append(Broken(number, text[:SHOWN], why))
            else:
                numbers.append(number)
                held.append(row)
            if len(held) + len(broken) >= rows:
                yield self._batch(numbers, held, broken)
                numbers, held, broken = [], [], []
        yield self._batch(numbers, held, broken)

    def _texts(self) -> Iterator[str]:
        """Each row's own text. Raises BadInput for what is no array of arrays, or ends in the middle."""
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        with self._opened() as raw:
            rest, is_begun = "", False
            while chunk := raw.read(CHUNK):
                rest += decode(chunk)
                if not is_begun:
                    begun = rest.lstrip()
                    if not begun.startswith("["):
                        raise BadInput(f"{self.label}: begins with {shown(begun[:20])}, not with an array of rows")
                    rest, is_begun = begun[1:], True
                end = 0
                for found in _ROW.finditer(rest):
                    yield found[0]
                    end = found.end()
                rest = rest[end:]
                if len(rest) > CHUNK:
                    raise BadInput(f"{self.label}: {shown(rest[:40])} is no row of an array")
            left = rest.strip().lstrip(",").strip()
            if left != "]":
                raise BadInput(f"{self.label}: ends in the middle, with {shown(left[-40:])}")

    def _batch(self, numbers: list[int], held: list[list[str | None]], broken: list[Broken]) -> RowBatch:
        cells: Sequence[Sequence[str | None]] = list(zip(*held, strict=True)) if held else [()] * len(self._columns)
        series = [pl.Series(name, values, pl.String) for name, values in zip(self._columns, cells, strict=True)]
        return RowBatch(pl.DataFrame([pl.Series(NUMBER, numbers, pl.Int64), *series]), broken)


def _values(text: str) -> list[str | None] | None:
    try:
        row: list[object] = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return [None if value is None else value if isinstance(value, str) else repr(value) for value in row]
