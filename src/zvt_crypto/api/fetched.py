"""Answers of an exchange that several askers may share for a moment: the venue's budget is spent once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Clock

T = TypeVar("T")
MAX_AGE_NS = NS_PER_S
MOST = 1_000


class Fetched(Generic[T]):
    """One fetch at a time per key, its result shared for a second. Failures are not kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: OrderedDict[Hashable, tuple[int, T]] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def get(self, key: Hashable, fetch: Callable[[], Awaitable[T]]) -> T:
        """The value of `key`, fetched if none is fresh. Raises what `fetch` raises."""
        held = self._held.get(key)
        if held is not None and self._clock.now_ns() - held[0] < MAX_AGE_NS:
            return held[1]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._run(key, fetch))
        return await asyncio.shield(task)

    async def _run(self, key: Hashable, fetch: Callable[[], Awaitable[T]]) -> T:
        try:
            value = await fetch()
            self._held[key] = (self._clock.now_ns(), value)
            self._held.move_to_end(key)
            while len(self._held) > MOST:
                self._held.popitem(last=False)
            return value
        finally:
            self._running.pop(key, None)
