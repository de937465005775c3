"""Bybit's refusals and their fates: every code of its error table, and what HTTP says."""

from __future__ import annotations

import pytest

from venues.bybit_parts import wired
from zvt_crypto.domain.errors import Banned, GeoBlocked, Malformed, Refused, Throttled, Unreachable
from zvt_crypto.venues.bybit.faults import fate

NOW = 1_672_738_134_000
CLOUDFRONT = b"<html>The Amazon CloudFront distribution is configured to block access from your country.</html>"


def told(code: int, message: str = "no", status: int = 200, **headers: str):
    body = wired({"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": NOW})
    return fate(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, "/v5/market/kline")


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ((10002, -1), Unreachable),
        ((10003, 10004, 10005, 10010, 33004, -2015), Refused),
        ((10006, 170222, 429, 10403), Throttled),
        ((10000, 10016, 170001, 170007, 170032, 170146, 170147, 170310), Unreachable),
        ((10014, 110072, 170141), Refused),
        ((110001, 170213, 110008, 110010, 170139, 170142), Refused),
        ((110003, 110120, 110121, 170132, 170133, 170134, 170371, 170372), Refused),
        ((110004, 110007, 110012, 110045, 170033, 170131, 110017, 110094, 170140, 110020, 170810, 170218), Refused),
        ((110079,), Throttled),
        ((10018,), Banned),
        ((10009,), GeoBlocked),
        ((10001, 987654), Refused),  # one that we do not know is a refusal
    ],
)
def test_a_code_decides_although_http_says_200(codes, kind):
    for code in codes:
        error = told(code)
        assert type(error) is kind, code
        assert f"code {code}, 'no'" in str(error)


@pytest.mark.parametrize("code", [0, 110025, 110026, 110043, 34040])
def test_success_and_what_was_so_already_are_answers(code):
    assert told(code) is None


@pytest.mark.parametrize("message", ["OK", "success", "SUCCESS", ""])
def test_the_words_of_success_do_not_matter(message):
    assert told(0, message) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b'{"retCode":10006,"retMsg":"access too frequent"}', Banned),
        (403, b"403, access too frequent", Banned),
        (403, b"", Banned),
        (403, CLOUDFRONT, GeoBlocked),
        (403, b'{"retCode":10009,"retMsg":"Service Restricted"}', GeoBlocked),
        (451, b"", GeoBlocked),
        (418, b"", Banned),
        (429, b"", Throttled),
        (400, b"bad request", Refused),
        (401, b"", Refused),
        (404, b"", Refused),
        (302, b"", Refused),
        (500, b"", Unreachable),
        (502, b"<html>maintenance</html>", Unreachable),
        (503, b'{"retCode":10016,"retMsg":"Server error"}', Unreachable),
    ],
)
def test_what_http_says(status, body, kind):
    error = fate(status, {}, body, "/v5/market/time")
    assert type(error) is kind
    assert f"HTTP {status}" in str(error)


def test_too_many_requests_shut_the_address_out_for_ten_minutes():
    error = fate(403, {}, b"access too frequent", "/v5/market/time")
    assert isinstance(error, Banned)
    assert error.wait_ms == 600_000


def test_a_refused_region_says_what_still_works():
    assert "other exchanges: binance, okx, coinbase" in str(fate(403, {}, CLOUDFRONT, "/v5/market/time"))


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, 1_000),
        ({"x_bapi_limit_reset_timestamp": str(NOW + 834)}, 834),  # by the venue's own clock, not ours
        ({"x_bapi_limit_reset_timestamp": str(NOW - 5)}, 1_000),
        ({"x_bapi_limit_reset_timestamp": str(NOW + 99_999_999)}, 3_600_000),
        ({"x_bapi_limit_reset_timestamp": "soon"}, 1_000),
        ({"retry_after": "3"}, 3_000),
    ],
)
def test_how_long_to_wait_is_what_the_venue_says(headers, wait_ms):
    error = told(10006, "Too many visits!", **headers)
    assert isinstance(error, Throttled)
    assert error.wait_ms == wait_ms


def test_the_systems_own_protection_asks_for_a_longer_pause():
    error = told(429, status=429)
    assert isinstance(error, Throttled)
    assert error.wait_ms == 5_000


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"result":{}}', b'{"retCode":"none"}'])
def test_an_answer_without_a_code_is_malformed(body):
    assert isinstance(fate(200, {}, body, "/v5/market/time"), Malformed)
