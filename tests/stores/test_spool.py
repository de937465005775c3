"""The file spool keeps every counted event over kills, cuts what a kill tore, and stays within its bound."""

from __future__ import annotations

import errno
import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import pytest

from stores_fixtures import bar, trade
from zvt_crypto.domain.errors import BadConfig, StoreError
from zvt_crypto.domain.events import FEED_VERSION, StreamStatus
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSample, BookSnapshot, BookStale, Funding, Gap, MarkPrice, Ticker
from zvt_crypto.stores.files.spool import FileSpool

MB = 1_000_000
EVENTS = [trade(n) for n in range(1000)]
ONE_OF_EACH = [
    trade(),
    bar(turnover=None, trades=None),
    BookSnapshot("x", 7, [(1.5, 2.0)], [], 1),
    BookDelta("x", 8, 9, None, [(1.5, 0.0)], [], 2),
    BookStale("x", "gap", 3),
    Ticker("x", 1.5, None, None, None, None, None, None, None, 4),
    BookSample("x", 9, [(1.5, 2.0)], [], 3),
    BestQuote("x", 5, 1.0, 2.0, 3.0, 4.0, 5),
    Funding("x", 6, 0.0001),
    MarkPrice("x", 7, 1.5, None, None, None),
    Gap("x", "trade", 1, 2, None, None, "why", None),
    StreamStatus("binance", "spot 1", "lost", "why", 8),
]


def segments(spool: FileSpool) -> list:
    return sorted(spool.path.glob("*.spool"))


@pytest.fixture
def spool(tmp_path):
    made = FileSpool(tmp_path / "spool", MB)
    yield made
    made.close()


def test_events_of_every_kind_come_back_in_order(spool):
    assert spool.append(ONE_OF_EACH) == len(ONE_OF_EACH)
    assert spool.take(100) == ONE_OF_EACH
    assert len(spool) == len(ONE_OF_EACH)


def test_takes_without_removing_and_drops_the_oldest(spool):
    spool.append(EVENTS[:10])
    assert spool.take(3) == spool.take(3) == EVENTS[:3]
    spool.drop(3)
    assert (spool.take(2), len(spool)) == (EVENTS[3:5], 7)
    spool.drop(100)
    assert (spool.take(1), len(spool)) == ([], 0)
    spool.append(EVENTS[:1])
    assert spool.take(5) == EVENTS[:1]


def test_an_empty_spool_is_empty(spool):
    assert (spool.append([]), spool.take(5), len(spool)) == (0, [], 0)
    spool.drop(5)


def test_what_was_kept_and_dropped_is_so_after_a_restart(tmp_path):
    first = FileSpool(tmp_path, MB)
    first.append(EVENTS[:100])
    first.drop(40)
    first.close()
    first.close()
    second = FileSpool(tmp_path, MB)
    assert (len(second), second.cut_bytes) == (60, 0)
    second.append(EVENTS[100:110])
    assert second.take(100) == EVENTS[40:110]
    second.close()


@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_torn_last_record_is_cut_off(tmp_path, cut):
    first = FileSpool(tmp_path, MB)
    first.append(EVENTS[:10])
    first.close()
    file = segments(first)[-1]
    os.truncate(file, file.stat().st_size - cut)
    second = FileSpool(tmp_path, MB)
    assert second.take(100) == EVENTS[:9]
    assert second.cut_bytes > 0
    second.append(EVENTS[9:12])
    assert second.take(100) == EVENTS[:12]
    second.close()


def test_damage_at_the_end_of_a_segment_costs_its_last_record_only(tmp_path):
    first = FileSpool(tmp_path, 100_000)
    first.append(EVENTS[:500])
    first.close()
    files = segments(first)
    assert len(files) > 3
    data = bytearray(files[1].read_bytes())
    data[-1] ^= 1
    files[1].write_bytes(data)
    second = FileSpool(tmp_path, 100_000)
    assert len(second) == 499
    second.close()


