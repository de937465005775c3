"""What users write, read once: symbols and ranges of time."""

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.domain.errors import BadInput, BadTime, shown
from zvt_crypto.domain.instrument import Instrument, Instruments
from zvt_crypto.domain.time import parse_time


def resolve_all(table: Instruments, symbols: str | Sequence[str], exchange: str | None) -> list[Instrument]:
    """The instruments of names, each once, in their order. Raises BadInput when there is none."""
    names = [symbols] if isinstance(symbols, str) else list(symbols)
    if not names:
        raise BadInput("no symbol was given")
    return list({(found := table.resolve(name, exchange)).id: found for name in names}.values())


def parse_range(start: object, end: object) -> tuple[int | None, int | None]:
    """[start, end) in ns. Raises BadTime, also for a range that ends before it begins."""
    start_ns = None if start is None else parse_time(start)
    end_ns = None if end is None else parse_time(end)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise BadTime(f"start {shown(start)} is not before end {shown(end)}")
    return start_ns, end_ns
