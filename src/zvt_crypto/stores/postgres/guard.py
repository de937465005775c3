"""The embedded server's parent: stops it as soon as no process uses it any more, however those processes ended.

Run by path (`python -I -S guard.py LEASE LOCK LOG RUN RUN_FD UID GID COMMAND...`), so it imports the standard library only. Users of
the server hold LEASE shared; the kernel lets go for those that were killed. LOCK is inherited by every process of the server: while it
is held, one of them lives, so a `postmaster.pid` beside a free LOCK is certainly stale. RUN is the socket's folder, removed at the end;
RUN_FD holds its lock. If the guard itself is killed, Linux stops the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

BUSY = 3  # exit status: a process of the server still lives
_PR_SET_PDEATHSIG = 1


def main(lease: str, lock: str, log: str, run: str, run_fd: str, uid: str, gid: str, *command: str) -> int:
    """Start the server and stay until it ends. Returns BUSY, or 0."""
    lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return BUSY
    if os.fork():  # the starter waits for this exit only; nobody has to reap the guard
        os._exit(0)
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    drop: dict[str, Any] = {"user": int(uid), "group": int(gid), "extra_groups": []} if os.geteuid() == 0 else {}
    server = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=(lock_fd, int(run_fd)),
        preexec_fn=_die_with_parent,
        **drop,
    )
    for fd in (0, 1, 2):  # a pipe of the starter must not stay open through us
        os.dup2(log_fd, fd)
    threading.Thread(target=_stop_when_unused, args=(lease, server), daemon=True).start()
    server.wait()
    _remove(run)  # while the lock is still ours: nobody starts the next one meanwhile
    return 0


def _remove(run: str) -> None:
    with contextlib.suppress(OSError):
        for left in Path(run).iterdir():
            left.unlink()
        Path(run).rmdir()


def _stop_when_unused(lease: str, server: subprocess.Popen[bytes]) -> None:
    fcntl.flock(os.open(lease, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(signal.SIGINT)  # fast shutdown: clients are told, the data is flushed


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
