"""The machine's table of limits: many processes, one count; nothing is lost when one of them dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.engine.limits import Limits
from zvt_crypto.stores.files.limits import FileLimits
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.clock import SystemClock

HOUR_MS = 3_600_000
SPENDER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from zvt_crypto.stores.files.limits import FileLimits
    limits = FileLimits(Path(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        limits.change(lambda table: table.spend("venue.weight", 1, 1_000))
    print("spent", flush=True)
    if sys.argv[3] == "hold":
        limits.change(lambda table: (print("held", flush=True), time.sleep(60)))
""")


def spender(path: Path, times: int, then: str = "end") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SPENDER, str(path), str(times), then], stdout=subprocess.PIPE)


def used(path: Path) -> int:
    return FileLimits(path).change(lambda table: table.used("venue.weight", 1_000))


def test_every_spending_of_four_processes_counts(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    FileLimits(path).change(lambda table: table.state("venue.weight", 10_000, HOUR_MS))
    processes = [spender(path, 250) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert used(path) == 1_000


def test_a_process_killed_with_the_lock_in_its_hand_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    FileLimits(path).change(lambda table: table.state("venue.weight", 10_000, HOUR_MS))
    process = spender(path, 7, "hold")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"spent\n", b"held\n"]
    process.kill()
    process.wait(60)
    assert used(path) == 7


def test_a_table_that_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    path.write_bytes(b'{"buckets": {"venue.weight": {"lim')
    FileLimits(path).change(lambda table: table.state("venue.weight", 10, HOUR_MS))
    assert used(path) == 0
    assert FileLimits(path).change(lambda table: table.wait_ms("venue.weight", 1, "live", 1_000)) == 0


def test_an_error_in_a_change_keeps_what_was(tmp_path: Path) -> None:
    limits = FileLimits(tmp_path / "limits.json")
    limits.change(lambda table: table.state("venue.weight", 10, HOUR_MS))

    def fail(table: Limits) -> None:
        table.spend("venue.weight", 5, 1_000)
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError):
        limits.change(fail)
    assert limits.change(lambda table: table.used("venue.weight", 1_000)) == 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BadConfig, match=r"limits\.json"):
        FileLimits(tmp_path / "file" / "limits.json")


def test_a_ban_in_one_process_closes_the_door_of_the_other(tmp_path: Path) -> None:
    tables = [FileLimits(tmp_path / "limits.json") for _ in range(2)]
    one, other = (LimitBudget(SystemClock(), PrometheusObserver(), table, patience_ms={"live": 10}) for table in tables)
    one.set_limit("venue.weight", 1_000, 60_000)
    one.penalise("venue.weight", 300_000)

    async def try_it() -> None:
        from zvt_crypto.domain.errors import Banned

        with pytest.raises(Banned, match=r"venue\.weight is closed"):
            await other.acquire("venue.weight", 1, "live")

    asyncio.run(try_it())
    for table in tables:
        table.close()


def test_a_table_that_cannot_be_written_is_counted_alone_told_once_and_shared_again_later(tmp_path: Path) -> None:
    path, observer = tmp_path / "limits.json", PrometheusObserver()
    limits = FileLimits(path, observer)

    def spend(weight: int) -> int:
        return limits.change(lambda table: table.spend("venue.weight", weight, 1_000))

    def waits(weight: int) -> bool:
        return limits.change(lambda table: table.wait_ms("venue.weight", weight, "cancel", 1_000)) > 0

    limits.change(lambda table: table.state("venue.weight", 1_000, HOUR_MS))
    assert spend(10) == 10
    in_the_way = path.with_suffix(f".{os.getpid()}")
    in_the_way.mkdir()  # nothing can be written, as on a full disk
    assert [spend(5), spend(5)] == [15, 20]
    assert [waits(230), waits(231)] == [False, True], "a quarter, since others count alone too"
    assert b"limits_not_shared_total 1.0" in observer.render()
    in_the_way.rmdir()
    assert spend(1) == 11, "the shared count, without what was spent alone"
    assert not waits(900)
    assert used(path) == 11
    limits.close()
