"""What the store's writes are held against: SQLAlchemy Core and asyncpg's executemany, and COPY into the mission's literal schema.

`lean`: tables of our columns, key and checks, without partitions, triggers or revisions, so that no peer pays for what only we promise.
`literal`: VARCHAR ids as keys, DECIMAL values, three indexes (key, entity and time, time), as the specification writes klines; its trades
are written in the same way. All are `INSERT … ON CONFLICT DO UPDATE`: `insert` into an empty table, `upsert` of the same rows again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import asyncpg
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine

from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import to_datetime

SCHEMA = """
CREATE TABLE lean_kline (LIKE kline_1m INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (instrument_id, open_time));
CREATE TABLE lean_trade (LIKE trade INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    PRIMARY KEY (instrument_id, event_time, stream, venue_trade_id));
CREATE TABLE literal_pair (id VARCHAR PRIMARY KEY);
CREATE TABLE literal_kline (
    id VARCHAR PRIMARY KEY, entity_id VARCHAR NOT NULL REFERENCES literal_pair(id), timestamp TIMESTAMP NOT NULL,
    open_price DECIMAL NOT NULL, high_price DECIMAL NOT NULL, low_price DECIMAL NOT NULL, close_price DECIMAL NOT NULL,
    volume DECIMAL NOT NULL, turnover DECIMAL);
CREATE INDEX ON literal_kline(entity_id, timestamp);
CREATE INDEX ON literal_kline(timestamp);
CREATE TABLE literal_trade (
    id VARCHAR PRIMARY KEY, entity_id VARCHAR NOT NULL REFERENCES literal_pair(id), timestamp TIMESTAMP NOT NULL,
    trade_id VARCHAR NOT NULL, price DECIMAL NOT NULL, quantity DECIMAL NOT NULL, side VARCHAR NOT NULL);
CREATE INDEX ON literal_trade(entity_id, timestamp);
CREATE INDEX ON literal_trade(timestamp);
"""


class Target(NamedTuple):
    """A table, its columns and key, and how our rows become its rows."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: Callable[[Sequence], list[tuple]]

    @property
    def values(self) -> list[str]:
        return [name for name in self.columns if name not in self.key]


def targets(keys: dict[str, int], known_ns: int) -> dict[str, tuple[Target, Target]]:
    """`lean` and `literal`: of klines, of trades."""
    known = to_datetime(known_ns)

    def lean_klines(bars: Sequence[Kline]) -> list[tuple]:
        return [
            (keys[k.instrument], k.trades, to_datetime(k.open_ns), known, k.open, k.high, k.low, k.close, k.volume, k.turnover, 4, k.final)
            for k in bars
        ]

    def lean_trades(deals: Sequence[Trade]) -> list[tuple]:
        return [
            (keys[t.instrument], 1, t.event_ns % 1000, to_datetime(t.event_ns), known, t.price, t.quantity, t.side == "buy", t.trade_id)
            for t in deals
        ]

    lean = (
        Target(
            "lean_kline",
            ("instrument_id", "trades", "open_time", "known_at", "open", "high", "low", "close", "volume", "turnover", "source", "final"),
            ("instrument_id", "open_time"),
            lean_klines,
        ),
        Target(
            "lean_trade",
            ("instrument_id", "stream", "event_ns_rest", "event_time", "known_at", "price", "quantity", "taker_buys", "venue_trade_id"),
            ("instrument_id", "event_time", "stream", "venue_trade_id"),
            lean_trades,
        ),
    )
    literal = (
        Target(
            "literal_kline",
            ("id", "entity_id", "timestamp", "open_price", "high_price", "low_price", "close_price", "volume", "turnover"),
            ("id",),
            literal_klines,
        ),
        Target("literal_trade", ("id", "entity_id", "timestamp", "trade_id", "price", "quantity", "side"), ("id",), literal_trades),
    )
    return {"lean": lean, "literal": literal}


