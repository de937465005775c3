"""Query strings → checked values. Every refusal names the parameter and the value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import parse_qsl

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from zvt_crypto.domain.errors import BadInput, BadQuery, OutOfRange, shown

MOST_FIELDS = 32
MOST_DIGITS = 9
MOST_VALUE = 200  # characters; the longest entity id is far below


@lru_cache(maxsize=1024)
def read_query(raw: bytes) -> Mapping[str, str]:
    """The parameters of a query string whose names are checked. Raises BadInput."""
    pairs = _pairs(raw)
    for name, value in pairs:
        if "\x00" in value or len(value) > MOST_VALUE:
            raise BadInput(f"parameter {shown(name)} is not usable: {shown(value)} (at most {MOST_VALUE} characters, no NUL)")
    return MappingProxyType(dict(pairs))


@lru_cache(maxsize=1024)
def check_names(raw: bytes, known: frozenset[str]) -> None:
    """Each name once, one of those that the path has, and with a value. Raises BadQuery, and BadInput for what is no query string."""
    pairs, seen = _pairs(raw), set[str]()
    for name, value in pairs:
        if name not in known:
            have = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise BadQuery(f"unknown parameter {shown(name)} of this path: {have}")
        if name in seen:
            raise BadQuery(f"parameter '{name}' is given twice, again with {shown(value)}")
        seen.add(name)
    for name, value in pairs:
        if not value.strip():
            raise BadInput(f"parameter '{name}' is empty: {shown(value)}; give it a value, or leave it out")


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise BadInput("the query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise BadInput(f"the query string has more than {MOST_FIELDS} parameters") from None


def needed(query: Mapping[str, str], name: str, example: str) -> str:
    """A parameter that must be given. Raises BadInput."""
    value = query.get(name)
    if value is None:
        raise BadInput(f"parameter '{name}' is missing: for example {name}={example}")
    return value


def whole(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """An integer within bounds. Raises OutOfRange."""
    text = query.get(name)
    if text is None:
        return default
    if not (_is_whole(text) and low <= int(text) <= high):
        raise OutOfRange(name, text, low, high)
    return int(text)


def truth(query: Mapping[str, str], name: str) -> bool:
    """`true` or `false` (the default). Raises BadInput."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise BadInput(f"{name} {shown(text)} is neither true nor false")
    return text == "true"


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def _check_digits(value: object) -> object:
    if isinstance(value, str) and not _is_whole(value):
        raise PydanticCustomError("int_parsing", "not a whole number")
    return value


# The framework's numbers, read as strictly as `whole` does: to int() `1.0`, `1_0` and ` 1` are numbers too.
Whole = BeforeValidator(_check_digits)
