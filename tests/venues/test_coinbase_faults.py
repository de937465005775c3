"""What Coinbase's refusals mean, and how its requests are signed."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from zvt_crypto.domain.errors import BadConfig, Banned, GeoBlocked, Refused, Throttled, Unreachable
from zvt_crypto.ports import Response
from zvt_crypto.venues.coinbase import request, spec
from zvt_crypto.venues.coinbase.faults import BY_NAME, FIREWALL_MS, THROTTLED_MS, fate
from zvt_crypto.venues.coinbase.rest import manners
from zvt_crypto.venues.coinbase.sign import exchange_signature, raw_signature, token, token_text

TOO_MANY = b'{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}'


def fate_of(status: int, body: bytes = b"", **headers: str):
    return fate(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, "/it")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, TOO_MANY, Throttled),
        (400, TOO_MANY, Throttled),
        (429, b"<html>", Throttled),
        (418, b"", Banned),
        (451, b"", GeoBlocked),
        (403, b'{"message":"not available in your country"}', GeoBlocked),
        (403, b"<html>blocked</html>", Throttled),
        (403, b'{"error":"PERMISSION_DENIED","message":"no"}', Refused),
        (403, b'{"message":"Forbidden"}', Refused),
        (401, b"Unauthorized", Refused),
        (400, b'{"error":"INVALID_ARGUMENT","error_details":"start and end are required","message":"x"}', Refused),
        (404, b'{"message":"NotFound"}', Refused),
        (302, b"", Refused),
        (500, b'{"message":"Internal server error"}', Unreachable),
        (502, b"<html>", Unreachable),
        (503, b"", Unreachable),
        (503, b'{"error":"RESOURCE_EXHAUSTED"}', Throttled),
        (400, b'{"error":"DEADLINE_EXCEEDED"}', Unreachable),
        (204, b"", Unreachable),
        (400, b"[" * 2_000, Refused),
    ],
)
def test_every_answer_has_its_fate(status, body, kind):
    error = fate_of(status, body)
    assert type(error) is kind
    assert f"coinbase /it: HTTP {status}" in str(error)


def test_every_name_of_the_table_has_its_fate_whatever_the_form():
    for name, kind in BY_NAME.items():
        for body in ({"error": name}, {"errors": [{"id": name}]}, {"message": name}):
            assert type(fate_of(400, json.dumps(body).encode())) is kind, name


def test_the_venues_own_words_are_said():
    body = b'{"error":"INVALID_ARGUMENT","error_details":"number of candles requested should be less than 350 ","message":""}'
    assert "INVALID_ARGUMENT: number of candles requested should be less than 350'" in str(fate_of(400, body))
    assert "rate_limit_exceeded Too many requests" in str(fate_of(429, TOO_MANY))
    assert "clock" in str(fate_of(401))
    assert "other exchanges: binance, bybit, okx" in str(fate_of(451))


@pytest.mark.parametrize(
    ("status", "headers", "wait_ms"),
    [
        (429, {}, THROTTLED_MS),
        (429, {"retry_after": "3"}, 3_000),
        (429, {"retry_after": "0"}, 1),
        (429, {"x_ratelimit_reset": "7"}, 7_000),
        (429, {"x_ratelimit_reset": "1786309548"}, THROTTLED_MS),
        (429, {"retry_after": "99999"}, 3_600_000),
        (429, {"retry_after": "soon"}, THROTTLED_MS),
        (403, {}, FIREWALL_MS),
        (418, {}, 120_000),
    ],
)
def test_how_long_to_wait(status, headers, wait_ms):
    assert fate_of(status, **headers).wait_ms == wait_ms


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "many"}, None),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9"}, 1),
        ({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0"}, 10),
        ({"x-ratelimit-limit": "10000", "x-ratelimit-remaining": "9700"}, 0),  # of an hour: nothing of ours is used up
        ({"x-ratelimit-limit": "10000", "x-ratelimit-remaining": "2"}, 8),
    ],
)
def test_no_more_is_sent_than_the_venue_says_remains(headers, told):
    believe = manners(spec.CoinbaseHosts()).believe
    call = request.time()
    assert believe(call, Response(200, headers, b"")) == (None if told is None else ("coinbase.advanced.requests", told))


# ── Signatures ──


def test_the_golden_vectors_of_exchange():
    secret = "ZGVtby1zZWNyZXQtMDAwMQ=="
    assert exchange_signature(secret, "1700000000", "GET", "/accounts") == "DC7v37qE0HvkPhIHujioSickJY4Jli63YRNUECF8x1M="
    body = '{"product_id":"BTC-USD","side":"buy","type":"limit","price":"20000","size":"0.001"}'
    assert exchange_signature(secret, "1700000000", "POST", "/orders", body) == "rPB4UYcSq9mLgXF6u90h3PpXv7y2zugQfsTZnqVutDE="
    with pytest.raises(BadConfig) as error:
        exchange_signature("not base64!", "1700000000", "GET", "/accounts")
    assert "not base64!" not in str(error.value)


def decoded(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_token_by_an_elliptic_key_verifies_and_names_the_call_without_its_query():
    key = ec.generate_private_key(ec.SECP256R1())
    where = {"method": "GET", "host": "api.coinbase.com", "path": "/api/v3/brokerage/accounts?limit=5"}
    text = token_text("organizations/o/apiKeys/k", "ES256", 1_700_000_000, "abc123", **where)
    made = token(text, lambda message: raw_signature(key.sign(message, ec.ECDSA(hashes.SHA256()))))
    header, claims, signature = made.split(".")
    assert decoded(header) == {"alg": "ES256", "typ": "JWT", "kid": "organizations/o/apiKeys/k", "nonce": "abc123"}
    assert decoded(claims) == {
        "sub": "organizations/o/apiKeys/k",
        "iss": "cdp",
        "nbf": 1_700_000_000,
        "exp": 1_700_000_120,
        "uri": "GET api.coinbase.com/api/v3/brokerage/accounts",
    }
    raw = base64.urlsafe_b64decode(signature + "==")
    assert len(raw) == 64
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    key.public_key().verify(encode_dss_signature(r, s), f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))


def test_a_token_for_a_socket_by_an_edwards_key_names_no_call():
    key = ed25519.Ed25519PrivateKey.generate()
    header, claims, signature = token(token_text("k", "EdDSA", 5, "n"), key.sign).split(".")
    assert decoded(header)["alg"] == "EdDSA"
    assert "uri" not in decoded(claims)
    key.public_key().verify(base64.urlsafe_b64decode(signature + "=="), f"{header}.{claims}".encode())


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x06\x02\x01\x01\x02\x01", b"\x31\x06\x02\x01\x01\x02\x01\x01", b"\x30\x06\x03\x01\x01\x02\x01\x01"]
)
def test_what_is_no_signature_is_said_to_be_none(der):
    with pytest.raises(ValueError, match="no ECDSA signature"):
        raw_signature(der)


def test_a_short_half_of_a_signature_is_padded():
    assert raw_signature(b"\x30\x06\x02\x01\x05\x02\x01\x07") == (5).to_bytes(32, "big") + (7).to_bytes(32, "big")
