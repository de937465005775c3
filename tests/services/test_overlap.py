"""Runs of trades whose ids show no holes: stitched by overlap, each trade once, what cannot be stitched named from trade to trade."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.service_parts import BTC, START, trade, unordered
from zvt_crypto.domain.market import Trade
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.services.overlap import KNOWN_NS, LooseTrades, Step

MAKE = {"increasing": trade, "opaque": unordered}
both = pytest.mark.parametrize("kind", ["increasing", "opaque"])


def run(kind: str, **named) -> LooseTrades:
    return LooseTrades(BTC, "trade", ordered=kind == "increasing", **named)


def feed(trades: LooseTrades, kind: str, *numbers: int) -> list[int]:
    return numbers_of([t for n in numbers for t in trades.on_live(MAKE[kind](n))])


def page(kind: str, *numbers: int) -> list[Trade]:
    return [MAKE[kind](n) for n in numbers]


def numbers_of(trades: list[Trade]) -> list[int]:
    """Trade n is a second after trade n - 1."""
    return [(t.event_ns - START) // NS_PER_S for t in trades]


def told(step: Step) -> tuple[list[int], int | None]:
    return numbers_of(step.trades), None if step.torn_from_ns is None else (step.torn_from_ns - START) // NS_PER_S


@both
def test_jumps_are_no_holes(kind):
    trades = run(kind)
    assert feed(trades, kind, 1, 5, 9) == [1, 5, 9]
    assert not trades.is_broken


@both
def test_a_late_trade_is_told_from_a_repeated_one(kind):
    trades = run(kind)
    assert feed(trades, kind, 1, 9, 5, 5, 9) == [1, 9, 5]
    assert trades.repeated == 2


def test_a_wrong_number_is_the_last_one_only_until_others_are_much_later():
    """From there on the venue is asked where it can answer."""
    trades = run("increasing")
    trades.on_live(trade(9 * 10**18, START))
    feed(trades, "increasing", *range(1, 62))
    assert trades.last == trade(61)
    feed(trades, "increasing", 62)
    assert trades.last == trade(62)


@both
def test_suspecting_before_the_first_trade_asks_for_nothing(kind):
    trades = run(kind)
    trades.suspect()
    assert not trades.is_broken


@both
def test_after_a_lost_connection_everything_waits_until_both_ends_are_met(kind):
    trades = run(kind)
    feed(trades, kind, 1, 5)
    trades.suspect()
    assert feed(trades, kind, 20) == []
    step = trades.on_page(page(kind, 5, 9, 20))
    assert told(step) == ([9, 20], None)
    assert numbers_of(step.fresh) == [9]
    assert feed(trades, kind, 31) == [31]


@both
def test_an_answer_that_has_not_yet_what_the_stream_showed_ends_nothing(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 9, 10)
    assert told(trades.on_page(page(kind, 1, 4))) == ([4], None)
    assert trades.is_broken
    assert told(trades.on_page(page(kind, 4, 6, 9))) == ([6, 9, 10], None)
    assert not trades.is_broken


@both
def test_an_answer_that_goes_on_beyond_a_live_trade_never_has_it(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 9)
    assert told(trades.on_page(page(kind, 1, 4, 10))) == ([4, 9, 10], None)
    assert not trades.is_broken


@both
def test_an_answer_without_a_known_trade_leaves_a_hole_from_the_last_to_the_first(kind):
    trades = run(kind)
    feed(trades, kind, 1, 2)
    trades.suspect()
    feed(trades, kind, 20, 21)
    assert told(trades.on_page(page(kind, 15, 20))) == ([15, 20, 21], 2)


@both
def test_a_hole_ends_with_the_live_trade_where_the_answer_begins_later(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 20, 21)
    assert told(trades.on_page(page(kind, 21, 22))) == ([20, 21, 22], 1)


@both
def test_an_answer_with_nothing_in_it_shows_nothing(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 20)
    assert told(trades.on_page([])) == ([], None)
    assert told(trades.on_page(page(kind, 1))) == ([], None)
    assert trades.is_broken


@both
def test_an_answer_of_a_server_that_is_behind_shows_nothing(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 20)
    assert told(trades.on_page(page(kind, 15))) == ([15], 1)
    assert told(trades.on_page(page(kind, 12, 14))) == ([], None)
    assert told(trades.on_page(page(kind, 15, 16, 20))) == ([16, 20], None)


@both
def test_giving_up_names_the_hole_and_lets_everything_go(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 20, 25)
    assert told(trades.give_up()) == ([20, 25], 1)
    assert not trades.is_broken


@both
def test_giving_up_before_a_live_trade_waits_for_it(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    assert told(trades.give_up()) == ([], None)
    assert trades.is_broken


@both
def test_what_had_no_room_is_asked_for(kind):
    trades = run(kind, most_held=1)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 20, 25)
    assert trades.held == 1
    assert told(trades.on_page(page(kind, 1, 20))) == ([20], None)
    assert trades.is_broken
    feed(trades, kind, 26)
    assert told(trades.on_page(page(kind, 20, 25, 26))) == ([25, 26], None)
    assert not trades.is_broken


@both
def test_the_same_instant_may_hold_several_trades(kind):
    trades = run(kind)
    for number in (1, 2):
        trades.on_live(MAKE[kind](number, START))
    trades.suspect()
    step = trades.on_page([MAKE[kind](n, START) for n in (1, 2, 3, 4)])
    assert [t.trade_id for t in step.trades] == [MAKE[kind](n).trade_id for n in (3, 4)]


@both
def test_a_start_from_the_store_knows_what_is_stored(kind):
    stored = page(kind, 3, 7, 8)
    trades = run(kind, last=stored[-1], known=stored)
    assert feed(trades, kind, 7, 8, 12) == []  # a stream may begin with trades of the past
    assert told(trades.on_page(page(kind, 7, 8, 10, 12))) == ([10, 12], None)


@both
def test_a_start_at_a_time_is_torn_unless_the_venue_goes_back_that_far(kind):
    for reaches, torn in ((True, None), (False, 5)):
        trades = run(kind, start_ns=START + 5 * NS_PER_S)
        assert trades.is_broken
        feed(trades, kind, 20)
        assert told(trades.on_page(page(kind, 6, 20), reaches_back=reaches)) == ([6, 20], torn)


@both
def test_ids_are_forgotten_with_time_and_what_is_older_counts_as_known(kind):
    trades = run(kind)
    many = range(200)
    assert feed(trades, kind, *many) == list(many)
    assert len(trades._known) == KNOWN_NS // NS_PER_S + 1
    assert feed(trades, kind, 3) == []


def test_a_gap_holds_the_instants_of_both_trades():
    gap = run("opaque").gap(START, unordered(6), "why", None)
    assert (gap.start_ns, gap.end_ns, gap.first_id, gap.last_id) == (START, START + 6 * NS_PER_S + 1, None, None)


@both
@given(data=st.data())
def test_whatever_was_cut_off_comes_out_once_in_order_or_lies_in_a_hole(kind, data):
    """Live until `lost`, again from `back` on; the venue gives its newest `depth`, as of some moment, again and again."""
    total = 60
    lost, back = sorted(data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)), "lost, back"))
    depth = data.draw(st.integers(1, 80), "depth")
    trades = run(kind, most_held=data.draw(st.integers(1, 80), "most held"))
    out = feed(trades, kind, *range(lost))
    holes: list[tuple[int, int]] = []
    trades.suspect()
    seen = lost
    for now in range(back, total):
        out += feed(trades, kind, now)
        asks = 3 if now == total - 1 else int(data.draw(st.booleans(), "asked"))
        while trades.is_broken and asks:
            asks -= 1
            seen = data.draw(st.integers(max(seen, now - 3), now), "venue lags") if now < total - 1 else now
            have = [n for n in range(max(0, seen + 1 - depth), seen + 1) if n >= lost - 3]
            numbers, torn = told(trades.on_page(page(kind, *have)))
            if torn is not None:
                holes.append((torn, numbers[0]))
            out += numbers
    assert out == sorted(set(out))
    assert out[-1] == total - 1
    for missing in set(range(total)) - set(out):
        assert any(before < missing < after for before, after in holes)
    for before, after in holes:
        assert {before, after} <= set(out)
    if depth >= total:
        assert (out, holes) == (list(range(total)), [])


def test_a_hole_after_which_the_venues_clock_was_set_back_covers_both_times():
    trades = run("opaque")
    feed(trades, "opaque", 100)
    trades.suspect()
    assert feed(trades, "opaque", 70) == []
    step = trades.give_up()
    assert told(step) == ([70], 100)
    gap = trades.gap(step.torn_from_ns, step.trades[0], "lost", None)  # type: ignore[arg-type]
    assert (gap.start_ns, gap.end_ns) == (unordered(70).event_ns, unordered(100).event_ns + 1)


@both
def test_a_second_hole_while_the_first_is_asked_for_is_not_taken_for_closed(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    trades.suspect()
    feed(trades, kind, 9, 10)
    trades.suspect()  # 11 is lost, too
    feed(trades, kind, 12, 13)
    assert trades.held == 4
    assert told(trades.on_page(page(kind, 1, 5, 9))) == ([5, 9, 10], None)
    assert (trades.is_broken, trades.held) == (True, 2)
    assert told(trades.on_page(page(kind, 9, 10, 11, 12))) == ([11, 12, 13], None)
    assert (trades.is_broken, trades.held) == (False, 0)


@both
def test_one_answer_may_reach_over_several_holes(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    for first in (9, 12, 15):
        trades.suspect()
        feed(trades, kind, first)
    assert told(trades.on_page(page(kind, *range(1, 15)))) == ([*range(2, 15)], None)
    assert (trades.is_broken, trades.held) == (True, 1)
    assert told(trades.on_page(page(kind, 14, 15))) == ([15], None)
    assert not trades.is_broken


@both
def test_giving_up_tells_each_hole(kind):
    trades = run(kind)
    feed(trades, kind, 1)
    for first in (9, 12):
        trades.suspect()
        feed(trades, kind, first, first + 1)
    assert [told(trades.give_up()) for _ in range(2)] == [([9, 10], 1), ([12, 13], 10)]
    assert trades.held == 0


@both
@given(data=st.data())
def test_however_often_it_is_cut_everything_comes_out_once_or_lies_in_a_hole(kind, data):
    total = 60
    heard = [True, *data.draw(st.lists(st.sampled_from([True, True, False]), min_size=total - 2, max_size=total - 2), "heard"), True]
    depth, most = data.draw(st.integers(1, 80), "depth"), data.draw(st.integers(1, 80), "most held")
    trades = run(kind, most_held=most)
    out: list[int] = []
    holes: list[tuple[int, int]] = []

    def ask(now: int) -> None:
        begin = (trades.begin_ns or START) - START
        have = [n for n in range(max(0, now + 1 - depth), now + 1) if n >= begin // NS_PER_S - 3]
        numbers, torn = told(trades.on_page(page(kind, *have)))
        if torn is not None:
            holes.append((torn, numbers[0]))
        out.extend(numbers)

    for now in range(total):
        if heard[now] and now and not heard[now - 1]:
            trades.suspect()
        if heard[now]:
            out += feed(trades, kind, now)
        if trades.is_broken and data.draw(st.booleans(), "asked"):
            ask(now - data.draw(st.integers(0, min(now, 3)), "venue lags"))
    for _ in range(2 * total):
        if trades.is_broken:
            ask(total - 1)
    assert trades.held == 0
    assert max(out) == total - 1
    assert sorted(out) == sorted(set(out))
    for missing in set(range(total)) - set(out):
        assert any(before < missing < after for before, after in holes)
    if depth >= total:
        assert (sorted(out), holes) == (list(range(total)), [])


@both
def test_a_first_trade_from_long_before_we_began_is_refused_and_counted(kind):
    trades = run(kind, since_ns=START + 3_700 * NS_PER_S)
    assert feed(trades, kind, 99) == []
    assert trades.implausible == 1
    assert feed(trades, kind, 101, 3_700) == [101, 3_700], "an hour is no wrong time"
    assert trades.implausible == 1
