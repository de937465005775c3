"""OKX's refusals → what the caller must do next. Every call here is a read, so one that got no answer is safe to send again.

The body's code decides, also where the HTTP status is 200. Codes of orders and accounts are refusals like all that are not named.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zvt_crypto.domain.errors import Banned, GeoBlocked, Refused, Throttled, Unreachable, VenueError, shown
from zvt_crypto.venues.decode import BROKEN
from zvt_crypto.venues.okx.wire import CodeRest
from zvt_crypto.venues.region import refuses_region

# The venue sends no counts; its windows are of two seconds. The firewall in front of it, which speaks no JSON, has a minute.
THROTTLED_MS = 2_000
FIREWALL_MS = 60_000
BANNED_MS = 120_000
# Nobody waits longer because of a number in a header.
LONGEST_MS = 3 * 86_400_000

Fate = type[VenueError]
# Codes that decide whatever the HTTP status says; "0" is success, and all others are refusals.
BY_CODE: dict[str, Fate] = {
    "50001": Unreachable,  # service temporarily unavailable
    "50004": Unreachable,  # endpoint timeout: says neither yes nor no
    "50005": Unreachable,  # service offline
    "50011": Throttled,  # too many requests
    "50013": Unreachable,  # system busy
    "50026": Unreachable,  # system error
    "50061": Throttled,  # too many orders of the sub-account
}
# What a person wants to know of a refusal that is ours to mend.
MEANINGS: dict[str, str] = {
    "50014": "a parameter is empty",
    "50101": "the key belongs to another environment",
    "50102": "the timestamp is more than 30 s off: look at the clock",
    "50105": "wrong passphrase",
    "50110": "this address may not use the key",
    "50111": "wrong key",
    "50112": "the timestamp is not ISO 8601",
    "50113": "wrong signature",
    "50119": "no such key on this host: keys are bound to a region",
    "51000": "a parameter is wrong",
    "51001": "no such instrument",
}
BY_STATUS: dict[int, Fate] = {418: Banned, 429: Throttled, 451: GeoBlocked}
_SUCCESS = b'{"code":"0"'

# WebSocket: how an `error` or `notice` frame ends or does not end the connection. What is not named refuses our subscription.
SOCKET_RESTART = frozenset({"64008"})  # the service restarts in 60 s
# Too many operations, idle (sources name two codes for it), too slow a reader: nothing is wrong with what we want, and a new connection
# gets it.
SOCKET_BROKEN = frozenset({"60005", "60014", "60015", "60016"})


def fate(status: int, headers: Mapping[str, str], body: bytes, what: str) -> VenueError | None:
    """The error of an answer; None where it is one. `what` names the call, for the message."""
    if status == 200 and body.startswith(_SUCCESS):
        return None
    told = _told(body)
    if status == 200 and told is not None and told.name == "0":
        return None
    said = f"okx {what}: HTTP {status} {_shown(body) if told is None else _meant(told)}"
    kind = _kind(status, body, told)
    if kind is GeoBlocked:
        return GeoBlocked(f"{said}. This region is not served; other exchanges: binance, bybit, coinbase.")
    if kind is Banned:
        return Banned(said, _wait_ms(headers, BANNED_MS))
    if kind is Throttled:
        return Throttled(said, _wait_ms(headers, THROTTLED_MS if told is not None else FIREWALL_MS))
    return kind(said)


def _kind(status: int, body: bytes, told: CodeRest | None) -> Fate:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if told is not None and told.name in BY_CODE:
        return BY_CODE[told.name]
    if status == 403:
        # The firewall answers 403 too: mostly to too many requests, so that waiting helps.
        return GeoBlocked if refuses_region(status, body) else Throttled
    if status >= 500 or (told is None and status == 200):
        return Unreachable  # a page of the maintenance, too
    return Refused


def _told(body: bytes) -> CodeRest | None:
    try:
        return msgspec.json.decode(body, type=CodeRest, strict=False)
    except BROKEN:
        return None


def _meant(told: CodeRest) -> str:
    meaning = MEANINGS.get(told.name)
    return f"code {told.name}, {shown(told.msg, 160)}" + (f" ({meaning})" if meaning else "")


def _wait_ms(headers: Mapping[str, str], usual_ms: int) -> int:
    stated = headers.get("retry-after", "")
    if stated.isascii() and stated.isdigit():
        return min(int(stated[:9]) * 1000 or 1, LONGEST_MS)
    return usual_ms


def _shown(body: bytes) -> str:
    return shown(body[:200].decode(errors="replace"), 120) if body else "without a body"
