"""Bytes of a venue → typed structs, and what may go wrong on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec

from zvt_crypto.domain.errors import Malformed, shown
from zvt_crypto.domain.market import Level

T = TypeVar("T")
# What a decoder may raise on bytes that are not the venue's protocol; deep nesting ends in RecursionError.
BROKEN = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class LevelRow(Protocol):
    """A level of a venue whose rows hold more than two elements, or once may: what follows the two is not read."""

    price: float
    size: float


def pairs(rows: Iterable[LevelRow]) -> list[Level]:
    """Levels of such rows."""
    return [(row.price, row.size) for row in rows]


def decode(kind: type[T], body: bytes, what: str) -> T:
    """A REST body as `kind`; numbers may stand as strings. Raises Malformed, naming `what` was asked of whom."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except BROKEN as error:
        raise Malformed(f"{what} answered {excerpt(body)}: {error}") from None


def excerpt(payload: bytes) -> str:
    """The beginning of a payload, for a message."""
    return shown(payload[:200].decode(errors="replace"), 120)
