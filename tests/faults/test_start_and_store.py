"""Starts, restarts and a database that goes away: what was received once is in the store in the end, once."""

from __future__ import annotations

import itertools

import pytest

from faults.live_market import BTC, PERP, USDM, Live
from services.memory_store import MemoryStore
from zvt_crypto.domain.errors import GaveUp
from zvt_crypto.domain.market import Funding, Gap, Kline, MarkPrice
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.plan import plan_subscriptions


def stored_ids(store: MemoryStore, instrument: str = BTC) -> list[int]:
    return sorted(int(t.trade_id) for t in store.ticks.values() if t.instrument == instrument)


async def killed(live: Live, after_s: float) -> None:
    """Run, then end as a kill does: at once, nothing written any more, whatever waits in memory lost."""
    context = live.running()
    await context.__aenter__()
    await live.sleep(after_s)
    live.store.is_down = True
    live.platform.recorder._options = type(live.platform.recorder._options)(stop_s=0.0)
    await context.__aexit__(None, None, None)
    live.store.is_down = False


@pytest.mark.parametrize("first_s", [30.3, 61.0, 119.9, 120.1, 185.0])
def test_a_killed_platform_goes_on_from_store_and_rest_alone(first_s):
    async def twice() -> tuple[Live, Live]:
        first = Live(21)
        await killed(first, first_s)
        await first.sleep(100)  # the exchange trades on
        second = Live(21, store=first.store, world=first.world)
        async with second.running():
            await second.sleep(200)
        return first, second

    first, second = virtual.run(twice())
    ids = stored_ids(second.store)
    assert ids == second.true_ids(ids[0], ids[-1])
    assert ids[0] == first.trade_ids()[0]
    bars = second.stored_bars()
    opens = sorted(bars)
    assert opens == list(range(first.start_ns, opens[-1] + 1, NS_PER_MINUTE))
    assert bars == second.true_bars(opens[0], opens[-1] + NS_PER_MINUTE)


@pytest.mark.parametrize("first_s", [59.0, 305.0, 432.1])
def test_a_killed_platform_leaves_the_same_trade_built_bars_as_an_undisturbed_one(first_s):
    async def undisturbed() -> Live:
        live = Live(22, channels=("trade",))
        async with live.running():
            await live.sleep(720)
        return live

    async def disturbed() -> Live:
        first = Live(22, channels=("trade",))
        await killed(first, first_s)
        await first.sleep(40)
        second = Live(22, channels=("trade",), store=first.store, world=first.world)
        async with second.running():
            await second.sleep(720 - 40 - first_s)
        return second

    whole, cut = virtual.run(undisturbed()), virtual.run(disturbed())
    for interval in (Interval.MIN_1, Interval.MIN_5, Interval.MIN_15):
        assert cut.stored_bars(interval=interval).items() <= whole.stored_bars(interval=interval).items()
        assert whole.stored_bars(interval=interval).keys() - cut.stored_bars(interval=interval).keys() <= {whole.start_ns}
    assert len(cut.stored_bars()) >= 10
    assert len(cut.stored_bars(interval=Interval.MIN_5)) == 1  # 00:05; 00:00 is torn, 00:10 still forms


def test_a_fresh_start_fetches_trades_from_the_time_asked_for():
    async def since() -> Live:
        from zvt_crypto.emulator.virtual import START_NS

        live = Live(23, ingest=IngestOptions(trades_since_ns=START_NS - 3 * NS_PER_MINUTE))
        async with live.running():
            await live.sleep(65)
        return live

    live = virtual.run(since())
    trades = live.of(type(live.store.ticks[next(iter(live.store.ticks))]))
    assert live.start_ns - 3 * NS_PER_MINUTE <= trades[0].event_ns < live.start_ns - 2 * NS_PER_MINUTE
    ids = live.trade_ids()
    assert ids == live.true_ids(ids[0], ids[-1])
    built = [k for k in live.of(Kline) if k.source == "trades" and k.final]
    assert built[0].open_ns <= live.start_ns - 2 * NS_PER_MINUTE


