"""Bybit's signatures: pure, of exactly the bytes that are sent."""

from __future__ import annotations

import hashlib
import hmac


def sign_request(secret: str, timestamp_ms: int, key: str, recv_window_ms: int, content: str) -> str:
    """The X-BAPI-SIGN of a request: `content` is the query string of a GET, the raw JSON body of a POST."""
    return _hmac_hex(secret, f"{timestamp_ms}{key}{recv_window_ms}{content}")


def sign_socket(secret: str, expires_ms: int) -> str:
    """The third argument of `auth` on a private socket; the second is `expires_ms`, a moment in the future."""
    return _hmac_hex(secret, f"GET/realtime{expires_ms}")


def _hmac_hex(secret: str, message: str) -> str:
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
