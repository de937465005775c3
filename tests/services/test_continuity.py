"""Runs of trade ids: nothing twice, nothing out of order, and no hole unspoken."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.market import Trade
from zvt_crypto.services.continuity import DenseTrades

BTC = "cryptopair_binance_btcusdt"


def trade(number: int) -> Trade:
    return Trade(BTC, "trade", str(number), 1.0, 1.0, "buy", number * 1000)


def ids(trades: list[Trade]) -> list[int]:
    return [int(t.trade_id) for t in trades]


def run(**named: object) -> DenseTrades:
    return DenseTrades(BTC, "trade", **named)  # type: ignore[arg-type]


def feed(continuity: DenseTrades, *numbers: int) -> list[int]:
    return ids([t for n in numbers for t in continuity.on_live(trade(n))])


def test_the_first_trade_begins_the_run():
    assert feed(run(), 7, 8, 9) == [7, 8, 9]


def test_a_repeated_trade_goes_no_further():
    continuity = run()
    assert feed(continuity, 7, 8, 8, 7, 9) == [7, 8, 9]
    assert continuity.repeated == 2


def test_a_jump_is_held_until_the_hole_is_filled():
    continuity = run()
    assert feed(continuity, 1, 2, 6, 7) == [1, 2]
    assert continuity.wanted == (3, 5)
    released, lost = continuity.on_fetched([trade(3), trade(4), trade(5)])
    assert (ids(released), lost) == ([3, 4, 5, 6, 7], [])
    assert continuity.wanted is None


def test_two_frames_that_overtook_one_another_need_no_fetch():
    continuity = run()
    assert feed(continuity, 1, 3, 2, 4) == [1, 2, 3, 4]
    assert not continuity.is_broken


def test_the_first_of_several_holes_is_asked_for():
    continuity = run()
    feed(continuity, 1, 4, 8)
    assert continuity.wanted == (2, 3)
    continuity.on_fetched([trade(2), trade(3)])
    assert continuity.wanted == (5, 7)


def test_a_partial_answer_goes_on_where_it_ended():
    continuity = run()
    feed(continuity, 1, 10)
    assert ids(continuity.on_fetched([trade(2), trade(3)])[0]) == [2, 3]
    assert continuity.wanted == (4, 9)


def test_ids_inside_an_answer_that_the_venue_has_not_are_lost():
    continuity = run()
    feed(continuity, 1, 6)
    released, lost = continuity.on_fetched([trade(2), trade(5)])
    assert (ids(released), lost) == ([2, 5, 6], [(3, 4)])


def test_what_is_held_is_not_called_lost_because_an_answer_lacks_it():
    continuity = run()
    feed(continuity, 1, 3, 6)
    released, lost = continuity.on_fetched([trade(2), trade(5)])
    assert (ids(released), lost) == ([2, 3, 5, 6], [(4, 4)])


def test_giving_up_lets_the_held_ones_go_and_names_the_hole():
    continuity = run()
    feed(continuity, 1, 5, 6)
    released, lost = continuity.give_up(4)
    assert (ids(released), lost) == ([5, 6], [(2, 4)])
    assert not continuity.is_broken


def test_a_start_from_the_store_asks_for_everything_since():
    continuity = run(last=trade(10))
    assert continuity.wanted == (11, None)
    assert ids(continuity.on_fetched([trade(11), trade(12)])[0]) == [11, 12]
    assert continuity.caught_up() == []
    assert continuity.wanted is None


def test_a_live_trade_that_continues_ends_the_suspicion():
    continuity = run(last=trade(10))
    assert feed(continuity, 11) == [11]
    assert continuity.wanted is None


def test_after_a_lost_connection_everything_since_is_asked_for():
    continuity = run()
    feed(continuity, 1, 2)
    continuity.suspect()
    assert continuity.wanted == (3, None)
    feed(continuity, 9)
    assert continuity.wanted == (3, 8)


def test_suspecting_before_the_first_trade_asks_for_nothing():
    continuity = run()
    continuity.suspect()
    assert continuity.wanted is None


def test_held_trades_are_bounded_and_those_let_go_are_asked_for_again():
    continuity = run(most_held=2)
    assert feed(continuity, 1, 4, 5, 6, 7) == [1]
    assert continuity.held == 2
    assert ids(continuity.on_fetched([trade(2), trade(3)])[0]) == [2, 3, 4, 5]
    assert continuity.wanted == (6, 7)


def test_everything_waits_for_a_start_that_is_looked_for():
    continuity = run(waits_for_start=True)
    assert feed(continuity, 50, 51) == []
    assert continuity.start_at(48) == []
    assert continuity.wanted == (48, 49)
    assert ids(continuity.on_fetched([trade(48), trade(49)])[0]) == [48, 49, 50, 51]


def test_without_a_start_the_held_ones_begin_the_run():
    continuity = run(waits_for_start=True)
    feed(continuity, 50, 51)
    assert ids(continuity.start_at(None)) == [50, 51]


def test_a_gap_lies_between_the_trades_around_it():
    gap = run().gap((3, 5), trade(2), trade(6), "why", None)
    assert (gap.start_ns, gap.end_ns, gap.first_id, gap.last_id, gap.filled_from) == (2000, 6000, 3, 5, None)
    assert run().gap(None, None, None, "why", None).start_ns == 0


@given(st.permutations(range(1, 15)), st.lists(st.integers(0, 13), max_size=10), st.integers(1, 20))
def test_any_order_with_any_repeats_comes_out_once_and_in_order(order, repeats, most_held):
    continuity = run(last=trade(0), most_held=most_held)
    stream = list(order)
    for place in repeats:
        stream.insert(place, order[place])
    out = feed(continuity, *stream)
    while (wanted := continuity.wanted) is not None:
        first, last = wanted
        rows = [trade(n) for n in range(first, min(15, (last or 14) + 1))]
        out += ids(continuity.on_fetched(rows)[0])
        if last is None:
            out += ids(continuity.caught_up())
    assert out == list(range(1, 15))


HUGE = 9 * 10**18


def test_an_id_that_cannot_be_is_doubted_and_the_run_goes_on():
    continuity = run()
    assert feed(continuity, 1, 2, HUGE, 3, HUGE + 1, 4) == [1, 2, 3, 4]
    assert (continuity.doubted, continuity.held, continuity.wanted) == (trade(HUGE), 0, None)
    assert continuity.judge(4) is None
    assert continuity.doubted is None
    assert feed(continuity, 5) == [5]


def test_an_id_that_the_venue_confirms_is_believed_and_what_lies_before_it_given_up():
    continuity = run()
    feed(continuity, 1, 2, 10**9)
    assert continuity.judge(10**9 + 3) == ([trade(10**9)], [(3, 10**9 - 1)])
    assert feed(continuity, 10**9 + 1) == [10**9 + 1]


def test_what_was_given_up_and_comes_all_the_same_is_let_through():
    continuity = run()
    feed(continuity, 1, 50)
    continuity.give_up(49)
    assert feed(continuity, 2, 3, 51, 50) == [2, 3, 51]
    assert continuity.repeated == 1


@pytest.mark.parametrize(("silent_s", "is_doubted"), [(0, True), (3_600, False)])
def test_a_jump_is_judged_by_how_long_nothing_was_heard(silent_s, is_doubted):
    continuity = run()
    feed(continuity, 1)
    late = msgspec.structs.replace(trade(30_000_000), event_ns=trade(1).event_ns + silent_s * 10**9)
    assert continuity.on_live(late) == []
    assert (continuity.doubted == late) == is_doubted
    assert continuity.wanted == (None if is_doubted else (2, 29_999_999))


def test_a_run_whose_first_trade_was_wrong_begins_anew_once_the_venue_says_so():
    continuity = run()
    assert feed(continuity, HUGE, 7, 8) == [HUGE]
    assert continuity.judge(8) == ([trade(7)], [])
    assert feed(continuity, 8, 9) == [8, 9]


def test_a_trade_of_long_ago_does_not_move_the_run():
    continuity = run()
    feed(continuity, 1_000_000, 1_000_001, 7)
    assert continuity.doubted == trade(7)
    assert continuity.judge(1_000_001) is None
    assert feed(continuity, 1_000_002) == [1_000_002]


@pytest.mark.parametrize(("newest_id", "is_anew"), [(None, False), (3, True), (4_998, True), (5_000, False), (6_000, False)])
def test_a_lower_id_of_a_later_time_begins_anew_where_the_venue_has_no_higher_ones(newest_id, is_anew):
    continuity = run()
    feed(continuity, 5_000)
    again = msgspec.structs.replace(trade(1), event_ns=trade(5_000).event_ns + 60 * 10**9)
    assert continuity.on_live(again) == []
    assert continuity.doubted == again
    assert continuity.judge(newest_id) == (([again], []) if is_anew else None)
    assert continuity.next_id == (2 if is_anew else 5_001)


def test_a_repetition_is_none_that_is_later():
    continuity = run()
    feed(continuity, 1, 2, 3)
    continuity.on_live(msgspec.structs.replace(trade(2), event_ns=trade(3).event_ns + 9 * 10**9))
    assert (continuity.doubted, continuity.repeated) == (None, 1)


def test_a_start_that_is_found_doubts_what_was_held_for_it():
    continuity = run(waits_for_start=True)
    feed(continuity, HUGE, 11)
    assert continuity.start_at(10) == []
    assert (continuity.doubted, continuity.wanted) == (trade(HUGE), (10, 10))


def test_what_is_held_is_refuted_by_a_stream_that_goes_on_below_it():
    continuity = run()
    assert feed(continuity, 1, 5_000, *range(2, 11)) == list(range(1, 11))
    assert not continuity.is_refuted
    feed(continuity, 11)
    assert continuity.is_refuted
    assert continuity.lone == 5_000
    assert continuity.disbelieve() == 1
    assert continuity.wanted == (12, None)


def hours_on(number: int, hours: int = 10) -> Trade:
    return msgspec.structs.replace(trade(number), event_ns=trade(number).event_ns + hours * 3_600 * 10**9)


def test_the_next_trade_is_none_of_long_ago_whoever_says_so():
    continuity = run()
    assert [t for n in (1, 2, 3) for t in continuity.on_live(hours_on(n))] == [hours_on(n) for n in (1, 2, 3)]
    wrong = hours_on(4, 2)
    assert continuity.on_live(wrong) == []
    assert continuity.wanted == (4, 4)
    assert continuity.on_live(hours_on(5)) == []
    assert continuity.on_fetched([wrong, hours_on(5)]) == ([hours_on(5)], [(4, 4)])


def test_the_next_trade_with_a_wrong_time_is_taken_as_the_venue_gives_it():
    continuity = run()
    for number in (1, 2, 3):
        continuity.on_live(hours_on(number))
    continuity.on_live(hours_on(4, 2))
    assert continuity.on_live(hours_on(5)) == []
    assert continuity.on_fetched([hours_on(4)]) == ([hours_on(4), hours_on(5)], [])
