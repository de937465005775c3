"""`up`: record an exchange live and serve it; and the session that `demo` shares."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from zvt_crypto.cli import exits
from zvt_crypto.cli.each import check_exchanges
from zvt_crypto.cli.run import run, stop_signals
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import BadInput, StoreError, Unreachable

if TYPE_CHECKING:
    from rich.console import Console

    from zvt_crypto.cli.build import Node
    from zvt_crypto.services.record import Recorder
    from zvt_crypto.telemetry.metrics import PrometheusObserver

READY_S = 60.0
FIRST_S = 15.0  # a run of a few seconds still waits so long for the exchange


def run_up(settings: Settings, *, seconds: float | None, view: bool) -> int:
    """Until Ctrl-C, SIGTERM, or the seconds have passed. Raises StoreError at the end where rows were dropped. Where Redis is shared, all
    roles in this one process, so that others may join."""
    check_seconds(seconds)
    check_exchanges(settings.ingest.exchanges)
    if settings.live.redis is not None:
        from zvt_crypto.cli.commands.roles import ALL, run_roles

        return run_roles(settings, ALL, seconds=seconds)

    async def go() -> int:
        console = make_console()
        show = view and console.is_terminal
        with open_log(settings, quiet=show) as observer:
            place = "a PostgreSQL of yours" if settings.database.url else settings.postgres_dir
            title = f"zvt-crypto: {', '.join(settings.ingest.exchanges)}, recorded into {place}"
            await live_session(settings, observer, console, title, seconds=seconds, show=show, after_end=_say_end(console))
        return exits.OK

    return run(go)


def check_seconds(seconds: float | None) -> None:
    """How long to run; None: until told to stop. Raises BadInput."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise BadInput(f"seconds {seconds:g} is not a positive number")


async def live_session(
    settings: Settings,
    observer: PrometheusObserver,
    console: Console,
    title: str,
    *,
    seconds: float | None,
    show: bool,
    movable: Collection[str] = (),
    when_ready: Callable[[Node], Awaitable[None]] | None = None,
    before_end: Callable[[Node], Awaitable[None]] | None = None,
    after_end: Callable[[Node], Awaitable[None]] | None = None,
) -> None:
    """The platform with a view on it. `when_ready` runs beside it, `before_end` while all still works, `after_end` when everything
    is stored."""
    from zvt_crypto.cli.build import open_node
    from zvt_crypto.cli.view import addresses, watch

    loop = asyncio.get_running_loop()
    async with stop_signals() as asked, open_node(settings, observer, movable=movable) as node:
        end: float | None = None
        if not show:
            for address in addresses(node):
                console.print(address, markup=False, highlight=False, soft_wrap=True)

        async def until() -> None:
            nonlocal end
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_first(asked.wait(), node.platform.ready()), READY_S if seconds is None else max(seconds, FIRST_S))
            if seconds is not None and not node.followed() and not asked.is_set():
                raise Unreachable(f"{_unreached(settings, node)}; nothing was recorded: see `zvt-crypto doctor`")
            end = None if seconds is None else loop.time() + seconds
            beside = [asyncio.ensure_future(when_ready(node))] if when_ready is not None and not asked.is_set() else []
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asked.wait(), seconds)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            if before_end is not None and not asked.is_set():
                await before_end(node)
            await _ended(viewer)  # its last page is of the market, not of our stopping

        viewer = asyncio.create_task(watch(node, console, title, live=show, ends_at=lambda: end))
        try:
            await node.run(until())
        finally:
            await _ended(viewer)
        if after_end is not None:
            await after_end(node)


def _unreached(settings: Settings, node: Node) -> str:
    """Each exchange with the reason that its tables could not be had."""
    told = {status.exchange: status.reason for status in node.pulse.streams.values() if status.state in ("lost", "geo_blocked")}
    return "; ".join(f"{name} could not be reached: {told.get(name, 'no answer yet')}" for name in dict.fromkeys(settings.ingest.exchanges))


def _say_end(console: Console) -> Callable[[Node], Awaitable[None]]:
    async def say(node: Node) -> None:
        from zvt_crypto.cli.view import last_line

        console.print(last_line(node), markup=False, soft_wrap=True)
        check_lost(node.recorder)

    return say


def check_lost(recorder: Recorder) -> None:
    """Raises StoreError where something that came was dropped, or a hole could be told nowhere."""
    if recorder.dropped or recorder.untold:
        told = f"; {recorder.untold:,} holes could be told nowhere" if recorder.untold else "; the gaps tell which"
        raise StoreError(f"{recorder.dropped:,} rows were dropped, because database, queue and spool took no more{told}")


@contextlib.contextmanager
def open_log(settings: Settings, *, quiet: bool) -> Iterator[PrometheusObserver]:
    """The log: to `log.file`; else, where a view holds the terminal, to a file in the data folder; else to stderr."""
    from zvt_crypto.telemetry.logs import setup_logs
    from zvt_crypto.telemetry.metrics import PrometheusObserver

    with _stream(log_file(settings) if quiet else settings.log.file) as stream:
        yield PrometheusObserver(setup_logs(settings.log.level, stream))


def log_file(settings: Settings) -> Path:
    """Where the log is, where a view holds the terminal."""
    return settings.log.file or settings.data_dir / "zvt-crypto.log"


def make_console() -> Console:
    """stdout, for people."""
    from rich.console import Console

    return Console(highlight=False)


@contextlib.contextmanager
def _stream(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stderr
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        yield file


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _first(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
