"""How often Coinbase lets one address ask, and what it says with trouble."""

from __future__ import annotations

from types import MappingProxyType

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.faults import Phrase

REQUESTS_PER_S, REQUESTS_BURST = 10, 15  # on each of the two APIs
MESSAGES_PER_S, MESSAGES_BURST = 8, 20  # of WebSockets, all connections together
CONNECTS_PER_S, CONNECTS_BURST = 8, 20
TOO_MANY = b'{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}'
TOO_MANY_EXCHANGE = b'{"message":"Public rate limit exceeded"}'
# 403 and 502 are pages of what stands before the exchange.
PHRASES = MappingProxyType(
    {
        429: Phrase(TOO_MANY),
        500: Phrase(b'{"error":"INTERNAL","error_details":"internal server error","message":"internal server error"}'),
        503: Phrase(b'{"error":"UNAVAILABLE","error_details":"service unavailable","message":"service unavailable"}'),
        504: Phrase(b'{"error":"DEADLINE_EXCEEDED","error_details":"context deadline exceeded","message":"context deadline exceeded"}'),
    }
)


class Bucket:
    """So many a second, and some more at once after a pause. `per_s` and `burst` may be changed while it counts."""

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s, self.burst = per_s, burst
        self._left = burst
        self._at_ns: int | None = None

    def spend(self, now_ns: int) -> bool:
        """Take one; whether it may be served."""
        since_ns = 0 if self._at_ns is None else max(0, now_ns - self._at_ns)
        self._left = min(self.burst, self._left + since_ns / NS_PER_S * self.per_s)
        self._at_ns = now_ns
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def scale(self, factor: float) -> None:
        """Multiply both, and what is left."""
        self.per_s, self.burst = max(1.0, self.per_s * factor), max(1.0, self.burst * factor)
        self._left = min(self.burst, self._left * max(1.0, factor))

    def headers(self) -> dict[str, str]:
        """What Advanced tells with every answer: limit, remaining, seconds until it is whole again."""
        reset_s = int((self.burst - self._left) // self.per_s) + 1
        told = {"limit": int(self.per_s), "remaining": int(self._left), "reset": reset_s}
        return {f"x-ratelimit-{name}": str(value) for name, value in told.items()}
