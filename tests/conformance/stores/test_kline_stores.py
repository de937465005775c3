"""What every store of klines does. A new one joins by a line in `kline_store`."""

from __future__ import annotations

import itertools

import asyncpg
import msgspec
import pytest

from stores_fixtures import BAR, KNOWN, MINUTE, PAIR, PERP, START, AlwaysPacked, bar
from zvt_crypto.domain.errors import ConstraintViolated
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import INTERVALS, Interval, next_ns, parse_time
from zvt_crypto.ports import KlineStore, Written

MIN_1 = Interval.MIN_1


@pytest.fixture(params=["postgres", "packed"])
def kline_store(request, listed_store) -> KlineStore:
    return {"postgres": listed_store.klines, "packed": AlwaysPacked(listed_store)}[request.param]


@pytest.fixture
def revisions(sql: asyncpg.Connection):
    """(close, source, served) of every version that is not served, oldest first."""

    async def read() -> list[tuple[float, int, bool]]:
        return [tuple(row) for row in await sql.fetch("SELECT close, source, served FROM kline_revision ORDER BY revision_id")]

    return read


SOURCE_CODE = {"derived": 1, "trades": 2, "import": 3, "venue": 4}  # as the migration documents

# (held source, new source): who is served, for two final versions with different values. Written down from the rule: venue over trades
# over derived; import ranks as venue, but never replaces one; equal sources: the newer.
FINAL_WINNER = {
    ("venue", "venue"): "new",
    ("venue", "import"): "held",
    ("venue", "trades"): "held",
    ("venue", "derived"): "held",
    ("import", "venue"): "new",
    ("import", "import"): "new",
    ("import", "trades"): "held",
    ("import", "derived"): "held",
    ("trades", "venue"): "new",
    ("trades", "import"): "new",
    ("trades", "trades"): "new",
    ("trades", "derived"): "held",
    ("derived", "venue"): "new",
    ("derived", "import"): "new",
    ("derived", "trades"): "new",
    ("derived", "derived"): "new",
}


def winner(held: Kline, new: Kline) -> str:
    if held.final != new.final:
        return "new" if new.final else "held"
    return FINAL_WINNER[held.source, new.source]


CASES = [
    (held_source, held_final, new_source, new_final)
    for held_source, held_final, new_source, new_final in itertools.product(SOURCE_CODE, (True, False), SOURCE_CODE, (True, False))
]


async def test_the_whole_table_of_precedence_holds_row_by_row_and_in_one_batch(kline_store, revisions, sql):
    """64 pairs of versions, each on a bar of its own: first as two writes, then (an hour later) as one batch."""
    assert len(CASES) == 64
    for hour in (0, 1):
        pairs = []
        for place, (held_source, held_final, new_source, new_final) in enumerate(CASES):
            held = bar(place + hour * 100, source=held_source, final=held_final, close=101.0)
            pairs.append((held, msgspec.structs.replace(held, source=new_source, final=new_final, close=102.0)))
        if hour == 0:
            await kline_store.upsert([held for held, _ in pairs], KNOWN)
            await kline_store.upsert([new for _, new in pairs], KNOWN + 1000)
        else:
            await kline_store.upsert([version for pair in pairs for version in pair], KNOWN)
        start = pairs[0][0].open_ns
        served = await kline_store.read(PAIR.id, MIN_1, start, start + 64 * MINUTE)
        expected = [new if winner(held, new) == "new" else held for held, new in pairs]
        for got, wanted, case in zip(served, expected, CASES, strict=True):
            assert got == wanted, case
        kept = [
            (loser.close, SOURCE_CODE[loser.source], loser is held)
            for (held, new), chosen in zip(pairs, expected, strict=True)
            for loser in ((held,) if chosen is new else (new,))
            if loser.final
        ]
        assert sorted(await revisions()) == sorted(kept * (hour + 1))


async def test_an_older_version_of_the_same_source_does_not_replace_a_newer_one(kline_store, revisions):
    await kline_store.upsert([bar(close=102.0)], KNOWN + 5_000)
    written = await kline_store.upsert([bar(close=101.0)], KNOWN)
    assert written == Written(0, 0, 1)
    assert (await kline_store.read(PAIR.id, MIN_1))[0].close == 102.0
    assert await revisions() == [(101.0, 4, False)]


