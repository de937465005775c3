"""Four ingest, two record and two api processes over a Cluster of three masters and three replicas: parts are killed, nothing is lost."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from topology_kit import SHARDS, Prober, Topology, answering, compared, settled, topology

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from soak import soak

SEEDS = int(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS", "0"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


async def holders(place: Topology) -> dict[str, int]:
    """Process id → how many shards of exchanges it holds."""
    sql = await place.sql()
    rows = await sql.fetch("SELECT holder, count(*) FROM lease WHERE until > now() AND name LIKE 'ingest:%' GROUP BY holder")
    await sql.close()
    return {int(holder.split(":")[1]): count for holder, count in rows}


async def test_a_master_an_ingest_and_a_recorder_are_killed_under_load_and_nothing_is_lost() -> None:
    with topology() as place:
        for role, count in (("ingest", 4), ("record", 2), ("api", 2)):
            for _ in range(count):
                place.start(role)
        await settled(place)
        await answering(place, "cryptopair_binance_btcusdt")
        with Prober(place.ready_urls, "cryptopair_binance_btcusdt") as prober:
            next(node for node in place.cluster.nodes if node.is_master()).kill()
            await settled(place)
            held = await holders(place)
            victim = next(process for process in place.living("ingest") if held.get(process.pid))
            victim.end(signal.SIGKILL)
            await settled(place)
            assert victim.pid not in await holders(place)
            assert sum((await holders(place)).values()) == SHARDS
            place.living("record")[0].end(signal.SIGKILL)
            await settled(place)
            verdict = await compared(place)
        assert verdict.trades > 200
        assert (verdict.missing, verdict.differing) == (0, 0), place.complaints()
        assert prober.right.total() > 20
        assert prober.wrong == [], place.complaints()
        assert len(place.living("api")) == 2


@pytest.mark.prove
@pytest.mark.alone
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(not SEEDS, reason="takes minutes: `make prove`")
@pytest.mark.parametrize("seed", range(1, 1 + max(1, SEEDS // 50)))
def test_whatever_is_killed_in_whatever_order_trades_are_stored_once_or_flagged(seed: int) -> None:
    made = soak(5.0, seed)
    figures = made["figures"]
    assert figures["blows"] > 10, figures
    assert (figures["trades_missing_unflagged"], figures["trades_differing"]) == (0, 0), figures
    assert figures["availability_percent"] >= 99.9, made["outages"]
