"""Binance's two rules of how depth updates follow a snapshot and one another (engine.book.Continuity)."""

from __future__ import annotations

from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import Continuity, Verdict
from zvt_crypto.venues.binance.spec import Market

# How far ids may lie apart that are of one stream. Spot counts a symbol's own updates: 1,466 in the busiest 100 ms recorded, and 10,000
# messages wait at most. USD-M counts those of all symbols together: 277,000 between two messages 100 ms apart; a dull symbol may say
# nothing for days. What lies further apart is a wrong number: believed once, it would make everything after it a repetition.
SPOT_APART_MOST = 10**9
USDM_APART_MOST = 10**12


class SpotContinuity:
    """Update ids are consecutive: a message holds U..u, and the next begins at u + 1."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what the snapshot holds already (u <= id); the first that counts must hold id + 1, or begin before it."""
        if delta.last_id <= snapshot_id:
            return "ignore" if snapshot_id - delta.last_id <= SPOT_APART_MOST else "refetch"
        return "apply" if delta.first_id <= snapshot_id + 1 else "refetch"

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what is not newer. A stream never overlaps itself: whatever else does not begin at u + 1 is a gap."""
        if delta.last_id <= last_id:
            return "ignore"
        return "apply" if delta.first_id == last_id + 1 else "gap"


class UsdmContinuity:
    """Ids jump; each message names the last id of the one before in `pu`."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what ends before the snapshot (u < id); the first that counts must span it: U <= id <= u."""
        if delta.last_id < snapshot_id:
            return "ignore" if snapshot_id - delta.last_id <= USDM_APART_MOST else "refetch"
        return "apply" if delta.first_id <= snapshot_id else "refetch"

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what is not newer; a gap where `pu` is not what was applied last, or the new id cannot be."""
        if delta.last_id <= last_id:
            return "ignore"
        return "apply" if delta.prev_id == last_id and delta.last_id - last_id <= USDM_APART_MOST else "gap"


CONTINUITY: dict[Market, Continuity] = {"spot": SpotContinuity(), "usdm": UsdmContinuity()}
