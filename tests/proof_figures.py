"""What a proof found, as one line of its own at the end of the run: the `figure` fixture. Works with any number of workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_NAME = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tell a figure: printed at once, and again in the summary of the run (and into the file that ZVT_CRYPTO_FIGURES names)."""

    def tell(text: str) -> None:
        print(text)
        record_property(_NAME, text)

    return tell


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """All figures of the run."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [text for report in reports for name, text in getattr(report, "user_properties", []) if name == _NAME]
    if not told:
        return
    terminalreporter.section("figures")
    for text in told:
        terminalreporter.write_line(text)
    if named := os.environ.get("ZVT_CRYPTO_FIGURES"):
        with Path(named).open("a") as file:
            file.writelines(f"{text}\n" for text in told)
