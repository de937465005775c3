"""A book whose first snapshot never comes is told to be stale, with the reason, and comes once the venue sends it."""

from __future__ import annotations

import pytest

from faults.every_venue import SPOT, desk_of
from zvt_crypto.domain.market import BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.ports import Subscription

DUE_NS = 10 * NS_PER_S


async def opened(venue: str, *, muted: bool):
    """(desk, stream, a switch): no message of the book comes through while the switch is on."""
    desk = desk_of(venue, 1, (SPOT,), 20.0)
    await desk.connector.fetch_instruments()
    switch = {"on": muted}
    desk.faults.bend_frame("drop", lambda payload: switch["on"] and (desk.is_update(payload) or b'"snapshot"' in payload), None)
    return desk, await desk.connector.open_stream([Subscription(desk.pair, "depth")]), switch


@pytest.mark.parametrize("venue", ["bybit", "okx"])
def test_it_is_told_once_and_the_book_comes_when_it_can_be_had(venue):
    async def scenario():
        desk, stream, switch = await opened(venue, muted=True)
        begin_ns = desk.clock.now_ns()
        (stale,) = await stream.receive()
        told_ns = desk.clock.now_ns()
        switch["on"] = False
        events = []
        while not any(isinstance(event, BookSnapshot) for event in events):
            events += await stream.receive()
        await stream.close()
        await desk.close()
        return desk.pair, begin_ns, stale, told_ns, events

    pair, begin_ns, stale, told_ns, events = virtual.run(scenario())
    assert isinstance(stale, BookStale)
    assert (stale.instrument, stale.reason) == (pair, "no snapshot came within 10 s")
    assert stale.event_ns == stale.recv_ns == told_ns
    assert told_ns - begin_ns <= DUE_NS
    assert [type(event) for event in events].count(BookStale) == 0


@pytest.mark.parametrize("venue", ["bybit", "okx", "coinbase"])
def test_nothing_is_told_of_a_book_that_came(venue):
    async def scenario():
        desk, stream, _ = await opened(venue, muted=False)
        events, until_ns = [], desk.clock.now_ns() + 3 * DUE_NS
        while desk.clock.now_ns() < until_ns:
            events += await stream.receive()
        await stream.close()
        await desk.close()
        return events

    events = virtual.run(scenario())
    assert isinstance(events[0], BookSnapshot)
    assert not any(isinstance(event, BookStale) for event in events)
