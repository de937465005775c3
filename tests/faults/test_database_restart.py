"""The real database, stopped and started again beneath a recorder: nothing is lost."""

from __future__ import annotations

import asyncio

from services.service_parts import BTC, PAIR_OF, START, Notes, Spool, trade
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.venues.clock import SystemClock


async def test_rows_that_come_while_postgresql_is_stopped_are_stored_once_it_is_back(tmp_path):
    server = EmbeddedServer(tmp_path / "database")
    try:
        url = await asyncio.to_thread(server.start)
        await migrate(url)
        store = await open_store(url)
        await store.instruments.save([PAIR_OF], START)
        feed, spool = MemoryFeed(), Spool(room=100_000)
        recorder = Recorder(
            feed, store, SystemClock(), Notes(), spool, RecordOptions(bound=500, batch_rows=100, flush_s=0.02, most_wait_s=0.5)
        )
        task = asyncio.create_task(recorder.run())
        for number in range(3000):
            feed.publish(trade(number))
            if number == 1000:
                await recorder.drained()
                await asyncio.to_thread(server.stop)
            if number == 2500:
                assert recorder.is_down
                assert len(spool) > 0
                await asyncio.to_thread(server.start)
            if number % 100 == 0:
                await asyncio.sleep(0.02)
        async with asyncio.timeout(60):
            await recorder.drained()
        await recorder.stop()
        await task
        assert [t.trade_id for t in await store.trades.read(BTC, START)] == [str(n) for n in range(3000)]
        assert (recorder.dropped, recorder.wrong) == (0, 0)
        await store.close()
    finally:
        await asyncio.to_thread(server.stop)
