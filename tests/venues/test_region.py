"""Which refusals are about where we are. Words of the exchanges and of the firewalls in front of them."""

from __future__ import annotations

import pytest

from zvt_crypto.venues.region import refuses_region
from zvt_crypto.venues.socket import handshake_fate


@pytest.mark.parametrize(
    "said",
    [
        b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\'"}',
        b"<HTML>The Amazon CloudFront distribution is configured to block access from your country.</HTML>",
        b"The owner of this website has banned the country or region your IP address is in (US) from accessing this website.",
        b'{"message":"not available in your jurisdiction"}',
        b"Access from this region is not possible",
        b"<html>" + b" " * 10_000 + b"restricted location",
    ],
)
def test_a_403_that_speaks_of_the_place_is_the_region_for_requests_and_handshakes(said):
    assert refuses_region(403, said)
    assert handshake_fate("u", 403, {}, said).code == "venue_geo_blocked"
    assert not refuses_region(400, said), "only a 403 is read for it"


@pytest.mark.parametrize(
    "said", [b"access too frequent", b"<html>403 Forbidden</html>", b"", b'{"message":"Forbidden"}', b"banned: too many requests"]
)
def test_any_other_403_is_not(said):
    assert not refuses_region(403, said)


def test_a_451_is_whatever_it_says():
    assert refuses_region(451, b"")
