"""Stored rows, cut into the files of a partitioned folder: one at a time, so that years of a market need no more memory than one of them.

`klines/interval=1m/entity_id=…/year=2024/2024-01.parquet` (a file a month; from 1h on a file a year), `trades/entity_id=…/date=…/`,
`funding/entity_id=…/year=2024/`: names that DuckDB, polars and Arrow read as columns.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from zvt_crypto.domain.market import Funding, Trade
from zvt_crypto.domain.time import NS_PER_DAY, Interval, floor_ns, from_datetime, next_ns, to_datetime
from zvt_crypto.ports import Store

if TYPE_CHECKING:
    import polars as pl

ExportNoun = Literal["klines", "trades", "funding"]
SHORT = (Interval.MIN_1, Interval.MIN_5, Interval.MIN_15, Interval.MIN_30)
_STREAMS = ("trade", "agg")
_TRADES_STEP_NS = NS_PER_DAY // 24  # so many are rows of ours at a time


class Part(NamedTuple):
    """A file: its place below the folder, and its rows, without the columns that the place says."""

    place: str
    frame: pl.DataFrame


def head_of(noun: ExportNoun, instrument: str, interval: Interval | None) -> str:
    """The folder of one stream, below the one that is exported to."""
    return f"{noun}/{f'interval={interval.slug}/' if interval else ''}entity_id={instrument}"


def list_stale(
    folder: Path, noun: ExportNoun, instrument: str, interval: Interval | None, start_ns: int | None, end_ns: int | None, fresh: set[str]
) -> list[Path]:
    """Files of months, days and years that [start, end) touches, by the names that an export gives, and that are not among the `fresh`."""
    name, ahead = _NAMES[noun if noun != "klines" else "month" if interval in SHORT else "year"]
    head = folder / head_of(noun, instrument, interval)
    found = []
    for path in sorted(head.glob("*/*.parquet")):
        said = name.fullmatch(path.relative_to(head).as_posix())
        if said is None or path.relative_to(folder).as_posix() in fresh:
            continue
        low_ns = _first_ns([int(each) for each in said.groups()])
        if low_ns is not None and (end_ns is None or low_ns < end_ns) and (start_ns is None or ahead(low_ns) > start_ns):
            found.append(path)
    return found


async def klines(store: Store, instrument: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> AsyncIterator[Part]:
    """The bars of an interval that open in [start, end)."""
    bounds = await store.klines.bounds(instrument, interval)
    if bounds is None:
        return
    low, high = max(bounds[0], start_ns or 0), next_ns(interval, bounds[1])
    high = high if end_ns is None else min(high, end_ns)
    head = head_of("klines", instrument, interval)
    for from_ns, to_ns in _cuts(low, high, _month_ahead if interval in SHORT else _year_ahead):
        frame = await store.frames.klines(instrument, interval, from_ns, to_ns)
        if frame.height:
            name = f"{to_datetime(from_ns):%Y-%m}" if interval in SHORT else f"{to_datetime(from_ns):%Y}"
            yield Part(f"{head}/year={to_datetime(from_ns):%Y}/{name}.parquet", frame)


async def trades(
    store: Store, instrument: str, start_ns: int | None, end_ns: int | None, make: Callable[[list[Trade]], pl.DataFrame]
) -> AsyncIterator[Part]:
    """The trades of [start, end), of both streams, a day a file."""
    told = [await store.coverage.stream(instrument, stream, start_ns, end_ns) for stream in _STREAMS]
    firsts = [each.first_ns for each in told if each.first_ns is not None]
    lasts = [each.last_ns for each in told if each.last_ns is not None]
    if not firsts or not lasts:
        return
    for low, high in _cuts(max(min(firsts), start_ns or 0), min(max(lasts) + 1_000, end_ns or max(lasts) + 1_000), _day_ahead):
        frame: pl.DataFrame | None = None
        for from_ns in range(low, high, _TRADES_STEP_NS):
            rows = await store.trades.read(instrument, from_ns, min(high, from_ns + _TRADES_STEP_NS))
            made = make(rows)
            frame = made if frame is None else frame.vstack(made)
        if frame is not None and frame.height:
            yield Part(f"{head_of('trades', instrument, None)}/date={to_datetime(low):%Y-%m-%d}/trades.parquet", frame)


async def funding(
    store: Store, instrument: str, start_ns: int | None, end_ns: int | None, make: Callable[[list[Funding]], pl.DataFrame]
) -> AsyncIterator[Part]:
    """The funding of [start, end), a year a file."""
    years: dict[int, list[Funding]] = {}
    for row in await store.facts.read_funding(instrument, start_ns, end_ns):
        years.setdefault(to_datetime(row.event_ns).year, []).append(row)
    for year, rows in years.items():
        yield Part(f"{head_of('funding', instrument, None)}/year={year}/funding.parquet", make(rows))


def _cuts(low_ns: int, high_ns: int, ahead: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    while low_ns < high_ns:
        yield low_ns, min(high_ns, ahead(low_ns))
        low_ns = ahead(low_ns)


def _month_ahead(at_ns: int) -> int:
    return next_ns(Interval.MONTH_1, floor_ns(Interval.MONTH_1, at_ns))


def _year_ahead(at_ns: int) -> int:
    year = to_datetime(at_ns).year
    while to_datetime(at_ns).year == year:
        at_ns = _month_ahead(at_ns)
    return at_ns


def _day_ahead(at_ns: int) -> int:
    return (at_ns // NS_PER_DAY + 1) * NS_PER_DAY


def _first_ns(parts: list[int]) -> int | None:
    """Of a year, month and day, as far as they are told; None where there is none such."""
    try:
        year, month, day = [*parts, 1, 1][:3]
        return from_datetime(datetime(year, month, day, tzinfo=UTC))
    except ValueError:
        return None


_NAMES: dict[str, tuple[re.Pattern[str], Callable[[int], int]]] = {
    "month": (re.compile(r"year=(\d{4})/\1-(\d\d)\.parquet"), _month_ahead),
    "year": (re.compile(r"year=(\d{4})/\1\.parquet"), _year_ahead),
    "trades": (re.compile(r"date=(\d{4})-(\d\d)-(\d\d)/trades\.parquet"), _day_ahead),
    "funding": (re.compile(r"year=(\d{4})/funding\.parquet"), _year_ahead),
}
