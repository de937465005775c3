"""Longer klines stay what their minutes say, however these come: late, twice, corrected, imported, packed meanwhile, over restarts."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from stores_fixtures import BAR, MINUTE, PAIR, pack_all
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.engine.roll import ROLL_BASE, roll_up
from zvt_crypto.services.rollups import Rollups

MIN_1 = Interval.MIN_1
FEBRUARY = parse_time("2021-02-01")  # a Monday, and 28 days: four weeks and a month
DAYS = 28


class StillClock:
    """A time that stands; sleeping gives way only."""

    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns

    def now_ns(self) -> int:
        return self.at_ns

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Deaf:
    def count(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...

    def note(self, level: str, event: str, **fields: object) -> None:
        self.noted = (level, event)


def minutes(chance: random.Random, opens: list[int], **changed: object):
    made = []
    for at in opens:
        low, high = sorted((chance.randrange(90, 110), chance.randrange(90, 110)))
        first, last, volume = chance.randint(low, high), chance.randint(low, high), chance.randrange(1, 5) / 4
        made.append(
            msgspec.structs.replace(
                BAR, open_ns=at, open=first, high=high, low=low, close=last, volume=volume, turnover=volume * 100, **changed
            )
        )
    return made


async def full_recomputation(store) -> dict[Interval, list]:
    """Every whole longer kline of all stored parts."""
    found = {}
    for longer, base in ROLL_BASE.items():
        parts = [part for part in await store.klines.read(PAIR.id, base) if part.final] if base is MIN_1 else found[base]
        found[longer] = [kline for kline in roll_up(parts, longer) if kline.final]
    return found


def values(klines):
    return [(k.open_ns, k.open, k.high, k.low, k.close, k.volume, k.turnover, k.trades, k.source) for k in klines]


@pytest.mark.parametrize("seed", [1])
async def test_random_edits_leave_what_a_full_recomputation_gives(listed_store, sql, seed):
    """Four weeks of minutes with holes; then corrections, late ones, repetitions, forming ones and packing, in a seeded order."""
    chance, now = random.Random(seed), parse_time("2021-03-05")
    opens = [FEBRUARY + n * MINUTE for n in range(DAYS * 1440)]
    held_back = sorted(chance.sample(opens, 6))
    known = set(held_back)
    for day in range(DAYS):
        part = [at for at in opens[day * 1440 : (day + 1) * 1440] if at not in known]
        await listed_store.klines.upsert(minutes(chance, part, source="trades"), now)
    assert await Rollups(listed_store, StillClock(now), Deaf()).catch_up() > 10_000
    for turn in range(12):
        now += NS_PER_DAY
        match turn % 4:
            case 0:  # a correction by the venue
                edits = minutes(chance, chance.sample(opens, 5))
            case 1:  # late ones, by import
                edits = minutes(chance, [held_back.pop(), held_back.pop()] if held_back else [opens[3]], source="import")
            case 2:  # what changes nothing: forming, and of a lesser source
                edits = minutes(chance, chance.sample(opens, 3), final=False) + minutes(chance, chance.sample(opens, 3), source="derived")
            case _:
                await pack_all(listed_store)
                edits = minutes(chance, chance.sample(opens, 2), source="trades")
        await listed_store.klines.upsert(edits, now)
        await Rollups(listed_store, StillClock(now), Deaf()).catch_up()  # one that never saw what came before
    assert not held_back
    for longer, expected in (await full_recomputation(listed_store)).items():
        assert values(await listed_store.klines.read(PAIR.id, longer)) == values(expected), longer
    assert len(await listed_store.klines.read(PAIR.id, Interval.MONTH_1)) == 1
    assert await sql.fetchval("SELECT count(*) FROM rollup_due") == 0


async def test_what_comes_in_time_is_not_due(listed_store):
    bars = minutes(random.Random(1), [FEBRUARY])
    await listed_store.klines.upsert(bars, FEBRUARY + MINUTE + 10**9)
    assert await listed_store.due.list(5) == []
    await listed_store.klines.upsert([msgspec.structs.replace(bars[0], close=bars[0].open, source="venue")], FEBRUARY + 2 * MINUTE)
    await listed_store.klines.upsert([msgspec.structs.replace(bars[0], volume=9.0)], FEBRUARY + 3 * MINUTE)
    assert [(each.instrument, each.day_ns) for each in await listed_store.due.list(5)] == [(PAIR.id, FEBRUARY)]


async def test_a_day_marked_again_while_it_is_rolled_stays_due(listed_store):
    await listed_store.klines.upsert(minutes(random.Random(1), [FEBRUARY]), FEBRUARY + NS_PER_DAY)
    due = await listed_store.due.list(5)
    await listed_store.klines.upsert(minutes(random.Random(2), [FEBRUARY]), FEBRUARY + 2 * NS_PER_DAY)
    await listed_store.due.clear(due)
    (again,) = await listed_store.due.list(5)
    assert again.mark_ns > due[0].mark_ns
    await listed_store.due.clear([again])
    await listed_store.due.clear([])
    assert await listed_store.due.list(5) == []


async def test_days_of_an_import_make_weeks_and_months(listed_store):
    days = [msgspec.structs.replace(BAR, interval=Interval.DAY_1, open_ns=FEBRUARY + n * NS_PER_DAY, source="import") for n in range(DAYS)]
    await listed_store.klines.upsert(days, FEBRUARY + 40 * NS_PER_DAY)
    assert await Rollups(listed_store, StillClock(FEBRUARY + 41 * NS_PER_DAY), Deaf()).catch_up() == 5
    (month,) = await listed_store.klines.read(PAIR.id, Interval.MONTH_1)
    assert (month.volume, month.trades, month.source) == (12.5 * DAYS, 40 * DAYS, "derived")


async def test_moving_rows_out_of_a_chunk_is_no_news(listed_store):
    await listed_store.klines.upsert(minutes(random.Random(1), [FEBRUARY, FEBRUARY + MINUTE]), FEBRUARY + NS_PER_DAY)
    await listed_store.due.clear(await listed_store.due.list(5))
    await pack_all(listed_store)
    late = minutes(random.Random(3), [FEBRUARY + 5 * MINUTE])
    await listed_store.klines.upsert(late, FEBRUARY + 6 * MINUTE)  # its chunk is unpacked for it; the minute itself is in time
    assert await listed_store.due.list(5) == []


async def test_a_longer_kline_that_cannot_be_is_named_and_the_others_are_made(listed_store):
    """Untraded minutes that carry a price of their own, beyond what was traded, close their span outside of it."""
    untraded = {"volume": 0.0, "turnover": 0.0, "trades": 0, "open": 120.0, "high": 120.0, "low": 120.0, "close": 120.0}
    bars = [msgspec.structs.replace(BAR, open_ns=FEBRUARY + n * MINUTE, **(untraded if n == 4 else {})) for n in range(10)]
    await listed_store.klines.upsert(bars, FEBRUARY + NS_PER_DAY)
    deaf = Deaf()
    assert await Rollups(listed_store, StillClock(FEBRUARY + NS_PER_DAY), deaf).catch_up() == 1
    assert deaf.noted == ("error", "rollup_refused")
    assert [each.open_ns for each in await listed_store.klines.read(PAIR.id, Interval.MIN_5)] == [FEBRUARY + 5 * MINUTE]


async def test_a_store_that_is_away_is_asked_again(listed_store):
    class Away:
        due = klines = None

    deaf, tries = Deaf(), []

    class Refusing(Rollups):
        async def catch_up(self) -> int:
            tries.append(1)
            if len(tries) == 3:
                raise asyncio.CancelledError
            raise StoreUnavailable("away")

    with pytest.raises(asyncio.CancelledError):
        await Refusing(Away(), StillClock(0), deaf).run()
    assert (len(tries), deaf.noted) == (3, ("warning", "rollups_wait"))
