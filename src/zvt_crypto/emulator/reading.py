"""How a recording of an exchange is understood: what a dialect's `reading` gives to the world that plays it."""

from __future__ import annotations

from typing import Protocol

from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import BookImage, Day, Listing, Mark, Market
from zvt_crypto.emulator.tape import Tape


class SymbolState(Protocol):
    """One symbol after the frames applied so far."""

    tape: Tape
    mark: Mark | None

    def apply(self, frame: Frame) -> None:
        """Take a frame in; channels that nothing is derived from are passed over."""
        ...

    def arrive(self, answer: RestAnswer) -> None:
        """A recorded answer about this symbol; its instant has come, and the run has begun."""
        ...

    def book(self, applied: int, limit: int) -> BookImage:
        """The book after `applied` frames of the capture."""
        ...

    def day(self) -> Day | None:
        """The last 24 hours; None where nothing is known yet."""
        ...


class Reading(Protocol):
    """A capture, understood."""

    @property
    def listings(self) -> dict[Market, dict[str, Listing]]:
        """The symbols of the frames."""
        ...

    def state(self, market: Market, symbol: str) -> SymbolState:
        """A symbol before its first frame."""
        ...

    def event_ms(self, frame: Frame) -> int:
        """The exchange's time in a frame, 0 where it carries none."""
        ...

    def recorded(self, market: Market, path: str) -> bytes | None:
        """World.recorded."""
        ...

    def partial_books(self) -> list[str]:
        """Symbols (`spot BTCUSDT`) whose book has no recorded snapshot under it."""
        ...
