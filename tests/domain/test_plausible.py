"""Times that an exchange may tell, and which of two values is of now."""

from __future__ import annotations

import msgspec
import pytest

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.market import BestQuote, BookDelta, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.plausible import AHEAD_MOST_NS, OVERTAKES_MOST_NS, check_answer, is_newer, is_plausible, too_early
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S, Interval, parse_time

NOW = parse_time("2024-08-08T12:00:00Z")
TRADE = Trade("x", "trade", "1", 1.0, 1.0, "buy", NOW, NOW)
EVENTS = [
    TRADE,
    Kline("x", Interval.MIN_1, NOW, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, False, "venue", NOW, NOW),
    BookDelta("x", 1, 2, None, [], [], NOW, NOW),
    Ticker("x", 1.0, None, None, None, None, None, None, None, NOW, NOW),
    BestQuote("x", 1, 1.0, 1.0, 2.0, 1.0, NOW, NOW),
    MarkPrice("x", NOW, 1.0, None, None, NOW + NS_PER_DAY, NOW),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_a_time_that_has_not_come_is_refused_of_every_kind_of_event(event):
    assert is_plausible(event, NOW)
    assert is_plausible(event, NOW - AHEAD_MOST_NS)
    assert not is_plausible(event, NOW - AHEAD_MOST_NS - 1)


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_a_recording_of_years_ago_is_plausible(event):
    assert is_plausible(event, NOW + 4_000 * NS_PER_DAY)


def test_a_kline_opens_no_later_than_now():
    kline = msgspec.structs.replace(EVENTS[1], open_ns=NOW + AHEAD_MOST_NS + 1)
    assert not is_plausible(kline, NOW)
    assert str(too_early("okx", kline, NOW)) == (
        "okx kline of x at 2024-08-08T12:10:00.000Z: 600 s ahead of our clock, which says 2024-08-08T12:00:00.000Z"
    )


def test_a_time_beyond_the_calendar_is_named_as_a_number():
    late = msgspec.structs.replace(TRADE, event_ns=9 * 10**22)
    assert "of x at 90000000000000000000000 ns" in str(too_early("okx", late, NOW))


def test_the_newer_time_is_newer_and_a_late_repetition_is_not():
    later = msgspec.structs.replace(TRADE, event_ns=NOW + 1)
    assert is_newer(later, TRADE)
    assert is_newer(TRADE, TRADE)
    assert not is_newer(TRADE, later)


def test_what_reaches_us_much_later_is_newer_whatever_its_time_says():
    wrong = msgspec.structs.replace(TRADE, event_ns=NOW + 500 * NS_PER_S)
    soon = msgspec.structs.replace(TRADE, event_ns=NOW + NS_PER_S, recv_ns=NOW + OVERTAKES_MOST_NS)
    assert not is_newer(soon, wrong)
    assert is_newer(msgspec.structs.replace(soon, recv_ns=soon.recv_ns + 1), wrong)
    assert is_newer(soon, msgspec.structs.replace(wrong, recv_ns=0)), "of a fetched value nobody knows when it came"
    assert not is_newer(msgspec.structs.replace(soon, recv_ns=0), wrong)


def test_an_answer_with_a_time_that_has_not_come_is_refused():
    check_answer("okx", [TRADE], NOW)
    with pytest.raises(Malformed, match=r"okx trade of x at .* 601 s ahead"):
        check_answer("okx", [TRADE], NOW - 601 * NS_PER_S)
