"""Request weights: the counter of a minute, 429 when it is over, 418 for who goes on."""

from __future__ import annotations

from types import MappingProxyType

from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from zvt_crypto.emulator.faults import Phrase
from zvt_crypto.emulator.model import Market

LIMIT: dict[Market, int] = {"spot": 6000, "usdm": 2400}
_ADVICE = "Please use WebSocket Streams for live updates to avoid"
_PATIENCE = 10  # requests answered 429 before the ban
_BAN_NS = 2 * NS_PER_MINUTE  # the shortest the exchange knows

# With a place for the request weight.
RATE_LIMITS: dict[Market, str] = {
    "spot": (
        '[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":%d},'
        '{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":50},'
        '{"rateLimitType":"ORDERS","interval":"DAY","intervalNum":1,"limit":160000},'
        '{"rateLimitType":"RAW_REQUESTS","interval":"MINUTE","intervalNum":5,"limit":300000}]'
    ),
    "usdm": (
        '[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":%d},'
        '{"rateLimitType":"ORDERS","interval":"MINUTE","intervalNum":1,"limit":1200},'
        '{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":300}]'
    ),
}

PHRASES = MappingProxyType(
    {
        429: Phrase(b'{"code":-1003,"msg":"Too many requests; please use the websocket for live updates."}', {"Retry-After": "1"}),
        418: Phrase(b'{"code":-1003,"msg":"Way too much request weight used; IP banned."}', {"Retry-After": "1"}),
        451: Phrase(b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\'."}'),
        503: Phrase(b'{"code":-1008,"msg":"Request throttled by system-level protection."}'),
    }
)

Refusal = tuple[int, dict[str, str], bytes]


class WeightMeter:
    """One address's used weight in one market. The window is fixed: it starts anew at second 0."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._minute = 0
        self._refused = 0
        self._banned_until_ns = 0

    def spend(self, weight: int, now_ns: int) -> Refusal | None:
        """Count a request; an answer if it must not be served."""
        if now_ns < self._banned_until_ns:
            return self._ban(now_ns)
        minute = now_ns // NS_PER_MINUTE
        if minute != self._minute:
            self._minute, self.used, self._refused = minute, 0, 0
        self.used += weight
        if self.used <= self.limit:
            return None
        self._refused += 1
        if self._refused > _PATIENCE:
            self._banned_until_ns = now_ns + _BAN_NS
            return self._ban(now_ns)
        wait_s = max(1, -(-((minute + 1) * NS_PER_MINUTE - now_ns) // NS_PER_S))
        text = f"Too much request weight used; current limit is {self.limit} request weight per 1 MINUTE. {_ADVICE} polling the API."
        return 429, {"Retry-After": str(wait_s)}, b'{"code":-1003,"msg":"%s"}' % text.encode()

    def _ban(self, now_ns: int) -> Refusal:
        left_s = max(1, -(-(self._banned_until_ns - now_ns) // NS_PER_S))
        until_ms = self._banned_until_ns // NS_PER_MS
        text = f"Way too much request weight used; IP banned until {until_ms}. {_ADVICE} bans."
        return 418, {"Retry-After": str(left_s)}, b'{"code":-1003,"msg":"%s"}' % text.encode()