def test_what_is_too_old_to_catch_up_is_flagged_and_healed_later():
    async def old() -> tuple[Live, Live]:
        first = Live(24, channels=("trade",))
        async with first.running():
            await first.sleep(30)
        await first.sleep(600)
        second = Live(24, channels=("trade",), store=first.store, world=first.world, ingest=IngestOptions(max_catch_up_s=60.0))
        async with second.running():
            await second.sleep(20)
            assert len(await first.store.read_gaps(open_only=True)) == 1
            await second.sleep(320)  # the healer comes every five minutes
        return first, second

    first, second = virtual.run(old())
    ids = stored_ids(second.store)
    assert ids == second.true_ids(ids[0], ids[-1])
    assert ids[0] == first.trade_ids()[0]
    assert all(g.filled_from == "rest" for g in second.store.gaps.values())


def test_a_hole_that_the_venue_cannot_fill_is_flagged_and_live_trades_flow_on():
    async def hole() -> Live:
        live = Live(25, channels=("trade",), ingest=IngestOptions(patience_s=5.0))
        async with live.running():
            await live.sleep(30)
            live.faults.http(400, times=500, path="/api/v3/historicalTrades", body=b'{"code":-1100,"msg":"Illegal characters."}')
            live.faults.drop_frame(lambda frame: b"@trade" in frame, times=3)
            await live.sleep(30)
        return live

    live = virtual.run(hole())
    gaps = [g for g in live.of(Gap) if g.filled_from is None]
    missing = [n for g in gaps for n in range(g.first_id, g.last_id + 1)]
    ids = live.trade_ids()
    assert len(missing) == 3
    assert sorted(ids + missing) == live.true_ids(ids[0], ids[-1])
    assert ids == sorted(ids)
    assert list(live.store.gaps.values()) == gaps


def test_a_missing_closing_frame_is_fetched_by_rest():
    async def lost() -> Live:
        live = Live(26, channels=("kline",))
        live.faults.drop_frame(lambda frame: b'"x":true' in frame, times=None)
        async with live.running():
            await live.sleep(200)
        return live

    live = virtual.run(lost())
    finals = {k.open_ns: k for k in live.of(Kline) if k.final and k.source == "venue"}
    assert sorted(finals) == [live.start_ns + n * NS_PER_MINUTE for n in range(3)]
    assert live.notes.counts["klines_filled"] == 3


def test_a_kline_that_no_longer_can_be_had_is_flagged():
    async def lost() -> Live:
        live = Live(27, channels=("kline",), ingest=IngestOptions(patience_s=3.0))
        live.faults.drop_frame(lambda frame: b'"x":true' in frame, times=1)
        async with live.running():
            await live.sleep(55)
            live.faults.http(503, times=30, path="/api/v3/klines")
            await live.sleep(120)
        return live

    live = virtual.run(lost())
    assert [(g.start_ns, g.filled_from) for g in live.of(Gap)] == [(live.start_ns, None)]
    assert live.stored_bars().keys() == {live.start_ns + n * NS_PER_MINUTE for n in range(1, 2)}


