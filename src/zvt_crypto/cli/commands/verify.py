"""`verify`: stored rows against the checksums of their chunks."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import note, print_json
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.words import resolve_all
from zvt_crypto.domain.checks import CheckReport, WrongRow
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.time import to_rfc3339


def run_verify(
    settings: Settings, symbols: Sequence[str], *, tables: Sequence[str] | None, exchange: str | None, sign: bool, as_json: bool
) -> int:
    """Compare, or sign; every wrong row is named, and it is told how much could not be compared.

    The exit status is 1 where one was found. Raises BadInput, UnknownSymbol, StoreError."""
    from zvt_crypto.stores.postgres.signedrows import NOUNS

    for table in tables or ():
        if table not in NOUNS:
            raise BadInput(f"table {shown(table)} is none of {', '.join(NOUNS)}")
    counter = sys.stderr.isatty()

    def tell(report: CheckReport) -> None:
        if counter:
            print(f"\r{report.chunks + report.signed + report.packed} chunks, {report.rows:,} rows", end="", file=sys.stderr, flush=True)

    async def go() -> CheckReport:
        async with open_database(settings) as store:
            table = await store.instruments.load(exchange)
            named = [i.id for i in resolve_all(table, symbols, exchange)] if symbols else [i.id for i in table] if exchange else None
            if sign:
                return await store.checksums.sign(named, tables, tell=tell)
            return await store.checksums.verify(named, tables, tell=tell)

    began = time.monotonic()
    report = run(go)
    took_s = time.monotonic() - began
    if counter:
        print(file=sys.stderr)
    if as_json:
        print_json(_told(report, took_s))
    else:
        _print(report, took_s, sign=sign)
    return exits.FAILURE if report.wrong else exits.OK


def _print(report: CheckReport, took_s: float, *, sign: bool) -> None:
    for row in report.wrong:
        print(_line(row))
    rate = f"{report.rows:,} rows in {took_s:.1f} s" + (f", {report.rows / took_s:,.0f} rows/s" if report.rows and took_s > 0 else "")
    signed = f"{report.signed} chunks signed, " if sign else ""
    print(f"{signed}{report.chunks} chunks compared, {len(report.wrong)} wrong; {rate}")
    if report.touched and not sign:
        note(f"{report.touched} chunks were written to since they were signed: `zvt-crypto verify --sign` signs them anew")
    if sign:
        return
    if report.packed:
        print(f"{report.packed} packed chunks that are not signed compared with what was packed")
    over = report.chunks + (report.unsigned or 0)
    if not over:
        print("no chunk of these is over yet: there is nothing to sign or to compare" if not report.packed else "nothing else is over yet")
    elif report.unsigned:
        rest = "of the rest only what is packed was compared"
        print(f"{report.chunks} of {over} chunks are signed: `zvt-crypto verify --sign` signs them; {rest}")


def _line(row: WrongRow) -> str:
    place = f"{row.noun} {row.instrument}"
    at = to_rfc3339(row.at_ns)
    if row.fault == "missing":
        until = to_rfc3339(row.before_ns) if row.before_ns is not None else to_rfc3339(row.high_ns)
        return f"wrong: {place}: a row is missing from {at} on, before {until}"
    if row.fault == "unreadable":
        return f"wrong: {place} {at}: {row.said}"
    if row.fault == "unnamed":
        return f"wrong: {place}: some row from {at} on, before {to_rfc3339(row.high_ns)}"
    return f"wrong: {place} {at} was {row.fault}: {row.said}"


def _told(report: CheckReport, took_s: float) -> dict[str, Any]:
    wrong = [
        {
            "table": row.noun,
            "instrument": row.instrument,
            "chunk": [to_rfc3339(row.low_ns), to_rfc3339(row.high_ns)],
            "fault": row.fault,
            "at": to_rfc3339(row.at_ns),
            "before": None if row.before_ns is None else to_rfc3339(row.before_ns),
            "said": row.said,
        }
        for row in report.wrong
    ]
    counts = {name: getattr(report, name) for name in ("chunks", "rows", "signed", "touched", "unsigned", "packed")}
    return counts | {"seconds": round(took_s, 3), "wrong": wrong, "right": not wrong if report.chunks or report.packed else None}
