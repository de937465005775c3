"""Bybit's rule of how book updates follow a snapshot and one another (engine.book.Continuity)."""

from __future__ import annotations

from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import Continuity, Verdict

# An update this far behind the last may be one that came twice; further back the venue has begun to count anew without a snapshot.
REPEATS_MOST = 100


class StepContinuity:
    """`u` rises by exactly one from message to message of a topic, the snapshot's own included."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """As `following`: the snapshot is a message of the same count."""
        return self.following(snapshot_id, delta)

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` a repetition; anything else that is not the next number is a gap."""
        if delta.last_id == last_id + 1:
            return "apply"
        return "ignore" if last_id - REPEATS_MOST < delta.last_id <= last_id else "gap"


CONTINUITY: Continuity = StepContinuity()
