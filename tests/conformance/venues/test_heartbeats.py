"""A connection on which the market says nothing: kept alive by whatever the venue wants, and nothing of that comes out as an event."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from conformance.venues.conftest import SYMBOLS
from faults.every_venue import desk_of
from zvt_crypto.domain.errors import Disconnected
from zvt_crypto.domain.market import BookDelta, BookSnapshot, Trade
from zvt_crypto.emulator import virtual
from zvt_crypto.ports import Subscription

# The longest patience of any venue with a client that says nothing is ten minutes.
QUIET_S = 900.0
# Where frames are numbered by connection, those that a mute exchange swallows are missed, and the connection is given up.
COUNTS_FRAMES = ("coinbase",)


async def heard(stream, seconds: float) -> list[object]:
    """What a stream gives out in that time."""
    events: list[object] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                events += await stream.receive()
    return events


@pytest.mark.parametrize("channel", ["trade", "depth"])
def test_a_connection_to_a_market_that_hardly_moves_outlives_every_idle_limit(at_venue, channel):
    async def whole():
        desk = desk_of(at_venue.name, 7, SYMBOLS, events_per_s=0.001)
        await desk.connector.fetch_instruments()
        stream = await desk.connector.open_stream([Subscription(desk.pair, channel)])
        await heard(stream, 10.0)  # what a new listener is told
        sessions = list(desk.dialect.sessions)
        quiet = await heard(stream, QUIET_S)
        kept = list(desk.dialect.sessions)
        await stream.close()
        await desk.close()
        return quiet, sessions, kept

    quiet, sessions, kept = virtual.run(whole())
    assert len(quiet) < 50
    assert {type(event) for event in quiet} <= {Trade, BookDelta, BookSnapshot}, "no book was doubted, no heartbeat came out"
    assert len(sessions) == 1
    assert kept == sessions


@pytest.mark.parametrize("channel", ["trade", "depth"])
def test_heartbeats_alone_keep_a_connection_that_then_goes_on(at_venue, channel):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(desk.pair, channel)])
        before = await heard(stream, 5.0)
        desk.faults.mute()
        if at_venue.name in COUNTS_FRAMES:
            with pytest.raises(Disconnected, match="missing"):
                await heard(stream, QUIET_S)
            await stream.close()
            return before, [], True, before
        await heard(stream, 1.0)  # what was on its way
        sessions = list(desk.dialect.sessions)
        quiet = await heard(stream, QUIET_S)
        kept = list(desk.dialect.sessions)
        desk.faults.resume()
        after = await heard(stream, 5.0)
        await stream.close()
        return before, quiet, sessions == kept, after

    before, quiet, kept, after = at_venue.run(scenario)
    kind = Trade if channel == "trade" else BookDelta
    assert any(isinstance(event, kind) for event in before)
    assert quiet == []
    assert kept
    assert after


def test_the_emulated_venue_cuts_who_says_nothing_where_the_real_one_does(at_venue):
    """So that the tests above mean something. Coinbase has a channel of its own for it; Binance pings, which any client answers."""
    idle_s = {"bybit": 600.0, "okx": 30.0}.get(at_venue.name)
    if idle_s is None:
        pytest.skip(f"{at_venue.name} asks nothing of the client")

    async def scenario(desk):
        path = {"bybit": "/v5/public/spot", "okx": "/ws/v5/public"}[at_venue.name]
        mute = await desk.transport.connect(f"ws://emulator{path}")
        before = desk.clock.now_ns()
        with contextlib.suppress(Disconnected):
            while True:
                await mute.receive()
        return (desk.clock.now_ns() - before) / 1e9

    assert idle_s <= at_venue.run(scenario) <= idle_s + 5
