"""Limits that every process of this machine shares: one small file, changed under a lock (engine.limits.LimitTable).

A venue counts by address, not by process: two programs that each keep to the limit are banned together. The lock is the kernel's, so
a process that dies holding it frees it. The table is replaced as a whole, so that a reader never sees half of one. While it cannot be
written (a full disk) each process counts alone, and with a part of each limit.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.engine.limits import ALONE_SHARE, Limits
from zvt_crypto.ports import Observer

T = TypeVar("T")


class FileLimits:
    """The table at `path`; a lock file stands beside it. Raises BadConfig where the folder cannot be written."""

    def __init__(self, path: Path, observer: Observer | None = None) -> None:
        self._path, self._observer = path, observer
        self._alone: Limits | None = None  # what this process counts while the table cannot be written
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadConfig(f"the shared rate limits cannot stand at {path}: {error}") from error

    def change(self, apply: Callable[[Limits], T]) -> T:
        """Some 100 µs; longer only while other processes are at it."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            try:
                made = self._change(apply)
            except OSError as error:
                return self._change_alone(apply, error)
            self._alone = None
            return made
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _change(self, apply: Callable[[Limits], T]) -> T:
        before = self._read()
        limits = _decoded(before)
        made = apply(limits)
        after = msgspec.json.encode(limits)
        if after != before or self._alone is not None:  # whether it can be written again shows by writing
            self._write(after)
        return made

    def _change_alone(self, apply: Callable[[Limits], T], error: OSError) -> T:
        if self._alone is None:
            self._alone = self._last()
            self._alone.share = ALONE_SHARE
            if self._observer is not None:
                self._observer.note("warning", "limits_not_shared", reason=f"{self._path} cannot be written: {error.strerror}")
                self._observer.count("limits_not_shared")
        return apply(self._alone)

    def _last(self) -> Limits:
        """The table as it was when it could be written."""
        try:
            return _decoded(self._read())
        except OSError:
            return Limits()

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
        try:
            made.write_bytes(content)
            made.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                made.unlink(missing_ok=True)  # half of one helps nobody, and takes room
            raise


def _decoded(content: bytes) -> Limits:
    """An empty table for what is none: counts are lost then, which the venue's own headers mend."""
    try:
        return msgspec.json.decode(content, type=Limits) if content else Limits()
    except msgspec.MsgspecError:
        return Limits()
