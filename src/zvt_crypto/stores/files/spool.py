"""A bounded queue of events in files, that survives the process.

A folder of segments (`segment.py`); payloads are msgpack. `head` tells where the oldest record that is still wanted begins. Records are
written without a sync: a killed process loses nothing that `append` counted, a machine that loses power may lose the last seconds. A
record that a kill tore is cut off when the folder is opened again; one that is damaged is left out, what follows it is kept, and
`breaks` says between which events something was.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import FileIO
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

import msgspec

from zvt_crypto.domain.errors import BadConfig, StoreError
from zvt_crypto.domain.events import FEED_VERSION, Event, FeedPosition, StreamStatus
from zvt_crypto.ports import SpoolBreak
from zvt_crypto.stores.files.segment import MAGIC, magic_of, read_at, record_of, scan

_HEAD = struct.Struct("<QQI")  # segment, offset in it, CRC-32 of both
_SEGMENT_BYTES = 8_000_000
_MOST_BREAKS = 50
_STREAM_OF = ("stream", "interval", "final", "channel")  # what tells the streams of an instrument apart
Place = tuple[int, int]  # segment, offset in it


class Segment(NamedTuple):
    """A file: its bytes that count, its first line, and where damage begins → where it ends."""

    size: int
    magic: bytes
    damage: dict[int, int]


class _Break(NamedTuple):
    before: dict[object, Event]
    after: dict[object, Event]
    size_bytes: int


class FileSpool:
    """ports.Spool. One process at a time, one thread at a time.

    `max_bytes` bounds the files. Room comes back a segment at a time (a sixteenth of `max_bytes`, at most 8 MB). Raises BadConfig where
    the folder cannot be used or another process uses it, StoreError for files of another version.
    """

    def __init__(self, path: Path | str, max_bytes: int) -> None:
        self.path = Path(path)
        self.cut_bytes = 0  # torn bytes that were cut off when the folder was opened
        self.breaks: list[SpoolBreak] = []
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // 16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Event).decode
        self._tail: FileIO | None = None
        self._count = 0
        self._lock = self._acquire()
        try:
            self._segments = {int(file.stem): Segment(0, MAGIC, {}) for file in sorted(self.path.glob("*.spool"))}  # oldest first
            self._head = self._read_head()
            self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, events: Sequence[Event]) -> int:
        """Store what fits; returns how many did, from the first on. A full disk has no room."""
        stored = 0
        while stored < len(events):
            more = self._fill(events, stored)
            if not more:
                break
            stored += more
        self._count += stored
        return stored

    def take(self, most: int) -> list[Event]:
        """The oldest up to `most`, without removing them."""
        return [self._decode(payload) for payload, _, _ in islice(self._records(), most)]

    def drop(self, count: int) -> None:
        """Remove the oldest `count`: they are stored elsewhere now."""
        for _, place, _ in islice(self._records(), count):
            self._head = place
            self._count -= 1
        if not self._count and self._segments:
            self._head = (max(self._segments) + 1, len(MAGIC))
            self._close_tail()
        self._write_head()
        for number in [n for n in self._segments if n < self._head[0]]:
            self._file(number).unlink(missing_ok=True)
            del self._segments[number]

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Release the folder; what is in it stays. Safe to call twice."""
        self._close_tail()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # ── Writing ──

    def _fill(self, events: Sequence[Event], start: int) -> int:
        """Write events from `start` on to the newest segment until it is full; returns how many."""
        if (self._tail is None or self._tail.tell() >= self._segment_bytes) and not self._roll():
            return 0
        assert self._tail is not None
        room = self._max_bytes - sum(segment.size for segment in self._segments.values())
        until_full = self._segment_bytes - self._tail.tell()
        records: list[bytes] = []
        for event in islice(events, start, None):
            record = record_of(self._encode(event))
            size = len(record[0]) + len(record[1])
            if size > room or until_full <= 0:
                break
            room, until_full = room - size, until_full - size
            records += record
        return len(records) // 2 if records and self._write(b"".join(records)) else 0

    def _roll(self) -> bool:
        """Begin a new segment. False where the disk is full."""
        self._close_tail()
        number = max([*self._segments, self._head[0] - 1]) + 1
        self._tail = FileIO(self._file(number), "w")
        self._segments[number] = Segment(0, MAGIC, {})
        if self._write(MAGIC):
            return True
        self._close_tail()
        self._file(number).unlink()
        del self._segments[number]
        return False

    def _write(self, data: bytes) -> bool:
        """All of it, or, where the disk is full, nothing."""
        assert self._tail is not None
        start = self._tail.tell()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tail.write(rest) or 0 :]
        except OSError as error:
            self._tail.truncate(start)
            self._tail.seek(start)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(f"cannot write to {self.path}: {error.strerror}") from error
            return False
        newest = max(self._segments)
        self._segments[newest] = self._segments[newest]._replace(size=start + len(data))
        return True

    def _write_head(self) -> None:
        place = struct.pack("<QQ", *self._head)
        fresh = self.path / "head.new"
        fresh.write_bytes(place + struct.pack("<I", zlib.crc32(place)))
        fresh.replace(self.path / "head")

    def _close_tail(self) -> None:
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    # ── Reading ──

    def _records(self) -> Iterator[tuple[bytes, Place, int]]:
        """(payload, place after it, damaged bytes before it), from the head on."""
        damaged = 0
        for number, segment in list(self._segments.items()):
            at = max(self._head[1] if number == self._head[0] else 0, len(segment.magic))
            if number < self._head[0] or at >= segment.size:
                continue
            with self._file(number).open("rb") as file, mmap(file.fileno(), segment.size, access=ACCESS_READ) as data:
                while at < segment.size:
                    if at in segment.damage:
                        damaged += segment.damage[at] - at
                        at = segment.damage[at]
                        continue
                    payload, end, _ = read_at(data, at, segment.magic)
                    if end is None:
                        raise StoreError(f"{self._file(number)} was damaged since it was opened: no record at {at}")
                    yield payload, (number, end), damaged
                    at, damaged = end, 0

    def _file(self, number: int) -> Path:
        return self.path / f"{number:012d}.spool"

    # ── Opening ──

    def _acquire(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadConfig(f"spool folder {self.path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise BadConfig(f"spool folder {self.path} is used by another process: does zvt-crypto run there already?") from None
        return lock

    def _read_head(self) -> Place:
        """The place that was written last; the oldest record where that cannot be read: events are stored twice without harm."""
        oldest = min(self._segments, default=1)
        first = (oldest, 0)
        try:
            data = (self.path / "head").read_bytes()
        except FileNotFoundError:
            return first
        if len(data) != _HEAD.size or zlib.crc32(data[:16]) != _HEAD.unpack(data)[2]:
            return first
        place: Place = _HEAD.unpack(data)[:2]
        return max(place, first)

    def _recover(self) -> None:
        """Count what is wanted, cut off what is torn, pass what is damaged, remove what is not wanted any more."""
        for number in list(self._segments):
            if number < self._head[0] or not self._open(number):
                self._file(number).unlink()
                del self._segments[number]
        if any(segment.damage for segment in self._segments.values()):
            self._find_breaks()

    def _open(self, number: int) -> bool:
        """Look through a segment. False where not even its first line is whole."""
        data = self._file(number).read_bytes()
        magic = magic_of(data)
        if magic is None:
            raise StoreError(f"{self._file(number)} is not a spool of version {FEED_VERSION}: {data[:32]!r}")
        if not magic:
            self.cut_bytes += len(data)
            return False
        start = max(self._head[1], len(magic)) if number == self._head[0] else len(magic)
        if number == self._head[0]:
            self._head = (number, start)
        found = scan(data, start, magic)
        if found.end < len(data):
            os.truncate(self._file(number), found.end)
            self.cut_bytes += len(data) - found.end
        self._segments[number] = Segment(found.end, magic, dict(found.damage))
        self._count += found.records
        return True

    def _find_breaks(self) -> None:
        """The newest events before each damage and the oldest after it, of each stream."""
        left = sum(end - start for segment in self._segments.values() for start, end in segment.damage.items())
        known: dict[object, Event] = {}
        found: list[_Break] = []
        for payload, _, damaged in self._records():
            if damaged:
                left -= damaged
                if len(found) == _MOST_BREAKS:  # from here on, they are one
                    found[-1] = _Break(found[-1].before, {}, found[-1].size_bytes + damaged)
                else:
                    found.append(_Break(dict(known), {}, damaged))
            event = self._decode(payload)
            if isinstance(event, StreamStatus | FeedPosition):
                continue
            key = (type(event), event.instrument, *(getattr(event, name, None) for name in _STREAM_OF))
            known[key] = event
            for one in found:
                one.after.setdefault(key, event)
        if left:
            found.append(_Break(known, {}, left))
        self.breaks = [SpoolBreak(list(one.before.values()), list(one.after.values()), one.size_bytes) for one in found]