@pytest.mark.parametrize("away_s", [5, 1_800])
def test_a_hole_that_was_open_when_we_were_killed_is_found_by_the_next_start(away_s):
    """The minute after it is stored already: the start looks for holes among the newest, and the gap that was stored is healed."""
    options = IngestOptions(max_catch_up_s=60.0)

    async def twice() -> tuple[Live, Live]:
        first = Live(26, channels=("kline",), ingest=options)
        second_minute = f'"t":{(first.start_ns + NS_PER_MINUTE) // 10**6},'.encode()
        first.faults.drop_frame(lambda frame: second_minute in frame and b'"x":true' in frame)
        first.faults.http(503, times=1_000, path="/api/v3/klines")
        await killed(first, 190.0)
        first.faults._answers.clear()
        await first.sleep(away_s)
        second = Live(26, channels=("kline",), ingest=options, store=first.store, world=first.world)
        async with second.running():
            await second.sleep(150)
        return first, second

    first, second = virtual.run(twice())
    began, newest = first.start_ns, max(second.stored_bars())
    missed = began + NS_PER_MINUTE
    assert [k.open_ns for k in first.of(Kline) if k.final] == [began, missed + NS_PER_MINUTE]
    assert [(g.start_ns, g.end_ns, g.filled_from) for g in first.of(Gap)] == [(missed, missed + NS_PER_MINUTE, None)]
    assert second.stored_bars() == second.true_bars(began, newest + NS_PER_MINUTE)
    assert newest >= missed + (3 + away_s // 60) * NS_PER_MINUTE
    assert missed in {k.open_ns for k in second.of(Kline)}  # the healer would not publish it
    assert all(gap.filled_from is not None for gap in second.store.gaps.values())


def test_more_klines_than_a_start_catches_up_with_are_flagged_as_one_range_and_healed():
    async def twice() -> tuple[Live, Live]:
        first = Live(28, channels=("kline",))
        await killed(first, 130.0)
        await first.sleep(1_800)
        second = Live(28, channels=("kline",), ingest=IngestOptions(max_klines=20), store=first.store, world=first.world)
        async with second.running():
            await second.sleep(400)
        return first, second

    first, second = virtual.run(twice())
    began, newest = first.start_ns, max(second.stored_bars())
    assert second.stored_bars() == second.true_bars(began, newest + NS_PER_MINUTE)
    (gap,) = second.store.gaps.values()
    assert (gap.start_ns, gap.end_ns, gap.filled_from) == (began + 2 * NS_PER_MINUTE, began + 32 * NS_PER_MINUTE, "rest")


def test_a_database_that_is_away_for_half_a_minute_costs_nothing():
    async def away() -> Live:
        live = Live(28)
        async with live.running():
            await live.sleep(60)
            live.store.is_down = True
            await live.sleep(30)
            assert live.platform.recorder.is_down
            assert live.platform.recorder.backlog > 50
            live.store.is_down = False
            await live.sleep(60)
            assert not live.platform.recorder.is_down
        return live

    live = virtual.run(away())
    assert stored_ids(live.store) == live.trade_ids()
    assert live.platform.recorder.dropped == 0
    assert [f["reason"] for f in live.notes.noted("store_down")] == ["the store is down"]


def test_a_start_waits_for_the_database():
    async def wait() -> Live:
        live = Live(29)
        live.store.is_down = True
        async with live.running():
            await live.sleep(20)
            live.store.is_down = False
            await live.sleep(90)
        return live

    assert len(virtual.run(wait()).trade_ids()) > 50


def test_a_database_that_never_comes_ends_the_platform_with_the_reason():
    async def never() -> None:
        live = Live(30)
        live.store.is_down = True
        await live.platform.run()

    with pytest.raises(GaveUp, match="the store is down"):
        virtual.run(never())


def test_an_unknown_symbol_ends_the_platform_with_the_reason():
    async def unknown() -> None:
        live = Live(31)
        live.platform.ingests[0]._wanted = lambda connector: plan_subscriptions(connector, ["BTCUSDTT"])
        await live.platform.run()

    with pytest.raises(GaveUp, match="unknown symbol 'BTCUSDTT'; did you mean cryptopair_binance_btcusdt"):
        virtual.run(unknown())


def test_marks_are_recorded_once_a_second_and_funding_is_polled():
    async def perp() -> Live:
        live = Live(32, symbols=(USDM,), channels=("mark",))
        async with live.running():
            await live.sleep(60)
        return live

    live = virtual.run(perp())
    marks = sorted(at for name, at in live.store.marks if name == PERP)
    assert len(marks) >= 15
    assert all(b - a >= NS_PER_S for a, b in itertools.pairwise(marks))
    assert len(live.of(MarkPrice, PERP)) >= len(marks)
    paid = live.of(Funding, PERP)
    assert len(paid) >= 3
    assert {at for _, at in live.store.paid} == {f.event_ns for f in paid}


def test_longer_klines_follow_from_minutes():
    async def long() -> Live:
        live = Live(33, channels=("trade",), events_per_s=1.0)
        async with live.running():
            await live.sleep(3700)
        return live

    live = virtual.run(long())
    for interval, count in (("5m", 11), ("15m", 3), ("30m", 1)):
        ours = live.stored_bars(interval=Interval(interval))
        truth = live.true_bars(live.start_ns, live.start_ns + 3600 * NS_PER_S, interval)
        assert len(ours) == count  # the first of each is torn: we came into its first minute
        assert ours.items() <= truth.items()