def flip(file: Path, at: int, bits: int = 1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= bits
    file.write_bytes(data)


@pytest.mark.parametrize("at", [45, 47, 49, 55, 70, 200, 5_000, 60_000, -1])
def test_a_flipped_bit_costs_one_record_and_is_told(tmp_path, at):
    first = FileSpool(tmp_path, 4 * MB)
    first.append(EVENTS)
    first.close()
    flip(segments(first)[0], at)
    second = FileSpool(tmp_path, 4 * MB)
    kept = second.take(2_000)
    (lost,) = [event for event in EVENTS if event not in kept]
    assert (len(second), len(kept), second.cut_bytes) == (999, 999, 0)
    (broken,) = second.breaks
    number = EVENTS.index(lost)
    assert broken.before == EVENTS[number - 1 : number] if number else broken.before == []
    assert broken.after == EVENTS[number + 1 : number + 2]
    assert 0 < broken.size_bytes < 200
    second.append(EVENTS[:5])
    second.drop(999)
    assert second.take(10) == EVENTS[:5]
    second.close()


def test_a_seed_of_damage_keeps_every_whole_record(tmp_path):
    first = FileSpool(tmp_path, 4 * MB)
    first.append(EVENTS)
    first.close()
    file, rng = segments(first)[0], random.Random(7)
    data = bytearray(file.read_bytes())
    for _ in range(40):
        at, size = rng.randrange(60, len(data)), rng.choice([1, 3, 50, 400])
        data[at : at + size] = rng.randbytes(len(data[at : at + size]))
    file.write_bytes(data)
    second = FileSpool(tmp_path, 4 * MB)
    kept = second.take(2_000)
    assert 800 < len(kept) == len(second) < 1_000
    assert kept == [event for event in EVENTS if event in kept]
    assert 0 < len(second.breaks) <= 40
    while second:
        second.drop(len(second.take(100)))
    second.close()


def test_more_damage_than_anybody_lists_is_told_as_one(tmp_path):
    first = FileSpool(tmp_path, 4 * MB)
    first.append(EVENTS)
    first.close()
    data = bytearray(segments(first)[0].read_bytes())
    for at in range(100, len(data), 400):
        data[at] ^= 1
    segments(first)[0].write_bytes(data)
    second = FileSpool(tmp_path, 4 * MB)
    assert len(second.breaks) == 50
    assert second.breaks[-1].after[0] in second.take(1_000)[-6:]
    second.close()


def test_what_was_dropped_before_the_damage_stays_dropped(tmp_path):
    first = FileSpool(tmp_path, 4 * MB)
    first.append(EVENTS[:20])
    first.drop(5)
    first.close()
    data = segments(first)[0].read_bytes()
    flip(segments(first)[0], data.index(b"1005") if b"1005" in data else len(data) // 3)  # the record that the head points to
    second = FileSpool(tmp_path, 4 * MB)
    assert second.take(30) == EVENTS[6:20]
    assert (second.breaks[0].before, second.breaks[0].after) == ([], EVENTS[6:7])
    second.close()


def plain_record(payload: bytes) -> bytes:
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def test_files_of_before_records_had_marks_are_read_past_damage_too(tmp_path):
    encode = msgspec.msgpack.Encoder().encode
    file = tmp_path / "000000000003.spool"
    file.write_bytes(f"zvt-crypto spool {FEED_VERSION}\n".encode() + b"".join(plain_record(encode(e)) for e in EVENTS[:50]) + b"torn")
    whole = FileSpool(tmp_path, MB)
    assert (whole.take(100), whole.breaks, whole.cut_bytes) == (EVENTS[:50], [], 4)
    whole.append(EVENTS[50:60])
    assert whole.take(100) == EVENTS[:60]
    whole.close()
    flip(file, 200)
    damaged = FileSpool(tmp_path, MB)
    assert (len(damaged), len(damaged.breaks)) == (59, 1)
    assert damaged.take(100) == [e for e in EVENTS[:60] if e in damaged.take(100)]
    damaged.close()


def test_a_file_that_is_damaged_while_it_is_open_is_an_error_and_not_a_wrong_event(spool):
    spool.append(EVENTS[:10])
    flip(segments(spool)[0], 200)
    with pytest.raises(StoreError, match="was damaged since it was opened"):
        spool.take(10)


def test_a_segment_torn_in_its_first_line_is_removed(tmp_path):
    first = FileSpool(tmp_path, MB)
    first.append(EVENTS[:3])
    first.close()
    (tmp_path / "000000000009.spool").write_bytes(b"zvt-cry")
    second = FileSpool(tmp_path, MB)
    assert (second.take(9), second.cut_bytes) == (EVENTS[:3], 7)
    second.close()


def test_files_of_another_version_are_refused_and_kept(tmp_path):
    other = tmp_path / "000000000001.spool"
    other.write_bytes(b"zvt-crypto spool 99\nsomething")
    with pytest.raises(StoreError, match="is not a spool of version"):
        FileSpool(tmp_path, MB)
    assert other.exists()
    other.unlink()
    FileSpool(tmp_path, MB).close()  # the refusal did not keep the folder locked


def test_an_unreadable_head_gives_everything_again_rather_than_nothing(tmp_path):
    first = FileSpool(tmp_path, MB)
    first.append(EVENTS[:10])
    first.drop(4)
    first.close()
    (tmp_path / "head").write_bytes(b"?" * 20)
    second = FileSpool(tmp_path, MB)
    assert second.take(100) == EVENTS[:10]
    second.close()


def test_the_files_stay_within_the_bound_and_room_comes_back(tmp_path):
    bound = 50_000
    spool = FileSpool(tmp_path, bound)
    stored = spool.append(EVENTS)
    assert 0 < stored < len(EVENTS)
    assert spool.append(EVENTS[stored:]) == 0
    assert sum(f.stat().st_size for f in segments(spool)) <= bound
    spool.drop(stored // 2)
    assert spool.append(EVENTS[stored:]) > stored // 4
    assert sum(f.stat().st_size for f in segments(spool)) <= bound
    assert spool.take(len(EVENTS)) == EVENTS[stored // 2 :][: len(spool)]
    spool.close()


def test_a_full_disk_stores_nothing_of_the_piece_and_leaves_the_rest_whole(spool, monkeypatch):
    spool.append(EVENTS[:5])
    tail = spool._tail

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(tail, name)

        def write(self, data: memoryview) -> int:
            tail.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool, "_tail", Full())
    assert spool.append(EVENTS[5:9]) == 0
    monkeypatch.setattr(spool, "_tail", tail)
    assert spool.append(EVENTS[5:6]) == 1
    assert spool.take(100) == EVENTS[:6]


def test_a_broken_disk_is_an_error(spool, monkeypatch):
    spool.append(EVENTS[:5])
    tail = spool._tail

    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(tail, name)

        def write(self, data: memoryview) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool, "_tail", Broken())
    with pytest.raises(StoreError, match="Input/output error"):
        spool.append(EVENTS[5:9])
    monkeypatch.setattr(spool, "_tail", tail)


def test_one_process_at_a_time(spool, tmp_path):
    with pytest.raises(BadConfig, match="used by another process"):
        FileSpool(spool.path, MB)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig, match="cannot be used"):
        FileSpool(tmp_path / "file", MB)


WRITER = """
import sys
from stores_fixtures import trade
from zvt_crypto.stores.files.spool import FileSpool
spool = FileSpool(sys.argv[1], 50_000_000)
for n in range(100_000):
    spool.append([trade(n)])
    print(n, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_counted(tmp_path):
    path = os.pathsep.join(p for p in sys.path if p)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    told = [writer.stdout.readline() for _ in range(500)]
    writer.send_signal(signal.SIGKILL)
    told += writer.communicate()[0].splitlines(keepends=True)
    last = len([line for line in told if line.endswith("\n")]) - 1
    spool = FileSpool(tmp_path, 50 * MB)
    assert len(spool) in (last + 1, last + 2)  # one more may be stored but not yet told
    assert spool.take(last + 1) == [trade(n) for n in range(last + 1)]
    spool.close()
