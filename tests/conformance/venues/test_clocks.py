"""Our clock is minutes wrong: the venue's time counts, for events, for its clock, and for when a minute is over."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.venues.conftest import DESKS, SYMBOLS
from faults.every_venue import connector_of
from zvt_crypto.domain.market import BookDelta, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.ports import Subscription
from zvt_crypto.venues import CAPABILITIES

# Theirs minus ours: no whole minutes, so that a minute of ours never ends with one of theirs.
AHEAD_S = (-187, 187)
# A minute counts as over when the venue's clock is surely past it: two seconds, and where candles are gathered late a second reading.
LATE_S = 5.0


async def skewed(venue: str, ahead_s: int) -> Any:
    """A desk whose exchange has lived by another clock since it began."""
    desk = DESKS[venue](7)
    desk.world = MarketWorld(7, SYMBOLS, start_ns=desk.clock.now_ns() + ahead_s * NS_PER_S, events_per_s=6.0, history_days=1)
    desk.dialect = DIALECTS[venue](desk.world)
    desk.faults = desk.dialect.faults
    desk.faults.skew(ahead_s)
    desk.transport = MemoryTransport(desk.dialect, desk.clock, latency_ms=5)
    desk.connector = connector_of(venue, desk.transport, desk.clock, desk.budget, desk.notes)
    await desk.connector.fetch_instruments()
    return desk


@pytest.fixture(params=AHEAD_S, ids=["ours is ahead", "theirs is ahead"])
def at_skewed(request, at_venue):
    """`run(scenario)`: scenario(desk, theirs), where `theirs()` is the exchange's clock, ns."""

    def run(scenario):
        async def whole():
            desk = await skewed(at_venue.name, request.param)
            try:
                return await scenario(desk, lambda: desk.clock.now_ns() + request.param * NS_PER_S)
            finally:
                await desk.close()

        return virtual.run(whole())

    return run


def test_the_venues_clock_is_told_whatever_ours_says(at_skewed):
    async def scenario(desk, theirs):
        return [await desk.connector.fetch_server_time() - theirs() for _ in range(3)]

    # Asked and answered in 10 ms; what an answer tells is up to half a second old at one venue that rounds to seconds.
    assert all(-1.02 * NS_PER_S <= off <= 0 for off in at_skewed(scenario))


def test_a_minute_is_final_by_the_venues_clock_neither_early_nor_late(at_skewed):
    async def scenario(desk, theirs):
        await desk.clock.sleep(60 - theirs() % NS_PER_MINUTE / NS_PER_S - 3)
        minute = theirs() // NS_PER_MINUTE * NS_PER_MINUTE
        over_ns, seen = minute + NS_PER_MINUTE, []
        while theirs() < over_ns + (LATE_S + 2) * NS_PER_S:
            (row,) = await desk.connector.fetch_kdata(desk.pair, "1m", since=minute, until=over_ns)
            seen.append(((theirs() - over_ns) / NS_PER_S, row))
            await desk.clock.sleep(0.25)
        return seen

    seen = at_skewed(scenario)
    finals = [(late_s, row) for late_s, row in seen if row.final]
    assert 0 < finals[0][0] <= LATE_S
    assert [row.final for _, row in seen] == sorted(row.final for _, row in seen), "once final, always final"
    assert all(row == finals[0][1] for _, row in finals), "and never another one"


def test_the_newest_rows_end_with_the_venues_minute_and_only_that_is_open(at_skewed):
    async def scenario(desk, theirs):
        await desk.clock.sleep(90 - theirs() % NS_PER_MINUTE / NS_PER_S)
        return await desk.connector.fetch_kdata(desk.pair, "1m", limit=10), theirs()

    rows, theirs_ns = at_skewed(scenario)
    assert rows[-1].open_ns == theirs_ns // NS_PER_MINUTE * NS_PER_MINUTE
    assert [row.final for row in rows] == [True] * 9 + [False]


def test_streamed_klines_close_by_the_venues_clock(at_venue, at_skewed):
    if CAPABILITIES[at_venue.name]["spot"]["stream.klines.1m"].how != "native":
        pytest.skip(f"{at_venue.name} streams no klines of a minute")

    async def scenario(desk, theirs):
        stream = await desk.connector.open_stream([Subscription(desk.pair, "kline", Interval.MIN_1)])
        seen: list[tuple[float, Kline]] = []
        while sum(row.final for _, row in seen) < 2:
            events = await stream.receive()
            seen += [((theirs() - row.open_ns) / NS_PER_S, row) for row in events if isinstance(row, Kline)]
        await stream.close()
        return seen

    seen = at_skewed(scenario)
    assert all(60 <= age_s <= 60 + LATE_S for age_s, row in seen if row.final)
    assert all(0 <= age_s <= 62 for age_s, row in seen if not row.final)


def test_events_carry_the_venues_time_and_ours_beside_it(at_skewed):
    async def scenario(desk, theirs):
        stream = await desk.connector.open_stream([Subscription(desk.pair, "trade")])
        trades: list[tuple[int, int, Trade]] = []
        calm_ns = theirs() + 2 * NS_PER_S  # what a new listener is told may be old
        while len(trades) < 20:
            events = await stream.receive()
            if theirs() > calm_ns:
                trades += [(theirs(), desk.clock.now_ns(), event) for event in events if isinstance(event, Trade)]
        await stream.close()
        books = await desk.connector.open_stream([Subscription(desk.pair, "depth")])
        deltas: list[tuple[int, int, BookDelta]] = []
        while len(deltas) < 20:
            events = await books.receive()
            deltas += [(theirs(), desk.clock.now_ns(), event) for event in events if isinstance(event, BookDelta)]
        await books.close()
        fetched = await desk.connector.fetch_trades(desk.pair, limit=5)
        return trades, deltas, fetched, theirs()

    trades, deltas, fetched, theirs_ns = at_skewed(scenario)
    for told_ns, ours_ns, event in (*trades, *deltas):
        assert 0 <= told_ns - event.event_ns <= 2 * NS_PER_S
        assert 0 <= ours_ns - event.recv_ns <= NS_PER_S
    assert all(0 <= theirs_ns - trade.event_ns < NS_PER_MINUTE for trade in fetched)
