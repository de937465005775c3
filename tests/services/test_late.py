"""A trade that comes late is in its minute's bar, whoever wrote it; and only in that one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, PAIR_OF, PERP, PERP_OF, START, ListConnector, Notes, trade, unordered
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.market import Gap, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.engine.bars import klines_from_trades
from zvt_crypto.services.backfill import Backfill
from zvt_crypto.services.late import LateBars
from zvt_crypto.services.rollups import Rollups
from zvt_crypto.venues.clock import SystemClock

M1, MIN, S = Interval.MIN_1, NS_PER_MINUTE, NS_PER_S
LATER = START + 3600 * S


@pytest.fixture(params=["memory", "postgres"])
async def any_store(request, store):
    if request.param == "postgres":
        await store.instruments.save([PAIR_OF, PERP_OF], START)
        return store
    made = MemoryStore()
    made.table.update({BTC: PAIR_OF, PERP: PERP_OF})
    return made


def late_bars(store, continuity="dense") -> LateBars:
    return LateBars([ListConnector(now_ns=LATER, continuity=continuity)], store, SystemClock(), Notes())


async def bars(store) -> list[Kline]:
    return await store.klines.read(BTC, M1)


def expected(trades: Sequence[Trade], continuity="dense") -> list[tuple[int, float, float, int | None]]:
    made = klines_from_trades(trades, continuity=continuity)
    return [(k.open_ns, k.close, k.volume, k.trades) for k in made if k.final]


def said(klines: Sequence[Kline]) -> list[tuple[int, float, float, int | None]]:
    return [(k.open_ns, k.close, k.volume, k.trades) for k in klines]


async def test_a_trade_in_time_marks_nothing_and_a_late_one_its_minute(any_store):
    for number, after_s in ((1, 0.5), (2, 60), (3, 61)):
        await any_store.trades.append([trade(number)], trade(number).event_ns + int(after_s * S))
    assert await any_store.trades.late("binance", 10) == []
    await any_store.trades.append([trade(4), trade(5), trade(70)], trade(70).event_ns + S)
    (marked,) = await any_store.trades.late("binance", 10)
    assert (marked.instrument, marked.stream, marked.open_ns) == (BTC, "trade", START)
    assert await any_store.trades.late("okx", 10) == []
    assert await any_store.trades.late("binance", 10, marked) == []
    await any_store.trades.append([trade(4)], LATER)  # known already
    assert await any_store.trades.late("binance", 10) == [marked]
    await any_store.trades.append([trade(6)], LATER)
    (again,) = await any_store.trades.late("binance", 10)
    await any_store.trades.remade([marked])  # of before
    assert await any_store.trades.late("binance", 10) == [again]
    await any_store.trades.remade([again])
    assert await any_store.trades.late("binance", 10) == []


@pytest.mark.parametrize("seed", range(6))
async def test_minutes_become_what_all_trades_say_in_whatever_order_they_come(any_store, seed):
    rng = random.Random(seed)
    numbers = range(600)
    trades = [trade(n) for n in numbers if n < 100 or n >= 250]  # two minutes hold none
    trades = [trade(n, t.event_ns) for n, t in enumerate(trades)]
    late = late_bars(any_store)
    rest = list(trades)
    while rest:
        part = [rest.pop(rng.randrange(len(rest))) for _ in range(min(len(rest), rng.randrange(1, 200)))]
        await any_store.trades.append(part, LATER)
        await late.catch_up()
        assert {k.open_ns for k in await bars(any_store)} <= {at for at, *_ in expected(trades)}
    # The first minute has no trade before it, and the last none after it: neither is known to be whole.
    assert said(await bars(any_store)) == expected(trades)
    marked = await any_store.trades.late("binance", 10)
    assert [m.open_ns for m in marked] == [trades[-1].event_ns // MIN * MIN]  # it waits for a trade that closes it
    assert await late.catch_up() == 0


async def test_a_bar_that_was_made_without_the_trade_is_corrected_and_the_old_one_stays_a_revision(store):
    await store.instruments.save([PAIR_OF], START)
    early = [trade(n) for n in (0, 59, 60, 61, 119, 120, 121)]
    early = [trade(n, t.event_ns) for n, t in enumerate(early)]
    await store.klines.upsert([k for k in klines_from_trades(early, continuity="increasing") if k.final], START + 200 * S)
    await store.trades.append(early, START + 121 * S)
    late = LateBars([ListConnector(now_ns=LATER, continuity="increasing")], store, SystemClock(), Notes())
    await late.catch_up()
    before = (await bars(store))[-1]
    await store.trades.append([trade(90, START + 90 * S)], START + 3000 * S)  # id 90 is after those before it in the run
    assert await store.trades.late("binance", 5) != []
    await store.trades.append([trade(91, START + 180 * S)], START + 3000 * S)
    await late.catch_up()
    after = next(k for k in await bars(store) if k.open_ns == before.open_ns)
    assert after.volume == before.volume + 0.5
    history = await store.versions.history(BTC, M1, before.open_ns)
    assert [v.kline.volume for v in history.versions] == [before.volume, after.volume]


async def test_a_venues_own_bar_stays_served(any_store):
    trades = [trade(n) for n in range(180)]
    await any_store.trades.append(trades, LATER)
    venue = Kline(BTC, M1, START + MIN, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0, 3, True, "venue")
    await any_store.klines.upsert([venue], LATER)
    await late_bars(any_store).catch_up()
    assert [k for k in await bars(any_store) if k.open_ns == START + MIN] == [venue]


async def test_an_open_hole_keeps_its_minutes_from_being_final(any_store):
    trades = [trade(n) for n in range(300)]
    await any_store.facts.save_gaps([Gap(BTC, "trade", START + 130 * S, START + 140 * S, None, None, "lost", None)], LATER)
    await any_store.trades.append([t for t in trades if not 130 <= int(t.trade_id) <= 139], LATER)
    late = late_bars(any_store, "increasing")
    await late.catch_up()
    assert [(k.open_ns - START) // MIN for k in await bars(any_store)] == [1, 3]
    await any_store.trades.append(trades[130:140], LATER)
    await any_store.facts.save_gaps([Gap(BTC, "trade", START + 130 * S, START + 140 * S, None, None, "lost", "rest")], LATER)
    await late.catch_up()
    assert [(k.open_ns - START) // MIN for k in await bars(any_store)] == [1, 2, 3]


async def test_trades_without_order_make_bars_by_time(any_store):
    trades = [unordered(n) for n in range(200)]
    await any_store.trades.append(trades, LATER)
    await late_bars(any_store, "opaque").catch_up()
    assert said(await bars(any_store)) == expected(trades, "opaque")


async def test_trades_inside_an_open_hole_are_no_evidence_of_silence_between_them(any_store):
    there = [unordered(n) for n in range(700) if n < 130 or n in (150, 460) or n >= 500]
    await any_store.facts.save_gaps([Gap(BTC, "trade", START + 129 * S, START + 500 * S + 1, None, None, "lost", None)], LATER)
    await any_store.trades.append(there, LATER)
    await late_bars(any_store, "opaque").catch_up()
    assert [(k.open_ns - START) // MIN for k in await bars(any_store)] == [1, 9, 10]


def several_an_instant(numbers: Sequence[int]) -> list[Trade]:
    """Five of different prices in each tenth second, as they came; their ids are in another order."""
    return [msgspec.structs.replace(unordered(n, START + n // 5 * 10 * S), price=100.0 + n % 5) for n in numbers]


async def live_bars(any_store, came: Sequence[Trade]) -> list[Kline]:
    await any_store.klines.upsert([k for k in klines_from_trades(came, continuity="opaque") if k.final], LATER)
    return await bars(any_store)


async def test_a_minute_of_the_same_trades_stays_as_it_was_made_while_they_came(any_store):
    came = several_an_instant([*range(60), *range(120, 150)])  # the third and fourth minute are silent
    before = await live_bars(any_store, came)
    assert [(k.open, k.close, k.trades) for k in before] == [(100.0, 104.0, 30), (104.0, 104.0, 0), (104.0, 104.0, 0)]
    await any_store.trades.append(came, LATER)
    stored = await any_store.trades.read(BTC)
    assert [t.price for t in stored] != [t.price for t in came]
    assert await late_bars(any_store, "opaque").catch_up() == 0
    assert await bars(any_store) == before


async def test_a_minute_of_further_trades_keeps_the_open_and_close_that_its_first_and_last_instant_had(any_store):
    came = several_an_instant([*range(60), *range(120, 150)])
    missed = several_an_instant([47, 62])  # one amid the second minute, one in the third, which was not silent
    await live_bars(any_store, [t for t in came if t.trade_id != missed[0].trade_id])
    await any_store.trades.append([*came, *missed], LATER)
    assert await late_bars(any_store, "opaque").catch_up() == 3
    made = [(k.open, k.high, k.low, k.close, k.trades) for k in await bars(any_store)]
    assert made == [(100.0, 104.0, 100.0, 104.0, 30), (102.0, 102.0, 102.0, 102.0, 1), (102.0, 102.0, 102.0, 102.0, 0)]


async def test_the_stream_that_feeds_no_bars_makes_none(any_store):
    await any_store.trades.append([trade(n, stream="agg") for n in range(200)], LATER)
    assert await late_bars(any_store).catch_up() == 0
    assert (await bars(any_store), await any_store.trades.late("binance", 10)) == ([], [])


async def test_a_backfill_of_trades_makes_minutes_and_longer_bars(store):
    await store.instruments.save([PAIR_OF], START)
    trades = [trade(n) for n in range(700)]
    connector = ListConnector(now_ns=LATER, trades=trades)
    await Backfill(connector, store, SystemClock(), Notes()).trades(BTC, START, START + 700 * S)
    assert await LateBars([connector], store, SystemClock(), Notes()).catch_up() == 10
    await Rollups(store, SystemClock(), Notes()).catch_up()
    (five,) = await store.klines.read(BTC, Interval.MIN_5)
    assert (five.open_ns, five.volume, five.source) == (START + 300 * S, 150.0, "derived")


async def test_trades_that_make_no_bar_are_told_and_stop_nothing(any_store):
    notes = Notes()
    late = LateBars([ListConnector(now_ns=LATER)], any_store, SystemClock(), notes)
    odd = msgspec.structs.replace(trade(20), trade_id="x-20")
    await any_store.trades.append(
        [*(trade(n) for n in range(29) if n != 20), odd, *(trade(n) for n in range(5000, 5130))], LATER * 2 - START
    )
    assert await late.catch_up() == 1
    assert [(event, fields["instrument"]) for _, event, fields in notes.notes] == [("late_bars_refused", BTC)]
    assert "'x-20'" in str(notes.notes[0][2]["reason"])


def test_it_runs_by_itself_and_waits_for_a_store_that_is_away():
    async def go():
        store, notes = MemoryStore(), Notes()
        store.table[BTC] = PAIR_OF
        late = LateBars([ListConnector(now_ns=LATER)], store, VirtualClock(), notes)
        task = asyncio.create_task(late.run())
        await store.trades.append([trade(n) for n in range(200)], LATER)
        store.is_down = True
        await asyncio.sleep(12)
        assert [event for _, event, _ in notes.notes] == ["late_bars_wait"] * 2
        store.is_down = False
        await asyncio.sleep(6)
        assert len(store.bars) == 2
        assert notes.counts["bars_remade"] == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual.run(go())


def test_a_store_that_is_away_is_told():
    async def go():
        store = MemoryStore()
        store.is_down = True
        with pytest.raises(StoreUnavailable):
            await late_bars(store).catch_up()

    asyncio.run(go())


@pytest.mark.parametrize("continuity", ["dense", "increasing", "opaque"])
async def test_minutes_whose_trades_are_stored_no_more_stay_as_they_were(any_store, continuity):
    """Archived or forgotten: what is left of a day is no evidence against the bars that were made of all of it."""
    whole = [trade(n) for n in range(400)]
    await any_store.klines.upsert([k for k in klines_from_trades(whole, continuity=continuity) if k.final], LATER)
    before = await bars(any_store)
    assert sum(bar.volume for bar in before) > 0
    await any_store.trades.append([trade(70), trade(300), trade(390)], LATER)
    await late_bars(any_store, continuity).catch_up()
    assert await bars(any_store) == before
