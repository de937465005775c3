"""Virtual environments for the libraries that we measure against, made on demand under .bench-venvs/ and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".bench-venvs"


def peer_venv(name: str, requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment that holds `requirements`. Raises PeerMissing when they cannot be installed.

    Kept between runs as long as the requirements are the same. Two benchmarks that start at once do not disturb each other: each
    installs in a folder of its own, and the first to finish gives the name to it.
    """
    place = FOLDER / name
    python, wanted = place / "bin" / "python", "\n".join(requirements)
    stamp = place / "requirements.txt"
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    FOLDER.mkdir(exist_ok=True)
    return _install(place.with_name(f"{name}-{os.getpid()}"), place, requirements, wanted)


class PeerMissing(Exception):
    """A peer could not be installed: its ratio is left out."""


def _install(made: Path, place: Path, requirements: Sequence[str], wanted: str) -> Path:
    # Virtual environments know their own path, so the folder is made in place and a link gets the name.
    commands = ([sys.executable, "-m", "venv", str(made)], [str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerMissing(f"{' '.join(requirements)}: {done.stderr.strip()[-500:]}")
    (made / "requirements.txt").write_text(wanted, "utf-8")
    link = made.with_suffix(".link")
    link.symlink_to(made.name)
    link.replace(place)
    return place / "bin" / "python"
