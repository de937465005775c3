"""`backfill`: history into the database, with a progress bar where somebody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from zvt_crypto.cli.each import do_each, of_exchange
from zvt_crypto.cli.fetch import Watch, check_asked, fetch_history
from zvt_crypto.cli.out import note, print_json
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.teller import Teller
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.time import parse_interval, to_rfc3339
from zvt_crypto.services.backfill import BackfillReport, Progress


def run_backfill(settings: Settings, *, interval: str, start: str | None, end: str | None, what: str, as_json: bool) -> int:
    """Fetch from each exchange, and say what was done. The exit status of the first that failed."""
    of = parse_interval(interval)
    check_asked(what, start, end)
    done: list[tuple[str, BackfillReport]] = []

    def fetch(exchange: str) -> None:
        chosen = of_exchange(settings, exchange)
        with _progress_bars() as (watch, say):
            reports = run(lambda: fetch_history(chosen, chosen.ingest.symbols, what, of, start, end, watch, Teller(say)))
        done.extend((exchange, report) for report in reports)
        if not as_json:
            print("".join(f"{_line(exchange, report)}\n" for report in reports), end="", flush=True)

    failed, code = do_each(settings.ingest.exchanges, fetch)
    if as_json:
        rows = sum(report.rows for _, report in done)
        print_json({"reports": [_row(exchange, report) for exchange, report in done], "rows": rows, "failed": failed})
    return code


def _line(exchange: str, report: BackfillReport) -> str:
    if report.noun == "gaps":
        return f"{exchange}: {report.rows} gaps healed"
    line = f"{report.instrument} {report.noun}: {report.rows} rows written"
    if report.absent:
        first, last = report.absent[0][0], report.absent[-1][1]
        line += f"; {len(report.absent)} ranges that the exchange does not have, between {to_rfc3339(first)} and {to_rfc3339(last)}"
    return line


def _row(exchange: str, report: BackfillReport) -> dict[str, object]:
    absent = [[to_rfc3339(a), to_rfc3339(b)] for a, b in report.absent]
    head = {"exchange": exchange, "entity_id": report.instrument, "what": report.noun, "rows": report.rows}
    return head | {"absent": absent, "complete": report.is_complete}


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
