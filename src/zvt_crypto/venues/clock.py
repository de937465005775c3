"""The machine's own clock (ports.Clock)."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Wall time and waiting on the running loop."""

    def now_ns(self) -> int:
        """UTC now, ns."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
