"""Every kind of fault that a script may hold, at every exchange, through the whole platform: once it is over, all is there or flagged."""

from __future__ import annotations

import os

import pytest

from faults.every_venue import EVERY
from faults.scripted import AT_S, SCRIPTS, can, live_for, script_of, scripted
from zvt_crypto.domain.instrument import TradingStatus
from zvt_crypto.domain.market import Trade
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.script import KINDS, read_script, set_up

LONG = bool(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS"))
SEEDS = range(1, 6) if LONG else range(1, 2)
WHOLE = "okx"  # the suite plays every kind at this one, which has them all, and some at each of the others


def plays() -> list[tuple[str, str]]:
    """(exchange, kind)."""
    made = []
    for number, venue in enumerate(EVERY):
        for turn, kind in enumerate(KINDS):
            if can(venue, kind) and (LONG or venue == WHOLE or turn % len(EVERY) == number):
                made.append((venue, kind))
    return made


def test_every_kind_has_a_script():
    assert set(SCRIPTS) == set(KINDS)
    assert [kind for kind in KINDS if not can(WHOLE, kind)] == []


@pytest.mark.prove
@pytest.mark.parametrize(("venue", "kind"), plays())
def test_after_a_fault_of_any_kind_all_is_there_or_flagged(venue, kind, figure):
    made = []
    for seed in SEEDS:
        for which in ("pair", "perp") if LONG else ("pair",):

            async def go(seed: int = seed, which: str = which):
                return await scripted(live_for(venue, which, kind, seed), kind)  # type: ignore[arg-type]

            made.append(virtual.run(go()))
    if LONG:
        trades, lost, minutes = sum(one.trades for one in made), sum(one.lost for one in made), sum(one.minutes for one in made)
        figure(f"scripted, {venue} {kind}: {len(made)} runs, {trades} trades, {lost} flagged as lost, {minutes} minutes, 0 wrong")
    assert [wrong for one in made for wrong in one.wrong] == []
    assert all(one.trades > 400 and one.minutes >= 2 for one in made)


@pytest.mark.parametrize("which", ["pair", "perp"])
@pytest.mark.parametrize("venue", EVERY)
def test_what_a_stall_swallows_that_is_too_short_for_a_new_connection_is_fetched_or_flagged(venue, which, figure):
    script = "".join(f'[[fault]]\nat = "{at}s"\nkind = "stall"\nfor = "{seconds}s"\n' for at, seconds in ((75, 2), (90, 1), (105, 3)))

    async def go():
        return await scripted(live_for(venue, which, "stall", 3), "short stall", script)

    made = virtual.run(go())
    figure(f"short stalls, {venue} {which}: {made.trades} trades, {made.lost} flagged as lost, {made.gaps} gaps")
    assert made.wrong == []
    assert made.trades > 300


@pytest.mark.parametrize("venue", EVERY)
def test_a_delisted_instrument_is_left_out_and_comes_back_when_it_is_listed_again(venue):
    async def go():
        live = live_for(venue, "pair", "delist")
        again = '[[fault]]\nat = "150s"\nkind = "list"\nbase = "ETH"\nquote = "USDT"\n\n[[fault]]\nat = "200s"\nkind = "cut"\n'
        set_up(read_script(script_of("delist", "spot") + again), live.dialect, live.start_ns)
        async with live.running():
            other = next(i for i in live.platform.ingests[0].subscriptions if i.instrument != live.instrument).instrument
            await live.sleep(AT_S + 60)
            status = live.connector.instruments.get(other).status
            followed = {s.instrument for route in live.platform.ingests[0].routes for s in route.subscriptions}
            await live.sleep(100)
        late = [e for at, e in live.events if isinstance(e, Trade) and e.instrument == other and at > live.start_ns + 200 * NS_PER_S]
        # A listing that says when it began anew is another instrument, with an id of its own.
        is_same = not live.notes.noted("relisted")
        return status, followed == {live.instrument}, bool(late) == is_same, live.notes.noted("not_followed")

    status, is_left_out, is_back, noted = virtual.run(go())
    assert status is TradingStatus.DELISTED
    assert is_left_out
    assert noted
    assert is_back
