"""A local cache of columns: a month of klines is one Arrow file, mapped into memory when it is read.

The file's name says what it is a copy of (instrument, interval, month, the version that the store told) and the CRC-32 of its bytes. So
a copy of another version is never found, and a damaged one is told apart: it is removed, and made anew. A file is written beside its
place and moved there, so that processes share the folder without a lock; whoever dies at it leaves a half that is swept up later.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from zvt_crypto.domain.time import Interval, to_datetime
from zvt_crypto.ports import Observer

_HALF = ".half"
_HALF_LIVES_S = 3_600  # nobody takes that long to write a few MB
_TRIM_TO = 0.9  # of the bound, so that not every write has to look for what may go


class ColumnCache:
    """ports.ColumnCache in a folder, of at most `most_bytes`: what was not read for longest goes first."""

    def __init__(self, folder: Path, most_bytes: int, observer: Observer | None = None) -> None:
        self._folder, self._most, self._observer = folder, most_bytes, observer

    def get(self, instrument: str, interval: Interval, month_ns: int, version: str) -> pl.DataFrame | None:
        """The copy of that version; None where there is none, or none that is whole."""
        for path in self._copies(instrument, interval, month_ns, version):
            try:
                if _checksum(path) == path.stem.rpartition("-")[2]:
                    frame = pl.read_ipc(path)
                    os.utime(path)
                    self._count("column_cache_hits")
                    return frame
            except FileNotFoundError:
                continue  # another process made room
            except (OSError, ValueError, pl.exceptions.PolarsError) as error:
                self._note(path, str(error))
            else:
                self._note(path, "its checksum is another")
            with contextlib.suppress(OSError):
                path.unlink()
        return None

    def put(self, instrument: str, interval: Interval, month_ns: int, version: str, frame: pl.DataFrame) -> None:
        """Keep a copy, instead of those of other versions. A disk that takes none is told, and nothing else happens."""
        folder = self._place(instrument, interval)
        stem = f"{_month(month_ns)}-{version}"
        half = folder / f".{stem}-{os.getpid()}-{uuid.uuid4().hex[:8]}{_HALF}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            frame.rechunk().write_ipc(half, compression="uncompressed")
            made = folder / f"{stem}-{_checksum(half)}.arrow"
            with half.open("rb") as file:
                os.fsync(file.fileno())
            half.replace(made)
            for old in folder.glob(f"{_month(month_ns)}-*.arrow"):
                if old != made:
                    old.unlink(missing_ok=True)
            self._trim()
        except OSError as error:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)
            if self._observer is not None:
                self._observer.note("warning", "column_cache_not_written", folder=str(folder), reason=str(error))

    def size_bytes(self) -> int:
        """Of all copies."""
        return sum(size for _, size, _ in self._files())

    def _place(self, instrument: str, interval: Interval) -> Path:
        return self._folder / interval.slug / instrument

    def _copies(self, instrument: str, interval: Interval, month_ns: int, version: str) -> list[Path]:
        return sorted(self._place(instrument, interval).glob(f"{_month(month_ns)}-{version}-*.arrow"))

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(last read, size, path) of every copy. Old halves go on the way."""
        swept = time.time() - _HALF_LIVES_S
        for path in self._folder.rglob("*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                if path.suffix == ".arrow":
                    yield state.st_mtime, state.st_size, path
                elif path.suffix == _HALF and state.st_mtime < swept:
                    path.unlink()

    def _trim(self) -> None:
        held = sorted(self._files())
        total = sum(size for _, size, _ in held)
        if total <= self._most:
            return
        for _, size, path in held:
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
            if total <= self._most * _TRIM_TO:
                return

    def _note(self, path: Path, reason: str) -> None:
        self._count("column_cache_damaged")
        if self._observer is not None:
            self._observer.note("warning", "column_cache_damaged", file=str(path), reason=reason)

    def _count(self, name: str) -> None:
        if self._observer is not None:
            self._observer.count(name)


def _month(month_ns: int) -> str:
    return f"{to_datetime(month_ns):%Y%m}"


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return "empty"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return f"{zlib.crc32(data):08x}"
