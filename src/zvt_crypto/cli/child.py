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

START_S = 300.0  # a capture of a gigabyte is read first, and of one that goes on also what follows from what was played
END_S = 5.0
_KEPT_BYTES = 16_384  # of what it says on stderr
_MAIN = "from zvt_crypto.cli.main import main; main()"


class Held(msgspec.Struct, frozen=True):
    """One thing that a capture holds and a connector can follow."""

    native: str
    kinds: tuple[Kind, ...]
    channel: Channel
    interval: str | None = None


class HeldBooks(msgspec.Struct, frozen=True):
    """How often a capture changes a book, and whether its messages tell what they follow."""

    native: str
    kinds: tuple[Kind, ...]
    changes: int
    is_chained: bool


class EmulatorPlace(msgspec.Struct, frozen=True):
    """Where it listens; of a capture also what it holds."""

    rest_url: str
    ws_url: str
    exchanges: dict[str, dict[str, str]] = {}
    exchange: str = ""
    holds: list[Held] = []
    books: list[HeldBooks] = []
    first_ns: int | None = None
    frames: int = 0
    damage: list[str] = []


class EmulatorProcess:
    """The running process. Its stderr is read as long as it lives: a full pipe would stop it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._kept = b""
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stderr is not None
        while said := await self._process.stderr.read(_KEPT_BYTES):
            self._kept = (self._kept + said)[-_KEPT_BYTES:]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it lives."""
        return self._process.returncode

    async def wait(self) -> int:
        """Until it has ended: its exit code."""
        return await self._process.wait()

    def last_line(self) -> str:
        """What it said last on stderr, "" for nothing."""
        lines = self._kept.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    async def all_said(self) -> str:
        """The last line of one that has ended, or closed its stderr."""
        await self._reading
        return self.last_line()

    async def end(self) -> None:
        """Ask it to end, by closing its stdin; kill it after END_S."""
        process = self._process
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def emulator_process(arguments: Sequence[str]) -> AsyncIterator[tuple[EmulatorPlace, EmulatorProcess]]:
    """`zvt-crypto emulator <arguments>` on free ports. Raises what it says on stderr when it does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, "emulator", *arguments, "--rest-port", "0", "--ws-port", "0", "--with-parent",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: we end it after what reads from it
    )  # fmt: skip
    assert process.stdout is not None
    emulator = EmulatorProcess(process)
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        if not line:
            raise await _failed(emulator)
        yield msgspec.json.decode(line, type=EmulatorPlace), emulator
    finally:
        await emulator.end()


async def _failed(process: EmulatorProcess) -> ZvtCryptoError:
    last = (await process.all_said() or f"it ended with {await process.wait()}").removeprefix("error: ")
    message, _, code = last.rpartition(" [")
    if code.rstrip("]") == BadCapture.code:
        return BadCapture(message)
    return BadInput(message or last) if await process.wait() == 2 else ZvtCryptoError(f"the emulator did not start: {last}")
