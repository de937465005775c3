"""How each reader of decode_venues.py is asked, in a process of its own: `case seconds` a line in, the rate and the last numbers out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

Turn = Callable[[], Any]


class Reader(Protocol):
    """One library."""

    def begin(self, case: str, frames: list[str], snapshot: str) -> Turn:
        """What handles all frames once. Where books are applied it is asked for anew before each turn, to begin with the snapshot."""
        ...

    def last(self, case: str) -> list[float]:
        """The numbers of the last frame: the proof that it was read."""
        ...


async def serve(reader: Reader, folder: Path) -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        case, seconds = line.split()
        frames, snapshot = read(folder, f"{case}.jsonl").splitlines(), ""
        if case.endswith("_applied"):
            snapshot = read(folder, f"{case}.snapshot")
        turn = reader.begin(case, frames, snapshot)
        spent, turns = 0.0, -1  # the first turn warms up
        while spent < float(seconds) or turns < 1:
            begin = time.process_time()
            waited = turn()
            if isinstance(waited, Awaitable):
                await waited
            spent += time.process_time() - begin if turns >= 0 else 0.0
            turns += 1
            if snapshot:
                last = reader.last(case)
                turn = reader.begin(case, frames, snapshot)
        if not snapshot:
            last = reader.last(case)
        print(json.dumps({"rate": turns * len(frames) / spent, "last": last}), flush=True)


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text("utf-8")
