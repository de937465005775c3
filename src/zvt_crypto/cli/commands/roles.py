"""`ingest`, `record`, `api`, and `up` where Redis is shared: one or more roles in one process, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from zvt_crypto.cli import exits
from zvt_crypto.cli.commands.up import check_seconds, make_console, open_log
from zvt_crypto.cli.each import check_exchanges
from zvt_crypto.cli.run import run, stop_signals
from zvt_crypto.cli.settings import Settings

if TYPE_CHECKING:
    from zvt_crypto.cli.front import Front
    from zvt_crypto.cli.roles import Role
    from zvt_crypto.cli.shared import Shared

REPORT_S = 1.0
ALL = ("ingest", "record", "api")


def run_roles(settings: Settings, names: Sequence[str], *, seconds: float | None) -> int:
    """Until Ctrl-C, SIGTERM, or the seconds have passed. Raises BadConfig without Redis, GaveUp where a role cannot go on."""
    check_seconds(seconds)
    check_exchanges(settings.ingest.exchanges)

    async def go() -> int:
        from zvt_crypto.cli.shared import open_shared

        console = make_console()
        with open_log(settings, quiet=False) as observer:
            async with stop_signals() as asked, open_shared(settings, observer) as shared, opened(shared, names) as (roles, front):
                for address in (front.api_url, front.ws_url, front.operation_url):
                    if address:
                        console.print(address, markup=False, soft_wrap=True)
                console.print(f"{' + '.join(names)} as {shared.holder}", markup=False, soft_wrap=True)
                await _work(shared, roles, front, asked, seconds)
        console.print("stopped", markup=False)
        return exits.OK

    return run(go)


@contextlib.asynccontextmanager
async def opened(shared: Shared, names: Sequence[str]) -> AsyncIterator[tuple[list[Role], Front]]:
    """The roles with their ports: REST and WebSocket where `api` is among them, else health alone where its port is set."""
    from zvt_crypto.cli.roles import ApiRole, IngestRole, RecordRole, operation_front

    async with contextlib.AsyncExitStack() as stack:
        roles: list[Role] = [made(shared) for name, made in (("ingest", IngestRole), ("record", RecordRole)) if name in names]
        if "api" in names:
            api = ApiRole(shared)
            front = api.front
            await stack.enter_async_context(api.opened())
            roles.append(api)
        else:
            front = operation_front(shared)
            stack.push_async_callback(front.close)
            await front.open_operation()
        yield roles, front


async def _work(shared: Shared, roles: Sequence[Role], front: Front, asked: asyncio.Event, seconds: float | None) -> None:
    work = [asyncio.create_task(role.run(), name=type(role).__name__) for role in roles]
    beside = [asyncio.create_task(_report(shared, roles)), *(asyncio.create_task(server.wait()) for server in front.servers)]
    stop = asyncio.create_task(asked.wait())
    try:
        done, _ = await asyncio.wait({*work, *beside, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        tasks = [stop, *beside, *work]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _report(shared: Shared, roles: Sequence[Role]) -> None:
    while True:
        await shared.look()
        for role in roles:
            role.report()
        await asyncio.sleep(REPORT_S)
