"""Fixtures of the command line's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_parts import Said, emulated, runner


@pytest.fixture(scope="module")
def exchange() -> Iterator[dict[str, str]]:
    """A synthetic exchange for the tests of a file."""
    with emulated("market", "--seed", "5", "--rate", "50") as place:
        yield place


@pytest.fixture
def zvt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """Commands in this process, with a data folder of their own."""
    monkeypatch.setenv("ZVT_CRYPTO__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    return runner(monkeypatch, capsys)


@pytest.fixture
def wired(zvt: Callable[..., Said], exchange: dict[str, str], database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Commands with a database and an exchange."""
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", database_url)
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__POOL_SIZE", "3")
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__REST", exchange["rest_url"])
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__WS", exchange["ws_url"])
    return zvt
