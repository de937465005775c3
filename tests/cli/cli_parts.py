"""What the tests of the command line share: run a command in this process, and an exchange to ask."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ZVT_CRYPTO = str(Path(sys.executable).parent / "zvt-crypto")
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "emulator"


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`zvt("kdata", "btcusdt")` → Said, in this process."""

    def zvt(*arguments: str) -> Said:
        from zvt_crypto.cli.main import main

        monkeypatch.setattr(sys, "argv", ["zvt-crypto", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return Said(int(str(code)), out, err)

    return zvt


def clean_env(**more: str) -> dict[str, str]:
    """This environment without settings of ours but the given ones."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ZVT_CRYPTO")} | more


@contextlib.contextmanager
def emulated(*arguments: str) -> Iterator[dict[str, str]]:
    """An emulator in a process of its own: what its first line says."""
    command = [ZVT_CRYPTO, "emulator", *arguments, "--rest-port", "0", "--ws-port", "0", "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_env()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(20)
