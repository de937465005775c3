"""What the stream skipped, one flow at a time: REST that lags, lacks, refuses; ids that jump; closing frames in any order."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, START, ListConnector, Notes, kline, trade
from zvt_crypto.domain.errors import Refused, Throttled, Unreachable
from zvt_crypto.domain.market import Funding, Gap, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.services.continuity import DenseTrades
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.funding import FundingPoll
from zvt_crypto.services.klineflow import KlineFlow
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.tradeflow import TradeFlow

OPTIONS = IngestOptions(page_rows=10, patience_s=20.0)


class Flow:
    def __init__(self, venue: ListConnector, continuity: DenseTrades | None = None, *, start_ns=None, done_ns=None, known=()) -> None:
        self.out: list = []
        self.notes = Notes()
        parts = (self.out.append, VirtualClock(), self.notes, OPTIONS, random.Random(1))
        self.flow: TradeFlow | KlineFlow
        if continuity is not None:
            self.flow = TradeFlow(venue, continuity, *parts, start_ns)  # type: ignore[arg-type]
        else:
            self.flow = KlineFlow(venue, BTC, Interval.MIN_1, *parts, done_ns, known)  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.flow.run())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def live(self, *numbers: int, at_ns: int | None = None) -> None:
        for number in numbers:
            self.flow.on_trade(trade(number, at_ns))

    def ids(self) -> list[int]:
        return [int(e.trade_id) for e in self.out if isinstance(e, Trade)]

    def gaps(self) -> list[tuple[int | None, int | None, str | None]]:
        return [(g.first_id, g.last_id, g.filled_from) for g in self.out if isinstance(g, Gap)]

    def holes(self) -> list[tuple[int, int, str | None]]:
        """The kline gaps as the store keeps them: [first minute, end), and where they were filled from."""
        kept = {g.start_ns: g for g in self.out if isinstance(g, Gap) and g.interval is Interval.MIN_1}
        return [((g.start_ns - START) // NS_PER_MINUTE, (g.end_ns - START) // NS_PER_MINUTE, g.filled_from) for g in kept.values()]

    def finals(self) -> list[int]:
        return [(k.open_ns - START) // NS_PER_MINUTE for k in self.out if isinstance(k, Kline) and k.final]


def venue(*numbers: int) -> ListConnector:
    return ListConnector(now_ns=START, trades=[trade(n) for n in numbers])


def contiguous(**named) -> DenseTrades:
    return DenseTrades(BTC, "trade", **named)


def test_ids_that_the_venue_lacks_at_the_beginning_of_a_hole_stay_an_open_gap():
    async def go():
        async with Flow(venue(*range(1, 101), *range(111, 152)), contiguous(last=trade(100))).running() as flow:
            flow.flow.on_connected()
            flow.live(151)
            await asyncio.sleep(60)
            assert flow.ids() == [*range(111, 152)]
            assert flow.gaps() == [(101, 110, None), (111, 150, "rest")]
            store = MemoryStore()
            await store.save_gaps([g for g in flow.out if isinstance(g, Gap)], 0)
            assert [(g.first_id, g.last_id) for g in await store.read_gaps(open_only=True)] == [(101, 110)]

    virtual.run(go())


def test_a_hole_longer_than_a_page_is_filled_page_by_page():
    async def go():
        async with Flow(venue(*range(100)), contiguous()).running() as flow:
            flow.live(0, 57, 58)
            await asyncio.sleep(5)
            assert flow.ids() == list(range(59))
            assert flow.gaps() == [(1, 56, "rest")]

    virtual.run(go())


def test_rest_that_lags_behind_its_own_stream_is_asked_again():
    async def go():
        desk = venue(0)
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0, 5)
            await asyncio.sleep(1)
            assert flow.ids() == [0]
            desk.trades = [trade(n) for n in range(6)]
            await asyncio.sleep(5)
            assert flow.ids() == [0, 1, 2, 3, 4, 5]

    virtual.run(go())


def test_what_the_venue_never_has_is_flagged_before_later_trades_go_on():
    async def go():
        async with Flow(venue(0), contiguous()).running() as flow:
            flow.live(0, 5, 6)
            await asyncio.sleep(30)
            assert flow.ids() == [0, 5, 6]
            assert flow.gaps() == [(1, 4, None)]
            assert [type(e).__name__ for e in flow.out] == ["Trade", "Gap", "Trade", "Trade"]
            gap = flow.out[1]
            assert (gap.start_ns, gap.end_ns) == (trade(0).event_ns, trade(5).event_ns)

    virtual.run(go())


@pytest.mark.parametrize("error", [Refused("400"), Throttled("banned", 3_600_000)])
def test_a_refusal_or_a_long_ban_flags_the_gap_and_trades_flow_on(error):
    async def go():
        desk = venue(*range(10))
        desk.fails = [error]
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0, 4, 5)
            await asyncio.sleep(5)
            assert flow.ids() == [0, 4, 5]
            assert flow.gaps() == [(1, 3, None)]

    virtual.run(go())


def test_a_suspicion_that_cannot_be_checked_is_no_gap():
    async def go():
        desk = venue(*range(10))
        desk.fails = [Refused("400")]
        async with Flow(desk, contiguous(last=trade(3))).running() as flow:
            await asyncio.sleep(5)
            assert flow.gaps() == []
            flow.live(4)
            assert flow.ids() == [4]

    virtual.run(go())


def test_what_the_venue_lacks_of_a_hole_stays_open_beside_what_it_gave():
    async def go():
        desk = venue(0, 3, 4, 9)
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0, 5)
            await asyncio.sleep(5)
            assert flow.ids() == [0, 3, 4, 5]
            assert flow.gaps() == [(1, 2, None), (3, 4, "rest")]

    virtual.run(go())


def test_a_start_that_cannot_be_found_begins_with_the_first_live_trade():
    async def go():
        desk = venue()
        desk.fails = [Refused("400")]
        async with Flow(desk, contiguous(waits_for_start=True), start_ns=START).running() as flow:
            flow.live(8, 9)
            await asyncio.sleep(2)
            assert flow.ids() == [8, 9]

    virtual.run(go())


HUGE = 9 * 10**18


def test_an_absurd_id_stops_nothing_and_asks_the_venue_once():
    async def go():
        desk = venue(*range(30))
        async with Flow(desk, contiguous()).running() as flow:
            for number in range(30):
                flow.live(number)
                if number in (5, 6, 7):
                    flow.live(HUGE + number, at_ns=START + number * 10**9)
                await asyncio.sleep(0.02)
            await asyncio.sleep(5)
            assert flow.ids() == list(range(30))
            assert flow.gaps() == []
            assert flow.notes.counts["trades_disbelieved"] == 1
            assert len(desk.calls) == 1  # for the newest id
            (noted,) = [fields for _, name, fields in flow.notes.notes if name == "trade_disbelieved"]
            assert (noted["trade_id"], noted["newest_id"]) == (str(HUGE + 5), 29)

    virtual.run(go())


def test_a_stream_that_talks_nonsense_for_an_hour_makes_us_ask_seldom():
    async def go():
        desk = venue(0)
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0)
            for _ in range(3_600):
                flow.live(HUGE, at_ns=START)
                await asyncio.sleep(1)
            assert 50 <= len(desk.calls) <= 130

    virtual.run(go())


def test_a_first_trade_with_an_absurd_id_is_corrected_by_those_that_follow():
    async def go():
        desk = venue(*range(100, 110))
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(HUGE, at_ns=START)
            for number in range(100, 110):
                flow.live(number)
                await asyncio.sleep(0.05)
            await asyncio.sleep(5)
            assert flow.ids() == [HUGE, *range(100, 110)]

    virtual.run(go())


def test_an_answer_of_a_time_that_has_not_come_is_used_for_nothing():
    async def go():
        desk = venue(0)
        desk.trades += [trade(1, START + 10**19), trade(2)]
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0, 3)
            await asyncio.sleep(60)
            assert flow.ids() == [0, 3]
            assert flow.gaps() == [(1, 2, None)]

    virtual.run(go())


def test_a_jump_that_the_venue_confirms_is_flagged_and_followed():
    async def go():
        desk = venue(0, 10**9, 10**9 + 1)
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0)
            flow.live(10**9, at_ns=START)
            await asyncio.sleep(2)
            flow.live(10**9 + 1, at_ns=START)
            assert flow.ids() == [0, 10**9, 10**9 + 1]
            assert flow.gaps() == [(1, 10**9 - 1, None)]

    virtual.run(go())


@pytest.mark.parametrize("continues", [True, False])
def test_a_wrong_id_that_could_be_is_dropped_since_the_venue_does_not_have_it(continues):
    """A single trade shows a hole; the stream goes on below it, or the venue's newest is below it."""

    async def go():
        desk = venue(*range(3))
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0, 1)
            flow.live(50_000, at_ns=START)
            for number in range(2, 60) if continues else ():
                desk.trades.append(trade(number))
                flow.live(number)
                await asyncio.sleep(0.1)
            await asyncio.sleep(20)
            flow.live(*range(3, 5)) if not continues else None
            assert flow.ids() == list(range(60 if continues else 5))
            assert [gap for gap in flow.gaps() if gap[2] is None] == []
            assert flow.notes.counts["trades_disbelieved"] == 1
            assert len(desk.calls) < 60

    virtual.run(go())


