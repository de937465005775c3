"""Local copies of months: never of another version, never damaged, never more than their bound, whatever dies at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from zvt_crypto.domain.time import Interval, parse_time
from zvt_crypto.stores.files.columns import ColumnCache

JANUARY, FEBRUARY = parse_time("2024-01-01"), parse_time("2024-02-01")
NAME, MIN_1 = "cryptopair_binance_btcusdt", Interval.MIN_1
FRAME = pl.DataFrame({"close": [1.5, 2.5, 3.25], "trades": [1, None, 3], "source": ["venue", "import", None]})


class Notes:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.seen.append(("count", name))

    def gauge(self, name: str, value: float, **labels: str) -> None:
        raise AssertionError(name)

    def note(self, level: str, event: str, **fields: object) -> None:
        self.seen.append((level, event))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_gives_back_what_it_was_given_and_only_of_that_version(tmp_path):
    cache = ColumnCache(tmp_path, 10**9)
    assert cache.get(NAME, MIN_1, JANUARY, "a.1") is None
    cache.put(NAME, MIN_1, JANUARY, "a.1", FRAME)
    assert ColumnCache(tmp_path, 10**9).get(NAME, MIN_1, JANUARY, "a.1").equals(FRAME)
    for other in (
        (NAME, MIN_1, JANUARY, "a.2"),
        (NAME, MIN_1, FEBRUARY, "a.1"),
        (NAME, Interval.MONTH_1, JANUARY, "a.1"),
        ("x", MIN_1, JANUARY, "a.1"),
    ):
        assert cache.get(*other) is None
    cache.put(NAME, MIN_1, JANUARY, "b.1", FRAME.head(1))
    assert cache.get(NAME, MIN_1, JANUARY, "a.1") is None
    assert cache.get(NAME, MIN_1, JANUARY, "b.1").equals(FRAME.head(1))
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "zeros"])
def test_a_damaged_copy_is_told_and_removed(tmp_path, damage):
    notes = Notes()
    cache = ColumnCache(tmp_path, 10**9, notes)
    cache.put(NAME, MIN_1, JANUARY, "a.1", FRAME)
    [path] = files(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": data[:-7], "empty": b"", "zeros": bytes(len(data))}[damage])
    assert cache.get(NAME, MIN_1, JANUARY, "a.1") is None
    assert files(tmp_path) == []
    assert ("warning", "column_cache_damaged") in notes.seen
    cache.put(NAME, MIN_1, JANUARY, "a.1", FRAME)
    assert cache.get(NAME, MIN_1, JANUARY, "a.1").equals(FRAME)


def test_what_was_not_read_for_longest_goes_first(tmp_path):
    cache = ColumnCache(tmp_path, 10**9)
    for n, month in enumerate(("2024-01-01", "2024-02-01", "2024-03-01")):
        cache.put(NAME, MIN_1, parse_time(month), "v", FRAME)
        for path in files(tmp_path):
            if path.name.startswith(month.replace("-", "")[:6]):
                os.utime(path, (1_000_000 + n, 1_000_000 + n))
    size = files(tmp_path)[0].stat().st_size
    assert cache.get(NAME, MIN_1, JANUARY, "v") is not None  # the oldest file, and now the one read last
    ColumnCache(tmp_path, int(size * 3.5)).put(NAME, MIN_1, parse_time("2024-04-01"), "v", FRAME)
    assert {path.name[:6] for path in files(tmp_path)} == {"202401", "202403", "202404"}
    assert cache.size_bytes() <= size * 3.5


def test_a_folder_that_takes_no_file_is_told_and_nothing_else(tmp_path):
    notes = Notes()
    (tmp_path / "file").write_text("")
    ColumnCache(tmp_path / "file", 10**9, notes).put(NAME, MIN_1, JANUARY, "v", FRAME)
    assert notes.seen == [("warning", "column_cache_not_written")]


def test_old_halves_are_swept_up_and_fresh_ones_left_to_their_writers(tmp_path):
    cache = ColumnCache(tmp_path, 10**9)
    cache.put(NAME, MIN_1, JANUARY, "v", FRAME)
    old, fresh = tmp_path / "1m" / NAME / ".x.half", tmp_path / "1m" / NAME / ".y.half"
    for path in (old, fresh):
        path.write_text("half")
    os.utime(old, (1_000_000, 1_000_000))
    cache.put(NAME, MIN_1, FEBRUARY, "v", FRAME)
    assert not old.exists()
    assert fresh.exists()


WRITER = """
import sys, polars as pl
from pathlib import Path
from zvt_crypto.stores.files.columns import ColumnCache
from zvt_crypto.domain.time import Interval
cache = ColumnCache(Path(sys.argv[1]), 10**9)
print("ready", flush=True)
n = 0
while True:
    n += 1
    cache.put("x", Interval.MIN_1, 1_704_067_200_000_000_000, f"v{n % 5}", pl.DataFrame({"n": [n % 5] * 50_000}))
"""


def test_a_writer_killed_at_any_moment_leaves_nothing_wrong(tmp_path):
    cache = ColumnCache(tmp_path, 10**9)
    for turn in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            until = time.monotonic() + 0.05 + turn * 0.037
            found = 0
            while time.monotonic() < until or not found:
                for version in range(5):
                    frame = cache.get("x", MIN_1, JANUARY, f"v{version}")
                    if frame is not None:
                        found += 1
                        assert frame["n"].unique().to_list() == [version]
            writer.send_signal(signal.SIGKILL)
        for version in range(5):
            frame = cache.get("x", MIN_1, JANUARY, f"v{version}")
            assert frame is None or (frame.height == 50_000 and frame["n"].unique().to_list() == [version])
