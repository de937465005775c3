"""Connections: a pool whose timestamps are integer nanoseconds, with retries where the same again may succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg

from zvt_crypto.ports import Observer
from zvt_crypto.stores.postgres.address import place_of
from zvt_crypto.stores.postgres.errors import Contended, LostConnection, mapped

T = TypeVar("T")
Row = Sequence[Any]
Connection = Any  # asyncpg's pool hands out a proxy of its Connection

_TRIES = 5
_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 5.0
_EPOCH_2000_US = 946_684_800_000_000  # PostgreSQL counts from 2000-01-01


class Pool:
    """Connections to one database."""

    def __init__(self, pool: asyncpg.Pool, observer: Observer | None) -> None:
        self._pool = pool
        self._observer = observer

    async def run(self, what: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """`await work(connection)`, again after a deadlock, a serialisation failure or (once) a lost connection.

        `work` must be safe to repeat: our writes are. Raises our errors only.
        """
        lost = 0
        for tries_left in reversed(range(_TRIES)):
            try:
                with mapped(what):
                    async with self._pool.acquire() as connection:
                        return await work(connection)
            except LostConnection:
                lost += 1
                if lost > 1:
                    raise
            except Contended:
                if not tries_left:
                    raise
                self._count("store_retries")
        raise AssertionError("unreachable")

    async def write(self, what: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """`run` inside one transaction."""

        async def all_or_nothing(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self.run(what, all_or_nothing)

    async def close(self) -> None:
        """End all connections; those in use are given 5 s."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def _count(self, name: str) -> None:
        if self._observer is not None:
            self._observer.count(name)


async def connect_pool(url: str, size: int, observer: Observer | None) -> Pool:
    """Raises StoreUnavailable, or BadConfig for a url that cannot be meant."""
    with mapped("connect to the database", place_of(url)):
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            timeout=_CONNECT_TIMEOUT_S,
            init=_speak_nanoseconds,
            connection_class=_Connection,
            server_settings={"application_name": "zvt-crypto", "timezone": "UTC", "extra_float_digits": "1"},
        )
    return Pool(pool, observer)


class _Connection(asyncpg.Connection):
    """A connection that is not reset when it returns to the pool: nothing here changes a session, and it saves 240 µs a query."""

    async def reset(self, *, timeout: float | None = None) -> None:
        """Nothing."""


async def _speak_nanoseconds(connection: Connection) -> None:
    await connection.set_type_codec("timestamptz", schema="pg_catalog", encoder=_to_wire, decoder=_from_wire, format="tuple")


def _to_wire(at_ns: int) -> tuple[int]:
    return (at_ns // 1000 - _EPOCH_2000_US,)


def _from_wire(wire: tuple[int]) -> int:
    return (wire[0] + _EPOCH_2000_US) * 1000
