"""How often Bybit lets one address ask: 600 requests in five seconds, then it is shut out for ten minutes."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType

from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S
from zvt_crypto.emulator.faults import Phrase

REQUESTS = 600
WINDOW_NS = 5 * NS_PER_S
SHUT_OUT_NS = 10 * NS_PER_MINUTE
TOO_FREQUENT = b"access too frequent"
CONNECTS = 500
CONNECTS_WINDOW_NS = 5 * NS_PER_MINUTE
PHRASES = MappingProxyType(
    {
        403: Phrase(TOO_FREQUENT),
        429: Phrase(b'{"retCode":10006,"retMsg":"Too many visits. Exceeded the API Rate Limit.","result":{},"retExtInfo":{},"time":0}'),
        503: Phrase(b'{"retCode":10016,"retMsg":"Service not available.","result":{},"retExtInfo":{},"time":0}'),
    }
)


class Meter:
    """Moments within a window. `most` may be changed while it counts."""

    def __init__(self, most: int, window_ns: int, shut_out_ns: int = 0) -> None:
        self.most = most
        self._window_ns, self._shut_out_ns = window_ns, shut_out_ns
        self._times: deque[int] = deque()
        self._opens_ns = 0

    def spend(self, now_ns: int) -> bool:
        """Count one; whether it may be served."""
        if now_ns < self._opens_ns:
            return False
        times = self._times
        while times and times[0] <= now_ns - self._window_ns:
            times.popleft()
        if len(times) >= self.most:
            self._opens_ns = now_ns + self._shut_out_ns
            return False
        times.append(now_ns)
        return True
