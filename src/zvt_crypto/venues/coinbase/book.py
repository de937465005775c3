"""How Coinbase's book updates follow one another (engine.book.Continuity).

Numbers count all messages of a connection, whatever they are about: that none is missing is shown by the connection (`manners`), which
ends at the first that is. What reaches a book is therefore whole, and need only not be older than what the book has: one message may
hold several events of a product, all of the same number.
"""

from __future__ import annotations

from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import Verdict


class ConnectionContinuity:
    """Numbers rise, with those of other products and channels between them."""

    def first(self, snapshot_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what is older than the snapshot."""
        return "ignore" if delta.last_id < snapshot_id else "apply"

    def following(self, last_id: int, delta: BookDelta) -> Verdict:
        """`ignore` what is older than the last one."""
        return "ignore" if delta.last_id < last_id else "apply"


CONTINUITY = ConnectionContinuity()
