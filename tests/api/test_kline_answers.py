"""The cache of encoded rows against a reading without any cache, under random histories."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from api.api_parts import BTC, NOW, HandClock, make_kline
from zvt_crypto.api import klines as klines_room
from zvt_crypto.api.klines import KlineAnswers, merge
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval, parse_time
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.stores.recent import RecentKlines

START = parse_time("2024-08-09")
STEPS = st.lists(
    st.tuples(st.sampled_from(["live", "store", "wait", "ask"]), st.integers(0, 5), st.integers(1, 3), st.booleans(), st.integers(1, 7)),
    max_size=40,
)


class MemoryKlines:
    """Rows in memory; a revision replaces whatever was there, as a backfill may."""

    def __init__(self) -> None:
        self.rows: dict[int, Kline] = {}
        self.reads = 0
        self.down = False

    async def read(self, instrument: str, interval: Interval, start_ns: Any = None, end_ns: Any = None, limit: Any = None) -> list[Kline]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("down")
        rows = [row for open_ns, row in sorted(self.rows.items()) if (start_ns or 0) <= open_ns < (end_ns or 2**62)]
        if limit is None:
            return rows
        return rows[:limit] if start_ns is not None else rows[-limit:]


def bar(minute: int, close: float, final: bool, source: str = "venue") -> Kline:
    made = make_kline("2024-08-09", close, final=final, source=source)
    return msgspec.structs.replace(made, open_ns=START + minute * NS_PER_MINUTE)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(STEPS)
def test_an_answer_is_what_store_and_live_state_say_whatever_was_asked_before(steps: list[tuple[str, int, int, bool, int]]) -> None:
    async def play() -> None:
        store, live, clock = MemoryKlines(), MemoryLiveState(), HandClock(NOW)
        answers = KlineAnswers(store, live, clock)  # type: ignore[arg-type]
        for step, minute, close, final, limit in steps:
            if step == "live":
                live.apply(bar(minute, float(close), final))
            elif step == "store":
                store.rows[START + minute * NS_PER_MINUTE] = bar(minute, float(close), final)
            else:
                clock.ns += NS_PER_S
            body = json.loads(await answers.newest(BTC, Interval.MIN_1, limit, final))
            if step in ("wait", "ask"):  # what the store says now is a second old at most: here it is known at once
                fresh = await KlineAnswers(store, live, clock).newest(BTC, Interval.MIN_1, limit, final)  # type: ignore[arg-type]
                assert body == json.loads(fresh)
                assert body["count"] == len(body["data"]) <= limit

    asyncio.run(play())


def test_of_two_versions_the_final_one_wins_then_the_better_source_then_the_store() -> None:
    cases = [
        (bar(0, 1.0, True, "derived"), bar(0, 2.0, False, "venue"), 1.0),
        (bar(0, 1.0, False, "venue"), bar(0, 2.0, True, "derived"), 2.0),
        (bar(0, 1.0, True, "trades"), bar(0, 2.0, True, "venue"), 2.0),
        (bar(0, 1.0, True, "venue"), bar(0, 2.0, True, "trades"), 1.0),
        (bar(0, 1.0, True, "import"), bar(0, 2.0, True, "venue"), 1.0),
        (bar(0, 1.0, False, "venue"), bar(0, 2.0, False, "venue"), 2.0),
    ]
    for stored, live, close in cases:
        assert [row.close for row in merge([stored], [live])] == [close]


async def test_askers_at_the_same_time_share_one_read_and_one_that_leaves_takes_it_from_nobody() -> None:
    store = MemoryKlines()
    answers = KlineAnswers(store, MemoryLiveState(), HandClock(NOW))  # type: ignore[arg-type]
    asking = [asyncio.create_task(answers.newest(BTC, Interval.MIN_1, 5, False)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert await asyncio.gather(*asking[1:]) == [b'{"data":[],"count":0}'] * 4
    assert store.reads == 1


async def test_encoded_rows_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(klines_room, "MOST_ROWS_A_SERIES", 50)
    monkeypatch.setattr(klines_room, "MOST_ROWS", 1_000)
    store = MemoryKlines()
    store.rows = {START + m * NS_PER_MINUTE: bar(m, 1.0, True) for m in range(300)}
    answers = KlineAnswers(store, MemoryLiveState(), HandClock(NOW))  # type: ignore[arg-type]
    for number in range(40):
        instrument = msgspec.structs.replace(BTC, id=f"cryptopair_binance_c{number}usdt")
        for limit in (10, 20, 100):
            assert json.loads(await answers.newest(instrument, Interval.MIN_1, limit, False))["count"] == limit
        await answers.between(instrument, Interval.MIN_1, START, None, 100, False)
        kept = sum(series.weight() for series in answers._series.values())
        assert kept == answers._rows
        assert kept <= 1_000
    assert 1 < len(answers._series) < 10


async def test_new_precisions_of_an_instrument_are_in_the_next_answer() -> None:
    store = MemoryKlines()
    store.rows = {START: bar(0, 1.5, True)}
    answers = KlineAnswers(store, MemoryLiveState(), HandClock(NOW))  # type: ignore[arg-type]
    assert b'"open":"1.50"' in await answers.newest(BTC, Interval.MIN_1, 1, False)
    finer = msgspec.structs.replace(BTC, tick=BTC.tick / 100 if BTC.tick else None)
    assert b'"open":"1.5000"' in await answers.newest(finer, Interval.MIN_1, 1, False)
    assert answers._rows == sum(series.weight() for series in answers._series.values())


async def test_what_another_process_revises_is_answered_a_second_later_with_the_newest_rows_in_memory(store: PostgresStore) -> None:
    bars = [make_kline(f"2024-08-08T23:5{n}:00Z") for n in range(3)]
    await store.instruments.save([BTC], NOW)
    await store.klines.upsert(bars, NOW)
    clock = HandClock(NOW)
    answers = KlineAnswers(RecentKlines(store.klines, store.changes, clock), MemoryLiveState(), clock)

    async def closes() -> list[str]:
        newest = json.loads(await answers.newest(BTC, Interval.MIN_1, 3, False))["data"]
        between = json.loads(await answers.between(BTC, Interval.MIN_1, bars[0].open_ns, None, 3, False))["data"]
        assert [row["timestamp"] for row in newest] == [row["timestamp"] for row in between]
        return [row["close"] for row in newest]

    before = await closes()
    await store.klines.upsert([msgspec.structs.replace(bars[1], close=bars[1].high)], NOW + 1_000)
    clock.ns += NS_PER_S
    after = await closes()
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert float(after[1]) == bars[1].high
