"""Parts plugged together: which ports a node opens."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import asyncpg
import pytest
from rich.console import Console

from zvt_crypto.cli import database, exits
from zvt_crypto.cli.build import books_state, open_node
from zvt_crypto.cli.commands import demo
from zvt_crypto.cli.connect import Silent
from zvt_crypto.cli.settings import Api, Binance, Database, Settings, Ws
from zvt_crypto.domain.errors import PortTaken, StoreError
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.telemetry.logs import setup_logs
from zvt_crypto.telemetry.metrics import PrometheusObserver


@pytest.fixture
def taken() -> Iterator[tuple[int, int]]:
    """Two ports where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        yield one.getsockname()[1], two.getsockname()[1]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, exchange: dict[str, str], taken: tuple[int, int]) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database=Database(url=database_url, pool_size=2),
        binance=Binance(rest=exchange["rest_url"], ws=exchange["ws_url"]),
        api=Api(port=taken[0]),
        ws=Ws(port=taken[1]),
    )


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[PrometheusObserver]:
    with (tmp_path / "log").open("w") as stream:
        yield PrometheusObserver(setup_logs("info", stream))


class Watcher(Silent):
    """An Observer that waits for one note."""

    def __init__(self) -> None:
        self.revived = asyncio.Event()

    def note(self, level: str, event: str, **fields: object) -> None:
        if event == "database_revived":
            self.revived.set()


async def test_an_embedded_database_that_is_killed_is_started_again_and_that_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "KEEP_S", 0.05)
    watcher = Watcher()
    settings = Settings(data_dir=tmp_path / "data")
    server = EmbeddedServer(settings.postgres_dir)
    async with database.server_url(settings, watcher) as url:
        first = server.pid()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(30):
            await watcher.revived.wait()
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        assert server.pid() not in (None, first)
    assert not server.is_alive()


async def test_a_movable_port_that_is_taken_becomes_another(
    settings: Settings, observer: PrometheusObserver, taken: tuple[int, int]
) -> None:
    async with open_node(settings, observer, movable=("api", "ws")) as node:
        opened = [int(url.rpartition(":")[2].partition("/")[0]) for url in (node.api_url, node.ws_url)]
        for port in opened:
            with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
                pass
    assert not {*opened, 0} & {*taken}


@pytest.mark.parametrize(("movable", "refused"), [((), 1), (("ws",), 0), (("api",), 1)])
async def test_a_port_that_was_chosen_stays(
    settings: Settings, observer: PrometheusObserver, taken: tuple[int, int], movable: tuple[str, ...], refused: int
) -> None:
    with pytest.raises(PortTaken, match=f"port {taken[refused]} on 127.0.0.1 is taken"):
        async with open_node(settings, observer, movable=movable):
            pass


@pytest.mark.parametrize("is_away", [False, True], ids=["the database answers", "the database is away"])
async def test_a_demo_fails_with_words_where_rows_were_dropped(settings: Settings, observer: PrometheusObserver, is_away: bool) -> None:
    console = Console(file=StringIO(), width=200)
    async with open_node(settings, observer, serve=False) as node:
        node.recorder.dropped = 3
        if is_away:
            await node.store.close()
        with pytest.raises(StoreError, match="3 rows were dropped, because database, queue and spool took no more") as raised:
            await demo.end(node, console, [("REST answered", True, "9 endpoints")])
    assert exits.exit_code(raised.value) == exits.STORE
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "ok   REST answered: 9 endpoints" in said
    assert "FAIL nothing dropped: 3 dropped, 0 refused, 0 holes untold" in said
    assert ("FAIL the database answers" in said) is is_away


def test_health_names_the_books_that_are_missing() -> None:
    assert books_state([]) == ("ok", "")
    assert books_state(["a", "b"]) == ("degraded", "no valid book of a, b")
    assert books_state(list("abcdefg")) == ("degraded", "no valid book of a, b, c, d, e and 2 more")


async def test_health_tells_that_all_books_are_there(settings: Settings, observer: PrometheusObserver) -> None:
    async with open_node(settings, observer, serve=False) as node:
        seen: list[str] = []

        async def until() -> None:
            async with asyncio.timeout(30):
                while not seen or seen[-1] != "ok" or not node.live.book(node.followed()[0]):
                    checks = {check.name: check.state for check in (await node.health.ready()).checks}
                    if node.followed() and "books" in checks:
                        seen.append(checks["books"])
                    await asyncio.sleep(0.05)

        await node.run(until())
        assert node.platform.missing_books() != []  # they end with the connection
