"""Silence: what a stream's habit allows, and what no habit excuses."""

from __future__ import annotations

import random

import pytest

from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.watchdog import Habit, Watchdog

BTC, ETH = ("btc", "trade", None), ("eth", "trade", None)


def busy(dog: Watchdog, keys, until_ms: int, every_ms: int = 50, from_ms: int = 0) -> None:
    for at_ms in range(from_ms, until_ms + 1, every_ms):
        dog.arrived(keys, at_ms * NS_PER_MS)


def silence_until_alarm(dog: Watchdog, from_ms: int, most_s: int = 200) -> float:
    for step in range(most_s * 5):
        now_ns = from_ms * NS_PER_MS + step * 200 * NS_PER_MS
        if dog.mute(now_ns):
            return step / 5
    return float("inf")


def test_a_liquid_connection_that_falls_silent_is_found_within_five_seconds():
    dog = Watchdog([BTC], 0)
    busy(dog, [BTC], 10_000)
    assert 4.5 <= silence_until_alarm(dog, 10_000) <= 5.0


def test_a_connection_that_never_spoke_is_found_after_the_first_wait():
    assert silence_until_alarm(Watchdog([BTC], 0), 0) == pytest.approx(10.2, abs=0.21)


def test_a_reconnected_liquid_connection_that_never_speaks_is_found_soon():
    dog = Watchdog([BTC], 0)
    busy(dog, [BTC], 10_000)
    dog.connected(20_000 * NS_PER_MS)
    assert silence_until_alarm(dog, 20_000) <= 5.0


def test_one_mute_symbol_of_many_is_found_within_thirty_seconds():
    dog = Watchdog([BTC, ETH], 0)
    busy(dog, [BTC, ETH], 60_000, every_ms=200)
    for at_ms in range(60_000, 100_000, 200):
        dog.arrived([BTC], at_ms * NS_PER_MS)
        reason = dog.mute(at_ms * NS_PER_MS)
        if reason:
            assert "eth" in reason
            assert at_ms - 60_000 <= 30_000
            return
    pytest.fail("the mute symbol was not found")


def test_a_symbol_that_trades_once_a_minute_is_left_alone():
    dog = Watchdog([BTC, ETH], 0)
    for minute in range(100):
        dog.arrived([ETH], minute * 60 * NS_PER_S)
        busy(dog, [BTC], minute * 60_000 + 59_000, every_ms=500, from_ms=minute * 60_000)
        assert dog.mute((minute * 60 + 59) * NS_PER_S) is None


def test_an_alarm_that_a_reconnect_does_not_cure_makes_patient():
    dog = Watchdog([BTC], 0)
    busy(dog, [BTC], 10_000)
    first = silence_until_alarm(dog, 10_000)
    dog.connected(20_000 * NS_PER_MS)
    second = silence_until_alarm(dog, 20_000)
    assert second == pytest.approx(2 * first, abs=0.5)
    dog.arrived([BTC], 40_000 * NS_PER_MS)
    assert silence_until_alarm(dog, 40_000) == pytest.approx(first, abs=0.3)


def test_a_habit_is_five_times_the_999th_thousandth():
    habit = Habit(0)
    at_ns = 0
    for number in range(2000):
        at_ns += (1000 if number % 100 == 0 else 100) * NS_PER_MS  # one in a hundred takes a second
        habit.arrived(at_ns)
    assert 5 * NS_PER_S <= habit.usual_ns() <= 5 * 1.2 * NS_PER_S


def test_a_habit_can_change_and_stays_bounded():
    habit = Habit(0)
    at_ns = 0
    for _ in range(20_000):
        at_ns += 2 * NS_PER_S
        habit.arrived(at_ns)
    for _ in range(150_000):
        at_ns += 10 * NS_PER_MS
        habit.arrived(at_ns)
    assert habit.usual_ns() < NS_PER_S


def test_a_habit_beyond_all_buckets_is_still_a_number():
    habit = Habit(0)
    habit.arrived(0)
    habit.arrived(10**17)
    assert habit.usual_ns() > 0
    assert Habit(0).usual_ns() > 0


def test_waits_grow_from_first_to_most_with_jitter_below_one_half():
    backoff = Backoff(random.Random(1), first_s=1.0, most_s=8.0)
    for whole in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert whole / 2 <= backoff.next_s() <= whole


def test_the_same_seed_waits_the_same():
    first, second = (Backoff(random.Random(7)) for _ in range(2))
    assert [first.next_s() for _ in range(5)] == [second.next_s() for _ in range(5)]


def test_stable_work_begins_the_waits_anew_and_short_work_keeps_them_short():
    backoff = Backoff(random.Random(1), first_s=1.0, most_s=64.0, stable_s=10)
    for _ in range(6):
        backoff.next_s()
    backoff.worked(2 * NS_PER_S)
    assert backoff.next_s() <= 4.0
    backoff.worked(10 * NS_PER_S)
    assert backoff.next_s() <= 1.0


def test_frames_of_which_no_data_could_be_made_are_no_silence_and_teach_nothing():
    dog = Watchdog([BTC, ETH], 0)
    busy(dog, [BTC, ETH], 60_000, every_ms=200)
    for at_ms in range(60_000, 160_000, 200):
        dog.arrived([BTC], at_ms * NS_PER_MS)
        dog.stirred([ETH], at_ms * NS_PER_MS)
        assert dog.mute(at_ms * NS_PER_MS) is None
    assert silence_until_alarm(dog, 160_000) <= 5.0
