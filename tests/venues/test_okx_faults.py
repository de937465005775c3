"""OKX's refusals → fates."""

from __future__ import annotations

import json

import pytest

from zvt_crypto.domain.errors import Banned, GeoBlocked, Refused, Throttled, Unreachable
from zvt_crypto.venues.okx.faults import BY_CODE, MEANINGS, fate


def said(code: object, status: int = 200, msg: str = "no", **headers: str):
    return fate(status, headers, json.dumps({"code": code, "msg": msg, "data": []}).encode(), "/api/v5/market/ticker")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, Unreachable) for code in ("50001", "50004", "50005", "50013", "50026")),
        *((code, Throttled) for code in ("50011", "50061")),
        *((code, Refused) for code in ("50014", "50101", "50102", "50105", "50110", "50111", "50112", "50113", "50119", "1", "2")),
        *((code, Refused) for code in ("51000", "51001", "51008", "51016", "51020", "51119", "51131", "51400", "51503", "51603", "99999")),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_the_code_decides_whatever_the_status(code, kind, status):
    error = said(code, status)
    assert type(error) is kind
    assert f"HTTP {status} code {code}" in str(error)
    assert "/api/v5/market/ticker" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b"<html>slow down</html>", Throttled),
        (429, b'{"code":"50011","msg":"Too Many Requests"}', Throttled),
        (418, b"", Banned),
        (451, b"", GeoBlocked),
        (403, b"<html>Access from a restricted location</html>", GeoBlocked),
        (403, b"<html>cloudflare</html>", Throttled),
        (502, b"<html>nginx</html>", Unreachable),
        (503, b'{"code":"50001","msg":"Service temporarily unavailable"}', Unreachable),
        (503, b'{"code":"50011","msg":"Too Many Requests"}', Throttled),
        (500, b'{"code":"59999","msg":"?"}', Unreachable),
        (404, b"", Refused),
        (400, b'{"code":', Refused),
        (302, b"", Refused),
        (200, b"<html>We are upgrading</html>", Unreachable),
        (200, b"", Unreachable),
    ],
)
def test_the_status_decides_where_no_code_does(status, body, kind):
    assert type(fate(status, {}, body, "x")) is kind


@pytest.mark.parametrize("body", [b'{"code":"0","msg":"","data":[]}', b'{"data":[{"a":1}],"msg":"","code":"0"}', b'{"code":0}'])
def test_an_answer_is_no_error(body):
    assert fate(200, {}, body, "x") is None


def test_a_cut_answer_is_left_to_its_decoder():
    assert fate(200, {}, b'{"code":"0","msg":"","data":[{"inst', "x") is None


def test_waits_are_the_venues_windows_unless_it_says_otherwise():
    assert said("50011", 429).wait_ms == 2_000
    assert fate(429, {}, b"<html>", "x").wait_ms == 60_000
    assert said("50011", 429, **{"retry-after": "7"}).wait_ms == 7_000
    assert fate(418, {"retry-after": "999999999"}, b"", "x").wait_ms == 3 * 86_400_000
    assert fate(418, {}, b"", "x").wait_ms == 120_000


def test_what_we_can_mend_says_how():
    assert "look at the clock" in str(said("50102"))
    assert "bound to a region" in str(said("50119"))
    assert not set(MEANINGS) & set(BY_CODE)


def test_a_message_of_the_venue_is_quoted_and_cut():
    text = str(said("51000", msg="x" * 10_000 + "\n"))
    assert len(text) < 300
    assert "\n" not in text
