"""What a venue claims is what it can do: every claim has a row, and every row passes on the venue's emulator."""

from __future__ import annotations

import pytest

from conformance.venues.provers import PROVERS, refuses
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
