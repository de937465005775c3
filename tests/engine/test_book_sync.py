"""BookSync: one chain out of a stream and snapshots; whatever is lost, late or twice, never a wrong book.

The rules are Binance's; ids as in the worked examples of its documentation.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.engine.book import Book, BookSync, Continuity
from zvt_crypto.venues.binance.book import SpotContinuity, UsdmContinuity


def delta(first: int, last: int, prev: int | None = None, bid: float = 99.0) -> BookDelta:
    return BookDelta("x", first, last, prev, [(bid, float(last))], [], event_ns=last, recv_ns=last + 1)


def snapshot(last_id: int) -> BookSnapshot:
    return BookSnapshot("x", last_id, [(98.0, 1.0)], [(101.0, 1.0)], event_ns=0)


def spot(max_buffer: int = 100) -> BookSync:
    return BookSync("x", SpotContinuity(), max_buffer=max_buffer)


A, B, C, D = delta(157, 160), delta(161, 163), delta(164, 164), delta(166, 170)


def test_spot_buffers_then_gives_the_snapshot_and_what_continues_it() -> None:
    sync = spot()
    assert sync.wants_snapshot
    assert [sync.on_delta(d) for d in (A, B, C)] == [[], [], []]
    assert sync.on_snapshot(snapshot(161)) == [snapshot(161), B, C]
    assert not sync.wants_snapshot
    assert sync.book.last_id == 164


def test_spot_gives_stale_on_the_very_message_that_shows_a_gap() -> None:
    sync = spot()
    for d in (A, B, C):
        sync.on_delta(d)
    sync.on_snapshot(snapshot(161))
    assert sync.on_delta(D) == [BookStale("x", "gap after update 164: the next message holds 166 to 170", 170, 171)]
    assert sync.wants_snapshot
    assert not sync.book.is_valid
    assert sync.on_delta(delta(171, 172)) == []
    assert sync.on_snapshot(snapshot(168)) == [snapshot(168), D, delta(171, 172)]


def test_spot_refuses_a_snapshot_older_than_the_stream_and_goes_on_wanting_one() -> None:
    sync = spot()
    sync.on_delta(A)
    assert sync.on_snapshot(snapshot(150)) == []
    assert sync.wants_snapshot
    assert sync.on_snapshot(snapshot(158)) == [snapshot(158), A]


def test_spot_snapshot_newer_than_all_that_waits_is_valid_at_once_and_followed_by_what_holds_its_next_id() -> None:
    sync = spot()
    for d in (A, B, C):
        sync.on_delta(d)
    assert sync.on_snapshot(snapshot(170)) == [snapshot(170)]
    assert sync.on_delta(delta(166, 170)) == []
    assert sync.on_delta(delta(171, 173)) == [delta(171, 173)]


def test_usdm_chains_by_the_previous_id_and_starts_at_the_message_that_spans_the_snapshot() -> None:
    sync = BookSync("x", UsdmContinuity())
    a, b, c, d = delta(480, 499, 470), delta(499, 505, 499), delta(512, 520, 505), delta(530, 540, 521)
    for each in (a, b):
        sync.on_delta(each)
    assert sync.on_snapshot(snapshot(500)) == [snapshot(500), b]
    assert sync.on_delta(c) == [c]
    assert sync.on_delta(d) == [BookStale("x", "gap after update 520: the next message holds 530 to 540 (after 521)", 540, 541)]


def test_a_snapshot_waits_until_the_stream_proves_to_reach_back_to_it() -> None:
    sync = spot()
    assert sync.on_snapshot(snapshot(160)) == []
    assert not sync.wants_snapshot
    assert not sync.book.is_valid
    assert sync.on_delta(B) == [snapshot(160), B]


def test_a_message_that_the_snapshot_holds_already_proves_it_too() -> None:
    sync = spot()
    sync.on_snapshot(snapshot(160))
    assert sync.on_delta(A) == [snapshot(160)]


def test_a_snapshot_that_the_first_message_does_not_reach_is_dropped_unseen() -> None:
    sync = spot()
    sync.on_snapshot(snapshot(155))
    assert sync.on_delta(A) == []
    assert sync.wants_snapshot
    assert sync.on_snapshot(snapshot(157)) == [snapshot(157), A]


def test_a_gap_among_what_waits_lets_nothing_out_and_keeps_what_comes_after_it() -> None:
    sync = spot()
    for d in (A, B, D):
        sync.on_delta(d)
    assert sync.on_snapshot(snapshot(158)) == []
    assert sync.wants_snapshot
    assert sync.on_snapshot(snapshot(165)) == [snapshot(165), D]


def test_a_repeated_message_is_ignored() -> None:
    sync = spot()
    sync.on_delta(A)
    sync.on_snapshot(snapshot(158))
    assert sync.on_delta(A) == []
    assert sync.on_delta(B) == [B]
    assert sync.on_delta(A) == []
    assert sync.book.is_valid


HUGE = 9 * 10**18


def followed(*deltas: BookDelta, rule: Continuity | None = None, at: int = 161) -> BookSync:
    """In sync, the deltas applied."""
    sync = BookSync("x", rule or SpotContinuity())
    for d in deltas:
        sync.on_delta(d)
    sync.on_snapshot(snapshot(at))
    assert sync.book.is_valid
    return sync


@pytest.mark.parametrize("wrong", [delta(1, HUGE), delta(164, 170), delta(HUGE, HUGE), delta(160, 166)])
def test_a_spot_update_that_does_not_begin_at_the_next_id_is_a_gap_and_never_moves_the_book(wrong) -> None:
    sync = followed(A, B, C)
    (stale,) = sync.on_delta(wrong)
    assert isinstance(stale, BookStale)
    assert sync.book.last_id == 164


def test_a_wrong_id_that_waits_for_a_snapshot_is_forgotten_once_ids_go_on_below_it() -> None:
    sync = followed(A, B, C)
    right = [delta(165, 165), delta(166, 170)]
    for d in (delta(HUGE, HUGE), *right):
        sync.on_delta(d)
    assert sync.on_snapshot(snapshot(164)) == [snapshot(164), *right]


@pytest.mark.parametrize(
    ("rule", "wrong", "right"),
    [(SpotContinuity(), delta(165, 900), delta(165, 165)), (UsdmContinuity(), delta(165, 900, 164), delta(170, 171, 164))],
)
def test_an_update_that_reaches_too_far_is_found_by_the_next_message(rule, wrong, right) -> None:
    """What is older than the book and was never applied is no repetition: the book's own id is wrong."""
    sync = followed(delta(157, 163, 150), delta(164, 164, 163), rule=rule)
    sync.on_delta(wrong)
    assert [type(e) for e in sync.on_delta(right)] == [BookStale]
    assert sync.on_snapshot(snapshot(170)) != []
    assert sync.book.last_id < 900


