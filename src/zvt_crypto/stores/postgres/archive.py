"""Rows of a month (trades and books in full: of a day) into Parquet files, and only then out of the database, if that is wanted.

A folder of an archive: `{target}/instrument={id}/{month or day}={…}/part-1.parquet` and one `{target}/manifest-{…}.json` a unit, which says
of every file how many rows it holds, its size and its SHA-256. Killed at any moment nothing is lost: a row leaves the database in a
transaction that compares what it deletes with what files, read again, hold. A part is never written over, and holds no row that an
earlier one holds.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.time import to_datetime, to_rfc3339
from zvt_crypto.stores.postgres.alone import alone
from zvt_crypto.stores.postgres.archivefolder import (
    Manifest,
    clear_halves,
    compare,
    find_strays,
    held,
    read_manifest,
    read_parts,
    write_manifest,
    write_part,
)
from zvt_crypto.stores.postgres.bars import Bars
from zvt_crypto.stores.postgres.chunks import PACKABLE, PACKED, Packed
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
# By instrument, as keys are: a span alone would have the whole table read where it is empty.
_HOLDS = """SELECT EXISTS (SELECT FROM instrument i CROSS JOIN LATERAL (
    SELECT FROM {table} t WHERE t.instrument_id = i.instrument_id AND t.{time} >= $1 AND t.{time} < $2 LIMIT 1) held)"""


class Archived(msgspec.Struct, frozen=True):
    """What a call did with one unit. `rows` of the database that files hold now; `differing`: of which they hold other values."""

    target: str
    low_ns: int
    high_ns: int
    files: int
    rows: int
    size_bytes: int
    removed: int
    differing: int = 0


async def list_units(pool: Pool, target: Target, before_ns: int) -> list[Span]:
    """Whole months or days that ended by then and of which the database holds rows, oldest first."""

    async def work(connection: Connection) -> list[Span]:
        if await connection.fetchval("SELECT to_regclass($1)", target.table) is None:
            return []
        spans = [each[1:] for each in await list_partitions(connection, target.table)]
        if not spans:
            low, high = await connection.fetchrow(f"SELECT min({target.time}), max({target.time}) FROM {target.table}")
            spans = [] if low is None else [(low, high + 1)]
        possible = {unit for span in spans for unit in _units(target, *span) if unit[1] <= before_ns}
        units = {unit for unit in possible if await connection.fetchval(_HOLDS.format(table=target.table, time=target.time), *unit)}
        if target.interval in PACKABLE:
            lows = await connection.fetch("SELECT DISTINCT low FROM kline_packed WHERE slug = $1", target.interval.slug)
            units |= {target.unit_of(row[0]) for row in lows}
        return sorted(unit for unit in units if unit[1] <= before_ns)

    return await pool.run(f"list what of {target.table} can be archived", work)


async def archive_old(
    pool: Pool, target: Target, before_ns: int, folder: Path, *, remove: bool, tell: Callable[[str], None] = lambda _: None
) -> list[Archived]:
    """`archive` of every unit that ended by then, oldest first. Raises StoreError while another archives or forgets."""

    async def work() -> list[Archived]:
        units = await list_units(pool, target, before_ns)
        with held(folder):
            return [await _archive(pool, target, unit, folder, remove=remove, tell=tell) for unit in units]

    return await alone(pool, work)


async def archive(
    pool: Pool, target: Target, unit: Span, folder: Path, *, remove: bool, tell: Callable[[str], None] = lambda _: None
) -> Archived:
    """Write one unit, or what the folder lacks of it, and read it again. With `remove` its rows leave the database then.

    Rows of which files hold other values are not written, and keep those of their instrument and unit in the database.
    Raises StoreError while another archives or forgets.
    """

    async def work() -> Archived:
        with held(folder):
            return await _archive(pool, target, unit, folder, remove=remove, tell=tell)

    return await alone(pool, work)


async def _archive(pool: Pool, target: Target, unit: Span, folder: Path, *, remove: bool, tell: Callable[[str], None]) -> Archived:
    label = _label(target, unit)
    book = folder / target.table / f"manifest-{label}.json"
    book.parent.mkdir(parents=True, exist_ok=True)
    clear_halves(book.parent)
    manifest = read_manifest(book) or Manifest(target.table, to_rfc3339(unit[0]), to_rfc3339(unit[1]))
    schema = await pool.run("read the schema", partial(_schema, target=target))
    rows = removed = differing = 0
    for key, name in await pool.run(f"list the instruments of {target.table}", partial(_instruments, target=target, unit=unit)):
        frame = await pool.run(f"read {target.table} of {name}", partial(_rows, target=target, key=key, unit=unit, schema=schema))
        if frame.is_empty():
            continue
        others = _into_folder(folder, target, label, book, manifest, name, frame, tell)
        rows, differing = rows + len(frame) - others, differing + others
        if remove and not others:
            work = partial(_remove, target=target, key=key, unit=unit, schema=schema, expected=frame)
            removed += await pool.write(f"remove archived {target.table} of {name}", work)
    if manifest.files:
        noting = partial(_note, target=target, unit=unit, place=_absolute(folder), manifest=manifest, removed=remove and not differing)
        await pool.write("note what was archived", noting)
    if remove:
        for each in await pool.run("list partitions", lambda connection: list_partitions(connection, target.table)):
            if unit[0] <= each.low_ns and each.high_ns <= unit[1]:
                await drop_if_empty(pool, each.name)
    size = sum(file.size_bytes for file in manifest.files)
    return Archived(target.table, *unit, len(manifest.files), rows, size, removed, differing)


def _into_folder(
    folder: Path, target: Target, label: str, book: Path, manifest: Manifest, name: str, frame: pl.DataFrame, tell: Callable[[str], None]
) -> int:
    """Write what parts lack of the rows. Returns the number of those of which they hold other values."""
    kind = "day" if len(label) == len("2024-01-01") else "month"
    place = Path(target.table) / f"instrument={name}" / f"{kind}={label}"
    clear_halves(folder / place)
    if strays := find_strays(folder, place, manifest, name):
        manifest.files += strays
        write_manifest(book, manifest)
    new, others = compare(frame, read_parts(folder, manifest, name), _key(target, frame.columns))
    if len(new):
        file = write_part(folder, place, manifest, name, new)
        manifest.files.append(file)
        write_manifest(book, manifest)
        tell(f"{file.path}: {file.rows} rows")
    if len(new) + others < len(frame):
        tell(f"{place.as_posix()}: {len(frame) - len(new) - others} rows are in earlier parts")
    if others:
        tell(f"{place.as_posix()}: {others} rows differ from what earlier parts hold: the rows of this {kind} stay in the database")
    return others


async def archive_places(pool: Pool, target: Target) -> list[str]:
    """Folders that hold rows of the target."""
    text = "SELECT DISTINCT place FROM archived WHERE target = $1 ORDER BY place"
    return [row[0] for row in await pool.run("read what was archived", lambda connection: connection.fetch(text, target.table))]


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
            text = f"SELECT {PACKED} FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low >= $3 AND high <= $4"
            packed = await connection.fetch(text, key, target.interval.slug, *unit)
    return _frame(target, schema, key, rows, [Packed(*row) for row in packed])


async def _remove(connection: Connection, target: Target, key: int, unit: Span, schema: dict[str, Any], expected: pl.DataFrame) -> int:
    """Raises StoreError, and nothing has gone, where what would go is not what the file holds."""
    text = f"""DELETE FROM {target.table} WHERE instrument_id = $1 AND {target.time} >= $2 AND {target.time} < $3
        RETURNING {", ".join(schema)}"""
    rows = await connection.fetch(text, key, *unit)
    packed = []
    if target.interval in PACKABLE:
        text = f"DELETE FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low >= $3 AND high <= $4 RETURNING {PACKED}"
        packed = await connection.fetch(text, key, target.interval.slug, *unit)
    gone = _frame(target, schema, key, rows, [Packed(*row) for row in packed])
    if not gone.equals(expected):
        raise StoreError(f"{target.table} of instrument {key} from {to_rfc3339(unit[0])} on changed while it was archived: call again")
    await forget_checksums(connection, target.table, *unit, key)
    return len(gone)


async def _note(connection: Connection, target: Target, unit: Span, place: str, manifest: Manifest, *, removed: bool) -> None:
    await connection.execute(
        "INSERT INTO archived (target, low, high, place, row_count, size_bytes, removed, archived_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, now())"
        " ON CONFLICT (target, low, place) DO UPDATE SET row_count = excluded.row_count, size_bytes = excluded.size_bytes,"
        " removed = archived.removed OR excluded.removed, archived_at = excluded.archived_at",
        target.table,
        *unit,
        place,
        sum(file.rows for file in manifest.files),
        sum(file.size_bytes for file in manifest.files),
        removed,
    )


def _frame(target: Target, schema: dict[str, Any], key: int, rows: Sequence[Row], chunks: Sequence[Packed]) -> pl.DataFrame:
    times = [name for name, kind in schema.items() if kind == _TYPES["timestamp with time zone"]]
    raw = {name: pl.Int64 if name in times else kind for name, kind in schema.items()}
    frame = pl.DataFrame([tuple(row) for row in rows], schema=raw, orient="row")
    frame = frame.with_columns((pl.col(times) // 1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    frames = [frame, *(_unpacked(chunk.bars(), key).select([pl.col(name).cast(kind) for name, kind in schema.items()]) for chunk in chunks)]
    return pl.concat(frames).sort(_key(target, schema))


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


# ── Names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _units(target: Target, low_ns: int, high_ns: int) -> Iterator[Span]:
    """Those that [low, high) touches."""
    while low_ns < high_ns:
        unit = target.unit_of(low_ns)
        yield unit
        low_ns = unit[1]


def _key(target: Target, columns: Collection[str]) -> list[str]:
    """What tells rows of one instrument apart."""
    return [target.time, *(name for name in ("stream", "event_ns_rest", "start_ns_rest", "last_id", "venue_trade_id") if name in columns)]


def _absolute(folder: Path) -> str:
    return str(folder.resolve())


def _label(target: Target, unit: Span) -> str:
    return f"{to_datetime(unit[0]):%Y-%m-%d}" if unit[1] - unit[0] <= 86_400 * _SECOND else f"{to_datetime(unit[0]):%Y-%m}"