def literal_klines(bars: Sequence[Kline]) -> list[tuple]:
    made = []
    for k in bars:
        at = to_datetime(k.open_ns).replace(tzinfo=None)
        values = (Decimal(repr(value)) for value in (k.open, k.high, k.low, k.close, k.volume, k.turnover))
        made.append((f"{k.instrument}_{at:%Y-%m-%dT%H:%M:%S}", k.instrument, at, *values))
    return made


def literal_trades(deals: Sequence[Trade]) -> list[tuple]:
    made = []
    for t in deals:
        at = to_datetime(t.event_ns).replace(tzinfo=None)
        made.append(
            (f"{t.instrument}_{t.trade_id}", t.instrument, at, t.trade_id, Decimal(repr(t.price)), Decimal(repr(t.quantity)), t.side)
        )
    return made


async def measure_peers(url: str, keys: dict[str, int], known_ns: int, bars: Sequence, deals: Sequence, few: int) -> dict[str, float]:
    """`peer_{who}_{lean|literal}_{kline|trade}_{insert|upsert}_rows_s`; SQLAlchemy and executemany take `few` rows, COPY all of them."""
    admin = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    await admin.execute(SCHEMA)
    await admin.executemany("INSERT INTO literal_pair VALUES ($1)", [(name,) for name in keys])
    figures: dict[str, float] = {}
    for form, (klines, trades) in targets(keys, known_ns).items():
        for noun, target, rows in (("kline", klines, bars), ("trade", trades, deals)):
            writers: dict[str, tuple[Sequence, Callable[[], Awaitable[None]]]] = {
                "sqlalchemy": (rows[:few], await _sqlalchemy(url, target, rows[:few])),
            }
            if form == "lean":
                writers["executemany"] = (rows[:few], _executemany(admin, target, rows[:few]))
            else:
                writers["copy"] = (rows, await _copy(admin, target, rows))
            for who, (given, write) in writers.items():
                await admin.execute(f"TRUNCATE {target.table}")
                await admin.execute("CHECKPOINT")
                for kind in ("insert", "upsert"):
                    began = time.perf_counter()
                    await write()
                    figures[f"peer_{who}_{form}_{noun}_{kind}_rows_s"] = len(given) / (time.perf_counter() - began)
    await admin.close()
    return figures


def _executemany(connection: asyncpg.Connection, target: Target, rows: Sequence) -> Callable[[], Awaitable[None]]:
    places = ", ".join(f"${n}" for n in range(1, len(target.columns) + 1))
    text = f"INSERT INTO {target.table} ({', '.join(target.columns)}) VALUES ({places}) {_replacing(target)}"

    async def write() -> None:
        async with connection.transaction():
            await connection.executemany(text, target.rows(rows))

    return write


async def _copy(connection: asyncpg.Connection, target: Target, rows: Sequence) -> Callable[[], Awaitable[None]]:
    """As ours is filled: COPY to a temporary table, one INSERT."""
    await connection.execute(f"CREATE TEMP TABLE incoming_{target.table} (LIKE {target.table}) ON COMMIT DELETE ROWS")
    text = f"INSERT INTO {target.table} SELECT * FROM incoming_{target.table} {_replacing(target)}"

    async def write() -> None:
        async with connection.transaction():
            await connection.copy_records_to_table(f"incoming_{target.table}", records=target.rows(rows))
            await connection.execute(text)

    return write


async def _sqlalchemy(url: str, target: Target, rows: Sequence) -> Callable[[], Awaitable[None]]:
    """Core: `insert(...).on_conflict_do_update(...)`, its own batching of many rows."""

    async def connect(*_: object, **__: object) -> asyncpg.Connection:
        return await asyncpg.connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        table = await connection.run_sync(lambda sync: Table(target.table, MetaData(), autoload_with=sync))
    statement = insert(table)
    statement = statement.on_conflict_do_update(index_elements=list(target.key), set_={n: statement.excluded[n] for n in target.values})

    async def write() -> None:
        async with engine.begin() as connection:
            await connection.execute(statement, [dict(zip(target.columns, row, strict=True)) for row in target.rows(rows)])
        await engine.dispose()

    return write


def _replacing(target: Target) -> str:
    return f"ON CONFLICT ({', '.join(target.key)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in target.values)}"
