"""A bounded queue of events in files, that survives the process.

A folder of segments. A segment is a line that names the format, then records: length and CRC-32 of the payload (4 bytes each, little
endian), payload (msgpack). `head` tells where the oldest record that is still wanted begins. Records are written without a sync: a killed
process loses nothing that `append` counted, a machine that loses power may lose the last seconds. A record that a kill tore is cut off
when the folder is opened again.
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
from pathlib import Path

import msgspec

from zvt_crypto.domain.errors import BadConfig, StoreError
from zvt_crypto.domain.events import FEED_VERSION, Event

_MAGIC = f"zvt-crypto spool {FEED_VERSION}\n".encode()
_RECORD = struct.Struct("<II")
_HEAD = struct.Struct("<QQI")  # segment, offset in it, CRC-32 of both
_SEGMENT_BYTES = 8_000_000
Place = tuple[int, int]  # segment, offset in it


class FileSpool:
    """ports.Spool. One process at a time, one thread at a time.

    `max_bytes` bounds the files. Room comes back a segment at a time (a sixteenth of `max_bytes`, at most 8 MB). Raises BadConfig where
    the folder cannot be used or another process uses it, StoreError for files of another version.
    """

    def __init__(self, path: Path | str, max_bytes: int) -> None:
        self.path = Path(path)
        self.cut_bytes = 0  # torn or damaged bytes that were cut off when the folder was opened
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // 16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Event).decode
        self._tail: FileIO | None = None
        self._count = 0
        self._lock = self._acquire()
        try:
            self._sizes = {int(file.stem): file.stat().st_size for file in sorted(self.path.glob("*.spool"))}  # oldest first
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
        return [self._decode(payload) for payload, _ in islice(self._records(), most)]

    def drop(self, count: int) -> None:
        """Remove the oldest `count`: they are stored elsewhere now."""
        for _, place in islice(self._records(), count):
            self._head = place
            self._count -= 1
        if not self._count and self._sizes:
            self._head = (max(self._sizes) + 1, len(_MAGIC))
            self._close_tail()
        self._write_head()
        for number in [n for n in self._sizes if n < self._head[0]]:
            self._file(number).unlink(missing_ok=True)
            del self._sizes[number]

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
        room = self._max_bytes - sum(self._sizes.values())
        until_full = self._segment_bytes - self._tail.tell()
        records: list[bytes] = []
        for event in islice(events, start, None):
            payload = self._encode(event)
            size = _RECORD.size + len(payload)
            if size > room or until_full <= 0:
                break
            room, until_full = room - size, until_full - size
            records += (_RECORD.pack(len(payload), zlib.crc32(payload)), payload)
        return len(records) // 2 if records and self._write(b"".join(records)) else 0

    def _roll(self) -> bool:
        """Begin a new segment. False where the disk is full."""
        self._close_tail()
        number = max([*self._sizes, self._head[0] - 1]) + 1
        self._tail = FileIO(self._file(number), "w")
        self._sizes[number] = 0
        if self._write(_MAGIC):
            return True
        self._close_tail()
        self._file(number).unlink()
        del self._sizes[number]
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
        self._sizes[max(self._sizes)] = start + len(data)
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

    def _records(self) -> Iterator[tuple[bytes, Place]]:
        """(payload, place after it), from the head on."""
        for number, size in list(self._sizes.items()):
            if number < self._head[0]:
                continue
            at = self._head[1] if number == self._head[0] else len(_MAGIC)
            with self._file(number).open("rb", buffering=1 << 18) as file:
                file.seek(at)
                while at < size:
                    length, _ = _RECORD.unpack(file.read(_RECORD.size))
                    at += _RECORD.size + length
                    yield file.read(length), (number, at)

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
            raise BadConfig(f"spool folder {self.path} is used by another process") from None
        return lock

    def _read_head(self) -> Place:
        """The place that was written last; the oldest record where that cannot be read: events are stored twice without harm."""
        first = (min(self._sizes, default=1), len(_MAGIC))
        try:
            data = (self.path / "head").read_bytes()
        except FileNotFoundError:
            return first
        if len(data) != _HEAD.size or zlib.crc32(data[:16]) != _HEAD.unpack(data)[2]:
            return first
        place: Place = _HEAD.unpack(data)[:2]
        return max(place, first)

    def _recover(self) -> None:
        """Count what is wanted, cut off what is torn, remove what is not wanted any more."""
        for number in list(self._sizes):
            if number < self._head[0] or not self._cut(number):
                self._file(number).unlink()
                del self._sizes[number]
        self._count = sum(1 for _ in self._records())

    def _cut(self, number: int) -> bool:
        """Cut the segment behind its last whole record. False where not even its first line is whole."""
        data = self._file(number).read_bytes()
        if not data.startswith(_MAGIC):
            if not _MAGIC.startswith(data):
                raise StoreError(f"{self._file(number)} is not a spool of version {FEED_VERSION}: {data[:32]!r}")
            self.cut_bytes += len(data)
            return False
        at = len(_MAGIC)
        while at + _RECORD.size <= len(data):
            length, checksum = _RECORD.unpack_from(data, at)
            payload = data[at + _RECORD.size : at + _RECORD.size + length]
            if len(payload) < length or zlib.crc32(payload) != checksum:
                break
            at += _RECORD.size + length
        if at < len(data):
            os.truncate(self._file(number), at)
            self.cut_bytes += len(data) - at
        self._sizes[number] = at
        return True
