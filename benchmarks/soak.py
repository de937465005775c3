"""Availability of the many-process form while its parts are killed one after another, and what each outage came from.

Four ingest, two record and two api processes over a Valkey Cluster (three masters, three replicas), one PostgreSQL and an emulated exchange.
A seeded script kills (SIGKILL) a process of each role, a master of the Cluster or PostgreSQL, freezes an ingest process (SIGSTOP), and starts
again what it killed, as a supervisor of services would. Meanwhile the APIs are asked ten times a second, as what stands before them would do
(one that is not ready gets no questions, one that refuses is asked at the other): two times of three about what is live (the newest bar, the
ticker), else about what is stored. What is not answered rightly within 2 s is an outage. What is stored cannot be told while the only
PostgreSQL is down, so that it has a figure of its own. At the end every trade must be stored once, or stand in a gap.

Run: `python benchmarks/soak.py [--quick] [--minutes N] [--seed N]`. Aim: `availability` >= 99.9 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from topology_kit import Prober, Topology, answering, compared, settled, topology

QUICK_MINUTES, USUAL_MINUTES = 1.0, 10.0
PAUSE_S = (6.0, 12.0)  # between two blows: what was hit is back, more or less
SYMBOL = "cryptopair_binance_btcusdt"
MOMENT_S = 5.0  # a minute is closed a little after its end
FROZEN_S = 8.0  # longer than a lease holds


def kill_role(role: str) -> Callable[[Topology, random.Random], str]:
    """One of its processes dies; a new one begins a second later."""

    def blow(place: Topology, chance: random.Random) -> str:
        victim = chance.choice(place.living(role))
        victim.end(signal.SIGKILL)
        time.sleep(1.0)
        place.start(role)
        return f"kill -9 of {victim.name}"

    return blow


def kill_master(place: Topology, chance: random.Random) -> str:
    """A master dies; it comes back as a replica."""
    node = chance.choice([node for node in place.cluster.nodes if node.is_running and node.is_master()])
    node.kill()
    time.sleep(4.0)
    node.start()
    return f"kill -9 of the Cluster's master on port {node.port}"


def kill_database(place: Topology, chance: random.Random) -> str:
    """PostgreSQL dies and is started again."""
    pid = place.database.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(chance.uniform(0.2, 1.5))
    place.database.start()
    return "kill -9 of PostgreSQL"


def freeze(place: Topology, chance: random.Random) -> str:
    """An ingest process stands still for longer than its lease."""
    victim = chance.choice(place.living("ingest"))
    victim.popen.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN_S)
    victim.popen.send_signal(signal.SIGCONT)
    return f"{victim.name} stood still for {FROZEN_S:g} s"


BLOWS = (kill_role("ingest"), kill_master, kill_role("record"), kill_database, kill_role("api"), freeze)


def soak(minutes: float, seed: int) -> dict[str, object]:
    """Figures, and the outages with what was done last before each."""
    chance = random.Random(seed)
    done: list[tuple[float, str]] = []
    with topology(seed=seed) as place:
        for role, count in (("ingest", 4), ("record", 2), ("api", 2)):
            for _ in range(count):
                place.start(role)
        asyncio.run(settled(place))
        asyncio.run(answering(place, SYMBOL))
        warm_up(time.time())
        with Prober(place.ready_urls, SYMBOL) as prober:
            ends = time.monotonic() + minutes * 60
            order: list[Callable[[Topology, random.Random], str]] = []
            while time.monotonic() < ends:
                time.sleep(chance.uniform(*PAUSE_S))
                order = order or chance.sample(BLOWS, len(BLOWS))
                began = time.monotonic()
                done.append((began, order.pop()(place, chance)))
                print(f"{began - done[0][0]:>6.1f} s  {done[-1][1]}", flush=True)
            asyncio.run(settled(place))
        verdict = asyncio.run(compared(place))
        outages = told_of(prober.wrong, done)
    return {
        "figures": {
            "availability_percent": prober.percent("live"),
            "stored_availability_percent": prober.percent("stored"),
            "probes": prober.asked.total(),
            "blows": len(done),
            "trades": verdict.trades,
            "trades_missing": verdict.missing,
            "trades_missing_unflagged": verdict.unflagged,
            "trades_differing": verdict.differing,
        },
        "outages": outages,
    }


def warm_up(began_s: float) -> None:
    """Until the APIs have seen two minutes close: from then on the newest bar is answered from memory."""
    time.sleep(60 - began_s % 60 + 60 + MOMENT_S)


def told_of(wrong: list[tuple[float, str, str]], done: list[tuple[float, str]]) -> list[dict[str, object]]:
    """Outages: failures about the same thing after the same blow are one."""
    made: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for at, about, told in wrong:
        made.setdefault((cause_of(at, done), about), []).append((at, told))
    return [
        {"cause": cause, "about": about, "probes": len(found), "for_s": round(found[-1][0] - found[0][0], 1), "told": found[0][1][:200]}
        for (cause, about), found in made.items()
    ]


def cause_of(at: float, done: list[tuple[float, str]]) -> str:
    """What was done last before, and when."""
    before = [f"{what} ({began - done[0][0]:.0f} s)" for began, what in done if began <= at]
    return before[-1] if before else "nothing had been done yet"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--minutes", type=float, default=USUAL_MINUTES)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    made = soak(QUICK_MINUTES if args.quick else args.minutes, args.seed)
    print(json.dumps({"benchmark": "soak", **made, "ratios": {}}))


if __name__ == "__main__":
    main()
