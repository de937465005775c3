"""How OKX wants requests signed. Pure: nothing here reads a clock or a key store.

REST wants the time as ISO 8601 with milliseconds, the WebSocket login as whole seconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

LOGIN_PATH = "/users/self/verify"


def sign(secret: str, timestamp: str, method: str, target: str, body: str = "") -> str:
    """Base64 of HMAC-SHA256. `target` is path and query exactly as sent, `body` the exact text sent; `timestamp` as in its header."""
    text = f"{timestamp}{method}{target}{body}"
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def sign_login(secret: str, at_s: int) -> str:
    """The signature of a WebSocket login; `at_s` is sent along as `timestamp`."""
    return sign(secret, str(at_s), "GET", LOGIN_PATH)
