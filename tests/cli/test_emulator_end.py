"""That a recording is over is said, once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path

from cli_parts import ZVT_CRYPTO, clean_env

from zvt_crypto.cli.commands.emulator import tell_end
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.replay import ReplayWorld

RECORDED = Path(__file__).parent.parent / "fixtures" / "emulator" / "hftbacktest_spot_btcusdt.gz"
SAID = "the recording is over: its clock stands still, and who follows it hears nothing more and goes on asking"


def test_it_is_said_when_the_last_frame_was_played_and_not_before() -> None:
    async def go() -> tuple[list[str], list[str]]:
        said: list[str] = []
        world = ReplayWorld(read_capture(RECORDED))
        telling = asyncio.create_task(tell_end(world, said.append))
        await asyncio.sleep(60)
        early = list(said)
        world.position = len(world.capture.frames)
        await telling
        return early, said

    assert virtual.run(go()) == ([], [SAID])


def test_of_a_market_nothing_is_said() -> None:
    async def go() -> list[str]:
        said: list[str] = []
        await tell_end(MarketWorld(1, start_ns=1_735_689_600_000_000_000, history_days=1), said.append)
        return said

    assert virtual.run(go()) == []


def test_who_plays_a_recording_that_is_over_reads_it_on_stderr(tmp_path: Path) -> None:
    frames = len(read_capture(RECORDED).frames)
    world = ReplayWorld(read_capture(RECORDED), state_path=tmp_path / "place.json")
    world.position = frames
    world.save()
    assert json.loads((tmp_path / "place.json").read_text())
    command = [ZVT_CRYPTO, "emulator", "replay", str(RECORDED), "--position", str(tmp_path / "place.json")]
    command += ["--rest-port", "0", "--ws-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env()) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["frames"] == frames
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert line == SAID + "\n"