async def test_a_forming_bar_that_grows_is_no_revision(kline_store, revisions):
    for close in (100.5, 100.7, 100.9):
        await kline_store.upsert([bar(close=close, final=False)], KNOWN)
    await kline_store.upsert([bar(close=101.0)], KNOWN)
    assert await kline_store.read(PAIR.id, MIN_1) == [bar(close=101.0)]
    assert await revisions() == []


async def test_one_batch_may_hold_every_state_of_a_bar(kline_store, revisions):
    states = [bar(close=c, final=False) for c in (100.1, 100.2, 100.3)]
    written = await kline_store.upsert([*states, bar(close=101.0), bar(close=101.5)], KNOWN)
    assert await kline_store.read(PAIR.id, MIN_1) == [bar(close=101.5)]
    assert (written.inserted, written.changed, written.known) == (1, 1, 3)
    assert await revisions() == [(101.0, 4, True)]


@pytest.mark.parametrize("count", [1, 199, 200, 1500], ids=str)
async def test_the_same_rows_twice_are_there_once(kline_store, revisions, count):
    rows = [bar(n) for n in range(count)]
    assert await kline_store.upsert(rows, KNOWN) == Written(count)
    assert await kline_store.upsert(rows, KNOWN + 1000) == Written(0, 0, count)
    assert await kline_store.read(PAIR.id, MIN_1) == rows
    assert await revisions() == []


async def test_a_losing_version_is_kept_once_however_often_it_comes(kline_store, revisions):
    await kline_store.upsert([bar()], KNOWN)
    for _ in range(3):
        await kline_store.upsert([bar(close=100.5, source="trades")], KNOWN)
    assert await revisions() == [(100.5, 2, False)]


async def test_a_large_batch_counts_what_is_new_changed_and_known(kline_store):
    await kline_store.upsert([bar(n, source="trades") for n in range(300)], KNOWN)
    better = [bar(n) for n in range(100)]
    same = [bar(n, source="trades") for n in range(100, 300)]
    fresh = [bar(n) for n in range(300, 400)]
    assert await kline_store.upsert([*fresh, *same, *better], KNOWN) == Written(100, 100, 200)


async def test_a_batch_may_mix_instruments_intervals_and_order(kline_store):
    hour = Kline(PERP.id, Interval.HOUR_1, parse_time("2024-08-08T23:00:00Z"), 1.0, 2.0, 0.5, 1.5, 0.0, None, None, False, "trades")
    rows = [bar(3), hour, bar(1, instrument=PERP.id), bar(0), bar(2)]
    assert await kline_store.upsert(rows, KNOWN) == Written(5)
    assert await kline_store.read(PAIR.id, MIN_1) == [bar(0), bar(2), bar(3)]
    assert await kline_store.read(PERP.id, MIN_1) == [bar(1, instrument=PERP.id)]
    assert await kline_store.read(PERP.id, Interval.HOUR_1) == [hour]


async def test_nothing_written_is_nothing(kline_store):
    assert await kline_store.upsert([], KNOWN) == Written(0)


@pytest.mark.parametrize("interval", INTERVALS, ids=lambda i: i.slug)
async def test_every_interval_is_stored_and_its_holes_are_found(kline_store, interval):
    opens = [parse_time("2024-01-01T00:00:00Z")]  # a Monday, and the first of a month
    while len(opens) < 8:
        opens.append(next_ns(interval, opens[-1]))
    rows = [msgspec.structs.replace(BAR, interval=interval, open_ns=at) for n, at in enumerate(opens) if n not in (0, 3, 4, 7)]
    await kline_store.upsert(rows, KNOWN)
    end = next_ns(interval, opens[-1])
    assert await kline_store.read(PAIR.id, interval) == rows
    assert await kline_store.missing(PAIR.id, interval, opens[0], end) == [(opens[0], opens[1]), (opens[3], opens[5]), (opens[7], end)]
    assert await kline_store.missing(PAIR.id, interval, opens[1], opens[3]) == []
    assert await kline_store.missing(PAIR.id, interval, opens[3], opens[4]) == [(opens[3], opens[4])]
    assert await kline_store.bounds(PAIR.id, interval) == (opens[1], opens[6])


