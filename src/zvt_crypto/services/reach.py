"""How far back a venue's trades go: an answer by time alone does not tell whether it begins where it was asked to."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from zvt_crypto.domain.market import Trade
from zvt_crypto.domain.time import NS_PER_MINUTE

LEAD_NS = 60 * NS_PER_MINUTE  # looked this far before the beginning for a trade that shows that the venue goes back beyond it


class FetchTrades(Protocol):
    """`ExchangeConnector.fetch_trades` of one instrument and stream, asked patiently."""

    def __call__(
        self, *, since: int | None = None, until: int | None = None, from_id: int | None = None, to_id: int | None = None, limit: int
    ) -> Awaitable[list[Trade]]:
        """Oldest first."""
        ...


async def reaches_back(fetch: FetchTrades, start_ns: int, page_rows: int) -> bool:
    """Whether the venue shows a trade before `start_ns`: in the hour before it, or, in a quiet market, among its newest."""
    before = await fetch(since=max(0, start_ns - LEAD_NS), limit=1)
    if before and before[0].event_ns < start_ns:
        return True
    newest = await fetch(limit=page_rows)
    return any(trade.event_ns < start_ns for trade in newest)
