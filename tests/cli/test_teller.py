"""What a command says while it waits."""

from __future__ import annotations

from zvt_crypto.cli.teller import SAID, Teller


def teller(at: list[float]) -> tuple[Teller, list[str]]:
    lines: list[str] = []
    return Teller(lines.append, lambda: at[0]), lines


def test_a_wait_is_one_line_with_the_reason_and_the_seconds() -> None:
    told, lines = teller([0.0])
    told.note("warning", "venue_waits", reason="binance klines:\n HTTP 418 with retry-after 300", wait_s=300.0)
    told.note("info", "something_else", reason="x")
    told.count("x")
    told.gauge("x", 1.0)
    assert lines == ["binance klines: HTTP 418 with retry-after 300; asked again in 300 s"]


def test_the_same_reason_is_said_once_a_minute() -> None:
    at = [0.0]
    told, lines = teller(at)
    for second in range(0, 130, 5):
        at[0] = float(second)
        told.note("warning", "venue_waits", reason="down", wait_s=5.0)
    told.note("warning", "venue_waits", reason="down otherwise", wait_s=5.0)
    assert len(lines) == 4


def test_no_line_shows_a_secret() -> None:
    told, lines = teller([0.0])
    told.note("warning", "venue_waits", reason="https://me:hunter2@proxy/x?token=hunter3", wait_s=1.0)
    assert "hunter" not in lines[0]


def test_every_line_can_be_made_of_what_is_noted() -> None:
    told, lines = teller([0.0])
    fields = {
        "reason": "why",
        "wait_s": 1.5,
        "bucket": "b",
        "channel": "c",
        "instrument": "i",
        "missing": 1,
        "known": 2,
        "exchange": "e",
        "before": "o",
    }
    for event in SAID:
        told.note("warning", event, **fields)
    assert len(lines) == len(SAID)
