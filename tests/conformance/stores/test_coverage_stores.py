"""What is complete, missing, filled and revised, as every store tells it."""

from __future__ import annotations

import msgspec
import pytest

from stores_fixtures import BAR, KNOWN, MINUTE, PAIR, PERP, START, AlwaysPacked, trade
from zvt_crypto.domain.market import Funding, Gap
from zvt_crypto.domain.time import Interval

MIN_1 = Interval.MIN_1


def minute(index: int, **values: object):
    return msgspec.structs.replace(BAR, interval=MIN_1, open_ns=START + index * MINUTE, **values)


@pytest.fixture(params=["postgres", "packed"])
def stored(request, listed_store):
    if request.param == "packed":
        listed_store.klines = AlwaysPacked(listed_store)
    return listed_store


async def test_tells_rows_sources_holes_and_what_is_not_final(stored) -> None:
    bars = [minute(i, source="venue" if i < 3 else "trades", final=i != 8) for i in (0, 1, 2, 5, 6, 8)]
    await stored.klines.upsert(bars, KNOWN)
    found = await stored.coverage.klines(PAIR.id, MIN_1)
    assert (found.rows, found.forming, found.sources) == (6, 1, {"venue": 3, "trades": 3})
    assert (found.first_ns, found.last_ns) == (START, START + 8 * MINUTE)
    assert found.missing == [(START + 3 * MINUTE, START + 5 * MINUTE), (START + 7 * MINUTE, START + 8 * MINUTE)]
    assert not found.is_whole


async def test_a_range_that_is_asked_for_is_held_to_its_ends(stored) -> None:
    await stored.klines.upsert([minute(i) for i in (2, 3)], KNOWN)
    found = await stored.coverage.klines(PAIR.id, MIN_1, START, START + 6 * MINUTE)
    assert found.missing == [(START, START + 2 * MINUTE), (START + 4 * MINUTE, START + 6 * MINUTE)]
    assert (await stored.coverage.klines(PAIR.id, MIN_1)).is_whole


async def test_a_bar_that_two_sources_tell_differently_is_kept_and_reported(stored) -> None:
    venue, ours = minute(0, source="venue"), minute(0, source="trades", close=BAR.low, volume=BAR.volume + 1)
    await stored.klines.upsert([ours, minute(1, source="trades")], KNOWN)
    await stored.klines.upsert([venue, minute(1, source="venue")], KNOWN + 1_000)
    found = await stored.coverage.klines(PAIR.id, MIN_1)
    assert (found.rows, found.revised, found.differing) == (2, 2, 1)
    (difference,) = await stored.coverage.differences(PAIR.id, MIN_1)
    assert (difference.served.source, difference.other.source, difference.was_served) == ("venue", "trades", True)
    assert (difference.served.close, difference.other.close) == (venue.close, ours.close)
    assert await stored.coverage.differences(PAIR.id, MIN_1, START + MINUTE) == []


async def test_gaps_stand_open_until_they_are_filled_and_then_say_from_where(stored) -> None:
    gap = Gap(PAIR.id, "trade", START, START + MINUTE, 5, 9, "lost", None)
    await stored.facts.save_gaps([gap], KNOWN)
    found = await stored.coverage.stream(PAIR.id, "trade")
    assert (found.rows, found.gaps_open, found.is_whole) == (0, 1, False)
    await stored.facts.save_gaps([msgspec.structs.replace(gap, filled_from="rest")], KNOWN)
    found = await stored.coverage.stream(PAIR.id, "trade")
    assert (found.gaps_open, found.filled, found.is_whole) == (0, {"rest": 1}, True)


async def test_a_gap_of_klines_counts_for_its_interval_alone(stored) -> None:
    hour = Gap(PAIR.id, "kline", START, START + 60 * MINUTE, None, None, "lost", None, interval=Interval.HOUR_1)
    await stored.facts.save_gaps([hour, Gap(PAIR.id, "kline", START, START + MINUTE, None, None, "of all", None)], KNOWN)
    await stored.facts.save_gaps([Gap(PAIR.id, "kline", START, START + MINUTE, None, None, "lost", "rest", interval=MIN_1)], KNOWN)
    minutes, hours = [await stored.coverage.klines(PAIR.id, interval) for interval in (MIN_1, Interval.HOUR_1)]
    assert (minutes.gaps_open, minutes.filled) == (1, {"rest": 1})
    assert (hours.gaps_open, hours.filled) == (2, {})


async def test_of_what_is_not_stored_nothing_is_known(stored) -> None:
    for found in (await stored.coverage.klines("cryptopair_binance_none", MIN_1), await stored.coverage.stream(PAIR.id, "funding")):
        assert (found.rows, found.first_ns, found.last_ns) == (0, None, None)
    assert await stored.coverage.differences("cryptopair_binance_none", MIN_1) == []


