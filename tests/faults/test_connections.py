"""Connections: lost, mute, refused by region, renewed. Time is virtual, the exchange is the emulator's market."""

from __future__ import annotations

import asyncio
import gc

import msgspec
import pytest

from faults.live_market import BTC, SPOT, USDM, Live, seconds
from services.memory_store import MemoryStore
from services.service_parts import PAIR_OF
from zvt_crypto.domain.errors import GaveUp
from zvt_crypto.domain.events import StreamStatus
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Gap, Trade
from zvt_crypto.emulator import virtual
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.plan import plan_subscriptions

LIQUID = 20.0  # orders a second: some data every 100 ms, as of any main pair


def states(live: Live, name: str = "binance 1") -> list[tuple[float, str]]:
    return [(seconds(at - live.start_ns), e.state) for at, e in live.events if isinstance(e, StreamStatus) and e.stream == name]


def first_time(live: Live, kind: type, after_s: float) -> float:
    return next(s for at, e in live.events if isinstance(e, kind) and (s := seconds(at - live.start_ns)) >= after_s)


def state_time(live: Live, state: str, after_s: float) -> float:
    return next(s for s, which in states(live) if which == state and s >= after_s)


async def after_a_stall(seed: int, *, answers_pings: bool) -> Live:
    live = Live(seed, events_per_s=LIQUID)
    async with live.running():
        await live.sleep(60)
        if answers_pings:  # every data frame is lost; control frames still flow
            live.faults.drop_frame(lambda frame: b'"stream"' in frame, times=None)
        else:
            live.faults.stall()
        await live.sleep(10)
        live.faults.resume()
        live.faults._rules.clear()
        await live.sleep(60)
    return live


