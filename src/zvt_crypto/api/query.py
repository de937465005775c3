"""Query strings → checked values. Every refusal names the parameter and the value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import parse_qsl

from zvt_crypto.domain.errors import BadInput, BadQuery, OutOfRange, shown

MOST_FIELDS = 32
MOST_VALUE = 200  # characters; the longest entity id is far below


@lru_cache(maxsize=1024)
def read_query(raw: bytes) -> Mapping[str, str]:
    """The parameters of a query string whose names are checked; empty ones count as absent. Raises BadInput."""
    pairs = _pairs(raw)
    for name, value in pairs:
        if "\x00" in value or len(value) > MOST_VALUE:
            raise BadInput(f"parameter {shown(name)} is not usable: {shown(value)} (at most {MOST_VALUE} characters, no NUL)")
    return MappingProxyType({name: value for name, value in pairs if value != ""})


@lru_cache(maxsize=1024)
def check_names(raw: bytes, known: frozenset[str]) -> None:
    """Each name once, and one of those that the path has. Raises BadQuery, and BadInput for what is no query string."""
    seen: set[str] = set()
    for name, value in _pairs(raw):
        if name not in known:
            have = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise BadQuery(f"unknown parameter {shown(name)} of this path: {have}")
        if name in seen:
            raise BadQuery(f"parameter '{name}' is given twice, again with {shown(value)}")
        seen.add(name)


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
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise OutOfRange(name, text, low, high)
    return int(text)


def truth(query: Mapping[str, str], name: str) -> bool:
    """`true` or `false` (the default). Raises BadInput."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise BadInput(f"{name} {shown(text)} is neither true nor false")
    return text == "true"
