"""What is known of a stored stream: complete, missing, filled from where, revised."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.market import Kline


class Coverage(msgspec.Struct, frozen=True):
    """One stream of one instrument, over the range asked for.

    first_ns, last_ns: the first and the last row (the open of klines), None without rows. missing: holes among final klines,
    [start, end). sources: rows by where they came from. forming: rows that are not final. gaps_open: holes that were noticed and are not
    filled. filled: gaps by where their filling came from. revised: bars of which another version was served before. differing: bars whose
    prices or volume another source tells otherwise. unknown: parts of the range, [start, end), that lie before anything or after everything
    that is known of the stream: a silent market, or one that nobody listened to. followed: whether anything was ever stored or noticed of
    it, within the range or without.
    """

    instrument: str
    stream: str
    rows: int
    first_ns: int | None = None
    last_ns: int | None = None
    missing: list[tuple[int, int]] = []
    sources: dict[str, int] = {}
    forming: int = 0
    gaps_open: int = 0
    filled: dict[str, int] = {}
    revised: int = 0
    differing: int = 0
    unknown: list[tuple[int, int]] = []
    followed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing between the first and the last row, or the ends that were asked for, and all is known."""
        return not self.missing and not self.gaps_open and not self.unknown


class Difference(msgspec.Struct, frozen=True):
    """A bar that two sources tell differently: what is served, and the other. `was_served`: the other was the answer before."""

    served: Kline
    other: Kline
    was_served: bool
    recorded_ns: int
