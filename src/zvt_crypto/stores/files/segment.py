"""One file of the spool, as bytes: records that can be found again behind damage. Pure.

A line names the format, then come records. A record is a mark (2 bytes), a check of its length (2), its length (4), CRC-32 of length and
payload (4), all little endian, then the payload. Files of before have no mark, and the CRC of the payload alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from zvt_crypto.domain.events import FEED_VERSION

MAGIC = f"zvt-crypto spool {FEED_VERSION} marked\n".encode()
PLAIN_MAGIC = f"zvt-crypto spool {FEED_VERSION}\n".encode()  # read, and never written any more
_MARK = b"\x9eZ"
_HEADER = struct.Struct("<2sHII")
_PLAIN_HEADER = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
MOST_PAYLOAD = 16_000_000  # the deepest book is a thousandth of it: a longer record is none


class Read(NamedTuple):
    """What stands at a place: `end` behind the whole record; or None, and whether the file merely ends in it."""

    payload: bytes
    end: int | None
    is_torn: bool


class Scan(NamedTuple):
    """What a file holds from a place on: whole records, ranges that are none, and where a torn last record begins (or the end)."""

    records: int
    damage: list[tuple[int, int]]
    end: int


def record_of(payload: bytes) -> tuple[bytes, bytes]:
    """(header, payload)"""
    length = _LENGTH.pack(len(payload))
    return _HEADER.pack(_MARK, zlib.crc32(length) & 0xFFFF, len(payload), zlib.crc32(payload, zlib.crc32(length))), payload


def magic_of(data: bytes) -> bytes | None:
    """The first line; b"" where even that is torn, None for that of another format."""
    for magic in (MAGIC, PLAIN_MAGIC):
        if data.startswith(magic):
            return magic
    return b"" if MAGIC.startswith(data) or PLAIN_MAGIC.startswith(data) else None


def read_at(data: bytes | mmap, at: int, magic: bytes) -> Read:
    """The record that begins at `at`."""
    header = _HEADER if magic == MAGIC else _PLAIN_HEADER
    start = at + header.size
    if start > len(data):
        return Read(b"", None, is_torn=True)
    if magic == MAGIC:
        mark, check, length, checksum = _HEADER.unpack_from(data, at)
        packed = _LENGTH.pack(length)
        before = zlib.crc32(packed)
        is_header = mark == _MARK and check == before & 0xFFFF
    else:
        length, checksum = _PLAIN_HEADER.unpack_from(data, at)
        before, is_header = 0, 0 < length <= MOST_PAYLOAD
    if not is_header:
        return Read(b"", None, is_torn=False)
    payload = data[start : start + length]
    if len(payload) < length:
        return Read(b"", None, is_torn=True)
    if zlib.crc32(payload, before) != checksum:
        return Read(b"", None, is_torn=False)
    return Read(payload, start + length, is_torn=False)


def scan(data: bytes, at: int, magic: bytes) -> Scan:
    """Look through a file from `at` on, past whatever is damaged."""
    count = 0
    damage: list[tuple[int, int]] = []
    while at < len(data):
        found = read_at(data, at, magic)
        if found.end is not None:
            count, at = count + 1, found.end
            continue
        following = next((place for place in _candidates(data, at + 1, magic) if read_at(data, place, magic).end is not None), None)
        if following is None:
            if not found.is_torn:
                damage.append((at, len(data)))
                at = len(data)
            break
        damage.append((at, following))
        at = following
    return Scan(count, damage, at)


def _candidates(data: bytes, at: int, magic: bytes) -> Iterator[int]:
    """Places from `at` on where a record may begin."""
    if magic != MAGIC:
        yield from range(at, len(data))
        return
    while (at := data.find(_MARK, at)) >= 0:
        yield at
        at += 1
