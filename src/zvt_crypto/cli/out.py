"""How commands print: a table for people, one JSON document (or lines of CSV) for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2)
    sys.stdout.write(text.decode() + "\n")


def note(text: str) -> None:
    """What a person may want to know beside the answer, on stderr."""
    print(f"note: {text}", file=sys.stderr)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> None:
    """A table on stdout; plain aligned columns where stdout is no terminal."""
    sys.stdout.write(table_text(rows, columns, title=title))


def table_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> str:
    """What `print_table` prints."""
    console = stdout_console()
    with console.capture() as captured:
        console.print(make_table(rows, columns, title=title))
    return captured.get() if console.is_terminal else "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def make_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> Table:
    """Aligned columns, numbers to the right."""
    from rich.table import Table

    table = Table(title=title or None, box=None, pad_edge=False, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if all(_is_number(row.get(column)) for row in rows) else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def stdout_console() -> Console:
    """rich's console; wide enough for every column where nobody looks."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


def _cell(value: object) -> str:
    return "" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(str(value))
    except ValueError:
        return value is None
    return True
