"""The user's own command at its default speed, as fast as the exchange is read: what it stores is what was recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from proofs.proof_parts import Recording
from proofs.test_kills import open_folder, rows_of, start
from proofs.test_recorded_rows import recorded_trades

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
