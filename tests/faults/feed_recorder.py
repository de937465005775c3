"""A recorder of the shared feed as a process that a test may kill: `python feed_recorder.py REDIS_URL DATABASE_URL`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.redis.address import open_redis
from zvt_crypto.stores.redis.reading import FeedReader
from zvt_crypto.stores.redis.streams import SHARDS
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock


class Lease:
    """Of the only recorder that there is."""

    token, is_lost = 1, False

    def may_publish(self) -> bool:
        return True


async def connected(url: str) -> Any:
    """Begun again until the server answers, as whoever watches over the process would."""
    while True:
        try:
            return await open_redis(url)
        except StoreUnavailable:
            await asyncio.sleep(0.1)


async def main(redis_url: str, database_url: str) -> None:
    store, client, clock, observer = await open_store(database_url), await connected(redis_url), SystemClock(), PrometheusObserver()
    async with asyncio.TaskGroup() as group:
        for shard in range(SHARDS):
            feed = MemoryFeed()
            recorder = Recorder(feed, store, clock, observer, options=RecordOptions(flush_s=0.02))  # type: ignore[arg-type]
            reader = FeedReader(client, shard, feed.publish, clock, observer)
            group.create_task(recorder.run())
            group.create_task(reader.record(recorder.drained, Lease(), store.recording))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