async def test_what_lies_outside_all_that_is_known_of_a_stream_is_not_known(stored) -> None:
    await stored.trades.append([trade(0), trade(2_000)], KNOWN)
    before, last, after = START - MINUTE, START + 2_000_000_000, START + 2 * MINUTE
    found = await stored.coverage.stream(PAIR.id, "trade", before, after)
    assert (found.rows, found.missing, found.gaps_open, found.is_whole) == (2, [], 0, False)
    assert found.unknown == [(before, START), (last, after)]
    assert (await stored.coverage.stream(PAIR.id, "trade", before, after, START + MINUTE)).unknown[-1] == (last, START + MINUTE)
    within, quiet = (START + 1_000_000_000, last), (START + MINUTE, after)
    assert (await stored.coverage.stream(PAIR.id, "trade", *within)).unknown == []  # a silence between two trades
    found = await stored.coverage.stream(PAIR.id, "trade", *quiet)
    assert (found.rows, found.unknown, found.followed) == (0, [quiet], True)
    assert (await stored.coverage.stream(PAIR.id, "trade")).is_whole
    other = await stored.coverage.stream(PAIR.id, "agg", *quiet)
    assert (other.unknown, other.followed) == ([], False)


async def test_what_a_gap_tells_of_is_known_to_be_missing_and_no_more_unknown(stored) -> None:
    gap = Gap(PAIR.id, "book", START + MINUTE, START + 2 * MINUTE, None, None, "lost", None)
    await stored.facts.save_gaps([gap], KNOWN)
    found = await stored.coverage.stream(PAIR.id, "book", START, START + 3 * MINUTE)
    assert (found.gaps_open, found.unknown) == (1, [(START, START + MINUTE), (START + 2 * MINUTE, START + 3 * MINUTE)])


async def test_a_funding_that_is_not_due_yet_is_not_unknown(stored) -> None:
    await stored.facts.save_funding([Funding(PAIR.id, START, 0.0001)], KNOWN)
    assert (await stored.coverage.stream(PAIR.id, "funding", START, START + 60 * MINUTE)).is_whole


async def test_within_two_ends_every_bar_is_missing_where_there_is_none_but_for_those_that_have_not_closed(stored) -> None:
    end, now = START + 5 * MINUTE, START + 3 * MINUTE + 1
    found = await stored.coverage.klines(PAIR.id, MIN_1, START, end)
    assert (found.rows, found.missing, found.followed) == (0, [(START, end)], False)
    await stored.klines.upsert([minute(0)], KNOWN)
    found = await stored.coverage.klines(PAIR.id, MIN_1, START, end, now)
    assert (found.missing, found.followed) == ([(START + MINUTE, START + 3 * MINUTE)], True)
    found = await stored.coverage.klines(PAIR.id, MIN_1, START + MINUTE, end)
    assert (found.rows, found.missing, found.followed) == (0, [(START + MINUTE, end)], True)
    assert (await stored.coverage.klines(PAIR.id, Interval.DAY_1, START, end, now)).missing == []


INVERSE = msgspec.structs.replace(PERP, id="cryptoperp_okx_btcusd", exchange="okx", native_symbol="BTC-USD-SWAP", settlement_currency="BTC")


@pytest.mark.parametrize(
    ("told", "summed", "trades", "differs"),
    [
        (20.91085709, 20.9108571, 40, False),
        (21.10715878, 21.10715893, 40, False),  # 15 units of the 8th digit, less than half a unit twice for each of 40
        (21.10715878, 21.10715893, 9, True),
        (20.9108, 20.91085709, 1, True),  # 0.00005709 away: more than half a unit of the 4th digit
        (20.9109, 20.91085709, 1, False),
        (21.0, 21.3, 40, True),  # a number that ends in zeros is not a rough one
        (20.91085709, 20.9108571, None, False),
        (20.0, 20.00004, None, False),
    ],
)
async def test_volumes_of_inverse_contracts_that_differ_by_rounding_are_the_same(stored, told, summed, trades, differs) -> None:
    assert INVERSE.is_inverse
    await stored.instruments.save([INVERSE], KNOWN)
    ours = [
        minute(0, instrument=INVERSE.id, source="trades", volume=summed, trades=trades),
        minute(1, instrument=INVERSE.id, source="trades"),
    ]
    venue = [
        minute(0, instrument=INVERSE.id, volume=told, trades=None),
        minute(1, instrument=INVERSE.id, close=101.1, trades=None),  # prices are compared as they are
    ]
    await stored.klines.upsert(ours, KNOWN)
    await stored.klines.upsert(venue, KNOWN + 1_000)
    found = await stored.coverage.klines(INVERSE.id, MIN_1)
    assert (found.revised, found.differing) == (2, 2 if differs else 1)
    opens = [one.served.open_ns for one in await stored.coverage.differences(INVERSE.id, MIN_1)]
    assert opens == ([START, START + MINUTE] if differs else [START + MINUTE])
    assert len((await stored.versions.history(INVERSE.id, MIN_1, START)).versions) == 2  # nothing is lost


async def test_volumes_in_lots_are_compared_to_the_last_digit(stored) -> None:
    await stored.klines.upsert([minute(0, source="trades", volume=12.50000001)], KNOWN)
    await stored.klines.upsert([minute(0, source="venue", volume=12.5)], KNOWN + 1_000)
    assert (await stored.coverage.klines(PAIR.id, MIN_1)).differing == 1
    assert len(await stored.coverage.differences(PAIR.id, MIN_1)) == 1
