"""What Binance answers when it does not answer → what the caller must do."""

from __future__ import annotations

import json

import pytest

from zvt_crypto.domain.errors import Banned, GeoBlocked, Refused, Throttled, Unreachable, VenueError
from zvt_crypto.venues.binance.faults import fate

NOW_MS = 1_700_000_000_000
COUNTRY = b"<HTML>The Amazon CloudFront distribution is configured to block access from your country.</HTML>"
RESTRICTED = b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\'"}'


def told(code: int, msg: str = "") -> bytes:
    return json.dumps({"code": code, "msg": msg}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, told(-1121, "Invalid symbol."), Refused),
        (400, told(-1100, "Illegal characters"), Refused),
        (401, told(-2015, "Invalid API-key"), Refused),
        (404, b"<html>not found</html>", Refused),
        (301, b"", Refused),
        (400, told(-1003, "Too many requests"), Throttled),
        (429, told(-1003, "Too much request weight used"), Throttled),
        (429, b"<html>slow down</html>", Throttled),
        (503, told(-1008, "Server is currently overloaded"), Throttled),
        (403, b"<html>403 Forbidden</html>", Throttled),
        (418, told(-1003, "banned"), Banned),
        (400, told(-1000, "An unknown error occurred"), Unreachable),
        (400, told(-1001, "Internal error"), Unreachable),
        (408, told(-1007, "Timeout waiting for response from backend server"), Unreachable),
        (500, b"", Unreachable),
        (502, b"<html>Bad Gateway</html>", Unreachable),
        (503, b"Service Unavailable", Unreachable),
        (451, RESTRICTED, GeoBlocked),
        (451, b"", GeoBlocked),
        (403, COUNTRY, GeoBlocked),
        (403, RESTRICTED, GeoBlocked),
    ],
)
def test_fates(status, body, kind):
    error = fate("spot", status, {}, body, "/api/v3/klines", NOW_MS)
    assert type(error) is kind
    assert isinstance(error, VenueError)
    assert f"HTTP {status}" in str(error)
    assert "/api/v3/klines" in str(error)


def test_a_read_never_has_an_unknown_outcome():
    for status in range(300, 600):
        assert fate("usdm", status, {}, b"", "x", NOW_MS).code != "venue_outcome_unknown"


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait_ms"),
    [
        (429, {"retry-after": "7"}, b"", 7_000),
        (429, {}, b"", 60_000),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", 60_000),
        (418, {"retry-after": "7200"}, b"", 7_200_000),
        (418, {}, told(-1003, f"Way too many requests; IP banned until {NOW_MS + 500_000}."), 500_000),
        (418, {}, told(-1003, f"IP banned until {NOW_MS - 5}."), 120_000),
        (418, {}, b"", 120_000),
        (418, {"retry-after": "9" * 30}, b"", 3 * 86_400_000),
        (503, {}, told(-1008), 1_000),
    ],
)
def test_how_long_to_wait(status, headers, body, wait_ms):
    assert fate("spot", status, headers, body, "x", NOW_MS).wait_ms == wait_ms


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_geo_block_names_what_still_works(market):
    text = str(fate(market, 451, {}, RESTRICTED, "x", NOW_MS))
    assert "https://data-api.binance.vision" in text
    assert "bybit, okx, coinbase" in text
    assert ("USD-M is not" in text) == (market == "usdm")


def test_a_page_of_html_is_quoted_shortly():
    text = str(fate("spot", 502, {}, b"<html>" + b"x" * 10**6, "x", NOW_MS))
    assert len(text) < 400
