"""What every store of leases does. A new one joins by a line in `leases`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from zvt_crypto.domain.errors import BadConfig, StoreUnavailable
from zvt_crypto.ports import Lease
from zvt_crypto.stores.postgres.leases import open_leases

LONG_S = 60.0
GONE_S = 0.001


@pytest.fixture(params=["postgres"])
async def leases(request, database_url) -> AsyncIterator[Lease]:
    opened = {"postgres": await open_leases(database_url)}[request.param]
    yield opened
    await opened.close()


async def acquired(leases: Lease, name: str, holder: str, ttl_s: float = LONG_S) -> int:
    token = await leases.acquire(name, holder, ttl_s)
    assert token is not None
    return token


async def run_out(leases: Lease, name: str) -> None:
    while any(state.left_s > 0 for state in await leases.states(name)):  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def test_one_of_many_that_claim_at_once_gets_it(leases, database_url):
    others = [await open_leases(database_url) for _ in range(4)]
    tokens = await asyncio.gather(*(one.acquire("shard", f"p{n}", LONG_S) for n, one in enumerate([leases, *others] * 3)))
    assert sum(token is not None for token in tokens) == 1
    for one in others:
        await one.close()


async def test_who_holds_it_is_refused_it_anew_and_renews_instead(leases):
    token = await acquired(leases, "shard", "a")
    assert await leases.acquire("shard", "a", LONG_S) is None
    assert await leases.renew({"shard": token}, "a", LONG_S) == {"shard"}


async def test_the_token_rises_with_each_holder_also_when_the_clock_stood_still(leases):
    tokens = []
    for turn in range(20):  # several within a millisecond
        tokens.append(await acquired(leases, "shard", f"p{turn % 2}"))
        assert await leases.release("shard", f"p{turn % 2}", tokens[-1])
    assert tokens == sorted(set(tokens))


async def test_what_ran_out_may_be_taken_and_is_lost_to_its_holder(leases):
    token = await acquired(leases, "shard", "a", GONE_S)
    await run_out(leases, "shard")
    taken = await acquired(leases, "shard", "b")
    assert taken > token
    assert await leases.renew({"shard": token}, "a", LONG_S) == set()
    assert not await leases.release("shard", "a", token)
    assert [(s.holder, s.token) for s in await leases.states()] == [("b", taken)]


async def test_what_ran_out_and_nobody_took_is_renewed_under_its_token(leases):
    token = await acquired(leases, "shard", "a", GONE_S)
    await run_out(leases, "shard")
    assert await leases.renew({"shard": token, "other": 1}, "a", LONG_S) == {"shard"}
    assert await leases.acquire("shard", "b", LONG_S) is None


async def test_an_old_token_of_the_same_holder_renews_nothing(leases):
    first = await acquired(leases, "shard", "a")
    await leases.release("shard", "a", first)
    second = await acquired(leases, "shard", "a")
    assert await leases.renew({"shard": first}, "a", LONG_S) == set()
    assert await leases.renew({"shard": second}, "a", LONG_S) == {"shard"}


async def test_states_tell_who_holds_what_and_for_how_long(leases):
    await acquired(leases, "shard:1", "a")
    token = await acquired(leases, "shard:0", "b", GONE_S)
    await acquired(leases, "other", "a")
    await run_out(leases, "shard:0")
    gone, held = await leases.states("shard:")
    assert (gone.name, gone.holder, gone.token, held.name, held.holder) == ("shard:0", "b", token, "shard:1", "a")
    assert gone.left_s <= 0 < LONG_S - 5 < held.left_s <= LONG_S


async def test_a_token_is_greater_than_those_of_every_name_before(leases):
    first = await acquired(leases, "x", "a")
    await asyncio.sleep(0.002)
    assert await acquired(leases, "y", "a") > first


async def test_only_names_that_ran_out_long_ago_are_swept(leases, sql: asyncpg.Connection):
    for name in ("process:a", "process:b", "shard"):
        await acquired(leases, name, "a", GONE_S)
    await sql.execute("UPDATE lease SET until = until - interval '2 hours' WHERE name <> 'process:b'")
    await leases.sweep("process:")
    assert [state.name for state in await leases.states()] == ["process:b", "shard"]


async def test_a_database_that_does_not_answer_is_unavailable_in_a_second(leases, sql: asyncpg.Connection):
    token = await acquired(leases, "shard", "a")
    async with sql.transaction():
        await sql.execute("LOCK TABLE lease")
        with pytest.raises(StoreUnavailable):
            await leases.renew({"shard": token}, "a", LONG_S)
    assert await leases.renew({"shard": token}, "a", LONG_S) == {"shard"}


async def test_an_address_that_is_none_is_refused():
    with pytest.raises((BadConfig, StoreUnavailable)):
        await open_leases("postgresql://nobody@127.0.0.1:1/none")
