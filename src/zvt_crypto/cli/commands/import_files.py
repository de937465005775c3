"""`import`: files of other tools into the database, and every row that was refused into a report."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import note, print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.exchanges import check_exchange
from zvt_crypto.domain.imports import Hole, Rejected
from zvt_crypto.domain.time import parse_interval, to_rfc3339
from zvt_crypto.telemetry.redact import redact_text

if TYPE_CHECKING:
    from zvt_crypto.ports import Store
    from zvt_crypto.services.imports import SeriesReport
    from zvt_crypto.stores.imports.layouts import ImportOptions

REASONS_SHOWN = 12
HOLES_SHOWN = 5
HOLES_TOLD = 1_000  # in `--json`, of a series
TABLE = ["instrument", "noun", "interval", "files", "rows", "new", "changed", "known", "repeated", "rejected", "missing"]


class Rejects:
    """The report of refused rows: a CSV, made with the first of them if not before, and counts for the summary."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, Rejected] = {}
        self._stack = contextlib.ExitStack()
        self._writer: Any = None

    def open(self) -> None:
        """Make it, with its header."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = csv.writer(self._stack.enter_context(self.path.open("w", encoding="utf-8", newline="")))
        self._writer.writerow(("file", "row", "value", "reason"))

    def add(self, rows: Sequence[Rejected]) -> None:
        """Write them."""
        if self._writer is None:
            self.open()
        for one in rows:
            self._writer.writerow((one.file, one.row, one.value, one.reason))
            self.reasons[one.reason] += 1
            self.examples.setdefault(one.reason, one)
        self.count += len(rows)

    def close(self) -> None:
        """What is written is on the disk."""
        self._stack.close()


class Outcome(msgspec.Struct):
    """What was done: series with the holes that their files leave, and files that failed, each with the reason."""

    series: list[tuple[SeriesReport, list[Hole]]] = []
    failed: list[tuple[Path, str]] = []


def run_import(
    settings: Settings, paths: Sequence[Path], said: dict[str, Any], *, rejects: Path | None, dry_run: bool, as_json: bool
) -> int:
    """Import, and say what was done. The exit status is 1 where a row or a file was refused, 2 where every file was.

    Raises BadInput for wrong options and paths, StoreError.
    """
    options = read_options(said)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    report = Rejects(rejects or settings.data_dir / "imports" / f"rejected-{stamp}-{os.getpid()}.csv")
    if rejects is not None:
        report.open()  # a report of an earlier run does not stay
    began = time.monotonic()

    async def go() -> Outcome:
        async with open_database(settings) as store:
            return await _import(store, paths, options, report, dry_run=dry_run)

    try:
        outcome = run(go)
    finally:
        report.close()
    took_s = time.monotonic() - began
    if as_json:
        print_json(_told(outcome, report, took_s, dry_run=dry_run))
    else:
        _print(outcome, report, took_s, dry_run=dry_run)
    if outcome.failed and not any(one.files for one, _ in outcome.series):
        return exits.BAD_INPUT
    return exits.FAILURE if outcome.failed or report.count else exits.OK


async def _import(store: Store, paths: Sequence[Path], options: ImportOptions, rejects: Rejects, *, dry_run: bool) -> Outcome:
    from zvt_crypto.services.imports import Importer, SeriesReport
    from zvt_crypto.stores.imports.files import plan_files
    from zvt_crypto.venues.clock import SystemClock

    clock = SystemClock()
    plan = plan_files(paths, options, await store.instruments.load(options.exchange), clock.now_ns())
    outcome = Outcome(failed=list(plan.failed))
    for path, reason in plan.failed:
        _tell_failed(path, reason)
    importer = Importer(None if dry_run else store, clock, rejects.add)
    for one in plan.series:
        series = one.series
        made = SeriesReport(series.instrument, series.noun, series.interval, series.stream if series.noun == "trades" else None)
        outcome.series.append((made, []))
        for source in one.sources:
            with _progress(source.path) as tell:
                try:
                    await importer.run(series.batches(source), made, tell)
                except (BadInput, OSError) as error:
                    outcome.failed.append((source.path, str(error)))
                    _tell_failed(source.path, str(error))
        outcome.series[-1] = (made, list(series.holes()))
    return outcome


def read_options(said: dict[str, Any]) -> ImportOptions:
    """What the command line says, checked. Raises BadInput, UnknownExchange, UnknownInterval."""
    from zvt_crypto.stores.imports.layouts import ALIASES, Format, ImportOptions, Market
    from zvt_crypto.stores.imports.times import TimeRule, TimeUnit

    for name, choices in (("format", Format), ("market", Market), ("time_unit", TimeUnit)):
        if said[name] is not None and said[name] not in get_args(choices):
            raise BadInput(f"--{name.replace('_', '-')} {shown(said[name])} is none of {', '.join(get_args(choices))}")
    for name, words in (("what", ("klines", "trades")), ("stream", ("trade", "agg"))):
        if said[name] is not None and said[name] not in words:
            raise BadInput(f"--{name} {shown(said[name])} is none of {', '.join(words)}")
    columns = _columns(said["columns"])
    if unknown := [name for name in columns if name not in ALIASES]:
        raise BadInput(f"--columns {shown(', '.join(unknown))} is none of {', '.join(ALIASES)}")
    if said["format"] != "generic" and (given := [name for name in ("columns", "interval", "what") if said[name]]):
        raise BadInput(f"--{given[0]} is for --format generic: {said['format']} says it by its files' names")
    return ImportOptions(
        format=said["format"],
        exchange=said["exchange"] and check_exchange(said["exchange"]),
        symbol=said["symbol"],
        interval=said["interval"] and parse_interval(said["interval"]),
        market=said["market"],
        what=said["what"],
        stream=said["stream"],
        columns=columns,
        time=TimeRule(said["time_unit"] or "auto", said["utc"]),
    )


def _columns(text: str | None) -> dict[str, str]:
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    for ours, sign, theirs in pairs:
        if not sign or not ours.strip() or not theirs.strip():
            raise BadInput(f"--columns {shown(f'{ours}{sign}{theirs}')} is not NAME=COLUMN, as in time=ts,open=o")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _tell_failed(path: Path, reason: str) -> None:
    told = reason if str(path) in reason or path.name in reason else f"{path}: {reason}"
    print(redact_text(f"error: {' '.join(told.split())}"), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _progress(path: Path) -> Iterator[Any]:
    """A line that counts, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    try:
        yield lambda report: print(f"\r{path.name}: {report.read:,} rows", end="", file=sys.stderr, flush=True)
    finally:
        print(file=sys.stderr)


