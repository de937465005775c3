"""The folder of the server's unix socket: beside the data, or a short one where that path is too long for the kernel.

Whoever uses a folder holds a lock on it: the starter, then the guard and every process of the server. The kernel lets go for those
that were killed, so a folder without a lock is a leftover, and the next start of any database removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
from pathlib import Path

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.stores.postgres.install import Account

SOCKET = ".s.PGSQL.5432"
_MOST_BYTES = 100  # of a socket's path; the kernel allows 107


def socket_dir(data_dir: Path) -> Path:
    """Where the server of `data_dir` has its socket."""
    inside = data_dir / "run"
    if len(os.fsencode(inside / SOCKET)) <= _MOST_BYTES:
        return inside
    return Path(tempfile.gettempdir()) / f"{_prefix()}{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"


def claim(folder: Path, account: Account) -> int:
    """Make the folder, empty and closed to others. Returns the descriptor that holds its lock. Raises BadConfig, OSError."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        held = _open(folder)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            if _is_same(folder, held):  # and not one that was removed as a leftover while we waited
                _take_over(folder, held, account)
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def sweep(account: Account) -> None:
    """Remove the short folders of this user that nobody holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        if re.fullmatch(r"[0-9a-f]{16}", folder.name.removeprefix(_prefix())):
            with contextlib.suppress(OSError):  # repo-rules: allow (in use, or somebody else's: it stays)
                _remove(folder, account)


def _remove(folder: Path, account: Account) -> None:
    held = _open(folder)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(held).st_uid in (os.geteuid(), account.uid) and _is_same(folder, held):
            _empty(held)
            folder.rmdir()
    finally:
        os.close(held)


def _take_over(folder: Path, held: int, account: Account) -> None:
    if os.fstat(held).st_uid not in (os.geteuid(), account.uid):
        raise BadConfig(f"socket folder {folder} belongs to another user")
    os.fchmod(held, 0o700)
    os.fchown(held, account.uid, account.gid)
    _empty(held)


def _empty(held: int) -> None:
    for name in os.listdir(held):  # by the descriptor: nobody can put another folder in its place
        if name.startswith(SOCKET):
            os.unlink(name, dir_fd=held)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_same(folder: Path, held: int) -> bool:
    try:
        return os.path.samestat(os.lstat(folder), os.fstat(held))
    except FileNotFoundError:
        return False


def _prefix() -> str:
    return f"zvt-crypto-{os.geteuid()}-"
