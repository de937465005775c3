"""Runs every benchmark of this folder, one after the other, and (with --write) keeps their figures in RESULTS.md.

    python benchmarks/run.py [--quick] [--write] [NAME ...]

A benchmark is a file that runs alone, takes --quick, and prints one JSON object of figures as its last line. A key `<peer>.<case>`
is a ratio: ours over the peer's, both measured in that run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
HEAD = """# Figures

Made by `make bench` (each file also runs alone; `--quick` takes less than a minute). A row `<peer>.<case>` is ours over the peer's,
measured in the same run. Ratios hold from machine to machine; absolute figures do not.
"""


def main() -> int:
    """Run, print, write. 1 when a benchmark gave no figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep the figures in RESULTS.md")
    chosen = parser.parse_args()
    files = sorted(path for path in HERE.glob("*.py") if path.name not in {"run.py", "peers.py"} and not path.name.startswith("_"))
    unknown = set(chosen.names) - {path.stem for path in files}
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(path.stem for path in files)}")
    failed = []
    for path in files:
        if chosen.names and path.stem not in chosen.names:
            continue
        figures = run_one(path, quick=chosen.quick)
        if figures is None:
            failed.append(path.stem)
        elif chosen.write:
            text = RESULTS.read_text("utf-8") if RESULTS.exists() else HEAD
            RESULTS.write_text(with_section(text, path.stem, section(path, figures, quick=chosen.quick)), "utf-8")
    if failed:
        print(f"no figures from: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_one(path: Path, *, quick: bool) -> dict[str, object] | None:
    """The figures of one benchmark, its output shown as it comes; None when it fails."""
    print(f"── {path.stem}", flush=True)
    command = [sys.executable, str(path), *(["--quick"] if quick else [])]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if line.strip() else last
    try:
        figures = json.loads(last) if process.returncode == 0 else None
    except json.JSONDecodeError:
        figures = None
    return figures if isinstance(figures, dict) else None


def section(path: Path, figures: dict[str, object], *, quick: bool) -> str:
    """One benchmark's part of RESULTS.md."""
    rows = "\n".join(
        [f"| `{key}` | {shown(value)} |" for key, value in _part(figures, "figures").items()]
        + [f"| `{key}` (ratio) | {shown(value)} |" for key, value in _part(figures, "ratios").items()]
    )
    return f"## {path.stem}\n\n{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}{', --quick' if quick else ''}\n\n| figure | value |\n|---|---|\n{rows}\n"


def _part(figures: dict[str, object], name: str) -> dict[str, object]:
    held = figures.get(name)
    return held if isinstance(held, dict) else {}


def with_section(text: str, name: str, made: str) -> str:
    """The page with one section put in or replaced, the others as they were."""
    head, *parts = re.split(r"(?m)^(?=## )", text)
    kept = {part.splitlines()[0].removeprefix("## "): part.rstrip() + "\n" for part in parts}
    kept[name] = made
    return head.rstrip() + "\n\n" + "\n".join(kept[key] for key in sorted(kept))


def shown(value: object) -> str:
    """A figure with as many digits as mean something."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def machine() -> str:
    """The processor, as the kernel names it, and the interpreter."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"(?m)^model name\s*:\s*(.+)$", info.read_text()) if info.exists() else []
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}, CPython {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
