"""`export`: stored rows as a folder of Parquet files, partitioned as other tools read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import note, print_json
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.words import check_names, parse_range, resolve_all
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.time import Interval, parse_interval
from zvt_crypto.services import export as parts

if TYPE_CHECKING:
    import polars as pl

    from zvt_crypto.ports import Store

NOUNS = ("klines", "trades", "funding")


class Exported(msgspec.Struct, frozen=True):
    """What was written of one instrument. removed: files that an earlier export wrote, of which no row is stored any more."""

    entity_id: str
    what: str
    interval: str | None
    rows: int
    files: int
    removed: int


def run_export(
    settings: Settings,
    symbols: list[str],
    folder: Path,
    *,
    what: tuple[str, ...],
    intervals: tuple[str, ...],
    start: str | None,
    end: str | None,
    exchange: str | None,
    as_json: bool,
) -> int:
    """Write, and say how much. A file that stands there already is replaced, and goes where no row of it is stored any more."""
    names, (start_ns, end_ns) = check_names(symbols), parse_range(start, end)
    of = list(dict.fromkeys(parse_interval(name) for name in intervals))
    for noun in what:
        if noun not in NOUNS:
            raise BadInput(f"what {shown(noun)} is none of {', '.join(NOUNS)}")

    async def go() -> list[Exported]:
        async with open_database(settings) as store:
            table = await store.instruments.load()
            done = []
            for instrument in resolve_all(table, names, exchange):
                for noun, interval, found in _streams(store, instrument.id, what, of, start_ns, end_ns):
                    rows, fresh = await _write(folder, found)
                    gone = parts.list_stale(folder, noun, instrument.id, interval, start_ns, end_ns, fresh)
                    _remove(gone)
                    done.append(Exported(instrument.id, noun, interval and interval.value, rows, len(fresh), len(gone)))
            return done

    done = run(go)
    if as_json:
        print_json({"exported": done, "folder": str(folder), "rows": sum(each.rows for each in done)})
    else:
        for e in done:
            gone = f"; {e.removed} removed of which no row is stored any more" if e.removed else ""
            print(f"{e.entity_id} {e.what}{f' {e.interval}' if e.interval else ''}: {e.rows} rows in {e.files} files{gone}")
    if not any(each.rows for each in done):
        note("none of this is stored here; `zvt-crypto coverage` tells what is")
    return exits.OK


def _streams(
    store: Store, instrument: str, what: tuple[str, ...], of: list[Interval], start_ns: int | None, end_ns: int | None
) -> list[tuple[parts.ExportNoun, Interval | None, AsyncIterator[parts.Part]]]:
    from zvt_crypto.stores.files.frames import funding_frame, trade_frame

    def placed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.drop("entity_id")

    made: list[tuple[parts.ExportNoun, Interval | None, AsyncIterator[parts.Part]]] = []
    if "klines" in what:
        made += [("klines", each, parts.klines(store, instrument, each, start_ns, end_ns)) for each in of]
    if "trades" in what:
        made.append(("trades", None, parts.trades(store, instrument, start_ns, end_ns, lambda rows: placed(trade_frame(rows)))))
    if "funding" in what:
        made.append(("funding", None, parts.funding(store, instrument, start_ns, end_ns, lambda rows: placed(funding_frame(rows)))))
    return made


async def _write(folder: Path, found: AsyncIterator[parts.Part]) -> tuple[int, set[str]]:
    """(rows, the places of the files)."""
    from zvt_crypto.stores.files.frames import write_parquet

    rows, fresh = 0, set()
    async for place, frame in found:
        path = folder / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(frame, path)
        except OSError as error:
            raise BadInput(f"{shown(str(path))} cannot be written: {error.strerror or error}") from None
        rows += frame.height
        fresh.add(place)
    return rows, fresh


def _remove(files: list[Path]) -> None:
    for path in files:
        try:
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise BadInput(f"{shown(str(path))} cannot be removed: {error.strerror or error}") from None
