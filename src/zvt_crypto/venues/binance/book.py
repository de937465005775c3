"""Binance's two rules of how depth updates follow a snapshot and one another (engine.book.Continuity)."""

from __future__ import annotations

from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import Continuity, Verdict
from zvt_crypto.venues.binance.spec import Market


class SpotContinuity:
    """Update ids are consecutive: a message holds U..u, and the next begins at u + 1."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what the snapshot holds already (u <= id); the first that counts must hold id + 1, or begin before it."""
        if delta.last_id <= snapshot_id:
            return "ignore"
        return "apply" if delta.first_id <= snapshot_id + 1 else "refetch"

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` a repetition; a gap where ids are missing; what overlaps is applied, since its sizes are absolute."""
        if delta.last_id <= last_id:
            return "ignore"
        return "apply" if delta.first_id <= last_id + 1 else "gap"


class UsdmContinuity:
    """Ids jump; each message names the last id of the one before in `pu`."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what ends before the snapshot (u < id); the first that counts must span it: U <= id <= u."""
        if delta.last_id < snapshot_id:
            return "ignore"
        return "apply" if delta.first_id <= snapshot_id else "refetch"

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` a repetition; a gap where `pu` is not what was applied last."""
        if delta.last_id <= last_id:
            return "ignore"
        return "apply" if delta.prev_id == last_id else "gap"


CONTINUITY: dict[Market, Continuity] = {"spot": SpotContinuity(), "usdm": UsdmContinuity()}
