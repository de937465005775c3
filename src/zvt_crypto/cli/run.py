"""How a coroutine of ours is run: on uvloop, ended by Ctrl-C and SIGTERM alike, also from a notebook whose loop runs already."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end. Where this thread's loop runs already (a notebook), in a thread of its own. Blocks.

    Raises KeyboardInterrupt on Ctrl-C and on SIGTERM, after the coroutine has cleaned up.
    """
    import uvloop

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return uvloop.run(_ended_by_sigterm(make))
    with ThreadPoolExecutor(1, "zvt-crypto") as pool:
        return pool.submit(lambda: uvloop.run(make())).result()


async def _ended_by_sigterm(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    task = asyncio.current_task()
    assert task is not None
    told = False

    def end() -> None:
        nonlocal told
        told = True
        task.cancel()

    with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # repo-rules: allow (not in the main thread: no signals)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        return await make()
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise


@contextlib.asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, for those who serve until told to stop. A second one cancels the caller."""
    loop, asked, task = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        if asked.is_set():
            task.cancel()
        asked.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        yield asked
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
