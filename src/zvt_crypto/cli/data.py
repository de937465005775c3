"""`record_data` and `query_data` in ZVT's habit: from an exchange into the database, and from the database into a frame.

Synchronous, usable in scripts and in notebooks. Each call opens what it needs and closes it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.each import of_exchange
from zvt_crypto.cli.entities import get_instruments
from zvt_crypto.cli.frames import FORMS, MOST_ROWS, check_columns, check_form, hand_over, open_cache
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings, load_settings
from zvt_crypto.cli.words import check_count, check_names, parse_past, parse_range, resolve_all
from zvt_crypto.domain.instrument import check_exchange
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import parse_interval, parse_time

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from zvt_crypto.cli.fetch import Synced
    from zvt_crypto.domain.instrument import Instrument
    from zvt_crypto.domain.time import Interval
    from zvt_crypto.ports import Observer, Store

Symbols = str | Sequence[str]


@overload
def query_data(
    symbols: Symbols,
    interval: str = ...,
    start: object = ...,
    end: object = ...,
    *,
    exchange: str | None = ...,
    limit: int | None = ...,
    as_of: object = ...,
    columns: Sequence[str] | None = ...,
    frame: Literal["polars"] = ...,
    settings: Settings | None = ...,
) -> polars.DataFrame: ...
@overload
def query_data(
    symbols: Symbols,
    interval: str = ...,
    start: object = ...,
    end: object = ...,
    *,
    exchange: str | None = ...,
    limit: int | None = ...,
    as_of: object = ...,
    columns: Sequence[str] | None = ...,
    frame: Literal["pandas"],
    settings: Settings | None = ...,
) -> pandas.DataFrame: ...
@overload
def query_data(
    symbols: Symbols,
    interval: str = ...,
    start: object = ...,
    end: object = ...,
    *,
    exchange: str | None = ...,
    limit: int | None = ...,
    as_of: object = ...,
    columns: Sequence[str] | None = ...,
    frame: Literal["arrow"],
    settings: Settings | None = ...,
) -> pyarrow.Table: ...
@overload
def query_data(
    symbols: Symbols,
    interval: str = ...,
    start: object = ...,
    end: object = ...,
    *,
    exchange: str | None = ...,
    limit: int | None = ...,
    as_of: object = ...,
    columns: Sequence[str] | None = ...,
    frame: Literal["rows"],
    settings: Settings | None = ...,
) -> list[Kline]: ...


def query_data(
    symbols: Symbols,
    interval: str = "1m",
    start: object = None,
    end: object = None,
    *,
    exchange: str | None = None,
    limit: int | None = None,
    as_of: object = None,
    columns: Sequence[str] | None = None,
    frame: Literal["polars", "pandas", "arrow", "rows"] = "polars",
    settings: Settings | None = None,
) -> Any:
    """Stored klines with opens in [start, end), oldest first, one symbol after the other.

    symbols: one or several, by any name. limit: of each symbol, the first from `start`, or without a start the newest.
    as_of: final klines as they were known at that moment, those that nobody knew yet left out.
    frame: `polars`, `pandas` (the timestamp is then the index), `arrow`, or `rows` (a list of Kline). columns: only these of the frame.
    Raises UnknownSymbol, AmbiguousSymbol, UnknownInterval, BadTime, OutOfRange, StoreUnavailable.
    """
    names = check_names(symbols)
    of, start_ns, end_ns = parse_interval(interval), *parse_range(start, end)
    check_count("limit", limit, MOST_ROWS)
    as_of_ns = None if as_of is None else parse_time(as_of)
    check_form(frame, (*FORMS, "rows"))
    if frame == "rows":
        return run(lambda: _rows(settings or load_settings(), names, exchange, of, start_ns, end_ns, limit, as_of_ns))
    from zvt_crypto.stores.files.frames import KLINE_SCHEMA

    check_columns(columns, list(KLINE_SCHEMA))
    made = run(lambda: _columns(settings or load_settings(), names, exchange, of, start_ns, end_ns, limit, as_of_ns))
    return hand_over(made, columns, frame)


async def _rows(
    settings: Settings,
    names: list[str],
    exchange: str | None,
    of: Interval,
    start_ns: int | None,
    end_ns: int | None,
    limit: int | None,
    as_of_ns: int | None,
) -> list[Kline]:
    found: list[Kline] = []
    async with open_database(settings) as store:
        for instrument in resolve_all(await store.instruments.load(), names, exchange):
            found += await _klines(store, instrument, of, start_ns, end_ns, limit, as_of_ns)
    return found


async def _columns(
    settings: Settings,
    names: list[str],
    exchange: str | None,
    of: Interval,
    start_ns: int | None,
    end_ns: int | None,
    limit: int | None,
    as_of_ns: int | None,
) -> polars.DataFrame:
    """Of whole ranges through the local copies; what is limited or of the past is asked row by row."""
    import polars

    from zvt_crypto.services.research import Research
    from zvt_crypto.stores.files.frames import kline_frame, named_klines

    parts: list[polars.DataFrame] = []
    async with open_database(settings) as store:
        research = Research(store, open_cache(settings.cache_dir, settings.cache.size_mb))
        for instrument in resolve_all(await store.instruments.load(), names, exchange):
            if limit is None and as_of_ns is None:
                parts.append(named_klines(await research.read(instrument.id, of, start_ns, end_ns), instrument.id, of))
            else:
                parts.append(kline_frame(await _klines(store, instrument, of, start_ns, end_ns, limit, as_of_ns)))
    return polars.concat(parts, rechunk=False)


async def _klines(
    store: Store, instrument: Instrument, of: Interval, start_ns: int | None, end_ns: int | None, limit: int | None, as_of_ns: int | None
) -> list[Kline]:
    if as_of_ns is None:
        return await store.klines.read(instrument.id, of, start_ns, end_ns, limit)
    return await store.versions.read_as_of(instrument.id, of, as_of_ns, start_ns, end_ns, limit)


def record_data(
    symbols: Symbols,
    interval: str = "1m",
    start: object = None,
    end: object = None,
    *,
    exchange: str = "binance",
    settings: Settings | None = None,
) -> dict[str, int]:
    """Fetch klines with opens in [start, end) into the database; what is stored already is not fetched again.

    start None: since the listing. end None: up to now. Returns entity id → rows written. An instrument table that is empty or does not
    know a symbol is read from the exchange first. Raises BadTime (also for a start in the future), UnknownSymbol, UnknownInterval,
    VenueError, StoreError.
    """
    names = check_names(symbols)
    of = parse_interval(interval)
    parse_past(start, end, time.time_ns())
    chosen = of_exchange(settings or load_settings(), exchange)

    async def go() -> dict[str, int]:
        from zvt_crypto.cli.fetch import fetch_history

        return {report.instrument: report.rows for report in await fetch_history(chosen, names, "klines", of, start, end)}

    return run(go)


def sync_instruments(exchange: str | None = None, *, settings: Settings | None = None, observer: Observer | None = None) -> Synced:
    """Read everything that the exchange lists into the database. Returns what was written: (assets, instruments, left_out).

    What it lists no more is delisted, and what you delisted stays so: `observer` hears of both.
    left_out: market → reason, of those that the exchange does not serve in this region; GeoBlocked is raised where that is all of them.
    """
    chosen = settings or load_settings()
    name = check_exchange(exchange or chosen.ingest.exchange)

    async def go() -> Synced:
        from zvt_crypto.cli.fetch import sync_listings

        return await sync_listings(chosen, name, observer)

    return run(go)


class SymbolMappings(Mapping[str, Mapping[str, str]]):
    """`SYMBOL_MAPPINGS[exchange][native]` → `btcusdt`, over the stored instruments; read when first used."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._read: Mapping[str, Mapping[str, str]] | None = None

    def __getitem__(self, exchange: str) -> Mapping[str, str]:
        return self._names()[exchange]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> Mapping[str, Mapping[str, str]]:
        if self._read is None:
            self._read = get_instruments(settings=self._settings).symbol_mappings
        return self._read
