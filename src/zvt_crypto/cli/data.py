"""`record_data` and `query_data` in ZVT's habit: from an exchange into the database, and from the database into a frame.

Synchronous, usable in scripts and in notebooks. Each call opens what it needs and closes it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.each import of_exchange
from zvt_crypto.cli.entities import get_instruments
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings, load_settings
from zvt_crypto.cli.words import check_count, check_names, parse_past, parse_range, resolve_all
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import check_exchange
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import parse_interval, parse_time

if TYPE_CHECKING:
    import pandas
    import polars

    from zvt_crypto.cli.fetch import Synced
    from zvt_crypto.ports import Observer

Symbols = str | Sequence[str]
MOST_ROWS = 10_000_000  # of one query; about 3 GB as structs


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
    frame: Literal["polars", "pandas", "rows"] = "polars",
    settings: Settings | None = None,
) -> Any:
    """Stored klines with opens in [start, end), oldest first, one symbol after the other.

    symbols: one or several, by any name. limit: of each symbol, the first from `start`, or without a start the newest.
    as_of: final klines as they were known at that moment, those that nobody knew yet left out.
    frame: `polars`, `pandas` (the timestamp is then the index), or `rows` (a list of Kline). columns: only these of the frame.
    Raises UnknownSymbol, AmbiguousSymbol, UnknownInterval, BadTime, OutOfRange, StoreUnavailable.
    """
    names = check_names(symbols)
    of, start_ns, end_ns = parse_interval(interval), *parse_range(start, end)
    check_count("limit", limit, MOST_ROWS)
    as_of_ns = None if as_of is None else parse_time(as_of)
    if frame not in ("polars", "pandas", "rows"):
        raise BadInput(f"frame {shown(frame)} is none of polars, pandas, rows")

    async def go() -> list[Kline]:
        async with open_database(settings or load_settings()) as store:
            table = await store.instruments.load()
            found: list[Kline] = []
            for instrument in resolve_all(table, names, exchange):
                if as_of_ns is None:
                    found += await store.klines.read(instrument.id, of, start_ns, end_ns, limit)
                else:
                    found += await store.versions.read_as_of(instrument.id, of, as_of_ns, start_ns, end_ns, limit)
            return found

    rows = run(go)
    return rows if frame == "rows" else _frame(rows, columns, frame)


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


def _frame(rows: Iterable[Kline], columns: Sequence[str] | None, form: str) -> Any:
    from zvt_crypto.stores.files.frames import KLINE_SCHEMA, kline_frame

    if isinstance(columns, str):
        raise BadInput(f"columns is a list of names, not one: [{columns!r}]")
    for name in columns or ():
        if not isinstance(name, str) or name not in KLINE_SCHEMA:
            raise BadInput(f"column {shown(name)} is none of {', '.join(KLINE_SCHEMA)}")
    made = kline_frame(rows)
    if columns is not None:
        made = made.select(columns)
    if form == "polars":
        return made
    try:
        return _to_pandas(made)
    except ModuleNotFoundError as error:
        raise BadInput(f"frame 'pandas' needs the package {error.name}: pip install 'zvt-crypto[pandas]'") from None


def _to_pandas(made: polars.DataFrame) -> pandas.DataFrame:
    frame = made.to_pandas()
    return frame.set_index("timestamp") if "timestamp" in frame.columns else frame
