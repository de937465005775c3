"""The newest klines out of memory are the store's own, at most as old as is said, whoever writes."""

from __future__ import annotations

import asyncio
import random

import pytest

from stores_fixtures import KNOWN, PAIR, PERP, START, bar
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.recent import MAX_AGE_NS, RecentKlines

MIN_1 = Interval.MIN_1


class Time:
    def __init__(self) -> None:
        self.ns = KNOWN

    def now_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Counted:
    """The real store, and how often it was asked for rows."""

    def __init__(self, klines) -> None:
        self._klines, self.reads = klines, 0

    def __getattr__(self, name: str):
        return getattr(self._klines, name)

    async def read(self, *asked, **named):
        self.reads += 1
        return await self._klines.read(*asked, **named)


@pytest.fixture
def time_() -> Time:
    return Time()


@pytest.fixture
def counted(listed_store) -> Counted:
    return Counted(listed_store.klines)


@pytest.fixture
def recent(listed_store, counted, time_) -> RecentKlines:
    return RecentKlines(counted, listed_store.changes, time_, rows_a_series=50)


def at(minute: int) -> int:
    return START + minute * NS_PER_MINUTE


ASKED = [
    (None, None, 10), (None, None, 50), (None, None, 51), (None, at(30), 5), (None, at(55), 50), (at(50), None, None), (at(50), at(60), None),
    (at(60), None, 7), (at(2), None, 7), (at(2), at(99), None), (None, at(3), 4), (None, None, None), (None, at(9), None), (at(99), None, 3), (None, None, 0),
]  # fmt: skip


@pytest.mark.parametrize("count", [0, 20, 49, 50, 51, 80])
async def test_answers_as_the_store_does(listed_store, recent, count):
    await listed_store.klines.upsert([bar(n) for n in range(count)], KNOWN)
    for asked in ASKED:
        assert await recent.read(PAIR.id, MIN_1, *asked) == await listed_store.klines.read(PAIR.id, MIN_1, *asked), asked
    await recent.upsert([bar(n, close=101.5) for n in range(count)], KNOWN)
    for asked in ASKED:
        assert await recent.read(PAIR.id, MIN_1, *asked) == await listed_store.klines.read(PAIR.id, MIN_1, *asked), asked
    assert await recent.bounds(PAIR.id, MIN_1) == await listed_store.klines.bounds(PAIR.id, MIN_1)
    assert await recent.missing(PAIR.id, MIN_1, at(0), at(99)) == await listed_store.klines.missing(PAIR.id, MIN_1, at(0), at(99))


async def test_the_store_is_asked_for_rows_only_after_a_change(listed_store, recent, counted, time_):
    await listed_store.klines.upsert([bar(n) for n in range(60)], KNOWN)
    for _ in range(20):
        await asyncio.gather(*(recent.read(PAIR.id, MIN_1, limit=limit) for limit in (1, 30, 50)))
        time_.ns += MAX_AGE_NS // 3
    assert counted.reads == 1
    await listed_store.klines.upsert([bar(3, instrument=PERP.id)], KNOWN)
    time_.ns += MAX_AGE_NS
    await recent.read(PAIR.id, MIN_1, limit=1)
    assert counted.reads == 1


async def test_what_another_process_wrote_is_answered_once_the_age_is_over(database_url, listed_store, recent, time_):
    await listed_store.klines.upsert([bar(n) for n in range(60)], KNOWN)
    before = await recent.read(PAIR.id, MIN_1, limit=1)
    other = await open_store(database_url)
    try:
        await other.klines.upsert([bar(60)], KNOWN)
        time_.ns += MAX_AGE_NS - 1
        assert await recent.read(PAIR.id, MIN_1, limit=1) == before
        time_.ns += 1
        assert await recent.read(PAIR.id, MIN_1, limit=1) == [bar(60)]
        await other.klines.upsert([bar(5, close=102.5)], KNOWN)  # older than what memory holds
        time_.ns += MAX_AGE_NS
        assert (await recent.read(PAIR.id, MIN_1, start_ns=at(5), limit=1))[0].close == 102.5
    finally:
        await other.close()


async def test_a_write_of_ours_is_in_the_next_answer_even_beside_a_read_that_runs(listed_store, recent):
    await listed_store.klines.upsert([bar(n) for n in range(60)], KNOWN)
    for n in range(60, 80):
        reading = asyncio.gather(*(recent.read(PAIR.id, MIN_1, limit=5) for _ in range(3)))
        if n % 3:
            await asyncio.sleep(0)
        await recent.upsert([bar(n)], KNOWN)
        assert (await recent.read(PAIR.id, MIN_1, limit=1))[0].open_ns == at(n)
        await reading
        assert (await recent.read(PAIR.id, MIN_1, limit=1))[0].open_ns == at(n)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_writers_never_make_an_answer_older_than_it_may_be(listed_store, recent, time_, sql, seed):
    chance = random.Random(seed)
    for _ in range(120):
        bars = [bar(chance.randrange(90), close=100 + chance.random(), instrument=chance.choice([PAIR.id, PERP.id])) for _ in range(3)]
        match chance.randrange(5):
            case 0:
                await recent.upsert(bars, KNOWN)
            case 1:
                await listed_store.klines.upsert(bars, KNOWN)
                time_.ns += MAX_AGE_NS
            case 2:
                await sql.execute("DELETE FROM kline_1m WHERE close > $1", 100 + chance.random() + 0.3)
                time_.ns += MAX_AGE_NS
            case _:
                time_.ns += MAX_AGE_NS // 4
        asked = chance.choice(ASKED)
        name = chance.choice([PAIR.id, PERP.id])
        assert await recent.read(name, MIN_1, *asked) == await listed_store.klines.read(name, MIN_1, *asked), f"seed {seed}: {asked}"


async def test_memory_is_bounded_and_the_series_asked_for_longest_ago_goes(listed_store, counted, time_):
    recent = RecentKlines(counted, listed_store.changes, time_, rows_a_series=50, most_rows=80)
    await listed_store.klines.upsert([bar(n, instrument=name) for name in (PAIR.id, PERP.id) for n in range(60)], KNOWN)
    for name in (PAIR.id, PERP.id, PERP.id):
        await recent.read(name, MIN_1, limit=5)
    assert (recent.rows(), counted.reads) == (50, 2)
    await recent.read(PAIR.id, MIN_1, limit=5)
    assert counted.reads == 3