def _print(outcome: Outcome, rejects: Rejects, took_s: float, *, dry_run: bool) -> None:
    rows = [_row(report, holes) for report, holes in outcome.series]
    if rows:
        print_table(rows, TABLE)
    for report, holes in outcome.series:
        place = f"hole: {report.instrument} {report.interval or report.stream}"
        what = "trades" if report.noun == "trades" else "bars"
        for hole in holes[:HOLES_SHOWN]:
            print(f"{place} {to_rfc3339(hole.start_ns)} to {to_rfc3339(hole.end_ns)}, {hole.missing} {what}")
        if len(holes) > HOLES_SHOWN:
            print(f"{place} and {len(holes) - HOLES_SHOWN} more")
    for reason, count in rejects.reasons.most_common(REASONS_SHOWN):
        first = rejects.examples[reason]
        print(f"rejected: {count} {'row' if count == 1 else 'rows'}, {reason}; first {first.file} row {first.row}, {shown(first.value)}")
    if len(rejects.reasons) > REASONS_SHOWN:
        print(f"rejected: and {len(rejects.reasons) - REASONS_SHOWN} more reasons")
    read = sum(report.read for report, _ in outcome.series)
    rate = f", {read / took_s:,.0f} rows/s" if took_s > 0 and read else ""
    done = "read, nothing written" if dry_run else "imported"
    print(f"{done}: {read:,} rows in {took_s:.1f} s{rate}; {rejects.count} rejected, {len(outcome.failed)} files failed")
    if rejects.count:
        note(f"every rejected row is in {rejects.path}")


def _row(report: SeriesReport, holes: list[Hole]) -> dict[str, object]:
    counts = {name: getattr(report, name) for name in ("files", "new", "changed", "known", "repeated", "rejected")}
    place = {"instrument": report.instrument, "noun": report.stream or report.noun, "interval": report.interval or ""}
    return place | counts | {"rows": report.read, "missing": sum(hole.missing for hole in holes)}


def _told(outcome: Outcome, rejects: Rejects, took_s: float, *, dry_run: bool) -> dict[str, Any]:
    def series(report: SeriesReport, holes: list[Hole]) -> dict[str, object]:
        ends = {name: None if at is None else to_rfc3339(at) for name, at in (("first", report.first_ns), ("last", report.last_ns))}
        told = [[to_rfc3339(hole.start_ns), to_rfc3339(hole.end_ns), hole.missing] for hole in holes[:HOLES_TOLD]]
        return _row(report, holes) | ends | {"holes": told}

    return {
        "series": [series(*one) for one in outcome.series],
        "rejected": rejects.count,
        "reasons": dict(rejects.reasons.most_common()),
        "report": str(rejects.path) if rejects.count else None,
        "failed": [{"file": str(path), "error": redact_text(reason)} for path, reason in outcome.failed],
        "dry_run": dry_run,
        "seconds": round(took_s, 3),
    }