def test_a_wrong_id_is_dropped_by_the_stream_alone_where_the_venue_does_not_answer():
    async def go():
        desk = venue()
        desk.fails = [Throttled("503", 5_000)] * 50
        async with Flow(desk, contiguous()).running() as flow:
            flow.live(0)
            flow.live(50_000, at_ns=START)
            for number in range(1, 300):
                flow.live(number)
                await asyncio.sleep(0.2)
            assert flow.ids() == list(range(300))
            assert not any(first is not None for first, _, _ in flow.gaps())

    virtual.run(go())


def klines(*minutes: int) -> ListConnector:
    return ListConnector(now_ns=START, klines=[kline(m) for m in minutes])


def test_closing_frames_may_come_in_any_order():
    async def go():
        desk = klines()
        async with Flow(desk, done_ns=START).running() as flow:
            for event in (kline(1, final=False), kline(1), kline(2, final=False), kline(0), kline(0, final=False), kline(1, final=False)):
                flow.flow.on_kline(event)
            await asyncio.sleep(5)
            assert flow.finals() == [1, 0]
            assert flow.gaps() == []
            assert not flow.flow.is_broken
            assert [e.final for e in flow.out] == [False, True, False, True]  # forming news of closed klines went nowhere

    virtual.run(go())


def test_finals_missing_between_others_are_fetched_and_what_is_known_is_not_repeated():
    async def go():
        async with Flow(klines(0, 1, 2, 3), done_ns=START).running() as flow:
            flow.flow.on_kline(kline(2))
            flow.flow.on_kline(kline(4, final=False))
            await asyncio.sleep(10)
            assert flow.finals() == [2, 0, 1, 3]

    virtual.run(go())


