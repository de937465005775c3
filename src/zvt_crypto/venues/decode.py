"""Bytes of a venue → typed structs, and what may go wrong on the way."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import Malformed, shown

T = TypeVar("T")
# What a decoder may raise on bytes that are not the venue's protocol; deep nesting ends in RecursionError.
BROKEN = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def decode(kind: type[T], body: bytes, what: str) -> T:
    """A REST body as `kind`; numbers may stand as strings. Raises Malformed, naming `what` was asked of whom."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except BROKEN as error:
        raise Malformed(f"{what} answered {excerpt(body)}: {error}") from None


def excerpt(payload: bytes) -> str:
    """The beginning of a payload, for a message."""
    return shown(payload[:200].decode(errors="replace"), 120)
