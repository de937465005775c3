"""The rate budget: windows fixed and sliding, shares by priority, and what the venue says."""

from __future__ import annotations

import random

import msgspec
import pytest

from zvt_crypto.domain.errors import Banned, Throttled
from zvt_crypto.engine.limits import ALONE_SHARE, BAN_MS, GUARD_MS, LEARNED_MS, Limits
from zvt_crypto.venues.budget import LimitBudget

MINUTE_NS = 60_000_000_000
AT_30_S = 28_000_000 * MINUTE_NS + 30_000_000_000


@pytest.fixture
def clock(kit):
    return kit.ManualClock(AT_30_S)


@pytest.fixture
def budget(kit, clock):
    made = LimitBudget(clock, kit.ListObserver())
    made.set_limit("b", 100, 60_000)
    return made


async def test_waits_for_the_next_full_minute_not_for_sixty_seconds(budget, clock):
    await budget.acquire("b", 90, "backfill")
    await budget.acquire("b", 10, "backfill")
    assert clock.slept == [30 + GUARD_MS / 1000]
    assert budget.used("b") == 10


async def test_backfill_leaves_a_share_that_live_orders_and_cancels_can_use(budget, clock):
    await budget.acquire("b", 90, "backfill")
    await budget.acquire("b", 5, "live")
    await budget.acquire("b", 3, "order")
    await budget.acquire("b", 2, "cancel")
    assert (clock.slept, budget.used("b")) == ([], 100)
    with pytest.raises(Throttled):
        await budget.acquire("b", 1, "cancel")


async def test_an_order_is_told_at_once_that_it_would_wait_too_long(budget, clock):
    await budget.acquire("b", 98, "order")
    with pytest.raises(Throttled, match="b is closed for 30050 ms") as error:
        await budget.acquire("b", 1, "order")
    assert error.value.wait_ms == 30_000 + GUARD_MS
    assert clock.slept == []


async def test_a_higher_count_of_the_venue_is_believed_at_once(budget, clock):
    await budget.acquire("b", 1, "live")
    budget.believe("b", 95)
    await budget.acquire("b", 1, "live")
    assert len(clock.slept) == 1


async def test_a_lower_count_is_believed_when_nothing_is_on_its_way(budget, clock):
    await budget.acquire("b", 50, "live")
    budget.believe("b", 10)
    assert budget.used("b") == 50
    clock.ns += 2_000_000_000
    budget.believe("b", 10)
    assert budget.used("b") == 10


async def test_nothing_goes_out_during_a_penalty(budget, clock):
    budget.penalise("b", 5_000)
    await budget.acquire("b", 1, "live")
    assert clock.slept == [5.0]
    budget.penalise("b", 600_000)
    with pytest.raises(Banned) as error:
        await budget.acquire("b", 1, "live")
    assert error.value.wait_ms == 600_000


async def test_a_shorter_penalty_does_not_end_a_longer_one(budget):
    budget.penalise("b", 600_000)
    budget.penalise("b", 1)
    with pytest.raises(Banned):
        await budget.acquire("b", 1, "backfill")


async def test_a_limit_changes_at_run_time_and_keeps_what_was_used(budget, clock):
    await budget.acquire("b", 40, "live")
    budget.set_limit("b", 50, 60_000)
    await budget.acquire("b", 20, "live")
    assert len(clock.slept) == 1
    budget.set_limit("b", 1000, 60_000)
    await budget.acquire("b", 800, "live")
    assert len(clock.slept) == 1


async def test_one_call_heavier_than_the_limit_does_not_hang(budget, clock):
    await budget.acquire("b", 250, "live")
    assert clock.slept == []


async def test_an_unknown_bucket_is_unlimited_until_it_is_stated_or_penalised(kit, clock):
    budget = LimitBudget(clock, kit.ListObserver())
    budget.believe("x", 10**6)
    await budget.acquire("x", 10**6, "backfill")
    assert budget.used("x") == 0
    budget.penalise("x", 1_000)
    await budget.acquire("x", 1, "live")
    assert clock.slept == [1.0]


