"""The database as commands use it: the embedded server or the one of the settings, its schema up to date, closed afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from zvt_crypto.cli.settings import Settings, database_url

if TYPE_CHECKING:
    from zvt_crypto.ports import Observer, Store


@contextlib.asynccontextmanager
async def server_url(settings: Settings) -> AsyncIterator[str]:
    """The address of a running server; ours is started, and stopped when nobody else uses it."""
    url = database_url(settings)
    if url is not None:
        yield url
        return
    from zvt_crypto.stores.postgres.embedded import EmbeddedServer

    server = EmbeddedServer(settings.postgres_dir)
    try:
        yield await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.stop)


@contextlib.asynccontextmanager
async def open_database(settings: Settings, observer: Observer | None = None) -> AsyncIterator[Store]:
    """A store with the newest schema. Raises StoreUnavailable, StoreFull, BadConfig."""
    from zvt_crypto.stores.postgres import migrate, open_store

    async with server_url(settings) as url:
        await migrate(url)
        store = await open_store(url, observer=observer, pool_size=settings.database.pool_size)
        try:
            yield cast("Store", store)
        finally:
            await store.close()