@pytest.mark.parametrize("answers_pings", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_connection_that_stands_but_says_nothing_is_replaced_within_five_seconds(seed, answers_pings):
    live = virtual.run(after_a_stall(seed, answers_pings=answers_pings))
    assert state_time(live, "lost", 60) - 60 <= 5.0
    ids = live.trade_ids()
    assert ids == live.true_ids(ids[0], ids[-1])


@pytest.mark.parametrize("begins_s", [0, 60])
def test_a_book_that_cannot_get_its_snapshot_says_so_and_costs_trades_and_klines_nothing(begins_s):
    """Its updates still come: the connection is not mute."""

    async def without_snapshots() -> Live:
        live = Live(31, events_per_s=LIQUID)
        live.faults.http(429, times=1_000 if begins_s == 0 else 0, path="/api/v3/depth", headers={"Retry-After": "1"})
        async with live.running():
            await live.sleep(begins_s)
            if begins_s:
                live.faults.http(429, times=1_000, path="/api/v3/depth", headers={"Retry-After": "1"})
                live.faults.drop_frame(lambda frame: b"depthUpdate" in frame)
            await live.sleep(60)
            assert not live.live.book(BTC).is_valid
            live.faults._answers.clear()
            await live.sleep(60)
            assert live.live.book(BTC).is_valid
        return live

    live = virtual.run(without_snapshots())
    assert [state for _, state in states(live)] == ["connecting", "live", "stopped"]
    assert any("snapshot cannot be had" in stale.reason and "429" in stale.reason for stale in live.of(BookStale))
    ids = live.trade_ids()
    assert ids == live.true_ids(ids[0], ids[-1])
    assert live.of(Gap) == []


def test_books_are_back_within_a_second_of_the_connection_and_five_of_the_loss():
    async def cuts(seed: int) -> list[tuple[float, float]]:
        live = Live(seed, events_per_s=LIQUID)
        made = []
        async with live.running():
            await live.sleep(30)
            for _ in range(12):
                cut_s = seconds(live.clock.now_ns() - live.start_ns)
                live.faults.cut_all()
                live.transport.cut()
                await live.sleep(12)
                back = first_time(live, BookSnapshot, cut_s)
                made.append((back - cut_s, back - state_time(live, "connecting", cut_s)))
        return made

    times = [t for seed in range(3) for t in virtual.run(cuts(seed))]
    assert len(times) == 36
    assert max(after_loss for after_loss, _ in times) <= 5.0
    assert sorted(after_connect for _, after_connect in times)[35] <= 1.0


def test_a_lost_connection_tells_at_once_that_its_books_are_stale():
    async def cut() -> Live:
        live = Live(4)
        async with live.running():
            await live.sleep(30)
            assert live.live.book(BTC).is_valid
            live.faults.cut_all()
            live.transport.cut()
            await live.sleep(0.05)
            assert not live.live.book(BTC).is_valid
            await live.sleep(10)
            assert live.live.book(BTC).is_valid
        return live

    live = virtual.run(cut())
    deltas_while_stale, valid = 0, False
    for _, event in live.events:
        if isinstance(event, BookSnapshot | BookStale):
            valid = isinstance(event, BookSnapshot)
        elif isinstance(event, BookDelta) and not valid:
            deltas_while_stale += 1
    assert deltas_while_stale == 0


def test_a_single_mute_symbol_is_found_within_thirty_seconds():
    async def partial() -> Live:
        live = Live(5, channels=("trade", "depth"), events_per_s=LIQUID)
        async with live.running():
            await live.sleep(120)
            live.faults.drop_frame(lambda frame: b"@trade" in frame, times=None)
            await live.sleep(60)
        return live

    live = virtual.run(partial())
    assert state_time(live, "lost", 120) - 120 <= 30.0
    assert any("trade" in e.reason for _, e in live.events if isinstance(e, StreamStatus) and e.state == "lost")


def test_a_planned_renewal_loses_nothing_and_leaves_the_book_valid():
    async def rotations() -> Live:
        live = Live(6, ingest=IngestOptions(rotate_after_s=60.0))
        async with live.running():
            await live.sleep(400)
            assert live.live.book(BTC).is_valid
            assert len(live.dialect.sessions) == 1
        return live

    live = virtual.run(rotations())
    assert len(live.notes.noted("connection_renewed")) >= 5
    assert [state for _, state in states(live)] == ["connecting", "live", "stopped"]
    assert [e for _, e in live.events[:-5] if isinstance(e, BookStale)] == []
    ids = live.trade_ids()
    assert ids == live.true_ids(ids[0], ids[-1])
    assert live.of(Gap) == []
    assert live.dialect.requests < 40  # the overlap hides the change: nothing had to be fetched but books


def test_a_renewal_that_cannot_connect_keeps_the_old_connection():
    async def refused() -> Live:
        live = Live(7, ingest=IngestOptions(rotate_after_s=30.0))
        async with live.running():
            await live.sleep(25)
            live.faults.refuse_connections(20)
            await live.sleep(40)
        return live

    live = virtual.run(refused())
    assert live.notes.noted("rotation_postponed")
    assert [state for _, state in states(live)] == ["connecting", "live", "stopped"]


def test_a_region_block_is_told_and_not_hammered_while_others_go_on():
    async def blocked() -> Live:
        live = Live(9, symbols=(SPOT, USDM), ingest=IngestOptions(geo_recheck_s=600.0))
        connect = live.transport.connect
        tries = []

        async def refuse_usdm(url: str, *, timeout_ms: int = 10_000):
            if "/market" in url or "/public" in url:
                tries.append(live.clock.now_ns())
                from zvt_crypto.domain.errors import GeoBlocked

                raise GeoBlocked(f"{url} answered HTTP 451")
            return await connect(url, timeout_ms=timeout_ms)

        live.transport.connect = refuse_usdm  # type: ignore[method-assign]
        async with live.running():
            await live.sleep(500)
        live.tries = tries  # type: ignore[attr-defined]
        return live

    live = virtual.run(blocked())
    assert len(live.tries) == 2  # type: ignore[attr-defined] - one for each of the two USD-M hosts, none again within ten minutes
    assert {e.state for _, e in live.events if isinstance(e, StreamStatus)} >= {"live", "geo_blocked"}
    assert len(live.trade_ids()) > 500


def test_an_exchange_that_blocks_its_instrument_list_is_looked_at_again_later():
    async def blocked() -> Live:
        live = Live(10, ingest=IngestOptions(geo_recheck_s=300.0))
        live.faults.http(451, times=2)
        async with live.running():
            await live.sleep(100)
            assert states(live, "binance tables") == [(pytest.approx(0, abs=1), "geo_blocked")]
            await live.sleep(600)
        return live

    live = virtual.run(blocked())
    assert len(live.trade_ids()) > 100
    assert states(live, "binance tables")[-1][1] == "live"


def test_a_symbol_that_the_stored_table_lacks_is_not_unknown_while_the_exchange_is_away():
    """Only an instrument made by hand is stored: that the exchange knows none of the name, it has not said."""

    async def away() -> Live:
        store = MemoryStore()
        await store.save([msgspec.structs.replace(PAIR_OF, id="cryptopair_binance_abcusdt", native_symbol="ABCUSDT", base_asset="ABC")], 1)
        live = Live(14, store=store)
        live.faults.http(500, times=8)
        async with live.running():
            await live.sleep(4)
            assert {state for _, state in states(live, "binance tables")} == {"lost"}
            await live.sleep(120)
        return live

    live = virtual.run(away())
    assert states(live, "binance tables")[-1][1] == "live"
    assert len(live.trade_ids()) > 100


def test_a_symbol_that_the_exchange_does_not_list_ends_it_however_the_table_began():
    async def unknown() -> None:
        live = Live(15)
        live.platform.ingests[0]._wanted = lambda connector: plan_subscriptions(connector, ["NOPEUSDT"])
        live.faults.http(500, times=4)
        with pytest.raises(GaveUp, match="unknown symbol 'NOPEUSDT'"):
            await live.platform.run()

    virtual.run(unknown())


def test_a_ban_is_waited_out():
    async def banned() -> Live:
        live = Live(11)
        live.faults.http(418, times=1, headers={"Retry-After": "30"})
        async with live.running():
            await live.sleep(25)
            assert live.dialect.requests == 1
            await live.sleep(60)
        return live

    assert len(virtual.run(banned()).trade_ids()) > 50


def test_tasks_and_memory_return_to_base_after_a_hundred_reconnects():
    async def many() -> tuple[int, int, int, int, Live]:
        live = Live(12)
        async with live.running():
            await live.sleep(60)
            tasks, objects = len(asyncio.all_tasks()), _alive()
            while live.notes.counts["reconnects"] < 100:
                live.faults.cut_all()
                live.transport.cut()
                await live.sleep(3)
            await live.sleep(30)
            return tasks, len(asyncio.all_tasks()), objects, _alive(), live

    def _alive() -> int:
        gc.collect()
        names = {"_Session", "BinanceStream", "MemorySocket", "Task", "Future"}
        return sum(1 for o in gc.get_objects() if type(o).__name__ in names)

    tasks_before, tasks_after, before, after, live = virtual.run(many())
    assert tasks_after == tasks_before
    assert after <= before + 2
    ids = [int(t.trade_id) for t in live.of(Trade)]
    assert ids == live.true_ids(ids[0], ids[-1])
