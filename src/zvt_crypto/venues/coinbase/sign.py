"""How requests to Coinbase are signed. Pure: the time and what is random are arguments, keys are used and never shown.

Exchange signs with a shared secret. Advanced Trade wants a token (JWT) a request, signed by an elliptic key (ES256) or an Ed25519 one
(EdDSA): the signature is the caller's to make, over the text that `token_text` gives.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadConfig

Algorithm = Literal["ES256", "EdDSA"]
TOKEN_S = 120  # the venue takes no token that lives longer
_P256_BYTES = 32


def exchange_signature(secret: str, timestamp: str, method: str, path: str, body: str = "") -> str:
    """CB-ACCESS-SIGN. `path` with its query, exactly as it is sent; the secret is base64. Raises BadConfig."""
    try:
        key = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise BadConfig("the secret of a coinbase exchange key is not base64 (it is not shown)") from None
    message = f"{timestamp}{method}{path}{body}".encode()
    return base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


def token_text(key_name: str, algorithm: Algorithm, now_s: int, nonce: str, *, method: str = "", host: str = "", path: str = "") -> bytes:
    """What is signed of a token. `path` without its query; a token for a WebSocket names no method, host and path."""
    header = {"alg": algorithm, "typ": "JWT", "kid": key_name, "nonce": nonce}
    claims = {"sub": key_name, "iss": "cdp", "nbf": now_s, "exp": now_s + TOKEN_S}
    if path:
        claims["uri"] = f"{method} {host}{path.partition('?')[0]}"
    return b".".join(_base64url(msgspec.json.encode(part)) for part in (header, claims))


def token(text: bytes, sign: Callable[[bytes], bytes]) -> str:
    """The token. `sign` gives the 64 bytes of the signature; `raw_signature` makes them of what most libraries give for ES256."""
    return b".".join((text, _base64url(sign(text)))).decode()


def raw_signature(der: bytes) -> bytes:
    """r and s, 32 bytes each, of an ASN.1 ECDSA signature. Raises ValueError for what is none."""
    try:
        if der[0] != 0x30 or der[1] != len(der) - 2:
            raise ValueError
        parts, at = [], 2
        for _ in range(2):
            if der[at] != 0x02:
                raise ValueError
            size = der[at + 1]
            parts.append(int.from_bytes(der[at + 2 : at + 2 + size], "big").to_bytes(_P256_BYTES, "big"))
            at += 2 + size
    except (IndexError, OverflowError, ValueError):
        raise ValueError(f"{len(der)} bytes are no ECDSA signature of P-256") from None
    return b"".join(parts)


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
