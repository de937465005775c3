"""The embedded server: starts, is shared, survives kills, leaves with its last user, and says what is wrong."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from zvt_crypto.domain.errors import BadConfig, StoreFull, StoreUnavailable
from zvt_crypto.stores.postgres import install, sockets
from zvt_crypto.stores.postgres.embedded import EmbeddedServer

FAST = {"fsync": "off"}
USE_IT = """
import sys, time
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
server = EmbeddedServer(sys.argv[1], settings={"fsync": "off"})
print(server.start(), server.pid(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not below pytest's own folder: another pytest run of root closes that again, and an unprivileged server loses its way."""
    folder = Path(tempfile.mkdtemp(prefix="zvt-embedded-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder with a database, no server running."""
    parent = Path(tempfile.mkdtemp(prefix="zvt-embedded-"))
    with EmbeddedServer(parent / "made", settings=FAST):
        pass
    yield parent / "made"
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def server(made: Path) -> Iterator[EmbeddedServer]:
    """The server of that folder; stopped at the end."""
    server = EmbeddedServer(made, settings=FAST, timeout_s=20)
    yield server
    server.stop()


def users(folder: Path, count: int) -> list[tuple[subprocess.Popen[str], int]]:
    """Other processes that use the folder, started together; the server's pid as each sees it."""
    command = [sys.executable, "-c", USE_IT, str(folder)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return [(process, int(process.stdout.readline().split()[1])) for process in started]


def user(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """One of them."""
    return users(folder, 1)[0]


def end(process: subprocess.Popen[str], how: int | None = None) -> None:
    if how is not None:
        process.send_signal(how)
    process.communicate(timeout=20)


def within_10_s(claim: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not claim():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def gone(pid: int) -> bool:
    """Whether the process ends within 10 s; one that its parent has not yet asked about has ended."""

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    return within_10_s(is_gone)


async def test_starts_answers_and_stops(server):
    url = server.start()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT current_database()") == "zvt_crypto"
    assert await connection.fetchval("SHOW listen_addresses") == ""
    await connection.close()
    pid = server.pid()
    assert server.is_alive()
    server.stop()
    assert gone(pid)
    assert (server.is_alive(), server.pid()) == (False, None)


def test_stop_and_start_may_be_called_twice(server):
    server.stop()
    assert server.start() == server.start()
    server.stop()
    server.stop()


async def test_rows_survive_a_stop(server):
    connection = await asyncpg.connect(server.start())
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    await connection.close()
    server.stop()
    connection = await asyncpg.connect(server.start())
    assert await connection.fetchval("SELECT n FROM kept") == 7
    await connection.execute("DROP TABLE kept")
    await connection.close()


def test_starts_again_over_what_a_killed_server_left(server):
    server.start()
    first = server.pid()
    os.kill(first, signal.SIGKILL)
    server.start()
    assert server.is_alive()
    assert server.pid() != first


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(server):
    """After a reboot the old pid may belong to anybody, here to this test."""
    server.start()
    server.stop()
    owner = server.pgdata.stat()
    left = server.pgdata / "postmaster.pid"
    left.write_text(f"{os.getpid()}\n{server.pgdata}\n1700000000\n5432\n/nowhere\n\n  1 2\nready   \n")
    os.chown(left, owner.st_uid, owner.st_gid)
    server.start()
    assert server.pid() != os.getpid()


def test_two_processes_share_one_server_and_the_last_ends_it(server):
    server.start()
    other, pid = user(server.data_dir)
    assert pid == server.pid()
    server.stop()
    assert server.is_alive()  # the other one still uses it
    end(other)
    assert gone(pid)


def test_the_server_does_not_outlive_a_killed_owner(made):
    owner, pid = user(made)
    end(owner, signal.SIGKILL)
    assert gone(pid)


def test_the_server_outlives_a_killed_owner_while_another_uses_it(server):
    owner, pid = user(server.data_dir)
    server.start()
    end(owner, signal.SIGKILL)
    assert server.pid() == pid
    server.stop()
    assert gone(pid)


def test_many_starters_at_once_get_one_server(made):
    started = users(made, 3)
    assert len({pid for _, pid in started}) == 1
    for process, _ in started:
        end(process)
    assert gone(started[0][1])


def test_a_half_made_database_is_made_anew(tmp_path):
    folder = tmp_path / "database"
    (folder / "pgdata.half" / "base").mkdir(parents=True)
    (folder / "pgdata.half" / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(folder, settings=FAST) as server:
        assert server.is_alive()
        assert not (folder / "pgdata.half").exists()


def test_a_database_of_another_version_is_refused_by_name(made, tmp_path):
    folder = tmp_path / "old"
    (folder / "pgdata").mkdir(parents=True)
    (folder / "pgdata" / "PG_VERSION").write_text("15\n")
    with pytest.raises(BadConfig, match="was made by PostgreSQL 15; this build runs 18"):
        EmbeddedServer(folder).start()


def test_a_folder_that_is_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig, match="file"):
        EmbeddedServer(tmp_path / "file").start()


def test_a_server_that_cannot_start_shows_its_log(made):
    with pytest.raises(StoreUnavailable, match=r"did not start[^§]*no_such_setting"):
        EmbeddedServer(made, settings={"no_such_setting": "1"}).start()
    assert not EmbeddedServer(made).is_alive()


def test_a_full_disk_is_named(made, monkeypatch, tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")

    def no_room(*_: object, **__: object) -> None:
        raise full

    monkeypatch.setattr(Path, "mkdir", no_room)
    with pytest.raises(StoreFull, match="no room"):
        EmbeddedServer(tmp_path / "new").start()
    monkeypatch.undo()
    failure = EmbeddedServer(made)._failure("start", "FATAL: could not write lock file: No space left on device")
    assert isinstance(failure, StoreFull)


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path):
    folder = tmp_path / ("long" * 30) / "database"
    with EmbeddedServer(folder, settings=FAST) as server:
        socket_dir = Path(server.url.partition("host=")[2])
        assert server.is_alive()
        assert not socket_dir.is_relative_to(folder)
        assert socket_dir.stat().st_mode & 0o077 == 0
    assert not socket_dir.exists()


def long_folder(tmp_path: Path, name: str) -> Path:
    return tmp_path / (name * 100) / "database"


@pytest.fixture
def own_temp(tmp_path, monkeypatch) -> Path:
    """A temporary folder of this test alone, for this process and those that it starts."""
    (tmp_path / "t").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    return tmp_path / "t"


def test_a_killed_owner_leaves_no_socket_folder(tmp_path, own_temp):
    owner, pid = user(long_folder(tmp_path, "a"))
    assert len(list(own_temp.iterdir())) == 1
    end(owner, signal.SIGKILL)
    assert gone(pid)
    assert within_10_s(lambda: not list(own_temp.iterdir()))


def test_the_next_start_removes_what_a_kill_of_everything_left_and_nothing_else(tmp_path, own_temp):
    """Server and guard die at the same moment, as in a container that is killed; another database runs on."""
    other, _ = user(long_folder(tmp_path, "b"))
    in_use = set(own_temp.iterdir())
    owner, pid = user(long_folder(tmp_path, "a"))
    guard_pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for each in (guard_pid, pid):
        os.kill(each, signal.SIGSTOP)
    for each in (guard_pid, pid, owner.pid):
        os.kill(each, signal.SIGKILL)
    end(owner)
    assert gone(pid)
    (left,) = set(own_temp.iterdir()) - in_use
    assert list(left.iterdir())

    theirs = own_temp / left.name.replace(left.name[-16:], "not-of-ours")
    theirs.mkdir()
    with EmbeddedServer(long_folder(tmp_path, "c"), settings=FAST) as server:
        mine = Path(server.url.partition("host=")[2])
        assert set(own_temp.iterdir()) == {*in_use, mine, theirs}
        assert server.is_alive()
    assert set(own_temp.iterdir()) == {*in_use, theirs}
    end(other)


def test_a_folder_that_vanishes_while_its_lock_is_awaited_is_made_anew(tmp_path):
    account = install.account_for(tmp_path / "none")
    folder = tmp_path / "run"
    first = sockets.claim(folder, account)
    waiting = threading.Thread(target=lambda: os.close(sockets.claim(folder, account)))
    waiting.start()
    time.sleep(0.1)  # it waits; were it not there yet, it would find nothing and make it: the claim is the same
    folder.rmdir()
    os.close(first)
    waiting.join(10)
    assert not waiting.is_alive()
    assert folder.is_dir()


def test_a_large_log_is_cut_when_the_server_starts(server):
    server.start()
    server.stop()
    server.log_path.write_bytes(b"x" * 1_500_000)
    server.start()
    assert server.log_path.stat().st_size < 200_000


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root changes to another user")


@root_only
def test_as_root_the_server_runs_unprivileged(server):
    server.start()
    assert Path(f"/proc/{server.pid()}").stat().st_uid != 0
    assert server.pgdata.stat().st_mode & 0o077 == 0


@root_only
def test_another_user_cannot_connect(server):
    """Neither the user that runs the server nor anybody else: the kernel tells who asks."""
    server.start()
    account = install.account_for(server.pgdata)
    ask = [str(install.wheel_root() / "bin" / "psql"), server.url, "-c", "SELECT 1"]
    asked = subprocess.run(ask, user=account.uid, group=account.gid, extra_groups=[], capture_output=True, text=True, cwd="/", check=False)
    assert asked.returncode == 2
    assert "Peer authentication failed" in asked.stderr


@root_only
def test_a_folder_that_the_unprivileged_server_cannot_reach_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(BadConfig, match="chmod o\\+x"):
        EmbeddedServer(closed / "database").start()
    assert closed.stat().st_mode & 0o777 == 0o700


@root_only
def test_programs_in_a_closed_folder_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "reachable", lambda path: False)
    with EmbeddedServer(tmp_path / "database", settings=FAST) as server:
        running = Path(f"/proc/{server.pid()}/exe").readlink()
        assert running.is_relative_to(server.data_dir)


def test_without_the_wheel_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(install, "_WHEEL", "no_such_wheel")
    with pytest.raises(BadConfig, match="install the package no_such_wheel, or name a server with a database url"):
        install.wheel_root()


def test_as_root_without_any_unprivileged_user_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(install, "_ACCOUNTS", ("no_such_user",))
    with pytest.raises(BadConfig, match="does not run as root"):
        install.account_for(tmp_path / "none")
