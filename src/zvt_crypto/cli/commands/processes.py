"""What `doctor` says of several processes: what they share, and who of them does what."""

from __future__ import annotations

import time
from collections import defaultdict

from zvt_crypto.cli.database import server_url
from zvt_crypto.cli.finding import Finding
from zvt_crypto.cli.settings import Settings, redis_url
from zvt_crypto.domain.errors import StoreError, ZvtCryptoError
from zvt_crypto.ports import LeaseState
from zvt_crypto.services.leases import PROCESS

LATELY_S = 600.0  # what nobody held for longer may be of settings of before
LONGEST = 6  # processes named one by one


async def redis_finding(settings: Settings) -> Finding:
    """Whether the server that processes share answers, and what it is."""
    from zvt_crypto.stores.redis.address import open_redis, place_of, told_version

    try:
        address = redis_url(settings) or ""
        began = time.monotonic()
        client = await open_redis(address)
        try:
            said = await told_version(client)
        finally:
            await client.aclose()
    except ZvtCryptoError as error:
        return Finding("redis", "fail", str(error), "is the server up, the address right? live.redis in the settings")
    return Finding("redis", "ok", f"{said} at {place_of(address)}, {(time.monotonic() - began) * 1_000:.0f} ms")


async def leases_finding(settings: Settings) -> Finding:
    """Who holds what, as the database sees it."""
    from zvt_crypto.stores.postgres.leases import open_leases

    try:
        async with server_url(settings) as url:
            leases = await open_leases(url)
            try:
                states = await leases.states()
            finally:
                await leases.close()
    except StoreError as error:
        return Finding("processes", "warn", str(error), "a schema of before; the next command that needs it makes the new one")
    except ZvtCryptoError as error:
        return Finding("processes", "fail", str(error), "they cannot divide their work without the database")
    return told(states)


def told(states: list[LeaseState]) -> Finding:
    """Each living process with what it holds; shards that nobody holds are a warning."""
    alive = [state for state in states if state.left_s > 0]
    living = {state.holder: state.name.removeprefix(PROCESS).partition(":")[0] for state in alive if is_process(state)}
    held: dict[str, list[str]] = defaultdict(list)
    for state in alive:
        if not is_process(state):
            held[state.holder].append(state.name)
    named = [f"{role} {holder} ({_shown(held.get(holder, []))})" for holder, role in sorted(living.items(), key=lambda one: one[::-1])]
    more = f" and {len(named) - LONGEST} more" if len(named) > LONGEST else ""
    said = f"{len(living)} live: {'; '.join(named[:LONGEST])}{more}" if living else "none runs: ingest, record, api"
    lone = sorted(state.name for state in states if -LATELY_S < state.left_s <= 0 and not is_process(state))
    if lone and living:
        return Finding(
            "processes", "warn", f"{said}; nobody holds {_shown(lone)}", "taken over within seconds where a process of its role lives"
        )
    return Finding("processes", "ok", said)


def is_process(state: LeaseState) -> bool:
    """Whether it says that a process lives, and not what it holds."""
    return state.name.startswith(PROCESS)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "nothing"
