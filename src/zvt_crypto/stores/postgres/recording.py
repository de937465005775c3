"""What a recorder stores at once: rows of every noun, and up to where the shared feed is stored with them, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

import msgspec

from zvt_crypto.domain.events import Event, FeedPosition
from zvt_crypto.domain.market import BookSample, BookSnapshot, Funding, Gap, Kline, MarkPrice, Trade
from zvt_crypto.stores.postgres.facts import PostgresFacts
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.klines import PostgresKlines
from zvt_crypto.stores.postgres.partitions import Partitions, day_of, despite_drops
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.postgres.trades import PostgresTrades

T = TypeVar("T")
_Of = TypeVar("_Of", Trade, Kline, Funding, MarkPrice, BookSample, Gap)
_POSITION = """
INSERT INTO feed_position (shard, mark) VALUES ($1, $2)
ON CONFLICT (shard) DO UPDATE SET mark = excluded.mark, stored_at = clock_timestamp()
"""


class PostgresRecording:
    """ports.Recording."""

    def __init__(self, pool: Pool, keys: Keys) -> None:
        self._pool = pool
        self._keys = keys
        self._days = Partitions("trade", day_of)

    async def record(self, events: Sequence[Event], known_at_ns: int, positions: Sequence[FeedPosition] = ()) -> None:
        """As ports.Recording says."""
        trades = _of(Trade, events)

        async def work(connection: Connection) -> None:
            await self._days.ensure(connection, (t.event_ns for t in trades))  # outside: a day stays, whatever becomes of its rows
            async with connection.transaction():
                await self._store(connection, trades, events, known_at_ns)
                if positions:
                    newest = {position.shard: position.mark for position in positions}
                    await connection.executemany(_POSITION, sorted(newest.items()))  # always in one order: nobody waits crosswise

        if events or positions:
            await self._pool.run(f"record {len(events)} events", lambda c: despite_drops([self._days], lambda: work(c)))

    async def positions(self) -> list[FeedPosition]:
        """As ports.Recording says."""
        rows = await self._pool.run("read positions", lambda c: c.fetch("SELECT shard, mark FROM feed_position ORDER BY shard"))
        return [FeedPosition(shard, mark) for shard, mark in rows]

    async def _store(self, connection: Connection, trades: list[Trade], events: Sequence[Event], known_at_ns: int) -> None:
        bound = cast("Pool", _Bound(connection))
        facts = PostgresFacts(bound, self._keys)
        await PostgresTrades(bound, self._keys).append(trades, known_at_ns)
        await PostgresKlines(bound, self._keys).upsert(_of(Kline, events), known_at_ns)
        await facts.save_funding(_of(Funding, events), known_at_ns)
        await facts.save_mark(_of(MarkPrice, events), known_at_ns)
        await facts.save_books([BookSnapshot(*msgspec.structs.astuple(s)) for s in _of(BookSample, events)], known_at_ns)
        await facts.save_gaps(_of(Gap, events), known_at_ns)


class _Bound:
    """A pool of one connection that is inside a transaction: whoever writes through it takes part."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(self, what: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await work(self._connection)

    async def write(self, what: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._connection.transaction():
            return await work(self._connection)


def _of(kind: type[_Of], events: Sequence[Event]) -> list[_Of]:
    return [event for event in events if isinstance(event, kind)]
