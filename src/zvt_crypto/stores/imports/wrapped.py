"""Files as they lie on the disk: plain, gzipped, or zipped with one member or more; whole by their checksums before anything is read."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from zvt_crypto.domain.errors import BadInput, shown

BLOCK = 1 << 20
CHECKSUM = ".CHECKSUM"


class Member(msgspec.Struct, frozen=True):
    """What is inside a file: its name without what wraps it, how to open it as bytes, and where it lies as a file of its own."""

    label: str
    suffix: str
    opened: Callable[[], BinaryIO]
    placed: Callable[[], AbstractContextManager[Path]]


def members_of(path: Path) -> list[Member]:
    """Raises BadInput for an archive that cannot be read, or holds nothing; OSError."""
    name = path.name.lower()
    if name.endswith(".zip"):
        return _zipped(path)
    if name.endswith(".gz"):
        opened = _naming(str(path), lambda: cast("BinaryIO", gzip.open(path, "rb")))  # noqa: SIM115 - who reads closes it
        return [Member(str(path), Path(path.name[:-3]).suffix.lower(), opened, lambda: _copied(opened))]
    return [Member(str(path), path.suffix.lower(), lambda: path.open("rb"), lambda: contextlib.nullcontext(path))]


def check_whole(path: Path) -> bool:
    """Compare with the SHA-256 in FILE.CHECKSUM, where it lies beside; otherwise with the checksums that zip and gzip hold themselves.

    True where a .CHECKSUM was compared. Raises BadInput for a file that differs or is damaged.
    """
    beside = path.with_name(path.name + CHECKSUM)
    if beside.exists():
        _compare(path, beside)
        return True
    if path.name.lower().endswith((".zip", ".gz")):
        for member in members_of(path):
            with member.opened() as stream:
                while stream.read(BLOCK):
                    pass
    return False


def _compare(path: Path, beside: Path) -> None:
    with beside.open(encoding="utf-8", errors="replace") as file:
        wanted = file.read(200).split()
    if not wanted or len(wanted[0]) != 64 or set(wanted[0].lower()) - set("0123456789abcdef"):
        raise BadInput(f"{beside}: {shown(' '.join(wanted))} is no SHA-256")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted[0].lower():
        raise BadInput(f"{path}: its SHA-256 is {found}, but {beside.name} says {wanted[0]}: download it again")


def _zipped(path: Path) -> list[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
    except zipfile.BadZipFile as error:
        raise BadInput(f"{path}: is no zip archive: {error}") from None
    if not infos:
        raise BadInput(f"{path}: holds no file")
    for info in infos:
        if info.flag_bits & 1:
            raise BadInput(f"{path}: {shown(info.filename)} is encrypted")
    return [_zip_member(path, info.filename) for info in infos]


def _is_hidden(name: str) -> bool:
    """What systems put beside files: `.DS_Store`, `__MACOSX/…`."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _zip_member(path: Path, name: str) -> Member:
    label = f"{path}:{name}"

    def plain() -> BinaryIO:
        with zipfile.ZipFile(path) as archive:
            return cast("BinaryIO", archive.open(name))  # the stream keeps the file open by itself

    opened = _naming(label, plain)
    return Member(label, Path(name).suffix.lower(), opened, lambda: _copied(opened))


@contextlib.contextmanager
def _copied(opened: Callable[[], BinaryIO]) -> Iterator[Path]:
    """A copy on the disk: files of columns are read from their end."""
    with tempfile.NamedTemporaryFile(prefix="zvt-crypto-import-") as file, opened() as stream:
        shutil.copyfileobj(stream, file, BLOCK)
        file.flush()
        yield Path(file.name)


def _naming(label: str, opened: Callable[[], BinaryIO]) -> Callable[[], BinaryIO]:
    """The same, with errors of damaged archives as BadInput that names the file."""

    def open_named() -> BinaryIO:
        try:
            return cast("BinaryIO", _Named(opened(), label))
        except (zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: also a compression that this Python lacks
            raise BadInput(f"{label}: is damaged: {error}") from None

    return open_named


class _Named:
    """A stream that says which file is damaged."""

    def __init__(self, stream: BinaryIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self.closed = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise BadInput(f"{self._label}: is damaged: {error}") from None

    read1 = read

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        self.closed = True
        self._stream.close()

    def __enter__(self) -> _Named:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
