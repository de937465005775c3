"""How OKX's book updates follow one another (engine.book.Continuity): each names the one before it."""

from __future__ import annotations

from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import Verdict


class OkxContinuity:
    """`prevSeqId` of an update is the `seqId` of the message before.

    Ids jump by any amount, stay as they are where nothing changed for a minute, and may fall after maintenance: only identity counts.
    An update without ids (before 2023) proves nothing, so it continues nothing.
    """

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """The snapshot is a message of the same chain."""
        return self.following(snapshot_id, delta)

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` the very message that was applied last; a gap where the one before is not what was applied last."""
        if delta.prev_id == last_id:
            return "apply"
        return "ignore" if delta.prev_id is not None and delta.last_id == last_id else "gap"


CONTINUITY = OkxContinuity()
