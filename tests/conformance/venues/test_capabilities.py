"""What a venue claims is what it can do: every claim has a row, and every row passes on the venue's emulator."""

from __future__ import annotations

import asyncio

import pytest

from conformance.venues.provers import PROVERS, refuses
from services.memory_store import MemoryStore
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import INTERVALS, NS_PER_S, floor_ns
from zvt_crypto.ports import Subscription
from zvt_crypto.services.platform import Platform
from zvt_crypto.venues import CAPABILITIES, VENUES
from zvt_crypto.venues.capability import FEATURES, claims, native


def test_every_feature_has_a_row_and_every_venue_states_every_feature():
    assert set(PROVERS) == set(FEATURES)
    assert set(CAPABILITIES) == set(VENUES)
    for table in CAPABILITIES.values():
        assert set(table) == {"spot", "perp"}
        assert all(tuple(market) == FEATURES for market in table.values())


def test_what_is_derived_or_missing_says_why():
    for exchange, table in CAPABILITIES.items():
        for market, stated in table.items():
            assert [f"{exchange} {market} {name}" for name, claim in stated.items() if claim.how != "native" and not claim.note] == []


def test_a_claim_of_no_feature_is_a_mistake():
    with pytest.raises(AssertionError, match=r"klines\.2h"):
        claims(native(), klines__2h=native())


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_what_is_claimed_works_and_what_is_not_is_refused(at_venue, market):
    async def scenario(desk):
        symbol = desk.pair if market == "spot" else desk.perp
        await desk.clock.sleep(120)
        broken = {}
        for feature, claim in CAPABILITIES[at_venue.name][market].items():
            # A stream of longer klines that is derived is made by the services: the connector has none to give.
            absent = claim.how == "missing" or (claim.how == "derived" and feature.startswith("stream."))
            try:
                if absent:
                    await refuses(desk, feature, symbol, claim)
                else:
                    await PROVERS[feature](desk, symbol, claim)
            except (Exception, pytest.fail.Exception) as error:  # every row is tried, and all that fail are named
                broken[feature] = f"{claim.how}: {type(error).__name__}: {str(error)[:200]}"
        return broken

    assert at_venue.run(scenario) == {}


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_a_stream_that_is_derived_comes_from_the_platform(at_venue, market):
    derived = {name for name, claim in CAPABILITIES[at_venue.name][market].items() if claim.how == "derived" and name.startswith("stream.")}

    async def scenario(desk):
        symbol = desk.pair if market == "spot" else desk.perp
        start_ns = desk.clock.now_ns()
        wanted = [Subscription(symbol, desk.connector.trade_stream(symbol))]
        platform = Platform([desk.connector], wanted, MemoryStore(), desk.clock, desk.notes)
        heard = platform.feed.subscribe("row", bound=100_000, when_full="fail", kinds=(Kline,))
        task = asyncio.create_task(platform.run())
        await desk.clock.sleep(130)
        platform.stop()
        await task
        made = {f"stream.klines.{kline.interval}" for kline in await heard.receive() if kline.source in ("trades", "derived")}
        # A bar that had begun before us is not ours to make: the first of its length is the next one.
        return made, {f"stream.klines.{i}" for i in INTERVALS if floor_ns(i, start_ns) < start_ns - NS_PER_S}

    made, begun_before = at_venue.run(scenario)
    assert derived <= made | begun_before
    assert "stream.klines.1m" not in begun_before
