"""Processes that divide shards over a real database: each is held by one, moves gently, and is not used once it may be another's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from services.service_parts import Notes
from zvt_crypto.domain.errors import GaveUp
from zvt_crypto.services.leases import Held, LeaseKeeper, LeaseOptions
from zvt_crypto.stores.postgres.leases import open_leases
from zvt_crypto.venues.clock import SystemClock

QUICK = LeaseOptions(ttl_s=1.0, renew_s=0.1, settle_s=0.05)
TESTS = str(Path(__file__).resolve().parents[1])
NAMES = [f"ingest:binance:{n}" for n in range(4)]


class Process:
    """A keeper with its own connection, and what its work saw."""

    def __init__(self, url: str, holder: str, options: LeaseOptions = QUICK) -> None:
        self.url, self.holder, self.options = url, holder, options
        self.began: list[str] = []
        self.ended: list[tuple[str, bool]] = []
        self.notes = Notes()

    async def __aenter__(self) -> Process:
        self.leases = await open_leases(self.url)
        self.keeper = LeaseKeeper(self.leases, "test", NAMES, self.holder, self.work, SystemClock(), self.notes, self.options)
        self.task = asyncio.create_task(self.keeper.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.leases.close()

    async def work(self, held: Held) -> None:
        self.began.append(held.name)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append((held.name, held.is_lost))


async def until(claim: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def shares(*processes: Process) -> list[int]:
    return sorted(len(process.keeper.held) for process in processes)


@contextlib.asynccontextmanager
async def processes(url: str, count: int, options: LeaseOptions = QUICK) -> AsyncIterator[list[Process]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Process(url, f"p{n}", options)) for n in range(count)]


async def test_four_shards_are_divided_one_each_and_nobody_shares_one(database_url):
    async with processes(database_url, 4) as all_of:
        await until(lambda: shares(*all_of) == [1, 1, 1, 1])
        assert Counter(name for process in all_of for name in process.keeper.held) == Counter(NAMES)
        assert all(one.may_publish() for process in all_of for one in process.keeper.held.values())


async def test_a_process_that_joins_is_given_its_share_and_work_ends_before_it_moves(database_url):
    async with Process(database_url, "a") as first:
        await until(lambda: shares(first) == [4])
        async with Process(database_url, "b") as second:
            await until(lambda: shares(first, second) == [2, 2])
            assert [lost for _, lost in first.ended] == [False, False]
            assert {name for name, _ in first.ended} == set(second.began)
        await until(lambda: shares(first) == [4])  # and takes all back when it leaves


async def test_the_shards_of_a_process_that_is_gone_without_a_word_are_taken_over(database_url):
    gone = await open_leases(database_url)
    for name in NAMES:
        await gone.acquire(name, "gone", 0.3)
    await gone.acquire("process:test:gone", "gone", 0.3)
    await gone.close()
    async with Process(database_url, "a") as process:
        await until(lambda: shares(process) == [4])


async def test_a_lease_that_another_took_is_lost_and_its_work_is_told(database_url, sql: asyncpg.Connection):
    async with Process(database_url, "a") as process:
        await until(lambda: shares(process) == [4])
        held = process.keeper.held[NAMES[0]]
        await sql.execute(
            "UPDATE lease SET holder = 'b', token = token + 1, until = clock_timestamp() + interval '1 minute' WHERE name = $1", NAMES[0]
        )
        await until(lambda: process.ended)
        assert process.ended == [(NAMES[0], True)]
        assert not held.may_publish()
        assert process.notes.counts["leases_lost"] == 1


async def test_while_the_database_is_away_nobody_moves_and_afterwards_all_go_on(database_url, sql: asyncpg.Connection):
    async with processes(database_url, 2, LeaseOptions(ttl_s=2.5, renew_s=0.1, settle_s=0.05)) as both:
        await until(lambda: shares(*both) == [2, 2])
        held = {process.holder: dict(process.keeper.held) for process in both}
        async with sql.transaction():
            await sql.execute("LOCK TABLE lease")  # nobody's question is answered
            await until(lambda: all(process.keeper.is_away for process in both))
            assert all(one.may_publish() for process in both for one in process.keeper.held.values())
        await until(lambda: not any(process.keeper.is_away for process in both))
        await asyncio.sleep(3 * QUICK.renew_s)
        assert {process.holder: process.keeper.held for process in both} == held
        assert all(one.may_publish() for process in both for one in process.keeper.held.values())
        assert [process.ended for process in both] == [[], []]


async def test_the_own_wall_clock_is_not_asked(database_url):
    class Stepped(SystemClock):
        def now_ns(self) -> int:
            raise AssertionError("a lease is the database's to judge")

    leases = await open_leases(database_url)
    process = Process(database_url, "a")
    keeper = LeaseKeeper(leases, "test", NAMES, "a", process.work, Stepped(), Notes(), QUICK)
    task = asyncio.create_task(keeper.run())
    await until(lambda: len(keeper.held) == 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [state.left_s > 0 for state in await leases.states()] == [False] * 5
    await leases.close()


async def test_work_that_ends_by_itself_ends_the_keeper(database_url):
    async def fails(held: Held) -> None:
        raise GaveUp(f"{held.name} cannot be")

    leases = await open_leases(database_url)
    with pytest.raises(GaveUp, match="cannot be"):
        await LeaseKeeper(leases, "test", NAMES, "a", fails, SystemClock(), Notes(), QUICK).run()
    await leases.close()


async def test_work_that_takes_a_cancellation_for_something_else_is_told_again(database_url):
    told: list[str] = []

    async def stubborn(held: Held) -> None:
        while len(told) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append(held.name)

    leases = await open_leases(database_url)
    options = LeaseOptions(ttl_s=1.0, renew_s=0.1, settle_s=0.05, stop_s=0.05)
    keeper = LeaseKeeper(leases, "test", ["shard"], "a", stubborn, SystemClock(), Notes(), options)
    task = asyncio.create_task(keeper.run())
    await until(lambda: keeper.held)
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(task, return_exceptions=True)
    assert told == ["shard", "shard"]
    await leases.close()


PUBLISHER = textwrap.dedent("""
    import asyncio, sys
    from services.service_parts import Notes
    from zvt_crypto.services.leases import LeaseKeeper, LeaseOptions
    from zvt_crypto.stores.postgres.leases import open_leases
    from zvt_crypto.venues.clock import SystemClock

    async def work(held):
        try:
            while True:
                if held.may_publish():
                    print("published", held.token, flush=True)
                await asyncio.sleep(0.001)
        finally:
            print("lost" if held.is_lost else "ended", held.token, flush=True)

    async def main():
        leases = await open_leases(sys.argv[1])
        await LeaseKeeper(leases, "frozen", ["shard"], "child", work, SystemClock(), Notes(), LeaseOptions(ttl_s=1.0, renew_s=0.2)).run()

    asyncio.run(main())
""")


async def test_a_process_that_was_frozen_publishes_nothing_more_under_a_lease_that_another_holds(database_url, tmp_path: Path):
    said, complaints = tmp_path / "said", tmp_path / "complaints"
    env = {**os.environ, "PYTHONPATH": TESTS}
    with said.open("w") as out, complaints.open("w") as err:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISHER, database_url, stdout=out, stderr=err, env=env)
    try:
        await until(lambda: "published" in said.read_text() or complaints.read_text())
        child.send_signal(signal.SIGSTOP)
        leases = await open_leases(database_url)
        async with asyncio.timeout(10):
            while (taken := await leases.acquire("shard", "parent", 30.0)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        before = said.read_text()
        child.send_signal(signal.SIGCONT)
        await until(lambda: "lost" in said.read_text())
        after = said.read_text().removeprefix(before).splitlines()
    finally:
        child.kill()
        await child.wait()
    old = int(before.split()[-1])
    assert after == [f"lost {old}"], complaints.read_text()
    assert taken > old
    await leases.close()
