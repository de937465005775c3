"""The user's own command at its default speed, as fast as the exchange is read: what it stores is what was recorded."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import asyncpg
import pytest

from proofs.proof_parts import Recording
from proofs.test_kills import open_folder, rows_of, start
from proofs.test_recorded_rows import recorded_trades
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

pytestmark = [pytest.mark.data, pytest.mark.slow]


def test_a_replay_at_full_speed_stores_every_recorded_trade(recorded: Path, recording: Recording) -> None:
    expected = sorted(recorded_trades(Recording(recording.name, recording.files[:1], recording.entity, recording.options), recorded))
    with open_folder() as folder:
        process: subprocess.Popen[bytes] = start(folder, recorded, recording, speed=0)
        _, err = process.communicate(timeout=110)
        assert process.returncode == 0, err.decode()
        rows = rows_of(folder, recording)
    assert [(int(number), price, size, side) for _, number, price, size, side, _ in rows["trades"]] == [row[:4] for row in expected]
    assert (len(rows["minutes"]), rows["holes"]) == (5, [])


def test_minutes_that_were_cut_off_after_their_trades_are_built_by_the_same_command(recorded: Path, recording: Recording) -> None:
    """A kill between the two leaves the trades alone, and no further trade will come to close their minutes."""
    with open_folder() as folder:
        assert start(folder, recorded, recording, speed=0).wait(110) == 0
        whole = rows_of(folder, recording)
        server = EmbeddedServer(folder / "replay" / "database")
        try:
            asyncio.run(forget_klines(server.start()))
        finally:
            server.stop()
        assert rows_of(folder, recording)["minutes"] == []
        assert start(folder, recorded, recording, speed=0).wait(110) == 0
        assert rows_of(folder, recording) == whole


async def forget_klines(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for name in ("kline_1m", "kline_5m"):
            await connection.execute(f"DELETE FROM {name}")
    finally:
        await connection.close()
