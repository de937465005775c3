"""`backfill`: history into the database, with a progress bar where somebody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from zvt_crypto.cli import exits
from zvt_crypto.cli.fetch import Watch, fetch_history
from zvt_crypto.cli.out import note, print_json
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.teller import Teller
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.time import parse_interval, to_rfc3339
from zvt_crypto.services.backfill import BackfillReport, Progress


def run_backfill(settings: Settings, *, interval: str, start: str | None, end: str | None, what: str, as_json: bool) -> int:
    """Fetch, and say what was done."""
    of = parse_interval(interval)
    with _progress_bars() as (watch, say):
        reports = run(lambda: fetch_history(settings, settings.ingest.symbols, what, of, start, end, watch, Teller(say)))
    if as_json:
        print_json({"reports": [_row(report) for report in reports], "rows": sum(report.rows for report in reports)})
        return exits.OK
    for report in reports:
        print(_line(report))
    return exits.OK


def _line(report: BackfillReport) -> str:
    if report.noun == "gaps":
        return f"{report.rows} gaps healed"
    line = f"{report.instrument} {report.noun}: {report.rows} rows written"
    if report.absent:
        first, last = report.absent[0][0], report.absent[-1][1]
        line += f"; {len(report.absent)} ranges that the exchange does not have, between {to_rfc3339(first)} and {to_rfc3339(last)}"
    return line


def _row(report: BackfillReport) -> dict[str, object]:
    absent = [[to_rfc3339(a), to_rfc3339(b)] for a, b in report.absent]
    return {"entity_id": report.instrument, "what": report.noun, "rows": report.rows, "absent": absent, "complete": report.is_complete}


@contextlib.contextmanager
def _progress_bars() -> Iterator[tuple[Watch | None, Callable[[str], None]]]:
    """A bar for each instrument on stderr, when that is a terminal; and how to say a line beside them."""
    if not sys.stderr.isatty():
        yield None, note
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>5.1f} %  {task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def watch(instrument: Instrument) -> Progress:
            task = bars.add_task(instrument.id, total=None, rows=0)
            return lambda done, total, rows: bars.update(task, completed=done, total=total, rows=rows)

        yield watch, lambda text: bars.console.print(f"note: {text}", markup=False, highlight=False)
