"""What a call costs at a venue, and what the exchange says to more than it allows."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, NamedTuple


class Spent(NamedTuple):
    """One taking from the budget."""

    bucket: str
    weight: int
    priority: str


def watched(desk: Any) -> tuple[list[Spent], list[str]]:
    """Everything that is taken from the desk's budget from now on, and the addresses that are asked."""
    spent: list[Spent] = []
    urls: list[str] = []
    acquire, request = desk.budget.acquire, desk.transport.request

    async def acquired(bucket: str, weight: int, priority: Any) -> None:
        spent.append(Spent(bucket, weight, priority))
        await acquire(bucket, weight, priority)

    async def requested(method: str, url: str, **named: Any) -> Any:
        urls.append(url)
        return await request(method, url, **named)

    desk.budget.acquire, desk.transport.request = acquired, requested
    return spent, urls


def published(venue: str, bucket: str) -> tuple[int, int]:
    """What we plan with: (limit, window in ms)."""
    return importlib.import_module(f"zvt_crypto.venues.{venue}.spec").LIMITS[bucket]


async def book_call(desk: Any) -> tuple[Spent, str]:
    """What the book of five levels costs, and its address."""
    spent, urls = watched(desk)
    await desk.connector.get_order_book(desk.pair, 5)
    return spent[-1], urls[-1]


async def flood(desk: Any, url: str, times: int) -> list[int]:
    """Ask past every budget, all at once: the statuses, in order."""
    answers = await asyncio.gather(*(desk.transport.request("GET", url) for _ in range(times)))
    return [answer.status for answer in answers]