def test_a_kline_that_the_venue_lacks_is_flagged_and_known_ones_are_kept():
    async def go():
        async with Flow(klines(0, 3), done_ns=START).running() as flow:
            flow.flow.on_kline(kline(2))
            await asyncio.sleep(10)
            flow.flow.on_kline(kline(4))
            await asyncio.sleep(60)
            assert flow.finals() == [2, 0, 3, 4]
            assert flow.holes() == [(0, 1, "rest"), (1, 2, None)]

    virtual.run(go())


def test_a_hole_is_told_before_it_is_filled_and_closed_when_it_is():
    async def go():
        desk = klines(0, 1, 2)
        desk.fails = [Throttled("503", 30_000), Throttled("503", 30_000)]
        desk_flow = Flow(desk, done_ns=START)
        desk_flow.flow._options = IngestOptions(patience_s=60.0)
        async with desk_flow.running() as flow:
            flow.flow.on_kline(kline(2))
            await asyncio.sleep(5)
            assert flow.holes() == [(0, 2, None)]
            await asyncio.sleep(60)
            assert flow.holes() == [(0, 2, "rest")]
            assert flow.finals() == [2, 0, 1]

    virtual.run(go())


def test_a_second_hole_is_told_while_the_venue_is_still_asked_for_the_first():
    async def go():
        desk = klines()
        desk.fails = [Throttled("503", 15_000)] * 9
        async with Flow(desk, done_ns=START).running() as flow:
            flow.flow.on_kline(kline(1))
            await asyncio.sleep(5)
            flow.flow.on_kline(kline(3))
            assert flow.holes() == [(0, 1, None), (2, 3, None)]

    virtual.run(go())


