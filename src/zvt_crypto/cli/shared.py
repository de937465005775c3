"""What every process of a role has: database, leases, Redis, health, closed in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from zvt_crypto.cli.database import server_url
from zvt_crypto.cli.settings import Settings, redis_url
from zvt_crypto.domain.errors import BadConfig, StoreError
from zvt_crypto.stores.files.spool import FileSpool
from zvt_crypto.telemetry.health import Health
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock

if TYPE_CHECKING:
    from zvt_crypto.ports import Lease, Store

LOOK_S = 2.0
MOST_SPOOLS = 16  # of one shard on one machine: that of a process that stands still is in use


class Shared:
    """`holder` names this process among all: host, process id, and a part that tells it from an earlier one of that id."""

    def __init__(self, settings: Settings, observer: PrometheusObserver, store: Store, leases: Lease, redis: Any) -> None:
        self.settings, self.observer, self.store, self.leases, self.redis = settings, observer, store, leases, redis
        self.clock = SystemClock()
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self.health = Health(self.clock)

    async def look(self) -> None:
        """Whether database and Redis answer, to health. One that does not is no reason to send this process no questions: what is live is
        answered without the one, what is stored without the other, and the next process has no others."""
        from zvt_crypto.stores.redis.streams import Away

        for name, asked in (("database", self.store.ping()), ("redis", Away().ask("reach the server", self.redis.ping()))):
            try:
                async with asyncio.timeout(LOOK_S):
                    await asked
            except (StoreError, TimeoutError) as error:
                self.health.report(name, "degraded", str(error) or f"no answer within {LOOK_S:g} s")
            else:
                self.health.report(name, "ok")


@contextlib.asynccontextmanager
async def open_shared(settings: Settings, observer: PrometheusObserver) -> AsyncIterator[Shared]:
    """Raises BadConfig where no Redis is named, StoreUnavailable where one of the two cannot be reached."""
    from zvt_crypto.stores.postgres import migrate, open_store
    from zvt_crypto.stores.postgres.leases import open_leases
    from zvt_crypto.stores.redis.address import open_redis

    address = redis_url(settings)
    if address is None:
        raise BadConfig(
            "live.redis is not set, through which ingest, record and api share what is new; `zvt-crypto up` does all in one process"
        )
    async with contextlib.AsyncExitStack() as stack:
        redis = await open_redis(address)
        stack.push_async_callback(redis.aclose)
        url = await stack.enter_async_context(server_url(settings, observer))
        await migrate(url)
        store = await open_store(url, observer=observer, pool_size=settings.database.pool_size)
        stack.push_async_callback(store.close)
        leases = await open_leases(url, observer=observer)
        stack.push_async_callback(leases.close)
        yield Shared(settings, observer, cast("Store", store), leases, redis)


def open_spool(settings: Settings, name: str) -> FileSpool:
    """The spool of a shard: the first of its folders that no other process uses. What an earlier process left in it is in it."""
    for number in range(MOST_SPOOLS):
        folder = settings.spool_dir / (f"{name}-{number}" if number else name)
        with contextlib.suppress(BadConfig) if number < MOST_SPOOLS - 1 else contextlib.nullcontext():
            return FileSpool(folder, settings.ingest.spool_mb * 1_000_000)
    raise AssertionError("unreachable")
