"""What a query hands over: the chosen columns, as polars, pandas or Arrow; and `query_trades` and `query_funding`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings, load_settings
from zvt_crypto.cli.words import check_count, check_names, parse_range, resolve_all
from zvt_crypto.domain.errors import BadInput, shown

if TYPE_CHECKING:
    from pathlib import Path

    import polars

    from zvt_crypto.domain.instrument import Instrument
    from zvt_crypto.ports import ColumnCache, Store

Form = Literal["polars", "pandas", "arrow"]
FORMS: tuple[Form, ...] = get_args(Form)
MOST_ROWS = 10_000_000  # of one query; about 3 GB as structs


def query_trades(
    symbols: str | Sequence[str],
    start: object = None,
    end: object = None,
    *,
    exchange: str | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    frame: Form = "polars",
    settings: Settings | None = None,
) -> Any:
    """Stored trades of [start, end), oldest first, one symbol after the other.

    Columns: timestamp, entity_id, stream, trade_id, price, quantity, side.

    limit: of each symbol, the first from `start`, or without a start the newest. Raises as `query_data` does.
    """
    from zvt_crypto.stores.files.frames import TRADE_SCHEMA, trade_frame

    start_ns, end_ns = parse_range(start, end)
    check_count("limit", limit, MOST_ROWS)

    async def read(store: Store, instrument: Instrument) -> polars.DataFrame:
        return trade_frame(await store.trades.read(instrument.id, start_ns, end_ns, limit))

    return _query(symbols, exchange, settings, read, list(TRADE_SCHEMA), columns, frame)


def query_funding(
    symbols: str | Sequence[str],
    start: object = None,
    end: object = None,
    *,
    exchange: str | None = None,
    columns: Sequence[str] | None = None,
    frame: Form = "polars",
    settings: Settings | None = None,
) -> Any:
    """Stored funding of perpetuals in [start, end), oldest first: timestamp, entity_id, rate (a fraction), mark_price.

    Raises as `query_data` does.
    """
    from zvt_crypto.stores.files.frames import FUNDING_SCHEMA, funding_frame

    start_ns, end_ns = parse_range(start, end)

    async def read(store: Store, instrument: Instrument) -> polars.DataFrame:
        return funding_frame(await store.facts.read_funding(instrument.id, start_ns, end_ns))

    return _query(symbols, exchange, settings, read, list(FUNDING_SCHEMA), columns, frame)


def open_cache(folder: Path, size_mb: int) -> ColumnCache | None:
    """The local copies of months; None where the settings want none."""
    if not size_mb:
        return None
    from zvt_crypto.stores.files.columns import ColumnCache as Files

    return Files(folder, size_mb * 1_000_000)


def check_form(form: object, known: Sequence[str] = FORMS) -> None:
    """Raises BadInput."""
    if form not in known:
        raise BadInput(f"frame {shown(form)} is none of {', '.join(known)}")


def check_columns(columns: object, known: Sequence[str]) -> None:
    """Raises BadInput for what is no list of known columns."""
    if isinstance(columns, str):
        raise BadInput(f"columns is a list of names, not one: [{columns!r}]")
    for name in columns or ():  # type: ignore[attr-defined]
        if not isinstance(name, str) or name not in known:
            raise BadInput(f"column {shown(name)} is none of {', '.join(known)}")


def hand_over(made: polars.DataFrame, columns: Sequence[str] | None, form: str) -> Any:
    """In the form that was asked for. Raises BadInput where a package for it is not installed."""
    if columns is not None:
        made = made.select(columns)
    if form == "polars":
        return made
    try:
        if form == "arrow":
            return made.to_arrow()
        frame = made.to_pandas()
    except ModuleNotFoundError as error:
        raise BadInput(f"frame {form!r} needs the package {error.name}: pip install 'zvt-crypto[{form}]'") from None
    return frame.set_index("timestamp") if "timestamp" in frame.columns else frame


def _query(
    symbols: str | Sequence[str],
    exchange: str | None,
    settings: Settings | None,
    read: Callable[[Store, Instrument], Awaitable[polars.DataFrame]],
    known: list[str],
    columns: Sequence[str] | None,
    form: str,
) -> Any:
    import polars

    names = check_names(symbols)
    check_form(form)
    check_columns(columns, known)

    async def go() -> list[polars.DataFrame]:
        async with open_database(settings or load_settings()) as store:
            table = await store.instruments.load()
            return [await read(store, instrument) for instrument in resolve_all(table, names, exchange)]

    return hand_over(polars.concat(run(go), rechunk=False), columns, form)
