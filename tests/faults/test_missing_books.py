"""Of a book whose connection keeps ending before its first snapshot: what is told, and what health says."""

from __future__ import annotations

import pytest

from faults.every_venue import SPOT, desk_of
from faults.venue_live import VenueLive
from zvt_crypto.domain.errors import Disconnected
from zvt_crypto.domain.market import BookStale
from zvt_crypto.emulator import virtual
from zvt_crypto.ports import Subscription


@pytest.mark.parametrize("venue", ["bybit", "okx", "coinbase"])
def test_a_connection_that_ends_again_and_again_before_its_first_snapshot_leaves_word_of_the_book(venue):
    async def go():
        live = VenueLive(venue, 4, channels=("trade", "depth"), events_per_s=20.0)
        async with live.running():
            for _ in range(12):
                live.cut()
                await live.sleep(0.02)
            live.faults.refuse_connections(4.0)
            live.cut()
            await live.sleep(2.0)
            missing = live.platform.missing_books()
            await live.sleep(20.0)
            whole = live.platform.missing_books()
        return live, missing, whole

    live, missing, whole = virtual.run(go())
    assert (missing, whole) == ([live.instrument], [])


@pytest.mark.parametrize("venue", ["bybit", "okx", "coinbase"])
def test_of_a_book_whose_connection_ends_before_its_snapshot_the_reason_is_told(venue):
    async def scenario():
        desk = desk_of(venue, 1, (SPOT,), 20.0)
        await desk.connector.fetch_instruments()
        desk.faults.bend_frame("drop", lambda payload: True, None)
        stream = await desk.connector.open_stream([Subscription(desk.pair, "depth")])
        desk.faults.cut_all()
        desk.transport.cut()
        told = await stream.receive()
        with pytest.raises(Disconnected):
            await stream.receive()
        await stream.close()
        await desk.close()
        return desk.pair, told

    pair, told = virtual.run(scenario())
    assert [(type(event), event.instrument) for event in told] == [(BookStale, pair)]
    assert told[0].reason.startswith("the connection ended before the first snapshot: ")
