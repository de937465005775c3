"""Holes are closed from the venue, and each is reported."""

from __future__ import annotations

from services.service_parts import BTC, PAIR_OF, PERP, PERP_OF, START, ListConnector, Notes, kline, trade
from zvt_crypto.domain.errors import Refused
from zvt_crypto.domain.market import Gap
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.services.backfill import Backfill
from zvt_crypto.services.repair import Repaired, repair
from zvt_crypto.venues.clock import SystemClock

MIN, LATER = NS_PER_MINUTE, START + 3600 * NS_PER_S
M1 = Interval.MIN_1


async def test_every_hole_is_told_closed_or_open_with_the_reason(store):
    await store.instruments.save([PAIR_OF, PERP_OF], START)
    await store.klines.upsert([kline(n) for n in (0, 1, 4, 5, 9)], START)
    await store.trades.append([trade(n) for n in (1, 2, 6)], START)
    gap = Gap(BTC, "trade", START + 2 * NS_PER_S, START + 6 * NS_PER_S, 3, 5, "lost", None)
    book = Gap(BTC, "book", START, START + MIN, None, None, "stale", None)
    other = Gap(PERP, "funding", START, START + MIN, None, None, "lost", None)
    await store.facts.save_gaps([gap, book, other], START)
    venue = ListConnector(now_ns=LATER, klines=[kline(n) for n in range(10) if n != 7], trades=[trade(n) for n in range(10)])
    told: list[Repaired] = []
    done = await repair(Backfill(venue, store, SystemClock(), Notes()), store, [BTC], [M1], told.append)
    assert done == told
    assert sorted((one.stream, (one.start_ns - START) // NS_PER_S, one.closed, one.rows) for one in done) == [
        ("book", 0, False, None),
        ("kline 1m", 120, True, 2),
        ("kline 1m", 360, False, 2),
        ("trade", 2, True, None),
    ]
    reasons = {one.stream: one.reason for one in done if not one.closed}
    assert reasons == {"book": "nobody has books of the past", "kline 1m": "the exchange does not have 1 parts of it"}
    assert [g.filled_from for g in await store.facts.read_gaps(BTC)] == [None, "rest"]
    assert await store.klines.missing(BTC, M1, START, START + 10 * MIN) == [(START + 7 * MIN, START + 8 * MIN)]
    assert len(await store.trades.read(BTC)) == 6
    again = await repair(Backfill(venue, store, SystemClock(), Notes()), store, [BTC], [M1])
    assert [(one.stream, one.closed) for one in again] == [("book", False), ("kline 1m", False)]


async def test_a_refusal_of_the_exchange_is_the_reason(store):
    await store.instruments.save([PAIR_OF, PERP_OF], START)
    await store.klines.upsert([kline(n) for n in (0, 2)], START)
    venue = ListConnector(now_ns=LATER)
    venue.fails = [Refused("no such interval here")]
    (one,) = await repair(Backfill(venue, store, SystemClock(), Notes()), store, [BTC], [M1])
    assert (one.closed, one.rows, one.reason) == (False, 0, "no such interval here")
