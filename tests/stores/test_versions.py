"""What was known when: against a model that remembers every answer it ever gave."""

from __future__ import annotations

import random
from collections.abc import Sequence

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores_fixtures import BAR, MINUTE, PAIR, START, bar
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.stores.postgres.compact import compact
from zvt_crypto.stores.precedence import replaces

M1 = Interval.MIN_1
S = 1_000_000_000


class Model:
    """Takes writes as a store does, and keeps the whole answer after each of them, by time."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[int, Kline]]] = [(0, {})]

    def upsert(self, klines: Sequence[Kline], known_ns: int) -> None:
        now = dict(self.answers[-1][1])
        for kline in klines:
            held = now.get(kline.open_ns)
            if held is None or replaces(kline, held):
                now[kline.open_ns] = kline
        self.answers.append((known_ns, now))

    def at(self, as_of_ns: int) -> list[Kline]:
        held = [answer for known_ns, answer in self.answers if known_ns <= as_of_ns][-1]
        return [held[at] for at in sorted(held)]


async def write(store: PostgresStore, seed: int, writes: int, bars: int) -> Model:
    """Random versions of a few bars by random sources, in the order of their time; several at one moment occur."""
    rng, model, known_ns = random.Random(seed), Model(), START
    for _ in range(writes):
        known_ns += rng.choice([0, S, 60 * S])
        rows = [
            bar(rng.randrange(bars), close=rng.choice([100.0, 101.0, 102.0]), source=rng.choice(["venue", "trades", "derived", "import"]))
            for _ in range(rng.randrange(1, 4))
        ]
        model.upsert(rows, known_ns)
        await store.klines.upsert(rows, known_ns)
    return model


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
async def test_an_answer_as_of_a_moment_is_the_one_that_was_given_then(seed, database_url, listed_store, sql):
    await sql.execute("TRUNCATE kline_1m; ALTER TABLE kline_revision DISABLE TRIGGER ALL; DELETE FROM kline_revision")
    model = await write(listed_store, seed, writes=30, bars=5)
    read = listed_store.versions.read_as_of
    moments = {known_ns + shift for known_ns, _ in model.answers[1:] for shift in (-1, 0, 1)}
    for as_of_ns in sorted(moments):
        assert await read(PAIR.id, M1, as_of_ns) == model.at(as_of_ns), f"seed {seed}, as of {as_of_ns}"
    rng = random.Random(seed)
    for as_of_ns in rng.sample(sorted(moments), min(5, len(moments))):
        whole, limit = model.at(as_of_ns), rng.randrange(1, 6)
        start_ns = START + rng.randrange(5) * MINUTE
        assert await read(PAIR.id, M1, as_of_ns, limit=limit) == whole[-limit:]
        assert await read(PAIR.id, M1, as_of_ns, start_ns, None, limit) == [k for k in whole if k.open_ns >= start_ns][:limit]
        assert await read(PAIR.id, M1, as_of_ns, None, start_ns) == [k for k in whole if k.open_ns < start_ns]
    assert await read(PAIR.id, M1, START + 10**18) == await listed_store.klines.read(PAIR.id, M1)


async def test_before_anything_was_known_there_is_no_answer(listed_store):
    await listed_store.klines.upsert([BAR], START + S)
    read = listed_store.versions.read_as_of
    assert await read(PAIR.id, M1, START + S - 1000) == []
    assert await read(PAIR.id, M1, START + S) == [BAR]
    assert await read(PAIR.id, Interval.HOUR_1, START + S) == []
    assert await read("cryptopair_binance_nobody", M1, START + S) == []


async def test_a_forming_bar_is_no_answer_of_the_past(listed_store):
    await listed_store.klines.upsert([bar(0), bar(1, final=False)], START)
    await listed_store.klines.upsert([bar(1, close=102.0)], START + 90 * S)
    read = listed_store.versions.read_as_of
    assert await read(PAIR.id, M1, START + S) == [bar(0)]
    assert await read(PAIR.id, M1, START + 90 * S) == [bar(0), bar(1, close=102.0)]


async def test_a_limit_finds_bars_beyond_a_long_hole(listed_store):
    rows = [bar(0), bar(20_000), bar(20_001)]
    await listed_store.klines.upsert(rows, START)
    await listed_store.klines.upsert([bar(40_000)], START + S)
    read = listed_store.versions.read_as_of
    assert await read(PAIR.id, M1, START, limit=3) == rows
    assert await read(PAIR.id, M1, START, START + MINUTE, None, 1) == rows[1:2]
    assert await read(PAIR.id, M1, START, limit=100) == rows


async def test_a_packed_bar_counts_from_when_it_was_known(listed_store):
    await listed_store.klines.upsert([bar(n, source="trades") for n in range(10)], START)
    await listed_store.klines.upsert([bar(3, close=102.0)], START + S)
    assert (await compact(listed_store.pool, M1, START + 30 * 24 * 60 * MINUTE)).rows == 10
    read = listed_store.versions.read_as_of
    assert await read(PAIR.id, M1, START - S) == []
    assert [k.close for k in await read(PAIR.id, M1, START)] == [101.0] * 10
    assert [k.close for k in await read(PAIR.id, M1, START + S)] == [101.0] * 3 + [102.0] + [101.0] * 6
    history = await listed_store.versions.history(PAIR.id, M1, START + 3 * MINUTE)
    assert [(v.kline.close, v.served, v.is_current) for v in history.versions] == [(101.0, True, False), (102.0, True, True)]


async def test_the_history_of_a_bar_names_every_telling_and_who_filled_its_gap(listed_store):
    store = listed_store
    hole = Gap(PAIR.id, "kline", START, START + MINUTE, None, None, "lost", None, START, interval=M1)
    await store.facts.save_gaps([hole, msgspec.structs.replace(hole, start_ns=START + MINUTE, end_ns=START + 2 * MINUTE)], START)
    await store.klines.upsert([bar(source="derived", close=100.0)], START + S)
    await store.klines.upsert([bar(close=102.0)], START + 2 * S)
    await store.facts.save_gaps([msgspec.structs.replace(hole, filled_from="rest")], START + 2 * S)
    await store.klines.upsert([bar(source="trades", close=103.0)], START + 3 * S)
    told = await store.versions.history(PAIR.id, M1, START)
    assert [(v.kline.source, v.kline.close, v.known_ns - START, v.served, v.until_ns and v.until_ns - START) for v in told.versions] == [
        ("derived", 100.0, S, True, 2 * S),
        ("venue", 102.0, 2 * S, True, None),
        ("trades", 103.0, 3 * S, False, None),
    ]
    assert (told.first_seen, told.venue_says, told.current) == (told.versions[0], told.versions[1], told.versions[1])
    assert told.filled_from == ["rest"]
    assert len(told.gaps) == 1
    nothing = await store.versions.history(PAIR.id, M1, START + 5 * MINUTE)
    assert (nothing.versions, nothing.first_seen, nothing.venue_says, nothing.current) == ([], None, None, None)
    assert (await store.versions.history("cryptopair_binance_nobody", M1, START)).versions == []


async def test_a_revision_cannot_be_taken_back(listed_store, sql):
    await listed_store.klines.upsert([bar(close=100.0)], START)
    await listed_store.klines.upsert([bar(close=102.0)], START + S)
    for statement in ("UPDATE kline_revision SET close = 1", "DELETE FROM kline_revision", "TRUNCATE kline_revision"):
        with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
            await sql.execute(statement)
