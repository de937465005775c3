"""The database as commands use it: the embedded server or the one of the settings, its schema up to date, closed afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from zvt_crypto.cli.settings import Settings, database_url

if TYPE_CHECKING:
    from zvt_crypto.ports import Observer, Store
    from zvt_crypto.stores.postgres.embedded import EmbeddedServer

KEEP_S = 1.0  # between two looks at the embedded server


@contextlib.asynccontextmanager
async def server_url(settings: Settings, observer: Observer | None = None) -> AsyncIterator[str]:
    """The address of a running server; ours is started, and stopped when nobody else uses it."""
    url = database_url(settings)
    if url is not None:
        yield url
        return
    from zvt_crypto.stores.postgres.embedded import EmbeddedServer

    server = EmbeddedServer(settings.postgres_dir)
    try:
        url = await asyncio.to_thread(server.start)
        keeper = asyncio.create_task(_keep_alive(server, observer), name="database keeper")
        try:
            yield url
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
    finally:
        await asyncio.to_thread(server.stop)


async def _keep_alive(server: EmbeddedServer, observer: Observer | None) -> None:
    """A server that was killed is started again; what waits for it meanwhile is the recorder's to keep."""
    from zvt_crypto.domain.errors import BadConfig, StoreUnavailable

    while True:
        await asyncio.sleep(KEEP_S)
        if await asyncio.to_thread(server.is_alive):
            continue
        try:
            await asyncio.to_thread(server.start)
        except (StoreUnavailable, BadConfig) as error:
            if observer is not None:
                observer.note("error", "database_down", reason=str(error))
        else:
            if observer is not None:
                observer.note("warning", "database_revived", folder=str(server.data_dir))


@contextlib.asynccontextmanager
async def open_database(settings: Settings, observer: Observer | None = None) -> AsyncIterator[Store]:
    """A store with the newest schema. Raises StoreUnavailable, StoreFull, BadConfig."""
    from zvt_crypto.stores.postgres import migrate, open_store

    async with server_url(settings, observer) as url:
        await migrate(url)
        store = await open_store(url, observer=observer, pool_size=settings.database.pool_size)
        try:
            yield cast("Store", store)
        finally:
            await store.close()
