"""Rows of a month (trades and books in full: of a day) into Parquet files, and only then out of the database, if that is wanted.

A folder of an archive: `{target}/instrument={id}/{month or day}={…}/part-1.parquet` and one `{target}/manifest-{…}.json` a unit, which says
of every file how many rows it holds, its size and its SHA-256. Killed at any moment nothing is lost: a row leaves the database in a
transaction that compares what it deletes with what the file, read again, holds.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from zvt_crypto.domain.errors import BadInput, StoreError, shown
from zvt_crypto.domain.time import to_datetime, to_rfc3339
from zvt_crypto.stores.postgres.bars import Bars, unpack
from zvt_crypto.stores.postgres.chunks import PACKABLE
from zvt_crypto.stores.postgres.partitions import Span, drop_if_empty, list_partitions
from zvt_crypto.stores.postgres.policies import Target
from zvt_crypto.stores.postgres.pool import Connection, Pool, Row
from zvt_crypto.stores.postgres.retain import forget_checksums

_TYPES: dict[str, Any] = {
    "integer": pl.Int32,
    "smallint": pl.Int16,
    "bigint": pl.Int64,
    "boolean": pl.Boolean,
    "text": pl.String,
    "double precision": pl.Float64,
    "bytea": pl.Binary,
    "double precision[]": pl.List(pl.Float64),
    "timestamp with time zone": pl.Datetime("us", "UTC"),
}
_SECOND = 10**9


class File(msgspec.Struct):
    """One part. `removing`: its rows were about to leave the database, so that the file may be their only place: never write over it."""

    instrument: str
    path: str
    rows: int
    size_bytes: int
    sha256: str
    removing: bool = False


class Manifest(msgspec.Struct):
    """What of one unit is in the folder."""

    target: str
    low: str
    high: str
    files: list[File] = []


class Archived(msgspec.Struct, frozen=True):
    """What a call did with one unit."""

    target: str
    low_ns: int
    high_ns: int
    files: int
    rows: int
    size_bytes: int
    removed: int


async def list_units(pool: Pool, target: Target, before_ns: int) -> list[Span]:
    """Whole months or days that ended by then and of which the database holds rows, oldest first."""

    async def work(connection: Connection) -> list[Span]:
        if await connection.fetchval("SELECT to_regclass($1)", target.table) is None:
            return []
        units = {target.unit_of(each.low_ns) for each in await list_partitions(connection, target.table)}
        ends = [tuple(await connection.fetchrow(f"SELECT min({target.time}), max({target.time}) FROM {target.table}"))]
        if target.interval in PACKABLE:
            text = "SELECT min(low), max(last_open) FROM kline_packed WHERE slug = $1"
            ends.append(tuple(await connection.fetchrow(text, target.interval.slug)))
        for low, high in ends:
            while low is not None and low <= high:
                units.add(target.unit_of(low))
                low = target.unit_of(low)[1]
        return sorted(unit for unit in units if unit[1] <= before_ns)

    return await pool.run(f"list what of {target.table} can be archived", work)


async def archive(
    pool: Pool, target: Target, unit: Span, folder: Path, *, remove: bool, tell: Callable[[str], None] = lambda _: None
) -> Archived:
    """Write one unit, or what the folder lacks of it, and read it again. With `remove` its rows leave the database then."""
    place = folder / target.table
    place.mkdir(parents=True, exist_ok=True)
    book = place / f"manifest-{_label(target, unit)}.json"
    manifest = _read(book) or Manifest(target.table, to_rfc3339(unit[0]), to_rfc3339(unit[1]))
    schema = await pool.run("read the schema", partial(_schema, target=target))
    rows = size = removed = 0
    for key, name in await pool.run(f"list the instruments of {target.table}", partial(_instruments, target=target, unit=unit)):
        frame = await pool.run(f"read {target.table} of {name}", partial(_rows, target=target, key=key, unit=unit, schema=schema))
        file = _kept(folder, manifest, name, frame) or _written(folder, target, unit, manifest, name, frame)
        _write(book, manifest)
        rows, size = rows + file.rows, size + file.size_bytes
        tell(f"{file.path}: {file.rows} rows")
        if remove:
            file.removing = True
            _write(book, manifest)
            work = partial(_remove, target=target, key=key, unit=unit, schema=schema, expected=frame)
            removed += await pool.write(f"remove archived {target.table} of {name}", work)
    noting = partial(_note, target=target, unit=unit, place=_absolute(folder), manifest=manifest, removed=remove)
    await pool.write("note what was archived", noting)
    if remove:
        for each in await pool.run("list partitions", lambda connection: list_partitions(connection, target.table)):
            if unit[0] <= each.low_ns and each.high_ns <= unit[1]:
                await drop_if_empty(pool, each.name)
    return Archived(target.table, *unit, len(manifest.files), rows, size, removed)


def verify_archive(folder: Path) -> list[str]:
    """What of the folder does not match its manifests; empty where all does. Raises BadInput where there is none."""
    books = sorted(folder.glob("*/manifest-*.json"))
    if not books:
        raise BadInput(f"archive {shown(str(folder))}: no manifest")
    wrong = []
    for book in books:
        for file in (_read(book) or Manifest("", "", "")).files:
            path = folder / file.path
            if not path.exists():
                wrong.append(f"{file.path} is missing")
            elif _sha256(path) != file.sha256:
                wrong.append(f"{file.path} is not what was written: SHA-256 differs")
    return wrong


# ── The database's side ───────────────────────────────────────────────────────────────────────────────────────────────


async def _schema(connection: Connection, target: Target) -> dict[str, Any]:
    text = """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
        WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
    return {name: _TYPES[kind] for name, kind in await connection.fetch(text, target.table)}


