"""`kdata`: stored klines as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.commands.storage import archives_of
from zvt_crypto.cli.data import query_data
from zvt_crypto.cli.out import note, table_text
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.market import Kline

COLUMNS = ["timestamp", "open", "high", "low", "close", "volume", "turnover", "trades", "final", "source"]
ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
TABLE_ROWS = 100  # a table is for eyes; the other forms are for programs and have no such default


def run_kdata(
    settings: Settings,
    symbol: str,
    interval: str,
    *,
    start: str | None,
    end: str | None,
    limit: int | None,
    as_of: str | None = None,
    form: str | None,
    output: Path | None,
    exchange: str | None,
) -> int:
    """Query and write. Without a form: as the file's name ends, and a table otherwise."""
    form = form or ENDINGS.get(output.suffix.lower() if output else "", "table")
    if form == "parquet" and output is None:
        raise BadInput("parquet needs --output FILE")
    if output is not None and output.is_dir():
        raise BadInput(f"output {shown(str(output))} is a folder: name a file in it")
    if output is not None and not output.absolute().parent.is_dir():
        raise BadInput(f"folder {shown(str(output.absolute().parent))} does not exist")
    if form == "table" and limit is None:
        limit = TABLE_ROWS
    rows = query_data(symbol, interval, start, end, exchange=exchange, limit=limit, as_of=as_of, frame="rows", settings=settings)
    if output is not None:
        _write(rows, form, output)
        print(f"{len(rows)} rows: {output}", file=sys.stderr)
        return exits.OK
    sys.stdout.write(_text(rows, form))
    if not rows and form == "table":
        note(f"no {interval} klines of {symbol} are stored here; `zvt-crypto backfill` fetches them, `zvt-crypto up` records them")
        if places := archives_of(settings, interval):
            note(f"{interval} klines were archived into {', '.join(places)}")
    return exits.OK


def _write(rows: list[Kline], form: str, output: Path) -> None:
    """Raises BadInput for a file that cannot be written."""
    try:
        if form == "parquet":
            from zvt_crypto.stores.files.frames import kline_frame, write_parquet

            write_parquet(kline_frame(rows), output)
        else:
            output.write_text(_text(rows, form), "utf-8")
    except OSError as error:
        raise BadInput(f"output {shown(str(output))} cannot be written: {error.strerror or error}") from None


def _text(rows: list[Kline], form: str) -> str:
    if form == "csv":
        from zvt_crypto.stores.files.frames import kline_frame, to_csv

        return to_csv(kline_frame(rows))
    from zvt_crypto.stores.files.frames import klines_json

    encoded = klines_json(rows)
    if form == "json":
        return f'{{"data": {encoded.decode()}, "count": {len(rows)}}}\n'
    return table_text(msgspec.json.decode(encoded), COLUMNS)
