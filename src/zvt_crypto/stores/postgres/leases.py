"""Leases in the database (ports.Lease): one row a name, judged by the database's clock alone, over a connection of their own.

A token is the database's clock in milliseconds, and in any case more than the last one of its name: it rises for each name even where
that clock is set back, is greater than old ones after a backup was restored, and can be compared between names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TypeVar

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.ports import LeaseState, Observer
from zvt_crypto.stores.postgres.pool import Connection, Pool, connect_pool

T = TypeVar("T")
ANSWER_S = 1.0  # a lease of 5 s is asked for again twice before it runs out

_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_SWEEP = "DELETE FROM lease WHERE starts_with(name, $1) AND until < clock_timestamp() - interval '1 hour'"
_ACQUIRE = f"""
INSERT INTO lease AS l (name, holder, token, until) VALUES ($1, $2, {_NOW_MS}, clock_timestamp() + $3::interval)
ON CONFLICT (name) DO UPDATE SET holder = $2, token = greatest(l.token + 1, {_NOW_MS}), until = clock_timestamp() + $3::interval
WHERE l.until <= clock_timestamp() RETURNING token
"""  # noqa: S608 - texts of our own
_RENEW = """
UPDATE lease l SET until = clock_timestamp() + $4::interval FROM unnest($1::text[], $2::bigint[]) AS h (name, token)
WHERE l.name = h.name AND l.token = h.token AND l.holder = $3 RETURNING l.name
"""
_RELEASE = "UPDATE lease SET until = clock_timestamp() WHERE name = $1 AND holder = $2 AND token = $3 RETURNING name"
_STATES = """
SELECT name, holder, token, extract(epoch FROM until - clock_timestamp())::float8 FROM lease
WHERE starts_with(name, $1) ORDER BY name
"""


class PostgresLeases:
    """ports.Lease. Each question is given `ANSWER_S`: a database that is slower is none for this purpose."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def acquire(self, name: str, holder: str, ttl_s: float) -> int | None:
        """As ports.Lease says."""
        token: int | None = await self._ask("claim a lease", lambda c: c.fetchval(_ACQUIRE, name, holder, timedelta(seconds=ttl_s)))
        return token

    async def renew(self, held: Mapping[str, int], holder: str, ttl_s: float) -> set[str]:
        """As ports.Lease says."""
        names, tokens = list(held), list(held.values())
        rows = await self._ask("renew leases", lambda c: c.fetch(_RENEW, names, tokens, holder, timedelta(seconds=ttl_s)))
        return {row[0] for row in rows}

    async def release(self, name: str, holder: str, token: int) -> bool:
        """As ports.Lease says."""
        return await self._ask("release a lease", lambda c: c.fetchval(_RELEASE, name, holder, token)) is not None

    async def states(self, prefix: str = "") -> list[LeaseState]:
        """As ports.Lease says."""
        return [LeaseState(*row) for row in await self._ask("read leases", lambda c: c.fetch(_STATES, prefix))]

    async def sweep(self, prefix: str) -> None:
        """As ports.Lease says."""
        await self._ask("sweep leases", lambda c: c.execute(_SWEEP, prefix))

    async def close(self) -> None:
        """Release the connection."""
        await self._pool.close()

    async def _ask(self, what: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._pool.run(what, work)
        except TimeoutError:
            raise StoreUnavailable(f"cannot {what}: the database did not answer within {ANSWER_S:g} s") from None


async def open_leases(url: str, *, observer: Observer | None = None) -> PostgresLeases:
    """Over one connection of their own, so that a pool that is busy costs nobody a lease. Raises StoreUnavailable, BadConfig."""
    return PostgresLeases(await connect_pool(url, 1, observer))