async def _instruments(connection: Connection, target: Target, unit: Span) -> list[Row]:
    packed = (
        "UNION SELECT instrument_id FROM kline_packed WHERE slug = $3 AND low >= $1 AND high <= $2" if target.interval in PACKABLE else ""
    )
    text = f"""SELECT i.instrument_id, i.id FROM instrument i JOIN (
        SELECT DISTINCT instrument_id FROM {target.table} WHERE {target.time} >= $1 AND {target.time} < $2 {packed}
    ) held USING (instrument_id) ORDER BY 1"""
    found: list[Row] = await connection.fetch(text, *unit, *([target.interval.slug] if packed and target.interval else []))
    return found


async def _rows(connection: Connection, target: Target, key: int, unit: Span, schema: dict[str, Any]) -> pl.DataFrame:
    """Rows of the table and of its chunks, at one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        text = f"SELECT {', '.join(schema)} FROM {target.table} WHERE instrument_id = $1 AND {target.time} >= $2 AND {target.time} < $3"
        rows = await connection.fetch(text, key, *unit)
        packed = []
        if target.interval in PACKABLE:
            text = "SELECT data FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low >= $3 AND high <= $4"
            packed = await connection.fetch(text, key, target.interval.slug, *unit)
    return _frame(target, schema, key, rows, [row[0] for row in packed])


async def _remove(connection: Connection, target: Target, key: int, unit: Span, schema: dict[str, Any], expected: pl.DataFrame) -> int:
    """Raises StoreError, and nothing has gone, where what would go is not what the file holds."""
    text = f"""DELETE FROM {target.table} WHERE instrument_id = $1 AND {target.time} >= $2 AND {target.time} < $3
        RETURNING {", ".join(schema)}"""
    rows = await connection.fetch(text, key, *unit)
    packed = []
    if target.interval in PACKABLE:
        text = "DELETE FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low >= $3 AND high <= $4 RETURNING data"
        packed = await connection.fetch(text, key, target.interval.slug, *unit)
    gone = _frame(target, schema, key, rows, [row[0] for row in packed])
    if not gone.equals(expected):
        raise StoreError(f"{target.table} of instrument {key} from {to_rfc3339(unit[0])} on changed while it was archived: call again")
    await forget_checksums(connection, target.table, *unit, key)
    return len(gone)


async def _note(connection: Connection, target: Target, unit: Span, place: str, manifest: Manifest, *, removed: bool) -> None:
    await connection.execute(
        "INSERT INTO archived (target, low, high, place, row_count, size_bytes, removed, archived_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, now())"
        " ON CONFLICT (target, low, place) DO UPDATE SET row_count = excluded.row_count, size_bytes = excluded.size_bytes,"
        " removed = excluded.removed, archived_at = excluded.archived_at",
        target.table,
        *unit,
        place,
        sum(file.rows for file in manifest.files),
        sum(file.size_bytes for file in manifest.files),
        removed,
    )


def _frame(target: Target, schema: dict[str, Any], key: int, rows: Sequence[Row], chunks: Sequence[bytes]) -> pl.DataFrame:
    times = [name for name, kind in schema.items() if kind == _TYPES["timestamp with time zone"]]
    raw = {name: pl.Int64 if name in times else kind for name, kind in schema.items()}
    frame = pl.DataFrame([tuple(row) for row in rows], schema=raw, orient="row")
    frame = frame.with_columns((pl.col(times) // 1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    frames = [frame, *(_unpacked(unpack(data), key).select([pl.col(name).cast(kind) for name, kind in schema.items()]) for data in chunks)]
    by = [target.time, *(name for name in ("stream", "event_ns_rest", "start_ns_rest", "last_id", "venue_trade_id") if name in schema)]
    return pl.concat(frames).sort(by)


def _unpacked(bars: Bars, key: int) -> pl.DataFrame:
    frame = pl.DataFrame({name: column for name, column in zip(bars._fields, bars, strict=True) if not name.endswith("_us")})
    return frame.with_columns(
        pl.Series("open_time", bars.open_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        pl.Series("known_at", bars.known_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        pl.col("turnover").fill_nan(None),
        pl.when(pl.col("trades") >= 0).then("trades").alias("trades"),
        pl.lit(key).alias("instrument_id"),
        pl.lit(value=True).alias("final"),
    )


# ── The folder's side ─────────────────────────────────────────────────────────────────────────────────────────────────


def _absolute(folder: Path) -> str:
    return str(folder.resolve())


def _label(target: Target, unit: Span) -> str:
    return f"{to_datetime(unit[0]):%Y-%m-%d}" if unit[1] - unit[0] <= 86_400 * _SECOND else f"{to_datetime(unit[0]):%Y-%m}"


def _kept(folder: Path, manifest: Manifest, name: str, frame: pl.DataFrame) -> File | None:
    """The part that holds exactly these rows already."""
    for file in manifest.files:
        path = folder / file.path
        if file.instrument == name and file.rows == len(frame) and path.exists() and _sha256(path) == file.sha256 and _same(path, frame):
            return file
    return None


def _written(folder: Path, target: Target, unit: Span, manifest: Manifest, name: str, frame: pl.DataFrame) -> File:
    label = _label(target, unit)
    kind = "day" if len(label) == len("2024-01-01") else "month"
    kept = [file for file in manifest.files if file.instrument == name and file.removing]
    path = Path(target.table) / f"instrument={name}" / f"{kind}={label}" / f"part-{len(kept) + 1}.parquet"
    full = folder / path
    full.parent.mkdir(parents=True, exist_ok=True)
    half = full.with_name(f".{full.name}.half")
    frame.write_parquet(half, compression="zstd")
    if not _same(half, frame):
        raise StoreError(f"archive {shown(str(full))}: what was written does not read back the same")
    _sync(half)
    half.replace(full)
    _sync(full.parent)
    file = File(name, path.as_posix(), len(frame), full.stat().st_size, _sha256(full))
    manifest.files = [*(each for each in manifest.files if each.path != file.path), file]
    return file


def _same(path: Path, frame: pl.DataFrame) -> bool:
    return pl.read_parquet(path, hive_partitioning=False).equals(frame)


def _read(book: Path) -> Manifest | None:
    if not book.exists():
        return None
    try:
        return msgspec.json.decode(book.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise BadInput(f"archive manifest {shown(str(book))}: {error}") from error


def _write(book: Path, manifest: Manifest) -> None:
    half = book.with_name(f".{book.name}.half")
    half.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    _sync(half)
    half.replace(book)
    _sync(book.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
