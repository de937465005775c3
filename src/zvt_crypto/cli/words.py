"""What users write, read once: symbols and ranges of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zvt_crypto.domain.errors import BadInput, BadTime, OutOfRange, shown
from zvt_crypto.domain.instrument import Instrument, Instruments
from zvt_crypto.domain.time import EARLIEST_NS, parse_time, to_rfc3339


def resolve_all(table: Instruments, symbols: str | Sequence[str], exchange: str | None) -> list[Instrument]:
    """The instruments of names, each once, in their order. Raises BadInput when there is none."""
    return list({(found := table.resolve(name, exchange)).id: found for name in check_names(symbols)}.values())


def check_names(symbols: object) -> list[str]:
    """One name or several, as a list. Raises BadInput for what is none."""
    if isinstance(symbols, str):
        return [symbols]
    if not isinstance(symbols, Iterable):
        raise BadInput(f"symbols {shown(symbols)} is neither a name nor a list of names")
    names: list[str] = []
    for name in symbols:
        if not isinstance(name, str):
            raise BadInput(f"symbol {shown(name)} is no name")
        names.append(name)
    if not names:
        raise BadInput("no symbol was given")
    return names


def check_count(name: str, value: object, most: int) -> None:
    """An integer from 1 to `most`, or None. Raises BadInput for another thing, OutOfRange for another number."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInput(f"{name} {shown(value)} is not an integer")
    if not 1 <= value <= most:
        raise OutOfRange(name, value, 1, most)


def parse_range(start: object, end: object) -> tuple[int | None, int | None]:
    """[start, end) in ns. Raises BadTime, also for a range that ends before it begins."""
    start_ns = None if start is None else parse_time(start)
    end_ns = None if end is None else parse_time(end)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise BadTime(f"start {shown(start)} is not before end {shown(end)}")
    return start_ns, end_ns


def parse_past(start: object, end: object, now_ns: int) -> tuple[int | None, int | None]:
    """As parse_range, of what an exchange is asked for: nothing is fetched from before 2009, and an open end is as good as one to come.

    Raises BadTime for a start that is still to come, and for an end before anything was traded.
    """
    start_ns, end_ns = parse_range(start, end)
    if start_ns is not None and start_ns > now_ns:
        raise BadTime(f"start {shown(start)} is in the future: it is {to_rfc3339(now_ns)}")
    if end_ns is not None and end_ns <= EARLIEST_NS:
        raise BadTime(f"end {shown(end)} is before 2009: nothing was traded then")
    return None if start_ns is None else max(start_ns, EARLIEST_NS), None if end_ns is None or end_ns > now_ns else end_ns
