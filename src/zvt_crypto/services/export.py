"""Stored rows, cut into the files of a partitioned folder: one at a time, so that years of a market need no more memory than one of them.

`klines/interval=1m/entity_id=…/year=2024/2024-01.parquet` (a file a month; from 1h on a file a year), `trades/entity_id=…/date=…/`,
`funding/entity_id=…/year=2024/`: names that DuckDB, polars and Arrow read as columns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from zvt_crypto.domain.market import Funding, Trade
from zvt_crypto.domain.time import NS_PER_DAY, Interval, floor_ns, next_ns, to_datetime
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


async def klines(store: Store, instrument: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> AsyncIterator[Part]:
    """The bars of an interval that open in [start, end)."""
    bounds = await store.klines.bounds(instrument, interval)
    if bounds is None:
        return
    low, high = max(bounds[0], start_ns or 0), next_ns(interval, bounds[1])
    high = high if end_ns is None else min(high, end_ns)
    head = f"klines/interval={interval.slug}/entity_id={instrument}"
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
            yield Part(f"trades/entity_id={instrument}/date={to_datetime(low):%Y-%m-%d}/trades.parquet", frame)


async def funding(
    store: Store, instrument: str, start_ns: int | None, end_ns: int | None, make: Callable[[list[Funding]], pl.DataFrame]
) -> AsyncIterator[Part]:
    """The funding of [start, end), a year a file."""
    years: dict[int, list[Funding]] = {}
    for row in await store.facts.read_funding(instrument, start_ns, end_ns):
        years.setdefault(to_datetime(row.event_ns).year, []).append(row)
    for year, rows in years.items():
        yield Part(f"funding/entity_id={instrument}/year={year}/funding.parquet", make(rows))


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
