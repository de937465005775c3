"""The rows of one chunk as columns, of every table that is signed: from the table by binary COPY, and from what is packed."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from zvt_crypto.domain.time import INTERVALS, NS_PER_DAY, Interval, floor_ns, from_datetime, next_ns, to_datetime
from zvt_crypto.stores.postgres.bars import Bars, joined
from zvt_crypto.stores.postgres.chunks import packed_until, read_chunks
from zvt_crypto.stores.postgres.copied import copy_bars
from zvt_crypto.stores.postgres.partitions import Span, day_of, month_of
from zvt_crypto.stores.postgres.pool import Connection
from zvt_crypto.stores.postgres.prints import Words, hash_rows

_HEAD_BYTES, _TAIL_BYTES = 19, 2  # of a binary COPY
_EPOCH_2000_US = 946_684_800_000_000


class Rows(NamedTuple):
    """A chunk's rows in the order of their keys."""

    times_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    words: Words


class Noun(NamedTuple):
    """A table that is signed: its column of time, its chunks, and what a row is made of besides.

    columns: (SQL, kind) in the order of the key; a kind is a numpy type, as it comes over the wire. appended: rows never change.
    """

    table: str
    time: str
    unit: str
    span_of: Callable[[int], Span]
    columns: tuple[tuple[str, str], ...] = ()
    order: str = ""
    appended: bool = False
    interval: Interval | None = None


def year_of(at_ns: int) -> Span:
    """[start, end) of the calendar year, UTC."""
    first = to_datetime(at_ns).replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return from_datetime(first), from_datetime(first.replace(year=first.year + 1))


def _sha(text: str) -> str:
    return f"sha256(convert_to({text}, 'UTF8'))"


