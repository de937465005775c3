"""Captures as users name them: files that are there, hold text, and are of an exchange that the emulator speaks like."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from zvt_crypto.domain.errors import BadCapture, BadInput, shown

HEAD_BYTES = 256 * 1024
ACCEPTED = (
    "a capture is a text file, plain, gzip or zstandard, of lines `nanoseconds json`, cryptofeed's JSON lines, or its older `time: json`"
)
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# How files begin that people take for captures.
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"BZh": "a bzip2 file: unpack it first",
    b"\xfd7zXZ\x00": "an xz file: unpack it first",
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
}


def check_captures(files: Sequence[Path], exchange: str | None = None) -> None:
    """Look at the beginning of each, before anything is started. `exchange`: whose protocol will be spoken; None: any that can be.

    Raises BadInput for what is no file, BadCapture for what is no capture, or one that cannot be played. What is wrong further on is
    found when it is read.
    """
    for file in files:
        if file.is_dir():
            raise BadInput(f"capture {shown(str(file))} is a folder: name the files in it, in the order of their time")
        if not file.is_file():
            raise BadInput(f"capture {shown(str(file))} does not exist")
        _check(file, _head(file), exchange)


def _check(file: Path, head: bytes, exchange: str | None) -> None:
    from zvt_crypto.emulator.dialects import DIALECTS
    from zvt_crypto.emulator.origin import origin_of

    name = shown(str(file))
    if not head.strip():
        raise BadCapture(f"capture {name} is empty; {ACCEPTED}")
    told = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), "binary" if b"\x00" in head else "")
    if told:
        raise BadCapture(f"capture {name} is {told}; {ACCEPTED}")
    origin = origin_of(head)
    if origin is None:
        return
    if origin not in DIALECTS:
        raise BadCapture(f"capture {name} is a recording of {origin}; the emulator speaks like {', '.join(DIALECTS)} only")
    if exchange is not None and origin != exchange:
        raise BadCapture(f"capture {name} is a recording of {origin}, not of {exchange}: add --exchange {origin}")


def _head(file: Path) -> bytes:
    """The first bytes, unpacked; as they are where they cannot be unpacked. Raises BadInput where it cannot be read."""
    import zstandard

    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
    except OSError as error:
        raise BadInput(f"capture {shown(str(file))} cannot be read: {error.strerror}") from None
    try:
        if head.startswith(_GZIP):
            return zlib.decompressobj(31).decompress(head, HEAD_BYTES)
        if head.startswith(_ZSTANDARD):
            return zstandard.ZstdDecompressor().decompressobj().decompress(head)
    except (zlib.error, zstandard.ZstdError) as error:
        raise BadCapture(f"capture {shown(str(file))} cannot be unpacked: {error}") from None
    return head
