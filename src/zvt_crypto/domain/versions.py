"""Versions of a bar: what was told of it, when, and by whom. Which one was the answer at a moment is decided here."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from zvt_crypto.domain.market import Gap, Kline


class Version(msgspec.Struct, frozen=True):
    """One telling of a bar.

    known_ns: since when we have it. served: whether it was ever the answer, until until_ns (None: it is the answer still, or never was).
    """

    kline: Kline
    known_ns: int
    served: bool
    until_ns: int | None = None

    @property
    def is_current(self) -> bool:
        """Whether it is what a query answers with now."""
        return self.served and self.until_ns is None


class BarHistory(msgspec.Struct, frozen=True):
    """Every final version of one bar, in the order in which they came, and the gaps that touched it."""

    instrument: str
    open_ns: int
    versions: list[Version]
    gaps: list[Gap] = []

    @property
    def first_seen(self) -> Version | None:
        """The first telling of all."""
        return self.versions[0] if self.versions else None

    @property
    def current(self) -> Version | None:
        """The answer of now."""
        return next((version for version in self.versions if version.is_current), None)

    @property
    def venue_says(self) -> Version | None:
        """The venue's own newest telling, whether or not it is the answer."""
        return next((version for version in reversed(self.versions) if version.kline.source == "venue"), None)

    @property
    def filled_from(self) -> list[str]:
        """Where the fillings of gaps came from that touched it."""
        return sorted({gap.filled_from for gap in self.gaps if gap.filled_from is not None})


def in_order(versions: Iterable[Version]) -> list[Version]:
    """By when they came; the answer of now last among those of one moment."""
    return sorted(versions, key=lambda version: (version.known_ns, version.is_current))
