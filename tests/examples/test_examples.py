"""Every example runs, is short, and says how to run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((REPO / "examples").glob("*.py"))
ZVT_CRYPTO = str(Path(sys.executable).parent / "zvt-crypto")


@pytest.fixture(scope="module")
def exchange() -> Iterator[dict[str, str]]:
    """An emulated exchange: where it is."""
    command = [ZVT_CRYPTO, "emulator", "market", "--rest-port", "0", "--ws-port", "0", "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


@pytest.fixture(scope="module")
def env(exchange: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("ZVT_CRYPTO__")}
    found["ZVT_CRYPTO__DATA_DIR"] = str(tmp_path_factory.mktemp("examples"))
    found |= {"ZVT_CRYPTO__BINANCE__REST": exchange["rest_url"], "ZVT_CRYPTO__BINANCE__WS": exchange["ws_url"]}
    return found


@pytest.fixture(scope="module")
def platform(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """A running platform: its addresses, once its first book is whole."""
    command = [ZVT_CRYPTO, "up", "--symbols", "BTCUSDT", "--no-view", "--api-port", "0", "--ws-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stdout is not None
        text = ""
        deadline = time.monotonic() + 60
        while " rows " not in text and time.monotonic() < deadline:
            text += process.stdout.readline()
        api, ws = re.search(r"(http://\S+)/docs", text), re.search(r"(ws://\S+)", text)
        assert api, text
        assert ws, text
        yield {"api": api[1], "ws": ws[1]}
        process.terminate()
        process.stdout.read()
        assert process.wait(30) == 0


def run(example: str, *arguments: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, str(REPO / "examples" / example), *arguments], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [path.name for path in EXAMPLES if f'"{path.name}"' not in source] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_is_short_and_tells_how_to_run_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 35
    assert f"python examples/{path.name}" in text


def test_record_and_query(env: dict[str, str]) -> None:
    said = run("01_record_and_query.py", env=env)
    assert "{'cryptopair_binance_btcusdt': 720}" in said or "{'cryptopair_binance_btcusdt': 719}" in said
    assert "standard deviation" in said


def test_rest(platform: dict[str, str], env: dict[str, str]) -> None:
    said = run("02_rest.py", platform["api"], env=env)
    assert "Bitcoin" in said
    assert "bids [[" in said


def test_websocket(platform: dict[str, str], env: dict[str, str]) -> None:
    said = run("03_websocket.py", platform["ws"], "12", env=env)
    assert "depth snapshot" in said


def test_connector(exchange: dict[str, str], env: dict[str, str]) -> None:
    said = run("04_connector.py", exchange["rest_url"], exchange["ws_url"], env=env)
    assert "best bid" in said
    assert said.count("crypto") >= 5