async def test_a_day_of_backfill_uses_nine_tenths_and_never_more(budget, clock):
    start, spent, window_used = clock.ns, 0, {}
    while clock.ns < start + 60 * MINUTE_NS:
        await budget.acquire("b", 5, "backfill")
        spent += 5
        window_used[clock.ns // MINUTE_NS] = window_used.get(clock.ns // MINUTE_NS, 0) + 5
    assert max(window_used.values()) == 90
    assert spent >= 60 * 90


def test_a_limit_lowered_without_a_word_is_learned_from_the_refusal_and_tried_again_later():
    limits = Limits()
    limits.state("b", 1_000, 60_000)
    limits.spend("b", 500, 1_000)
    limits.refused("b", 5_000, 1_000)  # at half of what was stated
    assert limits.wait_ms("b", 1, "live", 2_000) == 4_000
    limits.spend("b", 440, 61_000)
    assert limits.wait_ms("b", 11, "backfill", 61_000) > 0, "450 is the share of 500"
    assert limits.wait_ms("b", 10, "backfill", 61_000) == 0
    later_ms = 61_000 + 600_000
    limits.spend("b", 1, later_ms)
    assert limits.buckets["b"].limit == 600
    limits.state("b", 1_000, 60_000)
    assert limits.buckets["b"].limit == 600, "the same word again teaches nothing"
    limits.state("b", 800, 60_000)
    assert limits.buckets["b"].limit == 800


def test_a_refusal_of_something_else_teaches_nothing_about_the_limit():
    limits = Limits()
    limits.state("b", 1_000, 60_000)
    limits.spend("b", 3, 1_000)
    limits.refused("b", 5_000, 1_000)
    assert limits.buckets["b"].limit == 1_000


class LostTable:
    """A LimitTable of others: emptied by them at any time."""

    def __init__(self) -> None:
        self.limits = Limits()

    def change(self, apply):
        return apply(self.limits)


async def test_a_shared_table_that_was_lost_is_told_the_limits_again(kit, clock):
    table = LostTable()
    budget = LimitBudget(clock, kit.ListObserver(), table)
    budget.set_limit("b", 100, 60_000)
    budget.set_limit("s", 100, 60_000, slides=True)
    table.limits = Limits()
    for bucket in ("b", "s"):
        await budget.acquire(bucket, 98, "order")
        with pytest.raises(Throttled):
            await budget.acquire(bucket, 1, "order")
    table.limits = Limits()
    budget.penalise("b", 600_000)  # known by its closing alone
    with pytest.raises(Banned):
        await budget.acquire("b", 1, "live")
    assert table.limits.buckets["b"].limit == 100


async def test_who_cannot_count_together_with_others_takes_a_part(kit, clock):
    table = LostTable()
    table.limits.share = ALONE_SHARE
    budget = LimitBudget(clock, kit.ListObserver(), table)
    budget.set_limit("b", 100, 60_000)
    await budget.acquire("b", 25, "cancel")
    with pytest.raises(Throttled):
        await budget.acquire("b", 1, "cancel")


# ── Windows that slide ──


def sliding(limit: int = 20, window_ms: int = 2_000) -> Limits:
    limits = Limits()
    limits.state("b", limit, window_ms, slides=True)
    return limits


def spent_at(limits: Limits, now_ms: int, times: int = 1) -> None:
    for _ in range(times):
        assert limits.wait_ms("b", 1, "cancel", now_ms) == 0
        limits.spend("b", 1, now_ms)


@pytest.mark.parametrize(("limit", "window_ms"), [(20, 2_000), (600, 5_000), (10, 1_000)])
@pytest.mark.parametrize("seed", range(3))
def test_no_stretch_of_a_sliding_window_holds_more_than_the_limit_wherever_it_begins(limit, window_ms, seed):
    limits, rng = sliding(limit, window_ms), random.Random(seed)
    now_ms, sent = 1_000_000, []
    while now_ms < 1_000_000 + 20 * window_ms:
        wait_ms = limits.wait_ms("b", 1, "cancel", now_ms)
        if wait_ms == 0:
            limits.spend("b", 1, now_ms)
            sent.append(now_ms)
        now_ms += wait_ms or rng.choice([0, 0, 0, 1, rng.randrange(window_ms // 4)])
    late_ms = window_ms // 50  # a request may travel so much longer than another
    assert max(sum(1 for at in sent if begin <= at < begin + window_ms + late_ms) for begin in sent) <= limit


def test_a_sliding_window_gives_nine_tenths_and_more_to_who_always_wants():
    limits = sliding()
    now_ms, sent = 1_000_000, 0
    while now_ms < 1_000_000 + 600_000:
        wait_ms = limits.wait_ms("b", 1, "live", now_ms)
        if wait_ms == 0:
            limits.spend("b", 1, now_ms)
            sent += 1
        now_ms += wait_ms
    assert sent >= 0.9 * 20 * 300


def test_a_sliding_window_waits_for_what_must_leave_and_no_longer():
    limits = sliding()
    spent_at(limits, 10_000, 10)
    spent_at(limits, 11_000, 10)
    # The first ten are counted for the window and two of its fifty parts.
    assert limits.wait_ms("b", 1, "cancel", 11_000) == 10_000 + 2_080 - 11_000
    assert limits.wait_ms("b", 11, "cancel", 11_000) == 11_000 + 2_080 - 11_000
    spent_at(limits, 12_080, 10)
    assert limits.used("b", 12_080) == 20


def test_a_higher_count_of_the_venue_leaves_a_sliding_window_too_and_a_lower_one_ends_it():
    limits = sliding()
    spent_at(limits, 10_000, 3)
    limits.believe("b", 19, 10_200)
    assert limits.wait_ms("b", 2, "cancel", 10_200) > 0
    assert [limits.used("b", at) for at in (10_200, 12_100, 12_200)] == [19, 16, 0]
    spent_at(limits, 20_000, 3)
    limits.believe("b", 19, 20_200)
    limits.believe("b", 1, 20_500)
    assert [limits.used("b", at) for at in (20_500, 21_900, 22_100)] == [3, 3, 0], "what is ours is known better"


def test_a_clock_that_went_back_does_not_close_a_sliding_window():
    limits = sliding()
    spent_at(limits, 100_000, 20)
    spent_at(limits, 50_000, 20)
    assert limits.wait_ms("b", 1, "cancel", 49_990) > 0, "a little back is the same window"
    assert limits.wait_ms("b", 1, "cancel", 52_100) == 0


def test_a_table_with_sliding_windows_is_read_back_as_it_was():
    limits = sliding()
    spent_at(limits, 10_000, 5)
    again = msgspec.json.decode(msgspec.json.encode(limits), type=Limits)
    assert again == limits


def test_each_try_for_more_that_is_refused_makes_the_next_wait_twice_as_long():
    limits = sliding()
    now_ms, waits = 10_000, []
    for _ in range(4):
        limits.spend("b", 12, now_ms)  # the twelfth is one too many
        limits.refused("b", 100, now_ms)
        learned_ms, limit = now_ms, limits.buckets["b"].limit
        assert limit == 11
        while limits.buckets["b"].limit == limit:
            now_ms += 60_000
            limits.used("b", now_ms)
        waits.append((now_ms - learned_ms) // LEARNED_MS)
    assert waits == [1, 2, 4, 8]


def test_after_a_ban_half_is_kept_to_for_a_day():
    limits = sliding(600, 5_000)
    limits.spend("b", 570, 10_000)
    for _ in range(3):  # all were on their way
        limits.refused("b", BAN_MS, 10_000)
    assert limits.buckets["b"].limit == 300
    limits.used("b", 10_000 + 23 * 3_600_000)
    assert limits.buckets["b"].limit == 300
    limits.used("b", 10_000 + 25 * 3_600_000)
    assert limits.buckets["b"].limit == 360


def test_several_refusals_at_once_teach_what_was_served():
    limits = sliding()
    limits.spend("b", 14, 10_000)  # four of them too many
    for _ in range(4):
        limits.refused("b", 100, 10_010)
    assert limits.buckets["b"].limit == 10


def test_one_refusal_of_a_full_window_teaches_nothing_and_a_second_soon_after_does():
    limits = sliding(40)
    limits.spend("b", 38, 100_000)
    limits.refused("b", 100, 100_000)
    limits.refused("b", 100, 100_020)  # of the same moment
    assert limits.buckets["b"].limit == 40, "a request that was late met those after it"
    limits.spend("b", 38, 130_000)
    limits.refused("b", 100, 130_000)
    assert limits.buckets["b"].limit == 40, "half a minute later that happened once more"
    limits.spend("b", 38, 135_000)
    limits.refused("b", 100, 135_000)
    assert limits.buckets["b"].limit == 37, "five seconds later it is the limit that is lower"


def test_what_the_venue_counts_beyond_ours_teaches_nothing_about_the_limit():
    limits = sliding()
    limits.spend("b", 6, 10_000)
    limits.believe("b", 20, 10_010)
    limits.refused("b", 100, 10_020)
    assert limits.buckets["b"].limit == 5
    assert limits.wait_ms("b", 1, "live", 10_200) > 0