async def test_a_forming_bar_is_missing_until_it_is_final(kline_store):
    await kline_store.upsert([bar(0), bar(1, final=False)], KNOWN)
    assert await kline_store.missing(PAIR.id, MIN_1, START, START + 2 * MINUTE) == [(START + MINUTE, START + 2 * MINUTE)]
    assert await kline_store.bounds(PAIR.id, MIN_1) == (START, START)


async def test_a_range_begins_at_the_first_open_inside_it(kline_store):
    assert await kline_store.missing(PAIR.id, MIN_1, START + 1, START + 3 * MINUTE) == [(START + MINUTE, START + 3 * MINUTE)]
    assert await kline_store.missing(PAIR.id, MIN_1, START + 1, START + MINUTE) == []


async def test_unknown_instruments_have_no_rows(kline_store):
    nobody = "cryptopair_binance_nobody"
    assert await kline_store.read(nobody, MIN_1) == []
    assert await kline_store.bounds(nobody, MIN_1) is None
    assert await kline_store.missing(nobody, MIN_1, START, START + MINUTE) == [(START, START + MINUTE)]


async def test_reads_a_range_half_open_and_limits_from_the_right_end(kline_store):
    rows = [bar(n) for n in range(10)]
    await kline_store.upsert(rows, KNOWN)
    at = [row.open_ns for row in rows]
    assert await kline_store.read(PAIR.id, MIN_1, at[2], at[5]) == rows[2:5]
    assert await kline_store.read(PAIR.id, MIN_1, at[2], limit=3) == rows[2:5]
    assert await kline_store.read(PAIR.id, MIN_1, limit=3) == rows[7:]
    assert await kline_store.read(PAIR.id, MIN_1, end_ns=at[5], limit=3) == rows[2:5]
    assert await kline_store.read(PAIR.id, MIN_1, end_ns=at[2]) == rows[:2]
    assert await kline_store.read(PAIR.id, MIN_1, limit=0) == []


async def test_the_newest_are_found_across_months(kline_store):
    months = [parse_time(f"2024-{month:02d}-15T00:00:00Z") for month in range(1, 13)]
    rows = [msgspec.structs.replace(BAR, open_ns=at) for at in months]
    await kline_store.upsert(rows, KNOWN)
    assert await kline_store.read(PAIR.id, MIN_1, limit=5) == rows[-5:]
    assert await kline_store.read(PAIR.id, MIN_1, end_ns=months[4], limit=2) == rows[2:4]


WRONG = [
    ({"high": 98.0}, "high_not_below_low"),
    ({"low": 0.0}, "price_above_zero"),
    ({"low": -1.0}, "price_above_zero"),
    ({"high": float("inf")}, "price_above_zero"),
    ({"high": float("nan")}, "price_above_zero"),
    ({"open": 104.0}, "open_close_within"),
    ({"close": 98.0}, "open_close_within"),
    ({"close": float("nan")}, "open_close_within"),
    ({"volume": -0.1}, "volume_not_negative"),
    ({"volume": float("nan")}, "volume_not_negative"),
    ({"turnover": -1.0}, "turnover_not_negative"),
    ({"trades": -1}, "trades_not_negative"),
    ({"open_ns": START + 1_000_000}, "open_on_grid"),
]


@pytest.mark.parametrize("wrong, rule", WRONG, ids=[f"{rule} {wrong}" for wrong, rule in WRONG])
@pytest.mark.parametrize("others", [1, 300], ids=["few", "many"])
async def test_a_wrong_row_is_named_and_nothing_of_its_batch_is_kept(kline_store, wrong, rule, others):
    rows = [bar(n + 10) for n in range(others)]
    with pytest.raises(ConstraintViolated, match=rule) as refused:
        await kline_store.upsert([*rows, msgspec.structs.replace(BAR, **wrong)], KNOWN)
    assert PAIR.id in str(refused.value)
    assert "open_time 2024-08-08 23:58:00" in str(refused.value)
    assert await kline_store.read(PAIR.id, MIN_1) == []


async def test_a_number_too_large_for_its_column_is_refused(kline_store):
    with pytest.raises(ConstraintViolated):
        await kline_store.upsert([bar(trades=2**40)], KNOWN)


async def test_an_unknown_instrument_is_named(kline_store):
    with pytest.raises(ConstraintViolated, match="'cryptopair_binance_nobody'"):
        await kline_store.upsert([bar(instrument="cryptopair_binance_nobody")], KNOWN)
