"""RFC 3339 as Coinbase writes it → int ns, exactly and quickly: a stream carries one such text a message, a book one a level."""

from __future__ import annotations

from collections.abc import Callable

from zvt_crypto.domain.errors import BadTime
from zvt_crypto.domain.time import NS_PER_US, parse_time

# `2026-08-09T21:05:48.170326Z`: up to the seconds it is 19 letters, and the same for many messages.
_SECOND = 19
_SCALES = (0, 10**8, 10**7, 10**6, 10**5, 10**4, 10**3, 10**2, 10, 1)
_MICROS_END = _SECOND + 7  # where the six digits of microseconds have ended
_KNOWN_MOST = 4_096


def moment_reader() -> Callable[[str], int]:
    """A reader that remembers the seconds it has seen. It raises BadTime; all of 0001-01-01, which stands for no time, is 0."""
    seconds: dict[str, int] = {}

    def read(text: str) -> int:
        base = seconds.get(text[:_SECOND])
        if base is not None and len(text) == _MICROS_END + 1 and text[_SECOND] == "." and text[_MICROS_END] == "Z":
            micros = text[_SECOND + 1 : _MICROS_END]  # as nearly all are written
            if micros.isdecimal():
                return base + int(micros) * NS_PER_US
        if base is not None and text[-1] == "Z":
            fraction = text[_SECOND + 1 : -1]
            if text[_SECOND] == "." and len(fraction) <= 9 and fraction.isdecimal():
                return base + int(fraction) * _SCALES[len(fraction)]
            if len(text) == _SECOND + 1:
                return base
        if text.startswith("0001-01-01"):
            return 0
        if len(text) < _SECOND or "T" not in text:  # an epoch number or a bare date is no moment of theirs
            raise BadTime(f"time {text[:40]!r} is not RFC 3339")
        whole = parse_time(text)
        if text[-1] == "Z":
            if len(seconds) >= _KNOWN_MOST:
                seconds.clear()
            seconds[text[:_SECOND]] = parse_time(text[:_SECOND] + "Z")
        return whole

    return read
