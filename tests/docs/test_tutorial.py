"""The tutorial works as it is written: every block marked to run is run, in order, in one shell."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- run -->\n```(bash|python)\n(.*?)```", re.DOTALL)
PAGES = [page for page in sorted((REPO / "docs").rglob("*.md")) if "<!-- run -->" in page.read_text("utf-8")]

# What the blocks of a page print, among other things.
SAID = {
    "first-steps.md": ("crypto_binance_btc", "timestamp,entity_id,interval,open"),
    "provenance.md": ("known then: 60 bars, now: 120", "exchange says", "the same as our answer", "chunks compared, 0 wrong", "holes: "),
    "books.md": ("cryptopair_binance_btcusdt at ", "ask size"),
    "export.md": ("cryptopair_binance_ethusdt", "170 rows in 1 files", "rows: 170"),
    "research.md": ("bars: 2880", "mean"),
    "import.md": (
        "bars.csv,4,2024-08-08T00:01:30Z,is no open of 1m",
        "exit status 1",
        "2024-08-09T00:00:00.000Z   100   103   99    101     120",
    ),
    "trust.md": ("missing  cryptopair_binance_btcusdt  kline 1m", "venue 110"),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def script_of(page: str) -> str:
    """The blocks as one shell script: python blocks through the interpreter; ports that are free here; the venv is on the path already."""
    parts = ["set -euo pipefail"]
    for language, body in BLOCK.findall(page):
        parts.append(body if language == "bash" else f"python - <<'END_OF_BLOCK'\n{body}END_OF_BLOCK")
    script = "\n".join(parts).replace("source .venv/bin/activate\n", "").replace("kill %1", 'kill "$EMULATOR"; wait "$EMULATOR" || true')
    script = script.replace("> emulator.json &\n", "> emulator.json &\nEMULATOR=$!\ntrap 'kill $EMULATOR 2>/dev/null || true' EXIT\n")
    return script.replace("9000", str(free_port())).replace("9001", str(free_port()))


def test_there_is_a_tutorial() -> None:
    assert {page.name for page in PAGES} == set(SAID)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ZVT_CRYPTO__")}
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "HOME": str(tmp_path), "ZVT_CRYPTO__DATA_DIR": str(tmp_path / "data")}
    env |= {"ZVT_CRYPTO__API__PORT": str(free_port()), "ZVT_CRYPTO__WS__PORT": str(free_port())}
    done = subprocess.run(
        ["bash", "-c", script_of(page.read_text("utf-8"))], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    for said in SAID[page.name]:
        assert said in done.stdout
    if page.name == "first-steps.md":
        assert (tmp_path / "btcusdt-1h.parquet").stat().st_size > 10_000
