"""What dated facts say of one moment: whether an instrument was listed then, and which of its values were in force.

A fact counts from `valid_ns` on. Of several that count at a moment the one told last is believed, since it was told knowing the others; one
that was dated ahead (a delisting announced) follows all that was known before it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

DELISTED = "delisted"


class Fact(NamedTuple):
    """One fact. `value` is text, times in ns; None clears the field."""

    field: str
    value: str | None
    valid_ns: int
    known_ns: int


def in_force(told: Sequence[Fact], at_ns: int) -> dict[str, Fact]:
    """The fact of each field that counts at `at_ns`. `told`: of one instrument, in the order of telling."""
    best: dict[str, tuple[tuple[int, bool, int], Fact]] = {}
    for turn, fact in enumerate(told):
        if fact.valid_ns <= at_ns:
            place = _place(told, turn)
            if fact.field not in best or place > best[fact.field][0]:
                best[fact.field] = (place, fact)
    return {field: fact for field, (_, fact) in best.items()}


def was_listed(told: Sequence[Fact], at_ns: int) -> bool:
    """Whether the exchange listed it then, by all that is known now: a listing or delisting that was told later counts, too.

    Before the first fact only a listing time tells; where there is none, nobody knows, and it is taken as not listed.
    """
    now = in_force(told, at_ns)
    status, listed = now.get("status"), now.get("listed_ns")
    if status is not None and status.value == DELISTED:
        return False
    if status is None:
        starts = [value for value in _times(told, "listed_ns") if value <= at_ns]
        if not starts:
            return False
        since_ns = max(starts)
    elif listed is not None and listed.value is not None and int(listed.value) > at_ns:
        return False
    else:
        since_ns = status.valid_ns
    noticed_later = (fact for fact in told if fact.valid_ns > at_ns)
    return not any(since_ns <= ended <= at_ns for ended in _times(noticed_later, "delisted_ns"))


def values_at(told: Sequence[Fact], at_ns: int, lasting: Iterable[str]) -> Mapping[str, str | None]:
    """Field → value in force. Of `lasting` fields, which do not change, the first telling counts where none was in force yet."""
    found: dict[str, str | None] = {field: fact.value for field, fact in in_force(told, at_ns).items()}
    for field in lasting:
        if found.get(field) is None:
            found[field] = next((fact.value for fact in told if fact.field == field and fact.value is not None), None)
    return found


def _place(told: Sequence[Fact], turn: int) -> tuple[int, bool, int]:
    fact = told[turn]
    if fact.valid_ns <= fact.known_ns:
        return turn, False, turn
    before = [n for n, other in enumerate(told) if other.field == fact.field and other.known_ns < fact.valid_ns]
    return max(before, default=turn), True, turn


def _times(told: Iterable[Fact], field: str) -> list[int]:
    return [int(fact.value) for fact in told if fact.field == field and fact.value is not None]
