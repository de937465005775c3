"""The emulator in a process of its own: what it says, and that it never outlives us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest

from zvt_crypto.cli.child import EmulatorPlace, EmulatorProcess, emulator_process
from zvt_crypto.cli.commands import emulator, replay
from zvt_crypto.domain.errors import BadInput, ZvtCryptoError

SPINS = """
    import asyncio, sys
    from zvt_crypto.cli.commands import emulator

    async def spin():
        gone = asyncio.ensure_future(emulator._parent_gone())
        await asyncio.sleep(0)
        print("spinning", flush=True)
        while True:
            pass

    emulator.ALONE_S = 0.2
    asyncio.run(spin())
"""
ENDS = """
    import asyncio
    from zvt_crypto.cli.commands import emulator

    async def wait():
        print("waiting", flush=True)
        await emulator._parent_gone()
        print("in good order", flush=True)

    asyncio.run(wait())
"""


async def started(code: str) -> EmulatorProcess:
    pipe = asyncio.subprocess.PIPE
    return EmulatorProcess(await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe, stderr=pipe))


async def test_one_that_says_much_is_not_stopped_by_a_full_pipe() -> None:
    process = await started("import sys; sys.stderr.write(('x' * 99 + '\\n') * 20_000 + 'the end\\n')")
    try:
        assert await process.wait() == process.returncode == 0
        assert await process.all_said() == process.last_line() == "the end"
    finally:
        await process.end()


async def test_one_that_says_nothing_and_ends_only_when_asked_has_no_last_line() -> None:
    process = await started("import sys; sys.stdin.read()")
    assert process.returncode is None
    await process.end()
    assert (process.returncode, process.last_line()) == (0, "")
    await process.end()


async def test_one_that_does_not_start_says_why() -> None:
    with pytest.raises(BadInput, match="a market plays no file"):
        async with emulator_process(["market", "/nowhere"]):
            pass


async def test_one_that_falls_silent_is_reported_with_what_it_said_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SILENT_S", 0.0)
    async with emulator_process(["market", "--symbols", "BTCUSDT"]) as (place, _):
        process = await started("import os, sys; os.write(2, b'what was wrong'); os.close(2); sys.stdin.read()")
        try:
            assert process.pid > 0
            assert await process.all_said() == "what was wrong"
            async with replay.ask_session() as session:
                assert (await replay._status(session, place.rest_url))["mode"] == "market"
                nobody = EmulatorPlace("http://127.0.0.1:9", "")
                with pytest.raises(ZvtCryptoError, match=r"has not answered for 0 s \(it said last: what was wrong\)"):
                    await replay._silent(session, nobody, process)
        finally:
            await process.end()


def ended(code: str) -> tuple[int, str]:
    """How a process ends whose parent closes the pipe, and what it said after its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdout.readline()
            assert process.poll() is None
            process.stdin.close()
            return process.wait(30), process.stdout.read()
        finally:
            process.kill()


def test_it_ends_in_good_order_when_its_parent_is_gone() -> None:
    assert ended(ENDS) == (0, "in good order\n")
    assert emulator.ALONE_S > 1


def test_it_ends_even_where_its_loop_never_comes_back() -> None:
    assert ended(SPINS) == (1, "")