_LONG = (Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1)
_BOOK = " || '|' || ".join(f"{side}::text" for side in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"))
# Key columns first. A row is as long as every other: what may be null has a value that no row can have.
_NOUNS = (
    *(
        Noun(f"kline_{i.slug}", "open_time", "year" if i in _LONG else "month", year_of if i in _LONG else month_of, interval=i)
        for i in INTERVALS
    ),
    Noun(
        "trade",
        "event_time",
        "day",
        day_of,
        (
            ("event_ns_rest", ">i2"),
            ("stream", ">i2"),
            ("price", ">f8"),
            ("quantity", ">f8"),
            ("taker_buys::int", ">i4"),
            (_sha("venue_trade_id"), "V32"),
        ),
        "event_time, stream, venue_trade_id",
        appended=True,
    ),
    Noun("funding", "event_time", "year", year_of, (("rate", ">f8"), ("coalesce(mark_price, 'NaN')", ">f8")), "event_time"),
    Noun(
        "mark",
        "event_time",
        "month",
        month_of,
        (
            ("mark_price", ">f8"),
            ("coalesce(index_price, 'NaN')", ">f8"),
            ("coalesce(funding_rate, 'NaN')", ">f8"),
            ("coalesce(next_funding_time, 'infinity')", ">i8"),
        ),
        "event_time",
    ),
    Noun(
        "book_snapshot",
        "event_time",
        "month",
        month_of,
        (("event_ns_rest", ">i2"), ("last_id", ">i8"), (_sha(_BOOK), "V32")),
        "event_time, last_id",
        appended=True,
    ),
)
NOUNS: dict[str, Noun] = {noun.table: noun for noun in _NOUNS}


async def read_rows(connection: Connection, noun: Noun, key: int, low_ns: int, high_ns: int) -> Rows:
    """As they are now; of klines the final ones. Raises StoreError where a packed chunk cannot be unpacked."""
    if noun.interval is not None:
        return _of_bars(await _bars(connection, noun.interval, key, low_ns, high_ns))
    return await _copied(connection, noun, key, low_ns, high_ns, None)


async def read_rows_known(connection: Connection, noun: Noun, key: int, low_ns: int, high_ns: int, known_ns: int) -> Rows:
    """As they were when everything up to `known_ns` was known, and nothing later. For klines, and for tables whose rows never change."""
    if noun.interval is None:
        return await _copied(connection, noun, key, low_ns, high_ns, known_ns)
    bars = await _bars(connection, noun.interval, key, low_ns, high_ns)
    text = f"""
        SELECT DISTINCT ON (open_time) {_REVISED} FROM kline_revision
        WHERE slug = $1 AND instrument_id = $2 AND open_time >= $3 AND open_time < $4 AND final AND known_at <= $5
        ORDER BY open_time, source DESC, known_at DESC, revision_id DESC"""
    told = await connection.fetch(text, noun.interval.slug, key, low_ns, high_ns, known_ns)
    return _of_bars(_before(bars, told, known_ns // 1000))


_REVISED = (
    "open_time, known_at, open, high, low, close, volume, coalesce(turnover, 'NaN') AS turnover, coalesce(trades, -1) AS trades, source"
)


async def _bars(connection: Connection, interval: Interval, key: int, low_ns: int, high_ns: int) -> Bars:
    bars = await copy_bars(connection, f"kline_{interval.slug}", key, low_ns, high_ns)
    if await packed_until(connection, interval) <= low_ns:
        return bars
    both = joined([bars, await read_chunks(connection, key, interval, low_ns, high_ns)])
    order = np.argsort(both.open_us, kind="stable")
    return Bars._make(column[order] for column in both)


def _before(bars: Bars, told: Sequence[Any], known_us: int) -> Bars:
    """The greater of what is served and what was served, of each bar, among what was known."""
    known = Bars._make(column[bars.known_us <= known_us] for column in bars)
    served = {
        at: (source, since)
        for at, source, since in zip(known.open_us.tolist(), known.source.tolist(), known.known_us.tolist(), strict=True)
    }
    better = [
        (row[0] // 1000, row[1] // 1000, *row[2:])
        for row in told
        if row[0] // 1000 not in served or (row["source"], row[1] // 1000) > served[row[0] // 1000]
    ]
    if not better:
        return known
    rest = ~np.isin(known.open_us, [row[0] for row in better])
    extra = Bars._make(np.array(column, held.dtype) for column, held in zip(zip(*better, strict=True), known, strict=True))
    both = joined([Bars._make(column[rest] for column in known), extra])
    order = np.argsort(both.open_us, kind="stable")
    return Bars._make(column[order] for column in both)


def _of_bars(bars: Bars) -> Rows:
    return Rows(bars.open_us, bars.known_us, hash_rows(bars))


async def _copied(connection: Connection, noun: Noun, key: int, low_ns: int, high_ns: int, known_ns: int | None) -> Rows:
    """In parts of an hour where a chunk is a day: a busy one has millions of rows."""
    step_ns = NS_PER_DAY // 24 if noun.span_of is day_of else high_ns - low_ns
    parts = [
        await _copied_part(connection, noun, key, at_ns, min(high_ns, at_ns + step_ns), known_ns)
        for at_ns in range(low_ns, high_ns, step_ns)
    ]
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


async def _copied_part(connection: Connection, noun: Noun, key: int, low_ns: int, high_ns: int, known_ns: int | None) -> Rows:
    selected = ", ".join([noun.time, "known_at", *(sql for sql, _ in noun.columns)])
    text = f"SELECT {selected} FROM {noun.table} WHERE instrument_id = $1 AND {noun.time} >= $2 AND {noun.time} < $3"
    values = [key, low_ns, high_ns]
    if known_ns is not None:
        text, values = f"{text} AND known_at <= $4", [*values, known_ns]
    out = io.BytesIO()
    await connection.copy_from_query(f"{text} ORDER BY {noun.order}", *values, output=out, format="binary")
    kind = _row_type(noun)
    data = out.getbuffer()[_HEAD_BYTES:]
    rows = np.frombuffer(data, kind, (len(data) - _TAIL_BYTES) // kind.itemsize)
    columns = [word for name in ("time", "known", *(f"c{n}" for n in range(len(noun.columns)))) for word in _words(rows[name])]
    times_us, known_us = (rows[name].astype(np.int64) + _EPOCH_2000_US for name in ("time", "known"))
    return Rows(times_us, known_us, hash_rows(columns))


async def say_row(connection: Connection, noun: Noun, key: int, rows: Rows, place: int) -> str:
    """The values of one row, for people."""
    at_us = int(rows.times_us[place])
    if noun.interval is not None:
        bar = await _bars(connection, noun.interval, key, at_us * 1000, at_us * 1000 + 1000)
        values = [f"{name} {getattr(bar, name)[0]}" for name in ("open", "high", "low", "close", "volume", "turnover", "trades")]
        return " ".join([*values, f"source {bar.source[0]}"]) if bar.rows() else ""
    turn = place - int(np.searchsorted(rows.times_us, at_us))
    text = f"""SELECT row_to_json(t)::text FROM {noun.table} t WHERE instrument_id = $1 AND {noun.time} = $2
        ORDER BY {noun.order} LIMIT 1 OFFSET {turn}"""
    found: str | None = await connection.fetchval(text, key, at_us * 1000)
    return found or ""


def _row_type(noun: Noun) -> np.dtype[Any]:
    """One field a column, each behind its length."""
    kinds = [("time", ">i8"), ("known", ">i8"), *((f"c{n}", kind) for n, (_, kind) in enumerate(noun.columns))]
    fields = [("fields", ">i2")]
    for name, kind in kinds:
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    return np.dtype(fields)


def _words(column: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The column as columns of 8 bytes each."""
    if column.dtype.kind == "V":
        wide = np.ascontiguousarray(column).view("<u8").reshape(len(column), column.dtype.itemsize // 8)
        return [wide[:, n] for n in range(wide.shape[1])]
    return [column.astype(np.float64 if column.dtype.kind == "f" else np.int64)]


def earliest_missing(noun: Noun, after_ns: int | None, low_ns: int) -> int:
    """The earliest time that a row can have had which stood after the one of `after_ns` (None: it was the first of its chunk)."""
    if noun.interval is None:
        return low_ns if after_ns is None else after_ns
    if after_ns is not None:
        return next_ns(noun.interval, after_ns)
    opened = floor_ns(noun.interval, low_ns)
    return opened if opened == low_ns else next_ns(noun.interval, opened)
