"""What a setting may be, in words, from its type."""

from __future__ import annotations

import types
import typing
from pathlib import Path

import msgspec


def expected(kind: object) -> str:
    """`one of 50, 200, 1000`, `a whole number, 1 to 30`, `a list of texts`."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return expected(typing.get_args(kind)[0])  # the other half is None
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        return f"a list, each {expected(parts[0])}"
    if origin is typing.Annotated:
        return f"{expected(parts[0])}{_span(parts[1])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a section"
    return {bool: "one of true, false", int: "a whole number", str: "text", Path: "a path"}[typing.cast(type, kind)]


def _span(bounds: msgspec.Meta) -> str:
    return f", {bounds.ge} to {bounds.le}"