def test_a_count_that_begins_anew_is_found_by_its_first_message() -> None:
    sync = followed(A, B, C)
    assert [type(e) for e in sync.on_delta(delta(1, 2))] == [BookStale]
    assert sync.on_snapshot(snapshot(1)) == [snapshot(1), delta(1, 2)]


@pytest.mark.parametrize("rule", [SpotContinuity(), UsdmContinuity()])
def test_a_snapshot_far_beyond_the_stream_is_not_believed(rule) -> None:
    sync = BookSync("x", rule)
    sync.on_delta(delta(157, 160, 150))
    assert sync.on_snapshot(snapshot(HUGE)) == []
    assert sync.wants_snapshot


def test_usdm_refuses_an_id_that_cannot_be_even_where_the_chain_is_right() -> None:
    sync = followed(delta(157, 163, 150), delta(164, 164, 163), rule=UsdmContinuity())
    assert [type(e) for e in sync.on_delta(delta(HUGE - 5, HUGE, 164))] == [BookStale]
    assert sync.book.last_id == 164


def test_a_crossed_book_is_stale_on_the_message_that_crosses_it() -> None:
    sync = spot()
    sync.on_delta(A)
    sync.on_snapshot(snapshot(158))
    made = sync.on_delta(delta(161, 163, bid=101.0))
    assert made == [BookStale("x", "crossed at update 163: bid 101.0 at or above ask 101.0", 163, 164)]
    assert sync.wants_snapshot


def test_a_crossed_snapshot_is_never_given_out() -> None:
    sync = spot()
    sync.on_delta(A)
    assert sync.on_snapshot(BookSnapshot("x", 160, [(101.0, 1.0)], [(100.0, 1.0)], 0)) == []
    assert sync.wants_snapshot
    assert sync.on_snapshot(snapshot(160)) == [snapshot(160)]


def test_a_snapshot_that_nobody_needs_changes_nothing() -> None:
    sync = spot()
    sync.on_delta(A)
    sync.on_snapshot(snapshot(160))
    assert sync.on_snapshot(snapshot(159)) == []
    assert sync.on_delta(B) == [B]


