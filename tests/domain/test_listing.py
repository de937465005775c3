"""What dated facts say of a moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.listing import Fact, in_force, values_at, was_listed


def told(*facts: tuple[str, str | None, int, int]) -> list[Fact]:
    return [Fact(*fact) for fact in facts]


# Listed by the exchange at 100, first read by us at 200, gone at 300, back at 400, told at 450 to have gone at 440, renamed.
LIFE = told(
    ("status", "active", 200, 200),
    ("tick", "0.01", 200, 200),
    ("listed_ns", "100", 200, 200),
    ("tick", "0.1", 250, 250),
    ("status", "delisted", 300, 300),
    ("delisted_ns", "300", 300, 300),
    ("status", "active", 400, 400),
    ("delisted_ns", None, 400, 400),
    ("tick", "0.5", 400, 400),
    ("status", "delisted", 450, 450),
    ("delisted_ns", "440", 450, 450),
)


def test_a_life_of_listing_delisting_and_relisting_is_told_for_each_moment():
    lived = [(at, was_listed(LIFE, at)) for at in (99, 100, 199, 200, 299, 300, 399, 400, 439, 440, 450, 999)]
    assert lived == [
        (99, False),
        (100, True),  # before we knew it, the exchange says
        (199, True),
        (200, True),
        (299, True),
        (300, False),
        (399, False),
        (400, True),
        (439, True),
        (440, False),  # noticed at 450
        (450, False),
        (999, False),
    ]
    ticks = [(at, values_at(LIFE, at, ()).get("tick")) for at in (150, 200, 249, 250, 420)]
    assert ticks == [(150, None), (200, "0.01"), (249, "0.01"), (250, "0.1"), (420, "0.5")]
    assert values_at(LIFE, 150, ("listed_ns",))["listed_ns"] == "100"


def test_without_a_listing_time_nothing_is_known_before_the_first_fact():
    facts = told(("status", "active", 200, 200), ("listed_ns", None, 200, 200))
    assert [was_listed(facts, at) for at in (199, 200)] == [False, True]
    assert not was_listed([], 100)


def test_a_delisting_that_was_announced_counts_when_it_begins():
    facts = told(("status", "active", 0, 0), ("status", "delisted", 500, 100), ("delisted_ns", "500", 500, 100))
    assert [was_listed(facts, at) for at in (99, 499, 500)] == [True, True, False]


def test_what_is_told_later_of_an_earlier_time_counts():
    facts = told(
        ("status", "active", 0, 0), ("status", "suspended", 300, 300), ("status", "delisted", 200, 400), ("delisted_ns", "200", 200, 400)
    )
    assert [was_listed(facts, at) for at in (199, 200, 300, 500)] == [True, False, False, False]


def test_a_listing_that_is_announced_is_none_yet():
    facts = told(("status", "pending", 100, 100), ("listed_ns", "300", 100, 100), ("status", "active", 300, 300))
    assert [was_listed(facts, at) for at in (100, 299, 300)] == [False, False, True]


def test_one_that_was_gone_when_it_was_first_read_lived_before():
    facts = told(("status", "delisted", 900, 900), ("listed_ns", "100", 900, 900), ("delisted_ns", "500", 900, 900))
    assert [was_listed(facts, at) for at in (99, 100, 499, 500, 899, 900)] == [False, True, True, False, False, False]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 30)), max_size=12))
def test_facts_dated_when_told_count_in_their_order(given_facts):
    facts, now_ns = [], 0
    for field, value, later in given_facts:
        now_ns += later
        facts.append(Fact(field, str(value), now_ns, now_ns))
    for at_ns in {0, *(fact.valid_ns for fact in facts)}:
        naive: dict[str, Fact] = {}
        for fact in facts:
            if fact.valid_ns <= at_ns:
                naive[fact.field] = fact
        assert in_force(facts, at_ns) == naive