def test_a_hole_that_the_stream_closes_late_is_said_to_be_closed_by_it():
    async def go():
        async with Flow(klines(), done_ns=START).running() as flow:
            flow.flow.on_kline(kline(1))
            await asyncio.sleep(3)
            flow.flow.on_kline(kline(0))
            assert flow.holes() == [(0, 1, "stream")]

    virtual.run(go())


def test_a_hole_that_is_filled_in_part_says_which_part_is_lost():
    async def go():
        async with Flow(klines(0, 1, 4), done_ns=START).running() as flow:
            flow.flow.on_kline(kline(6))
            await asyncio.sleep(60)
            assert flow.holes() == [(0, 2, "rest"), (2, 4, None), (5, 6, None)]
            assert flow.finals() == [6, 0, 1, 4]

    virtual.run(go())


@pytest.mark.parametrize("final", [True, False])
def test_a_jump_of_millions_of_klines_is_one_range_and_takes_no_time(final):
    async def go():
        async with Flow(klines(0), done_ns=START).running() as flow:
            flow.flow.on_kline(kline(1_600_000_000, final=final))  # the year 5066
            await asyncio.sleep(60)
            assert flow.holes() == [(0, 1_600_000_000, None)]
            flow.flow.on_kline(kline(1_600_000_000))
            flow.flow.on_kline(kline(1_600_000_001))
            assert flow.finals()[-2:] == [1_600_000_000, 1_600_000_001]

    virtual.run(go())


def test_what_is_stored_beyond_a_hole_is_not_told_again():
    async def go():
        async with Flow(klines(0, 1, 2, 3), done_ns=START, known=[START + m * NS_PER_MINUTE for m in (1, 3)]).running() as flow:
            flow.flow.on_connected()
            await asyncio.sleep(10)
            assert flow.finals() == [0, 2]
            assert not flow.flow.is_broken

    virtual.run(go())


def test_a_corrected_final_kline_goes_on():
    async def go():
        async with Flow(klines(), done_ns=START).running() as flow:
            flow.flow.on_kline(kline(0))
            flow.flow.on_kline(kline(0, close=1.7))
            assert [k.close for k in flow.out] == [1.5, 1.7]

    virtual.run(go())


def test_funding_is_polled_patiently_and_each_settlement_told_once():
    async def go():
        desk, feed, notes = ListConnector(now_ns=START), MemoryFeed(), Notes()
        reader = feed.subscribe("r", bound=100, when_full="fail")
        desk.funding = [Funding(BTC, START, 0.1)]
        desk.fails = [Unreachable("down"), Throttled("429", 30_000)]
        task = asyncio.create_task(FundingPoll(desk, BTC, feed, VirtualClock(), notes, 10.0).run())  # type: ignore[arg-type]
        await asyncio.sleep(65)
        desk.funding.append(Funding(BTC, START + 1, 0.2))
        await asyncio.sleep(20)
        assert [f.rate for f in await reader.receive()] == [0.1, 0.2]
        desk.fails = [Refused("no such symbol")]
        await asyncio.sleep(20)
        assert task.done()
        assert [name for _, name, _ in notes.notes] == ["funding_not_polled", "no_funding"]

    virtual.run(go())


