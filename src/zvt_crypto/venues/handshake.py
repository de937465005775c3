"""Opening a WebSocket at the expense of a rate budget."""

from __future__ import annotations

from collections.abc import Iterable

from zvt_crypto.domain.errors import Banned, Throttled
from zvt_crypto.ports import RateBudget, Socket, Transport


async def connect(transport: Transport, budget: RateBudget, url: str, bucket: str, closes: Iterable[str] = ()) -> Socket:
    """A connection, paid from `bucket`. Refused for now, nobody who shares the budget tries before the wait is over; banned, nobody asks
    of `closes` either. Raises what Transport.connect raises, and Throttled or Banned where the budget has none to give."""
    await budget.acquire(bucket, 1, "live")
    try:
        return await transport.connect(url)
    except Throttled as error:
        budget.penalise(bucket, error.wait_ms)
        if isinstance(error, Banned):
            for other in closes:
                if other != bucket:
                    budget.penalise(other, error.wait_ms)
        raise
