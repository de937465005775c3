"""A PostgreSQL server of our own, in a folder, over a unix socket: nothing to install, no port, no password.

Who may connect is decided by the kernel (peer authentication): the user that owns the folder, nobody else. Any number of processes
may use the same folder: the first starts the server, the last to stop (or die, kill -9 included) ends it; `guard.py` sees to that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs

from zvt_crypto.domain.errors import BadConfig, StoreFull, StoreUnavailable, shown
from zvt_crypto.stores.postgres import guard
from zvt_crypto.stores.postgres.install import MAJOR, Account, account_for, programs, require_reachable
from zvt_crypto.stores.postgres.sockets import SOCKET, claim, socket_dir, sweep

DATABASE = "zvt_crypto"
_USER = "postgres"
# The shortest question that the protocol has: SSL? A server answers N; a socket whose server just died accepts, but does not answer.
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_LOG_BYTES = 1_000_000
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "log",  # errors go to the client that caused them; the log stays small
    "log_checkpoints": "off",
    "max_connections": "100",
}


def default_data_dir() -> Path:
    """Where the database lives when nobody says otherwise; as root a folder that an unprivileged server can reach."""
    if os.geteuid() == 0:
        return Path("/var/lib/zvt-crypto/database")
    return platformdirs.user_data_path("zvt-crypto") / "database"


class EmbeddedServer:
    """The server of `data_dir`. `settings` are postgresql.conf values, read when the server is started.

    Its methods block (start about 2 s for a new folder, 0.2 s later): call them through `asyncio.to_thread` in a loop.
    """

    def __init__(self, data_dir: Path | str, *, settings: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> None:
        self.data_dir = Path(data_dir).expanduser().absolute()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._timeout_s = timeout_s
        self._lease: int | None = None
        self._log_start = 0  # what the log held before we started a server

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's own folder."""
        return self.data_dir / "pgdata"

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.data_dir / "server.log"

    @property
    def url(self) -> str:
        """`postgresql://postgres@/zvt_crypto?host=<socket folder>`; holds no secret."""
        return f"postgresql://{_USER}@/{DATABASE}?host={self._socket_dir}"

    def start(self) -> str:
        """Start it, or join the one that runs; returns the url. Safe to call again after a crash.

        Raises BadConfig (folder unusable, made by another version), StoreFull (no room on the disk), StoreUnavailable (all else).
        """
        try:
            self._prepare_folder()
            if self._lease is None:
                self._lease = self._open("users.lock")
            fcntl.flock(self._lease, fcntl.LOCK_SH)  # waits while a guard is stopping the server
            with self._alone():
                if not self._joined():
                    self._launch()
        except OSError as error:
            self._release()
            raise _as_ours(error, self.data_dir) from error
        except BaseException:
            self._release()
            raise
        return self.url

    def is_alive(self) -> bool:
        """Whether somebody answers at the socket now."""
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._socket_dir / SOCKET))
                probe.sendall(_SSL_REQUEST)
                return probe.recv(1) == b"N"
            except OSError:
                return False

    def pid(self) -> int | None:
        """The server's process id, or None where none runs."""
        lines = self._pid_file()
        return int(lines[0]) if lines and self.is_alive() else None

    def stop(self) -> None:
        """Stop using it. The server ends if nobody else uses it, and has ended when this returns. Safe to call twice."""
        if self._lease is None:
            return
        with self._alone():
            self._release()
            users = self._open("users.lock")
            try:
                if _lock_now(users, fcntl.LOCK_EX):
                    self._end()
                elif not _lock_now(users, fcntl.LOCK_SH):  # the guard was quicker than we
                    self._await_end()
            finally:
                os.close(users)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # ── Starting ──

    def _prepare_folder(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        account = account_for(self.pgdata)
        if account.drops:
            require_reachable(self.data_dir)
        self.data_dir.chmod(0o711 if account.drops else 0o700)

    def _joined(self) -> bool:
        """Wait for a server that is up, or coming up. False where none lives."""
        deadline = time.monotonic() + self._timeout_s
        while self._server_lives():
            if self._is_ready():
                return True
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"database in {self.data_dir} does not become ready: {self._log_tail()}")
            time.sleep(0.02)
        return False

    def _launch(self) -> None:
        account = account_for(self.pgdata)
        binaries = programs(account, self.data_dir)
        if not self.pgdata.exists():
            self._initialise(account, binaries)
        self._check_version()
        (self.pgdata / "postmaster.pid").unlink(missing_ok=True)  # stale: no process of the server lives
        self._trim_log()
        sweep(account)
        held = claim(self._socket_dir, account)
        try:
            self._run_guarded(account, binaries, held)
        finally:
            os.close(held)

    def _run_guarded(self, account: Account, binaries: Path, held: int) -> None:
        flags = [f"--{name}={value}" for name, value in {**self._settings, "unix_socket_directories": str(self._socket_dir)}.items()]
        paths = [*(str(self.data_dir / name) for name in ("users.lock", "server.lock", "server.log")), str(self._socket_dir), str(held)]
        command = [str(binaries / "postgres"), "-D", str(self.pgdata), *flags]
        guarded = [sys.executable, "-I", "-S", guard.__file__, *paths, str(account.uid), str(account.gid), *command]
        subprocess.run(  # noqa: S603
            guarded, start_new_session=True, check=False, cwd="/", stdin=subprocess.DEVNULL, pass_fds=(held,)
        )
        if not self._joined():
            raise self._failure("start", self._log_tail())

    def _initialise(self, account: Account, binaries: Path) -> None:
        """Made beside its place and moved there when whole: a kill midway leaves nothing that looks like a database."""
        half = self.data_dir / "pgdata.half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        os.chown(half, account.uid, account.gid)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        unsafe = self._settings.get("fsync") == "off"  # a database that nobody wants to keep need not reach the disk
        make = ["-D", str(half), "-U", _USER, "--auth=peer", "--no-instructions", *locale, *(["--no-sync"] if unsafe else [])]
        self._run(account, [str(binaries / "initdb"), *make])
        owner = pwd.getpwuid(os.geteuid()).pw_name
        (half / "pg_hba.conf").write_text("local all all peer map=owner\n")
        (half / "pg_ident.conf").write_text(f'owner "{owner}" {_USER}\n')
        single = ["--single", *(["-F"] if unsafe else []), "-D", str(half), "template1"]
        self._run(account, [str(binaries / "postgres"), *single], f"CREATE DATABASE {DATABASE}\n")
        half.rename(self.pgdata)

    def _run(self, account: Account, command: list[str], text: str = "") -> None:
        drop: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account.drops else {}
        done = subprocess.run(  # noqa: S603
            command, input=text, capture_output=True, text=True, check=False, cwd="/", timeout=self._timeout_s, **drop
        )
        if done.returncode:
            raise self._failure(Path(command[0]).name, (done.stderr or done.stdout).strip()[-500:])

    @property
    def _socket_dir(self) -> Path:
        return socket_dir(self.data_dir)

    def _check_version(self) -> None:
        made_by = (self.pgdata / "PG_VERSION").read_text().strip()
        if made_by != MAJOR:
            raise BadConfig(f"database folder {shown(str(self.data_dir))} was made by PostgreSQL {made_by}; this build runs {MAJOR}")

    # ── Ending ──

    def _end(self) -> None:
        lines = self._pid_file()
        if lines and self._server_lives():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(lines[0]), signal.SIGINT)
        self._await_end()

    def _await_end(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while self._server_lives():
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"database in {self.data_dir} does not stop: {self._log_tail()}")
            time.sleep(0.01)

    def _release(self) -> None:
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None

    # ── What the folder tells ──

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One starter or stopper of this folder at a time, over all processes."""
        lock = self._open("start.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _open(self, name: str) -> int:
        return os.open(self.data_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _server_lives(self) -> bool:
        lock = self._open("server.lock")
        try:
            return not _lock_now(lock, fcntl.LOCK_EX)
        finally:
            os.close(lock)

    def _is_ready(self) -> bool:
        lines = self._pid_file()
        return len(lines) > 7 and lines[7].strip() == "ready" and self.is_alive()

    def _pid_file(self) -> list[str]:
        try:
            return (self.pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _log_tail(self) -> str:
        try:
            return self.log_path.read_bytes()[self._log_start :][-600:].decode(errors="replace").strip()
        except FileNotFoundError:
            return "no log was written"

    def _trim_log(self) -> None:
        """Keep the log small, and remember where this start's part of it begins."""
        if not self.log_path.exists():
            return
        if self.log_path.stat().st_size > _LOG_BYTES:
            self.log_path.write_bytes(self.log_path.read_bytes()[-_LOG_BYTES // 10 :])
        self._log_start = self.log_path.stat().st_size

    def _failure(self, what: str, told: str) -> StoreUnavailable:
        kind = StoreFull if "No space left on device" in told else StoreUnavailable
        return kind(f"embedded PostgreSQL in {self.data_dir} did not {what}: {told}")


def _lock_now(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _as_ours(error: OSError, folder: Path) -> BadConfig | StoreFull:
    if error.errno == 28:  # ENOSPC
        return StoreFull(f"no room for a database in {folder}: {error.strerror}")
    return BadConfig(f"database folder {shown(str(folder))} cannot be used: {error.strerror}: {error.filename}")
