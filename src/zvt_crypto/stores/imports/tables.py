"""Parquet and feather (Arrow IPC), a batch at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import polars as pl

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.stores.imports.reading import NUMBER, RowBatch


class TableReader:
    """RowReader of a file of columns. `placed`: where it lies while it is read (what comes out of an archive lies there only so long)."""

    def __init__(self, label: str, placed: Callable[[], AbstractContextManager[Path]], form: Literal["parquet", "ipc"]) -> None:
        self.label = label
        self._placed = placed
        self._form = form

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """As RowReader says."""
        with self._placed() as path:
            at = 1
            with self._naming():
                lazy = pl.scan_parquet(path, glob=False) if self._form == "parquet" else pl.scan_ipc(path, glob=False)
                batches = iter(lazy.collect_batches(chunk_size=rows, maintain_order=True))
            while True:
                with self._naming():
                    frame = next(batches, None)
                if frame is None:
                    return
                yield RowBatch(frame.with_row_index(NUMBER, at).with_columns(pl.col(NUMBER).cast(pl.Int64)))
                at += frame.height

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            raise BadInput(f"{self.label}: cannot be read as {self._form}: {' '.join(str(error).split())[:200]}") from None
