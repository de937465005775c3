"""What is stored is what Binance sent: emulator → connector → store, over real sockets, digit by digit."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from proofs.proof_parts import QUIET_S, Played, Recording, played
from zvt_crypto.domain.time import Interval
from zvt_crypto.services.plan import plan_subscriptions
from zvt_crypto.services.platform import Platform
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock

pytestmark = pytest.mark.data

Row = tuple[int, Decimal, Decimal, str, int]


def recorded_trades(recording: Recording, root: Path) -> list[Row]:
    """(id, price, quantity, taker's side, ms), as the file has them."""
    return [
        (m["t"], Decimal(m["p"]), Decimal(m["q"]), "sell" if m["m"] else "buy", m["T"])
        for m in recording.messages(root)
        if m.get("e") == "trade"
    ]


async def stored_trades(url: str, entity: str) -> list[Row]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT trade_id, price, quantity, side, (extract(epoch FROM timestamp) * 1000)::bigint AS ms FROM crypto_trade WHERE entity_id = $1",
            entity,
        )
        return sorted((int(row[0]), row[1], row[2], row[3], row[4]) for row in rows)
    finally:
        await connection.close()


async def record(run: Played, store: PostgresStore, entity: str) -> Platform:
    """Follow the trades of the whole recording into the store."""
    clock, observer = SystemClock(), PrometheusObserver()
    platform = Platform([run.connector], lambda c: plan_subscriptions(c, [entity], ["trade"]), store, clock, observer)
    task = asyncio.create_task(platform.run())
    while not run.world.done:
        await asyncio.sleep(0.05)
        assert not task.done(), task.result()
    await asyncio.sleep(QUIET_S)
    await platform.drained()
    platform.stop()
    await task
    return platform


async def test_stored_trades_equal_the_recorded_ones_digit_by_digit(
    recorded: Path, recording: Recording, store: PostgresStore, database_url: str
) -> None:
    async with played(recorded, recording) as run:
        await record(run, store, recording.entity)
    expected = sorted(recorded_trades(recording, recorded))
    assert await stored_trades(database_url, recording.entity) == expected
    assert len(expected) > 10_000


async def test_minutes_from_the_trades_equal_a_plain_sum_of_the_recording(
    recorded: Path, recording: Recording, store: PostgresStore
) -> None:
    async with played(recorded, recording) as run:
        await record(run, store, recording.entity)
    minutes: dict[int, list[Row]] = {}
    for row in sorted(recorded_trades(recording, recorded)):
        minutes.setdefault(row[4] // 60_000, []).append(row)
    inner = sorted(minutes)[1:-1]  # the recording begins and ends within a minute
    klines = {k.open_ns // 60_000_000_000: k for k in await store.klines.read(recording.entity, Interval.MIN_1)}
    for minute in inner:
        rows, kline = minutes[minute], klines[minute]
        assert (kline.final, kline.source, kline.trades) == (True, "trades", len(rows))
        assert Decimal(repr(kline.open)) == rows[0][1]
        assert Decimal(repr(kline.high)) == max(row[1] for row in rows)
        assert Decimal(repr(kline.low)) == min(row[1] for row in rows)
        assert Decimal(repr(kline.close)) == rows[-1][1]
        assert Decimal(repr(kline.volume)) == sum(row[2] for row in rows)
    first = klines.get(min(minutes))
    assert first is None or not first.final, "the recording does not hold this minute's beginning"
    assert len(inner) >= 4


async def test_a_recording_played_twice_leaves_the_same_rows_once(
    recorded: Path, recording: Recording, store: PostgresStore, database_url: str
) -> None:
    for _ in range(2):
        async with played(recorded, recording) as run:
            await record(run, store, recording.entity)
    assert await stored_trades(database_url, recording.entity) == sorted(recorded_trades(recording, recorded))
