"""What `doctor` says of the database's age, and of the processes that divide the work."""

from __future__ import annotations

import pytest

from zvt_crypto.cli.commands.doctor import OLDEST_POSTGRES, is_too_old
from zvt_crypto.cli.commands.processes import leases_finding, told
from zvt_crypto.cli.settings import Database, Settings
from zvt_crypto.ports import LeaseState
from zvt_crypto.stores.postgres import downgrade
from zvt_crypto.stores.postgres.leases import open_leases


@pytest.mark.parametrize(
    "server, old",
    [
        ("13.23 (Debian 13.23-1.pgdg13+1)", True),
        ("9.6.24", True),
        ("14.20", False),
        ("14beta1", False),
        ("18.0", False),
        ("none", True),
    ],
)
def test_a_server_before_the_oldest_that_is_kept_up_is_refused(server: str, old: bool) -> None:
    assert OLDEST_POSTGRES == 14
    assert is_too_old(server) is old


def test_each_living_process_is_named_with_what_it_holds() -> None:
    states = [
        LeaseState("ingest:binance:0", "a:1", 5, 4.0),
        LeaseState("ingest:binance:1", "a:1", 6, 4.0),
        LeaseState("process:ingest:binance:2:a:1", "a:1", 4, 4.0),
        LeaseState("process:record:b:2", "b:2", 7, 4.0),
        LeaseState("process:record:c:3", "c:3", 7, -1.0),
    ]
    finding = told(states)
    assert (finding.state, finding.said) == ("ok", "2 live: ingest a:1 (ingest:binance:0, ingest:binance:1); record b:2 (nothing)")
    lone = told([*states, LeaseState("record:3", "c:3", 7, -1.0), LeaseState("record:9", "c:3", 7, -7200.0)])
    assert (lone.state, lone.said) == ("warn", f"{finding.said}; nobody holds record:3")
    assert told([]).said == "none runs: ingest, record, api"


async def test_the_database_tells_who_holds_what_and_a_schema_of_before_is_said(database_url: str) -> None:
    settings = Settings(database=Database(url=database_url))
    leases = await open_leases(database_url)
    await leases.acquire("process:api:here:9", "here:9", 60.0)
    await leases.close()
    assert (await leases_finding(settings)).said == "1 live: api here:9 (nothing)"
    await downgrade(database_url, "0009")
    assert (await leases_finding(settings)).state == "warn"
    away = await leases_finding(Settings(database=Database(url="postgresql://x@127.0.0.1:1/x")))
    assert away.state in ("warn", "fail")
