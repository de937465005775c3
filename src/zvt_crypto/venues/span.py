"""A range of the past as a caller asks for it: bounds, a limit, and the bound of one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import Refused
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S, parse_time
from zvt_crypto.venues.arguments import check_whole

T = TypeVar("T")
# Rows that one call may gather: more than all minutes since 2017 (4.7 million) nobody needs in one list.
ROWS_MOST = 5_000_000


class Span(msgspec.Struct, frozen=True):
    """[since_ns, until_ns) and at most `limit` rows; None leaves a side open."""

    since_ns: int | None = None
    until_ns: int | None = None
    limit: int | None = None

    @property
    def start_ms(self) -> int | None:
        """The first millisecond inside."""
        return None if self.since_ns is None else -(-self.since_ns // NS_PER_MS)

    @property
    def last_ms(self) -> int | None:
        """The last millisecond inside."""
        return None if self.until_ns is None else -(-self.until_ns // NS_PER_MS) - 1

    @property
    def start_s(self) -> int | None:
        """The first second inside."""
        return None if self.since_ns is None else -(-self.since_ns // NS_PER_S)

    @property
    def last_s(self) -> int | None:
        """The last second inside."""
        return None if self.until_ns is None else -(-self.until_ns // NS_PER_S) - 1

    def rows(self) -> int:
        """How many rows may be gathered: the bound of one call where none was asked for."""
        return self.limit if self.limit is not None else ROWS_MOST


def span_of(since: object, until: object, limit: int | None) -> Span:
    """The span of a call's arguments. Raises OutOfRange, or BadInput for what is no time."""
    if limit is not None:
        check_whole("limit", limit, 1, ROWS_MOST)
    start_ns = None if since is None else parse_time(since)
    return Span(start_ns, None if until is None else parse_time(until), limit)


def bounded(rows: list[T], span: Span, what: str) -> list[T]:
    """The rows, unless the bound of one call cut them short: a part must not pass for the whole. `what` names them."""
    if span.limit is None and len(rows) >= ROWS_MOST:
        raise Refused(f"more than {ROWS_MOST} rows of {what} in one call: ask for a shorter range")
    return rows


def chunks(rows: Sequence[T], most: int) -> list[tuple[T, ...]]:
    """The rows in order, at most `most` together."""
    return [tuple(rows[start : start + most]) for start in range(0, len(rows), most)]
