"""Scripts of faults on the command line: refused before anything starts, or told on stderr when one fails at its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_parts import Said

from zvt_crypto.cli.commands.emulator import _markets, _plan

Zvt = Callable[..., Said]
PORTS = ("--rest-port", "0", "--ws-port", "0")


def written(folder: Path, text: str) -> Path:
    script = folder / "script.toml"
    script.write_text(text)
    return script


@pytest.mark.parametrize(
    ("text", "exchanges", "said"),
    [
        ('[[fault]]\nkind = "restart_books"\n', "bybit,binance", 'restart_books) at binance: binance never restarts the ids of its books'),
        ('[[fault]]\nkind = "restart_books"\n', "bybit,binance", 'say exchange = "bybit"'),
        ('[[fault]]\nat = "1h"\nkind = "delist"\nsymbol = "NOPE"\n', "okx", "fault 1 (delist) at okx: spot has no 'NOPE'"),
        ('[[fault]]\nkind = "cut"\n[[fault]]\nkind = "cut"\nexchange = "okx"\n', "bybit", "fault 2 (cut) is for exchange 'okx', which is not"),
    ],
)  # fmt: skip
def test_what_one_of_the_exchanges_cannot_do_is_refused(zvt: Zvt, tmp_path: Path, text: str, exchanges: str, said: str) -> None:
    done = zvt("emulator", "market", *PORTS, "--exchange", exchanges, "--faults", str(written(tmp_path, text)))
    assert (done.code, done.out, said in done.err) == (2, "", True), done.err


def test_a_script_that_is_no_text_is_refused(zvt: Zvt, tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_bytes(b"\xff\xfe\x00")
    done = zvt("emulator", "market", *PORTS, "--faults", str(script))
    assert (done.code, "is not text in UTF-8" in done.err) == (2, True), done.err


def test_a_fault_that_fails_at_its_time_is_told_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_ns = time.time_ns()
    made = _markets(["binance", "okx"], ("BTCUSDT", "ETHUSDT"), 1, 4.0, start_ns)
    _plan(written(tmp_path, '[[fault]]\nat = "1s"\nkind = "delist"\nsymbol = "ETHUSDT"\n'), list(made.values()), start_ns)
    made["okx"].world.delist("spot", "ETHUSDT")  # type: ignore[attr-defined]
    for dialect in made.values():
        dialect.poll(start_ns + 2_000_000_000)
    assert capsys.readouterr().err == "skipped: fault 1 (delist) at okx: spot has no 'ETHUSDT'; it has BTCUSDT\n"
    assert list(made["binance"].world.listings("spot")) == ["BTCUSDT"]
