"""Limits that every process of this machine shares: one small file, changed under a lock (engine.limits.LimitTable).

A venue counts by address, not by process: two programs that each keep to the limit are banned together. The lock is the kernel's, so
a process that dies holding it frees it. The table is replaced as a whole, so that a reader never sees half of one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.engine.limits import Limits

T = TypeVar("T")


class FileLimits:
    """The table at `path`; a lock file stands beside it. Raises BadConfig where the folder cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadConfig(f"the shared rate limits cannot stand at {path}: {error}") from error

    def change(self, apply: Callable[[Limits], T]) -> T:
        """Some 100 µs; longer only while other processes are at it."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            before = self._read()
            limits = _decoded(before)
            made = apply(limits)
            after = msgspec.json.encode(limits)
            if after != before:
                self._write(after)
            return made
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the lock file; the table stays for others."""
        os.close(self._lock)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""

    def _write(self, content: bytes) -> None:
        made = self._path.with_suffix(f".{os.getpid()}")
        made.write_bytes(content)
        made.replace(self._path)


def _decoded(content: bytes) -> Limits:
    """An empty table for what is none: counts are lost then, which the venue's own headers mend."""
    try:
        return msgspec.json.decode(content, type=Limits) if content else Limits()
    except msgspec.MsgspecError:
        return Limits()
