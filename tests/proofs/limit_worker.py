"""One of several processes that share an address and a table of limits: asks as often as it may, and prints what came of it.

`python limit_worker.py <venue> <rest> <ws> <limits file> <seconds>`
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.every_venue import connector_of
from faults.live_market import Notes
from proofs.limit_day import SHUT_OUT, WAIT, Ledger
from zvt_crypto.domain.errors import Throttled, VenueError
from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.stores.files.limits import FileLimits
from zvt_crypto.venues.clock import SystemClock
from zvt_crypto.venues.http import NetTransport


class Counting:
    """ports.Transport that counts the statuses of answers."""

    def __init__(self, inner: NetTransport) -> None:
        self._inner = inner
        self.statuses: dict[int, int] = {}

    async def request(self, method: str, url: str, **named: Any) -> Any:
        response = await self._inner.request(method, url, **named)
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        return response


async def ask(venue: str, rest: str, ws: str, limits: Path, seconds: float) -> dict[str, Any]:
    clock, inner, table = SystemClock(), NetTransport(), FileLimits(limits)
    transport = Counting(inner)
    budget = Ledger(clock, Notes(), table, scale=1.0)
    connector = connector_of(venue, transport, clock, budget, Notes(), rest, ws)
    pair = next(i.id for i in await connector.fetch_instruments() if isinstance(i, CryptoPair) and i.base_asset == "BTC")
    print("ready", flush=True)
    sys.stdin.readline()  # all begin together
    before = dict(transport.statuses)
    start_ns, weight = clock.now_ns(), 0
    while clock.now_ns() - start_ns < seconds * 1e9:
        try:
            await connector.get_order_book(pair, 5)
            weight += budget.last[1]
        except Throttled as error:
            await clock.sleep(min(error.wait_ms / 1_000, seconds))
        except VenueError:
            await clock.sleep(1.0)
    await inner.close()
    table.close()
    count = {status: number - before.get(status, 0) for status, number in transport.statuses.items()}
    return {
        "served": count.get(200, 0),
        "refused": sum(count.get(status, 0) for status in WAIT),
        "shut_out": sum(count.get(status, 0) for status in SHUT_OUT),
        "asked": sum(count.values()),
        "weight": weight,
        "began_ms": start_ns // NS_PER_MS,
        "stated": budget.stated[budget.last[0]],
    }


if __name__ == "__main__":
    _, venue, rest, ws, limits, seconds = sys.argv
    print(json.dumps(asyncio.run(ask(venue, rest, ws, Path(limits), float(seconds)))))
