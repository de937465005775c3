"""A loop whose time jumps to the next timer whenever everybody waits: hours in seconds, the same every time.

No threads and no sockets belong on it: their work takes real time, which does not pass here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from zvt_crypto.domain.time import NS_PER_S

T = TypeVar("T")
START_NS = 1_735_689_600 * NS_PER_S  # 2025-01-01T00:00:00Z


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time, counted from 0 s."""

    def __init__(self, start_ns: int = START_NS) -> None:
        super().__init__()
        self.start_ns = start_ns
        self._virtual_s = 0.0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_s

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            self._jump()
        super()._run_once()  # type: ignore[misc]

    def _jump(self) -> None:
        timers = self._scheduled  # type: ignore[attr-defined]
        live = [handle for handle in timers[:1] if not handle.cancelled()] or [handle for handle in timers if not handle.cancelled()]
        if live:
            self._virtual_s = max(self._virtual_s, min(handle.when() for handle in live))
        elif not self._stopping:  # type: ignore[attr-defined]
            raise RuntimeError("virtual loop: everybody waits and no timer is set")


class VirtualClock:
    """ports.Clock on the running VirtualLoop."""

    def now_ns(self) -> int:
        """UTC now, ns."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "a virtual clock stands still on a real loop"
        return loop.start_ns + round(loop.time() * NS_PER_S)

    async def sleep(self, seconds: float) -> None:
        """Wait, virtually."""
        await asyncio.sleep(seconds)


def run(coroutine: Coroutine[Any, Any, T], *, start_ns: int = START_NS) -> T:
    """Run to the end on a fresh VirtualLoop whose wall clock begins at `start_ns`."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_ns)) as runner:
        return runner.run(coroutine)
