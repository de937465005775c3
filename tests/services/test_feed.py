"""The feed: nobody waits for anybody, and every bound has its stated consequence."""

from __future__ import annotations

import asyncio

import pytest

from zvt_crypto.domain.errors import Disconnected, Overflow
from zvt_crypto.domain.market import BookDelta, Kline, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.services.feed import MemoryFeed

BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"


def trade(number: int, instrument: str = BTC) -> Trade:
    return Trade(instrument, "trade", str(number), 1.0, 1.0, "buy", number)


def kline(minute: int, close: float, instrument: str = BTC, interval: Interval = Interval.MIN_1) -> Kline:
    return Kline(instrument, interval, minute * 60_000_000_000, 1.0, 9.0, 1.0, close, 1.0, None, None, False, "venue")


def ids(events: list) -> list[str]:
    return [e.trade_id for e in events]


async def test_every_reader_gets_every_event_of_its_kinds_in_order():
    feed = MemoryFeed()
    everything = feed.subscribe("all", bound=10, when_full="fail")
    trades = feed.subscribe("trades", bound=10, when_full="fail", kinds=(Trade,))
    for event in (trade(1), kline(0, 1.0), trade(2)):
        feed.publish(event)
    assert [type(e) for e in await everything.receive()] == [Trade, Kline, Trade]
    assert ids(await trades.receive()) == ["1", "2"]


async def test_a_reader_hears_nothing_from_before_it_subscribed():
    feed = MemoryFeed()
    feed.publish(trade(1))
    late = feed.subscribe("late", bound=10, when_full="drop")
    feed.publish(trade(2))
    assert ids(await late.receive()) == ["2"]


async def test_receive_waits_for_the_first_event():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=10, when_full="drop")
    waiting = asyncio.create_task(reader.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.publish(trade(1))
    assert ids(await waiting) == ["1"]


async def test_a_cancelled_receive_loses_nothing():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=10, when_full="drop")
    waiting = asyncio.create_task(reader.receive())
    await asyncio.sleep(0)
    feed.publish(trade(1))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert ids(await reader.receive()) == ["1"]


async def test_fail_tells_the_reader_that_it_lost_something():
    feed = MemoryFeed()
    reader = feed.subscribe("trade", bound=2, when_full="fail")
    for number in range(3):
        feed.publish(trade(number))
    with pytest.raises(Overflow, match="trade fell more than 2 events behind"):
        await reader.receive()
    assert reader.dropped == 1


async def test_drop_keeps_the_newest_and_counts_the_rest():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=2, when_full="drop")
    for number in range(5):
        feed.publish(trade(number))
    assert ids(await reader.receive()) == ["3", "4"]
    assert reader.dropped == 3


async def test_spill_hands_over_the_oldest_and_loses_nothing():
    feed = MemoryFeed()
    spilled: list = []
    reader = feed.subscribe("record", bound=20, when_full="spill", spill=spilled.extend)
    for number in range(50):
        feed.publish(trade(number))
    kept = await reader.receive()
    assert ids(spilled + kept) == [str(n) for n in range(50)]
    assert len(kept) <= 20
    assert reader.dropped == 0


async def test_conflate_keeps_the_newest_of_each_type_instrument_and_interval():
    feed = MemoryFeed()
    reader = feed.subscribe("ws", bound=4, when_full="conflate")
    five = Interval.MIN_5
    for event in (kline(0, 1.0), kline(0, 2.0), kline(0, 3.0, ETH), kline(0, 4.0, interval=five), kline(0, 5.0)):
        feed.publish(event)
    newest = [(k.instrument, k.interval, k.close) for k in await reader.receive()]
    assert newest == [(ETH, Interval.MIN_1, 3.0), (BTC, five, 4.0), (BTC, Interval.MIN_1, 5.0)]
    assert reader.dropped == 2


async def test_conflate_is_lossless_below_its_bound():
    feed = MemoryFeed()
    reader = feed.subscribe("ws", bound=4, when_full="conflate")
    feed.publish(kline(0, 1.0))
    feed.publish(kline(0, 2.0))
    assert [k.close for k in await reader.receive()] == [1.0, 2.0]


async def test_conflate_stays_within_its_bound_when_everything_differs():
    feed = MemoryFeed()
    reader = feed.subscribe("ws", bound=3, when_full="conflate")
    for number in range(10):
        feed.publish(Ticker(f"i{number}", 1.0, None, None, None, None, None, None, None, number))
    assert [t.instrument for t in await reader.receive()] == ["i7", "i8", "i9"]
    assert reader.pending() == 0


async def test_a_closed_reader_gives_what_waits_and_then_ends():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=10, when_full="drop")
    feed.publish(trade(1))
    reader.close()
    reader.close()
    feed.publish(trade(2))
    assert ids(await reader.receive()) == ["1"]
    with pytest.raises(Disconnected):
        await reader.receive()
    assert feed.readers() == []


async def test_closing_wakes_who_waits():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=10, when_full="drop")
    waiting = asyncio.create_task(reader.receive())
    await asyncio.sleep(0)
    reader.close()
    with pytest.raises(Disconnected):
        await waiting


async def test_a_slow_reader_costs_only_itself():
    feed = MemoryFeed()
    slow = feed.subscribe("slow", bound=1, when_full="drop")
    quick = feed.subscribe("quick", bound=100, when_full="fail", kinds=(BookDelta,))
    for number in range(100):
        feed.publish(BookDelta(BTC, number, number, None, [], [], number))
    assert [d.first_id for d in await quick.receive()] == list(range(100))
    assert slow.dropped == 99


def test_spilling_needs_a_place():
    with pytest.raises(AssertionError):
        MemoryFeed().subscribe("r", bound=1, when_full="spill")
