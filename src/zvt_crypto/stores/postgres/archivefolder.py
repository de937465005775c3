"""Files of an archive: parts that are written once and never over, and the manifests that vouch for them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import polars as pl

from zvt_crypto.domain.errors import BadInput, StoreError, shown

# What says who told a row, and when, and under which number its instrument goes: the same row may come again with others.
_ABOUT = ("instrument_id", "known_at", "source")


class File(msgspec.Struct):
    """One part. It may be the only place of its rows: nothing is ever written over it."""

    instrument: str
    path: str
    rows: int
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct):
    """What of one unit is in the folder."""

    target: str
    low: str
    high: str
    files: list[File] = []


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder is this caller's alone meanwhile. Raises StoreError where it is another's."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"archive {shown(str(folder))}: another archiver is at work there: call again once it is done") from None
        yield
    finally:
        os.close(handle)


def verify_archive(folder: Path) -> list[str]:
    """What of the folder does not match its manifests; empty where all does. Raises BadInput where there is none."""
    books = sorted(folder.glob("*/manifest-*.json"))
    if not books:
        raise BadInput(f"archive {shown(str(folder))}: no manifest")
    wrong = []
    for book in books:
        for file in (read_manifest(book) or Manifest("", "", "")).files:
            path = folder / file.path
            if not path.exists():
                wrong.append(f"{file.path} is missing")
            elif _sha256(path) != file.sha256:
                wrong.append(f"{file.path} is not what was written: SHA-256 differs")
    return wrong


def read_manifest(book: Path) -> Manifest | None:
    """None where there is none yet. Raises BadInput for one that is damaged."""
    if not book.exists():
        return None
    try:
        return msgspec.json.decode(book.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise BadInput(f"archive manifest {shown(str(book))}: {error}") from error


def write_manifest(book: Path, manifest: Manifest) -> None:
    """All of it, or as it was."""
    half = _half(book)
    half.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    _sync(half)
    half.replace(book)
    _sync(book.parent)


def clear_halves(place: Path) -> None:
    """What killed archivers were about to write. Only while the folder is held."""
    for half in place.glob(".*.half"):
        half.unlink(missing_ok=True)


def find_strays(folder: Path, place: Path, manifest: Manifest, name: str) -> list[File]:
    """Whole parts that the manifest does not name: a killed archiver's. They are kept and named: others may have no copy of them."""
    named, found = {file.path for file in manifest.files}, []
    for full in sorted((folder / place).glob("part-*.parquet")):
        path = (place / full.name).as_posix()
        if path in named:
            continue
        if not full.stat().st_size:  # a name that was taken for what was not there yet
            full.unlink()
            continue
        try:
            found.append(_file(folder, path, name, len(pl.read_parquet(full, hive_partitioning=False))))
        except pl.exceptions.PolarsError as error:
            raise StoreError(f"archive part {path} is named by no manifest, and cannot be read: move it away") from error
    return found


def read_parts(folder: Path, manifest: Manifest, name: str) -> pl.DataFrame | None:
    """Rows of one instrument in all parts that are as the manifest says."""
    paths = [(folder / file.path, file.sha256) for file in manifest.files if file.instrument == name]
    frames = [pl.read_parquet(path, hive_partitioning=False) for path, digest in paths if path.exists() and _sha256(path) == digest]
    return pl.concat(frames, how="diagonal") if frames else None


def compare(frame: pl.DataFrame, parts: pl.DataFrame | None, key: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """Rows of which parts hold none of the same key, and the number of those of which they hold other values only."""
    if parts is None:
        return frame, 0
    said = [name for name in frame.columns if name in parts.columns and name not in key and name not in _ABOUT]
    both = frame.join(parts.select(*key, *said), on=key, suffix="_then")
    same = both.filter(pl.all_horizontal(pl.lit(value=True), *(pl.col(name).eq_missing(pl.col(f"{name}_then")) for name in said)))
    new = frame.join(parts, on=key, how="anti")
    return new, len(frame) - len(new) - len(same.select(key).unique())


def write_part(folder: Path, place: Path, manifest: Manifest, name: str, frame: pl.DataFrame) -> File:
    """A part of its own, read again before it counts. Raises StoreError where it reads back otherwise."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    named, number = {file.path for file in manifest.files}, 1
    while (path := place / f"part-{number}.parquet").as_posix() in named or (folder / path).exists():
        number += 1
    full = folder / path
    half = _half(full)
    frame.write_parquet(half, compression="zstd")
    if not pl.read_parquet(half, hive_partitioning=False).equals(frame):
        raise StoreError(f"archive part {path}: what was written does not read back the same")
    _sync(half)
    try:
        full.touch(exist_ok=False)
    except FileExistsError:
        raise StoreError(f"archive part {path} was made meanwhile by somebody else: nothing was written over it") from None
    half.replace(full)
    _sync(full.parent)
    return _file(folder, path.as_posix(), name, len(frame))


def _file(folder: Path, path: str, name: str, rows: int) -> File:
    return File(name, path, rows, (folder / path).stat().st_size, _sha256(folder / path))


def _half(full: Path) -> Path:
    return full.with_name(f".{full.name}.{secrets.token_hex(4)}.half")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
