"""An emulator in a process of its own, that ends when we do, however we end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence

import msgspec

from zvt_crypto.domain.errors import BadCapture, BadInput, ZvtCryptoError
from zvt_crypto.domain.instrument import Kind
from zvt_crypto.ports import Channel

START_S = 120.0  # a capture of a gigabyte is read first
END_S = 5.0
_MAIN = "from zvt_crypto.cli.main import main; main()"


class Held(msgspec.Struct, frozen=True):
    """One thing that a capture holds and a connector can follow."""

    native: str
    kinds: tuple[Kind, ...]
    channel: Channel
    interval: str | None = None


class EmulatorPlace(msgspec.Struct, frozen=True):
    """Where it listens; of a capture also what it holds."""

    rest_url: str
    ws_url: str
    exchanges: dict[str, dict[str, str]] = {}
    exchange: str = ""
    holds: list[Held] = []
    first_ns: int | None = None
    frames: int = 0


@contextlib.asynccontextmanager
async def emulator_process(arguments: Sequence[str]) -> AsyncIterator[tuple[EmulatorPlace, asyncio.subprocess.Process]]:
    """`zvt-crypto emulator <arguments>` on free ports. Raises what it says on stderr when it does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, "emulator", *arguments, "--rest-port", "0", "--ws-port", "0", "--with-parent",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: we end it after what reads from it
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        if not line:
            raise await _failed(process)
        yield msgspec.json.decode(line, type=EmulatorPlace), process
    finally:
        await _end(process)


async def _failed(process: asyncio.subprocess.Process) -> ZvtCryptoError:
    assert process.stderr is not None
    said = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
    last = (said[-1] if said else f"it ended with {await process.wait()}").removeprefix("error: ")
    message, _, code = last.rpartition(" [")
    if code.rstrip("]") == BadCapture.code:
        return BadCapture(message)
    return BadInput(message or last) if await process.wait() == 2 else ZvtCryptoError(f"the emulator did not start: {last}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