def test_reset_tells_stale_once_and_starts_anew() -> None:
    sync = spot()
    sync.on_delta(A)
    sync.on_snapshot(snapshot(160))
    assert sync.reset("connection lost", 5, 6) == [BookStale("x", "connection lost", 5, 6)]
    assert sync.reset("connection lost", 7) == []
    assert sync.wants_snapshot
    assert sync.on_delta(delta(301, 302)) == []
    assert sync.on_snapshot(snapshot(300)) == [snapshot(300), delta(301, 302)]


def test_reset_forgets_a_snapshot_that_waits() -> None:
    sync = spot()
    sync.on_snapshot(snapshot(160))
    assert sync.reset("connection lost", 5) == []
    assert sync.wants_snapshot
    assert sync.on_delta(B) == []


def test_a_full_buffer_drops_the_oldest_and_an_old_snapshot_is_then_refused() -> None:
    sync = spot(max_buffer=3)
    made = [delta(i, i) for i in range(1, 7)]
    for d in made:
        sync.on_delta(d)
    assert sync.on_snapshot(snapshot(1)) == []
    assert sync.on_snapshot(snapshot(3)) == [snapshot(3), *made[3:]]


class Venue:
    """A venue whose book at every id is known: update i sets one level. Messages hold 1 to 3 ids."""

    def __init__(self, sizes: list[int], levels: list[tuple[float, float]], *, chained: bool) -> None:
        self.states: list[dict[float, float]] = [{}]
        self.messages: list[BookDelta] = []
        for price, size in levels:
            state = dict(self.states[-1])
            state[price] = size
            self.states.append({p: s for p, s in state.items() if s})
        last = 0
        for count in sizes:
            ids = range(last + 1, min(last + count, len(levels)) + 1)
            if not ids:
                break
            told = [levels[i - 1] for i in ids]
            self.messages.append(BookDelta("x", ids[0], ids[-1], last if chained else None, told, [], event_ns=ids[-1]))
            last = ids[-1]
        self.last = last

    def snapshot(self, last_id: int) -> BookSnapshot:
        return BookSnapshot("x", last_id, list(self.states[last_id].items()), [], 0)


_LEVEL = st.tuples(st.integers(1, 8).map(float), st.sampled_from([0.0, 1.0, 2.0, 3.0]))
# What happens next: a message comes, is lost, comes again; a snapshot (old, new) comes; the connection is reset.
_STEP = st.one_of(
    st.sampled_from(["send", "send", "send", "send", "lose", "again", "swap", "reset"]),
    st.integers(0, 12).map(lambda age: ("snapshot", age)),
)


@given(
    st.lists(st.integers(1, 3), min_size=12, max_size=40),
    st.lists(_LEVEL, min_size=40, max_size=80),
    st.lists(_STEP, min_size=20, max_size=90),
    st.booleans(),
    st.integers(1, 20),
)
def test_whatever_is_lost_repeated_or_late_a_valid_book_is_the_venues_own(sizes, levels, steps, chained, max_buffer) -> None:  # type: ignore[no-untyped-def]
    venue = Venue(sizes, levels, chained=chained)
    sync = BookSync("x", UsdmContinuity() if chained else SpotContinuity(), max_buffer=max_buffer)
    reader, given_out, position = Book("x"), 0, 0

    def take(events: list[BookEvent]) -> None:
        nonlocal given_out
        for event in events:
            if isinstance(event, BookDelta):
                assert event.first_id <= given_out + 1 or event.prev_id == given_out
                assert event.last_id >= given_out
            given_out = event.last_id if not isinstance(event, BookStale) else -1
            reader.apply_event(event)
            if reader.is_valid:
                truth = sorted(venue.states[reader.last_id].items(), reverse=True)
                assert reader.top(99) == (truth, [])

    for step in steps:
        if step == "reset":
            take(sync.reset("connection lost", 0))
        elif isinstance(step, tuple):
            seen = venue.messages[position - 1].last_id if position else 0
            take(sync.on_snapshot(venue.snapshot(min(max(0, seen + 4 - step[1]), venue.last))))
        elif position < len(venue.messages):
            if step == "swap" and position + 1 < len(venue.messages):
                take(sync.on_delta(venue.messages[position + 1]))
            if step == "again" and position:
                take(sync.on_delta(venue.messages[position - 1]))
            if step != "lose":
                take(sync.on_delta(venue.messages[position]))
            position += 1
        assert reader.is_valid == sync.book.is_valid
