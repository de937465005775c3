"""One suite over every carrier of ports.Feed: what is published is heard, whole and in order, by each reader, also across a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from conformance.feed.carriers import CARRIERS, Carrier, ready
from services.service_parts import BTC, PERP, START, kline, trade
from zvt_crypto.domain.errors import Overflow
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import (
    BestQuote,
    BookDelta,
    BookSample,
    BookSnapshot,
    BookStale,
    Funding,
    Gap,
    MarkPrice,
    Ticker,
    Trade,
)
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import Reader
from zvt_crypto.stores.live import MemoryLiveState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
BOOK = BookSnapshot(BTC, 10, [(99.0, 1.0), (98.5, 2.0)], [(100.0, 2.0)], START, START, 98.5)
EVERY: list[Event] = [
    trade(1),
    kline(0),
    kline(1, final=False),
    kline(0, interval=Interval.MONTH_1),
    Funding(PERP, START, 0.0001, 5.5),
    MarkPrice(PERP, START, 60000.5, None, 0.0001, START + 1),
    BookSample(BTC, 9, [(1.0, 2.0)], [], START),
    Gap(BTC, "kline", START, START + 60, None, None, "why", None, START, interval=Interval.MIN_1),
    BOOK,
    BookDelta(BTC, 11, 12, 10, [(99.0, 0.0)], [(100.5, 1.5)], START, START),
    BookStale(BTC, "the venue", START),
    Ticker(BTC, 100.5, 1.0, None, None, None, None, 1.0, None, START),
    BestQuote(BTC, 5, 99.0, 1.0, 100.0, 2.0, 0, START),
]


@pytest.fixture(params=list(CARRIERS))
async def carrier(request: pytest.FixtureRequest) -> AsyncIterator[Carrier]:
    """Ready for every instrument."""
    async with CARRIERS[request.param]() as made:
        await ready(made, lambda name: trade(0, instrument=name))
        yield made


def listen(carrier: Carrier, name: str = "test", bound: int = 100_000, **rules: object) -> Reader:
    return carrier.far.subscribe(name, bound=bound, **({"when_full": "fail"} | rules))  # type: ignore[arg-type]


async def hear(reader: Reader, heard: list[Event], enough: int) -> list[Event]:
    """What comes of the two instruments, until there are so many."""
    async with asyncio.timeout(40):
        while len(heard) < enough:
            heard += [event for event in await reader.receive() if getattr(event, "instrument", "") in (BTC, PERP)]
    return heard


async def _every_kind_arrives_as_it_was(carrier: Carrier) -> None:
    reader = listen(carrier)
    for event in EVERY:
        carrier.near.publish(event)
    heard = await hear(reader, [], len(EVERY))
    assert sorted(map(repr, heard)) == sorted(map(repr, EVERY))
    reader.close()


async def _each_reader_hears_all_in_order_and_a_slow_one_costs_itself_alone(carrier: Carrier) -> None:
    first, second = listen(carrier, "first"), listen(carrier, "second", kinds=(Trade,))
    slow, newest = listen(carrier, "slow", 10), listen(carrier, "newest", 10, when_full="drop")
    sent = [trade(n) for n in range(500)]
    for event in sent:
        carrier.near.publish(event)
    assert await hear(first, [], 500) == sent
    assert await hear(second, [], 500) == sent
    with pytest.raises(Overflow):
        await slow.receive()
    assert (await newest.receive())[-1] == sent[-1]
    late = listen(carrier, "late")
    carrier.near.publish(trade(500))
    assert await hear(late, [], 1) == [trade(500)]
    for reader in (first, second, slow, newest, late):
        reader.close()


async def _a_book_is_followed_to_the_same_levels(carrier: Carrier) -> None:
    reader, near, far = listen(carrier, kinds=(BookSnapshot, BookDelta, BookStale)), MemoryLiveState(), MemoryLiveState()
    made = [BOOK, *(BookDelta(BTC, n, n, None, [(90 + n % 7, float(n % 3))], [(101 + n % 5, float(n % 4))], START) for n in range(11, 200))]
    for event in made:
        near.apply(event)
        carrier.near.publish(event)
    async with asyncio.timeout(20):
        while (book := far.book(BTC)) is None or book.last_id < 199:
            for event in await reader.receive():
                far.apply(event)
    ours = near.book(BTC)
    assert ours is not None
    assert (book.is_valid, book.top(20)) == (ours.is_valid, ours.top(20))
    reader.close()


async def _what_is_published_while_a_server_is_killed_is_heard_once_it_is_replaced(carrier: Carrier) -> None:
    reader, count = listen(carrier), 1_000
    for n in range(count):
        carrier.near.publish(trade(n))
        if n == 300 and carrier.fault is not None:
            await asyncio.to_thread(carrier.fault, BTC)
        if n % 10 == 0:
            await asyncio.sleep(0.005)
    heard: list[Event] = []
    missing = {trade(n).trade_id for n in range(count)}
    async with asyncio.timeout(60):
        while missing:
            await hear(reader, heard, len(heard) + 1)
            missing -= {event.trade_id for event in heard if isinstance(event, Trade)}
    trades = [event for event in heard if isinstance(event, Trade)]
    assert sorted({int(t.trade_id) for t in trades}) == list(range(count))
    assert all(msgspec.structs.replace(t) == trade(int(t.trade_id)) for t in trades)


async def test_a_carrier_keeps_the_feeds_promises(carrier: Carrier) -> None:
    """One start of the servers for all claims: a Cluster takes seconds."""
    await _every_kind_arrives_as_it_was(carrier)
    await _each_reader_hears_all_in_order_and_a_slow_one_costs_itself_alone(carrier)
    await _a_book_is_followed_to_the_same_levels(carrier)
    await _what_is_published_while_a_server_is_killed_is_heard_once_it_is_replaced(carrier)
