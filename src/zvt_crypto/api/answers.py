"""Structs → HTTP answers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from typing import TypeVar

import msgspec
from starlette.responses import Response

from zvt_crypto.api.rows import encode
from zvt_crypto.domain.errors import BadInput, shown

T = TypeVar("T")


def json_answer(value: msgspec.Struct, status: int = 200) -> Response:
    """The struct as JSON."""
    return Response(encode(value), status, media_type="application/json")


def page(
    rows: list[T], ids: list[str], cursor: str | None, limit: int, given_out: Container[str]
) -> tuple[list[T], str | msgspec.UnsetType]:
    """The rows after `cursor` (the last id that was seen), at most `limit`, and the next cursor. `ids` are the rows' own, ascending.

    `given_out` are all that a cursor of this listing may be: raises BadInput for another, whose page would be anything.
    """
    if cursor is not None and cursor not in given_out:
        raise BadInput(f"cursor {shown(cursor)} is not the `next` of a page of this listing")
    first = bisect_right(ids, cursor) if cursor is not None else 0
    last = first + limit
    return rows[first:last], ids[last - 1] if last < len(rows) else msgspec.UNSET


def plain(name: str, value: str | None) -> str | None:
    """The value, if it may go to the database. Raises BadInput for a NUL, which PostgreSQL's text cannot hold."""
    if value is not None and "\x00" in value:
        raise BadInput(f"{name} {shown(value)} holds a NUL character")
    return value or None
