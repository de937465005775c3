"""Best bid and ask from the topic of one level: whole messages, and on captures before 2025-03 changes of one side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from zvt_crypto.domain.market import Level
from zvt_crypto.venues.bybit.wire import BookWire

_NONE: Level = (0.0, 0.0)
_Best = Callable[[Iterable[Level]], Level]


class QuoteState:
    """The two best levels of one instrument. A side without orders is all zeros."""

    def __init__(self) -> None:
        self._bid, self._ask = _NONE, _NONE
        self._update = -1

    def replace(self, data: BookWire) -> None:
        """A whole message."""
        self._update = data.u
        self._bid, self._ask = _best(data.b, max) or _NONE, _best(data.a, min) or _NONE

    def change(self, data: BookWire) -> bool:
        """A message that names what is new. False where it does not follow the one before: nothing is known then until a whole one."""
        if data.u != self._update + 1:
            self._update = -1
            return False
        self._update = data.u
        self._bid, self._ask = _changed(self._bid, data.b, max), _changed(self._ask, data.a, min)
        return True

    @property
    def quotes(self) -> tuple[float, float, float, float]:
        """Bid, its quantity, ask, its quantity."""
        return (*self._bid, *self._ask)


def _best(levels: Sequence[Level], choose: _Best) -> Level | None:
    held = [level for level in levels if level[1] > 0]
    return choose(held) if held else None


def _changed(held: Level, levels: Sequence[Level], choose: _Best) -> Level:
    """The new level, nothing where the held one was removed without another, or still the held one."""
    removed = any(price == held[0] for price, size in levels if not size)
    return _best(levels, choose) or (_NONE if removed else held)
