"""kill -9 of any process during a replay, then the same command again: the rows are those of a run that nobody disturbed."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from proofs.proof_parts import SPOT, USDM, Recording
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(600)]

SPEED = 60.0  # the first file's 346 s in about 6 s: long enough to be hit midway
SEEDS = int(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS", "0"))
ROWS = {
    "trades": "SELECT entity_id, trade_id, price, quantity, side, timestamp FROM crypto_trade ORDER BY trade_id",
    "minutes": "SELECT * FROM (SELECT id, timestamp, open_price, high_price, low_price, close_price, volume, turnover, final, source "
    "FROM {kind}_1m_kdata) k WHERE final ORDER BY timestamp",
    "fives": "SELECT id, open_price, high_price, low_price, close_price, volume, final, source FROM {kind}_5m_kdata WHERE final ORDER BY id",
    "holes": "SELECT instrument_id, channel, start_time, end_time, first_id, last_id FROM gap WHERE filled_from IS NULL",
}


def start(folder: Path, recorded: Path, recording: Recording, speed: float = SPEED) -> subprocess.Popen[bytes]:
    """The user's own command, in a session of its own."""
    command = [
        str(Path(sys.executable).with_name("zvt-crypto")),
        "replay",
        str(recorded / recording.files[0]),
        "--speed",
        str(speed),
        "--json",
    ]
    return subprocess.Popen([*command, "--data-dir", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(folder: Path, recorded: Path, recording: Recording) -> dict[str, Any]:
    """Run the command until it says that it is complete."""
    for _ in range(3):
        process = start(folder, recorded, recording)
        out, err = process.communicate(timeout=240)
        if process.returncode == 0:
            return json.loads(out)  # type: ignore[no-any-return]
    raise AssertionError(f"never completed: {process.returncode} {out.decode()} {err.decode()[-2000:]}")


def rows_of(folder: Path, recording: Recording) -> dict[str, list[tuple[Any, ...]]]:
    server = EmbeddedServer(folder / "replay" / "database")
    try:
        return asyncio.run(_fetch(server.start(), recording.entity.partition("_")[0]))
    finally:
        server.stop()


async def _fetch(url: str, kind: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = await asyncpg.connect(url)
    try:
        return {name: [tuple(row) for row in await connection.fetch(query.replace("{kind}", kind))] for name, query in ROWS.items()}
    finally:
        await connection.close()


def process_to_kill(kind: str, root: psutil.Process, folder: Path) -> psutil.Process | None:
    if kind == "platform":
        return root
    if kind == "emulator":
        return next((p for p in root.children(recursive=True) if "emulator" in p.cmdline()), None)
    found = list((folder / "replay" / "database").rglob("postmaster.pid"))
    number = int(found[0].read_text().splitlines()[0]) if found else 0
    return psutil.Process(number) if number > 0 else None  # below zero: still being made


@contextmanager
def open_folder() -> Iterator[Path]:
    """Not under pytest's own: every pytest that starts closes that to other users, and root's PostgreSQL runs as one."""
    with tempfile.TemporaryDirectory(prefix="zvt-kill-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def undisturbed(recorded: Path) -> Callable[[Recording], dict[str, list[tuple[Any, ...]]]]:
    @functools.cache
    def rows(name: str) -> dict[str, list[tuple[Any, ...]]]:
        recording = SPOT if name == SPOT.name else USDM
        with open_folder() as folder:
            assert finish(folder, recorded, recording)["complete"] is True
            return rows_of(folder, recording)

    return lambda recording: rows(recording.name)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def blows() -> list[Any]:
    """Who is hit, and the seed of when. A fixed sample in the suite; `make prove` hits as often as it is told."""
    kinds = ("platform", "emulator", "database")
    made = [(USDM if seed % 4 == 3 else SPOT, kinds[seed % 3], seed) for seed in range(max(4, SEEDS // 10))]
    return [pytest.param(*blow, id=f"{blow[0].entity}-{blow[1]}-{blow[2]}") for blow in made]


@pytest.mark.parametrize(("recording", "kind", "seed"), blows())
def test_the_rows_are_those_of_an_undisturbed_run(
    undisturbed: Callable[[Recording], dict[str, list[tuple[Any, ...]]]],
    recorded: Path,
    folder: Path,
    recording: Recording,
    kind: str,
    seed: int,
) -> None:
    chance = random.Random(seed)
    process = start(folder, recorded, recording)
    hits = 0
    try:
        root = psutil.Process(process.pid)
        ends = time.monotonic() + 60
        while hits < 2 and process.poll() is None and time.monotonic() < ends:
            time.sleep(chance.uniform(1.5, 4.0))
            try:
                victim = process_to_kill(kind, root, folder)
                if victim is not None:
                    victim.send_signal(signal.SIGKILL)
                    hits += 1
            except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
                continue
        process.communicate(timeout=240)
    finally:
        process.kill()
    assert hits, "nothing was hit"
    assert finish(folder, recorded, recording)["complete"] is True
    after = rows_of(folder, recording)
    for name, rows in undisturbed(recording).items():
        assert after[name] == rows, f"{name} differ after {hits} kills of the {kind} (seed {seed})"
    assert len(after["trades"]) > 9_000
    assert len(after["minutes"]) >= 4