def test_trades_that_wait_at_the_end_go_on_with_the_hole_before_them_flagged():
    async def go():
        async with Flow(venue(0), contiguous()).running() as flow:
            flow.live(0, 5, 6, 9)
            assert (flow.flow.is_busy, flow.ids()) == (True, [0])
        flow.flow.release("ended")
        assert flow.ids() == [0, 5, 6, 9]
        assert flow.gaps() == [(1, 4, None), (7, 8, None)]
        flow.flow.release("ended")
        assert len(flow.out) == 6

    virtual.run(go())


def test_trades_that_wait_for_the_start_at_the_end_go_on_too():
    flow = Flow(venue(*range(10)), contiguous(waits_for_start=True), start_ns=START)
    flow.live(5, 6, 8)
    flow.flow.release("ended")
    assert flow.ids() == [5, 6, 8]
    assert flow.gaps() == [(None, 4, None), (7, 7, None)]
    first = next(e for e in flow.out if isinstance(e, Gap))
    assert (first.start_ns, first.end_ns, first.reason) == (START, trade(5).event_ns, "ended")


def test_a_flow_is_busy_until_the_venue_has_answered():
    async def go():
        async with Flow(venue(*range(20)), contiguous(last=trade(10))).running() as flow:
            assert (flow.flow.is_busy, flow.ids()) == (True, [])
            await asyncio.sleep(20)
            assert (flow.flow.is_busy, flow.ids()) == (False, list(range(11, 20)))
            flow.flow.on_connected()
            assert flow.flow.is_busy
            await asyncio.sleep(20)
            assert (flow.flow.is_busy, flow.ids()) == (False, list(range(11, 20)))

    virtual.run(go())


def test_a_first_trade_from_long_before_is_taken_as_the_venue_has_it():
    """Its time in the stream was wrong; those after it wait for the answer."""

    async def go():
        venue = ListConnector(now_ns=START + NS_PER_MINUTE, trades=[trade(n) for n in range(1, 9)])
        async with Flow(venue, DenseTrades(BTC, "trade", since_ns=START)).running() as held:
            held.live(5, at_ns=START - 3_601 * NS_PER_S)
            assert held.ids() == []
            held.live(6, 7)
            await asyncio.sleep(1)
            assert held.ids() == [5, 6, 7]
            assert [e.event_ns for e in held.out if isinstance(e, Trade)] == [trade(n).event_ns for n in (5, 6, 7)]
            held.live(8)
            assert held.ids() == [5, 6, 7, 8]

    virtual.run(go())


def test_a_first_trade_from_long_before_is_dropped_where_the_venue_has_none():
    async def go():
        venue = ListConnector(now_ns=START + NS_PER_MINUTE, trades=[trade(n) for n in (1, 2, 10)])
        async with Flow(venue, DenseTrades(BTC, "trade", since_ns=START)).running() as held:
            held.live(9, at_ns=0)
            held.live(10)
            await asyncio.sleep(60)
            assert held.ids() == [10]
            assert held.gaps() == [(9, 9, None)]

    virtual.run(go())


def test_the_trades_of_a_silent_market_are_its_own_however_old():
    async def go():
        venue = ListConnector(now_ns=START + 86_400 * NS_PER_S, trades=[trade(n) for n in range(1, 9)])
        async with Flow(venue, DenseTrades(BTC, "trade", since_ns=START + 86_400 * NS_PER_S)).running() as held:
            held.live(*range(3, 9))
            await asyncio.sleep(1)
            assert held.ids() == [3, 4, 5, 6, 7, 8]
            held.live(9, at_ns=START + 86_401 * NS_PER_S)
            assert held.ids() == [3, 4, 5, 6, 7, 8, 9]

    virtual.run(go())
