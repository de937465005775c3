"""How often OKX lets one address ask: a count of requests within the last two seconds for each endpoint, no headers that tell."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.faults import Phrase

WINDOW_NS = 2 * NS_PER_S
TOO_MANY = b'{"msg":"Too Many Requests","code":"50011"}'
_UNAVAILABLE = b'{"code":"50001","data":[],"msg":"Service temporarily unavailable. Please try again later."}'
_TIMEOUT = b'{"code":"50004","data":[],"msg":"API endpoint request timeout (does not mean that the request was successful or failed)."}'
# 403 and 502 are pages of what stands before the exchange.
PHRASES = MappingProxyType(
    {
        429: Phrase(TOO_MANY),
        500: Phrase(b'{"code":"50026","data":[],"msg":"System error. Try again later."}'),
        503: Phrase(_UNAVAILABLE),
        504: Phrase(_TIMEOUT),
    }
)


class Window:
    """Moments of a bounded past."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._times: deque[int] = deque()

    def count(self, now_ns: int, most: int) -> bool:
        """Count one more if there is room; whether there was."""
        times = self._times
        while times and times[0] <= now_ns - self._length_ns:
            times.popleft()
        if len(times) >= most:
            return False
        times.append(now_ns)
        return True


class Meter:
    """One address's requests. `rates` (endpoint → requests within two seconds) may be changed while it counts."""

    def __init__(self, rates: dict[str, int]) -> None:
        self.rates = rates
        self._windows: dict[str, Window] = {}

    def spend(self, endpoint: str, kind: str, now_ns: int) -> bool:
        """Count a request; `kind` parts an endpoint's count where OKX does (by instType). Whether it may be served."""
        return self._windows.setdefault(f"{endpoint} {kind}", Window(WINDOW_NS)).count(now_ns, self.rates[endpoint])
