"""The recorder: what was taken is stored, or spooled, or told to be missing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, START, Notes, Spool, kline, trade
from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.market import BookSample, Funding, Gap, MarkPrice, Ticker
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder, RecordOptions
from zvt_crypto.stores.files.spool import FileSpool


class Room:
    """A feed, a recorder and a store."""

    def __init__(self, spool=None, **options) -> None:
        self.store, self.feed, self.notes = MemoryStore(), MemoryFeed(), Notes()
        self.recorder = Recorder(self.feed, self.store, VirtualClock(), self.notes, spool, RecordOptions(**options))
        self.clock = VirtualClock()

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.recorder.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def publish(self, *events) -> None:
        for event in events:
            self.feed.publish(event)

    def ids(self) -> list[int]:
        return sorted(int(t.trade_id) for t in self.store.ticks.values())


def test_every_kind_that_is_kept_lands_in_its_place():
    async def go():
        async with Room().running() as room:
            gap = Gap(BTC, "trade", START, START + 1, 1, 2, "why", None)
            mark = MarkPrice(BTC, START, 1.0, 1.0, None, None)
            room.publish(trade(1), kline(0), Funding(BTC, START, 0.0001), mark, gap, Ticker(BTC, 1.0, *[None] * 7, START))
            await room.recorder.drained()
            store = room.store
            assert (len(store.ticks), len(store.bars), len(store.paid), len(store.marks), list(store.gaps.values())) == (1, 1, 1, 1, [gap])
            assert room.recorder.rows == 5

    virtual.run(go())


def test_forming_klines_are_not_stored():
    async def go():
        async with Room().running() as room:
            room.publish(kline(0, final=False), kline(0, close=1.7))
            await room.recorder.drained()
            assert [k.close for k in room.store.bars.values()] == [1.7]

    virtual.run(go())


def test_marks_are_thinned_to_one_a_second():
    async def go():
        async with Room().running() as room:
            room.publish(*[MarkPrice(BTC, START + n * 250_000_000, 1.0, None, None, None) for n in range(12)])
            await room.recorder.drained()
            assert [(m - START) // 1_000_000 for _, m in sorted(room.store.marks)] == [0, 1000, 2000]

    virtual.run(go())


def test_rows_gather_before_they_are_written():
    async def go():
        async with Room().running() as room:
            for number in range(100):
                room.publish(trade(number))
                await asyncio.sleep(0.001)
            await room.recorder.drained()
            assert room.ids() == list(range(100))
            assert room.store.calls <= 3

    virtual.run(go())


def test_a_wrong_row_is_refused_alone():
    async def go():
        async with Room().running() as room:
            room.store.wrong = {"3", "17"}
            room.publish(*[trade(n) for n in range(40)])
            await room.recorder.drained()
            assert room.ids() == [n for n in range(40) if n not in (3, 17)]
            assert room.recorder.wrong == 2
            refused = [fields for _, name, fields in room.notes.notes if name == "row_refused"]
            assert sorted(str(f["reason"]) for f in refused) == ["trade 17 is wrong", "trade 3 is wrong"]

    virtual.run(go())


def test_a_store_that_is_away_is_waited_for_and_what_overflows_is_spooled(tmp_path):
    async def go():
        spool = FileSpool(tmp_path / "spool", 10_000_000)
        async with Room(spool, bound=50, batch_rows=10).running() as room:
            room.store.is_down = True
            for number in range(300):
                room.publish(trade(number))
                await asyncio.sleep(0.1)
            assert len(spool) > 100
            since_ns = room.recorder.down_since_ns
            assert since_ns is not None
            assert 25 <= (room.clock.now_ns() - since_ns) / NS_PER_S <= 30  # since the first batch, not since the last try
            assert room.store.ticks == {}
            room.store.is_down = False
            await room.recorder.drained()
            assert room.ids() == list(range(300))
            assert (len(spool), room.recorder.dropped, room.recorder.is_down) == (0, 0, False)
        spool.close()

    virtual.run(go())


def test_what_was_spooled_survives_the_process(tmp_path):
    async def first():
        spool = FileSpool(tmp_path / "spool", 10_000_000)
        room = Room(spool, bound=50, stop_s=0.5)
        async with room.running():
            room.store.is_down = True
            for number in range(200):
                room.publish(trade(number))
                await asyncio.sleep(0.01)
            await room.recorder.stop()
        spool.close()

    async def second():
        spool = FileSpool(tmp_path / "spool", 10_000_000)
        async with Room(spool).running() as room:
            await room.recorder.drained()
            assert room.ids() == list(range(200))
        spool.close()

    virtual.run(first())
    virtual.run(second())


def test_when_queue_and_spool_are_full_the_hole_is_told():
    async def go():
        async with Room(Spool(room=20), bound=30, batch_rows=10).running() as room:
            room.store.is_down = True
            await asyncio.sleep(0.1)
            room.publish(*[trade(n) for n in range(200)])
            room.publish(kline(0), kline(1))
            await asyncio.sleep(5)
            room.store.is_down = False
            await room.recorder.drained()
            kept = room.ids()
            (hole,) = [g for g in room.store.gaps.values() if g.channel == "trade"]
            lost = [n for n in range(200) if n not in kept]
            assert room.recorder.dropped == len(lost) > 0
            assert (hole.first_id, hole.last_id, hole.filled_from) == (lost[0], lost[-1], None)
            assert (hole.start_ns, hole.end_ns) == (trade(lost[0]).event_ns, trade(lost[-1]).event_ns + 1)
            assert room.notes.counts["record_dropped"] == len(lost)

    virtual.run(go())


def test_dropped_klines_funding_marks_and_gaps_are_holes_too():
    async def go():
        async with Room(None, bound=1, batch_rows=1).running() as room:
            room.store.is_down = True
            old = Gap(BTC, "agg", START, START + 5, 7, 9, "why", None)
            filled = Gap(BTC, "agg", START + 9, START + 10, 11, 12, "why", "rest")
            longer = kline(0, interval=Interval.HOUR_1)
            late = [
                kline(3, final=False),
                kline(4),
                longer,
                kline(6),
                Funding(BTC, START, 0.1),
                MarkPrice(BTC, START, 1.0, None, None, None),
            ]
            room.publish(trade(1), *late, old, filled, trade(2))
            room.store.is_down = False
            await room.recorder.drained()
            held = {g.interval or g.channel: g for g in room.store.gaps.values()}
            minutes, hours = held[Interval.MIN_1], held[Interval.HOUR_1]
            assert (minutes.start_ns, minutes.end_ns) == (START + 4 * NS_PER_MINUTE, START + 7 * NS_PER_MINUTE)
            assert (hours.start_ns, hours.end_ns) == (START, START + 60 * NS_PER_MINUTE)
            assert held["funding"].start_ns == held["mark"].start_ns == START
            assert held["agg"] == old

    virtual.run(go())


def test_books_wait_for_the_database_as_all_rows_do_and_a_dropped_one_is_a_hole():
    async def go():
        books = [BookSample(BTC, n, [(1.0, 1.0)], [(2.0, 1.0)], START + n) for n in range(40)]
        async with Room(Spool(room=10), bound=20, batch_rows=1).running() as room:
            room.store.is_down = True
            room.publish(books[0])
            await asyncio.sleep(1)
            room.publish(*books[1:])
            await asyncio.sleep(5)
            assert room.store.books == {}
            room.store.is_down = False
            await room.recorder.drained()
            kept = sorted(b.last_id for b in room.store.books.values())
            assert room.recorder.dropped == 40 - len(kept) > 0
            (hole,) = room.store.gaps.values()
            lost = [n for n in range(40) if n not in kept]
            assert (hole.channel, hole.start_ns, hole.end_ns) == ("book", START + lost[0], START + lost[-1] + 1)

    virtual.run(go())


def test_a_spool_that_fails_is_as_one_that_is_full():
    class Broken(Spool):
        def append(self, events) -> int:
            raise StoreError("the disk is gone")

    async def go():
        async with Room(Broken(0), bound=5).running() as room:
            room.store.is_down = True
            room.publish(*[trade(n) for n in range(10)])
            assert room.recorder.dropped == 5
            assert "spool_failed" in [name for _, name, _ in room.notes.notes]

    virtual.run(go())


@pytest.mark.parametrize(
    ("room_left", "kept", "dropped", "untold"), [(100, 30, 0, 0), (0, 0, 30, 1)], ids=["what is kept", "what nothing has room for"]
)
def test_a_stop_tells_what_is_kept_and_what_is_lost(room_left: int, kept: int, dropped: int, untold: int):
    async def go():
        async with Room(Spool(room_left), stop_s=0.5).running() as room:
            room.store.is_down = True
            room.publish(*[trade(n) for n in range(30)])
            await asyncio.sleep(1)
            await room.recorder.stop()
            assert (room.recorder.kept, room.recorder.dropped, room.recorder.untold) == (kept, dropped, untold)
            told = {name: fields for _, name, fields in room.notes.notes if name in ("stored_later", "holes_untold")}
            assert told == ({"stored_later": {"events": kept}} if kept else {"holes_untold": {"holes": untold, "dropped": dropped}})

    virtual.run(go())


def test_a_hole_that_the_store_does_not_take_is_kept_for_the_next_start():
    async def go():
        spool = Spool(room=20)
        async with Room(spool, bound=30, batch_rows=10, stop_s=0.5).running() as room:
            room.store.is_down = True
            await asyncio.sleep(0.1)
            room.publish(*[trade(n) for n in range(60)])
            await asyncio.sleep(1)
            spool.room = 1_000
            await room.recorder.stop()
            dropped = room.recorder.dropped
            assert dropped > 0
            assert room.recorder.untold == 0
        async with Room(spool).running() as room:
            await room.recorder.drained()
            (hole,) = room.store.gaps.values()
            kept = room.ids()
            lost = [n for n in range(60) if n not in kept]
            assert len(lost) == dropped
            assert (hole.first_id, hole.last_id) == (lost[0], lost[-1])

    virtual.run(go())


def test_a_stop_writes_what_waits():
    async def go():
        async with Room().running() as room:
            room.publish(*[trade(n) for n in range(10)])
            await room.recorder.stop()
            assert room.ids() == list(range(10))
            room.publish(trade(99))
            assert room.recorder.backlog == 0

    virtual.run(go())


def test_a_run_that_was_ended_goes_on_with_what_it_had():
    async def go():
        room = Room()
        async with room.running():
            room.store.is_down = True
            room.publish(*[trade(n) for n in range(10)])
            await asyncio.sleep(2)
        room.store.is_down = False
        async with room.running():
            await room.recorder.drained()
            assert room.ids() == list(range(10))

    virtual.run(go())


@pytest.mark.parametrize("rows", [20_000])
async def test_rows_reach_postgresql(rows, listed_store):
    """The real store, on the real loop."""
    from zvt_crypto.venues.clock import SystemClock

    feed = MemoryFeed()
    recorder = Recorder(feed, listed_store, SystemClock(), Notes())
    task = asyncio.create_task(recorder.run())
    for number in range(rows):
        feed.publish(trade(number))
        if number % 1000 == 0:
            await asyncio.sleep(0)
    feed.publish(kline(0))
    async with asyncio.timeout(30):
        await recorder.drained()
    await recorder.stop()
    await task
    stored = await listed_store.trades.read(BTC, START)
    assert [t.trade_id for t in stored] == [str(n) for n in range(rows)]
    assert [k.open_ns for k in await listed_store.klines.read(BTC, kline(0).interval)] == [START]


def test_an_open_hole_is_stored_before_the_trades_after_it_and_its_filling_after_those_that_fill_it():
    """Whoever reads in between takes no silence for one, and a process that ends in between leaves the hole open."""

    async def go():
        room = Room()
        seen: list[tuple[int, list[str | None]]] = []  # (trades stored, how the hole stands) before each write
        for noun, name in ((room.store.trades, "append"), (room.store.facts, "save_gaps")):
            write = getattr(noun, name)

            async def watched(rows, known_at_ns, write=write):
                seen.append((len(room.store.ticks), [gap.filled_from for gap in room.store.gaps.values()]))
                return await write(rows, known_at_ns)

            setattr(noun, name, watched)
        hole = Gap(BTC, "trade", START, START + 1, 1, 2, "why", None)
        async with room.running():
            room.publish(trade(3), hole)
            await room.recorder.drained()
            assert seen == [(0, []), (0, [None])]
            room.publish(msgspec.structs.replace(hole, filled_from="rest"), trade(1), trade(2))
            await room.recorder.drained()
            assert seen[2:] == [(1, [None]), (3, [None])]
        assert [gap.filled_from for gap in room.store.gaps.values()] == ["rest"]

    virtual.run(go())
