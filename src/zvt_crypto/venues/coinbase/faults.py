"""Coinbase's refusals → what the caller must do next. Every call here is a read, so one that got no answer is safe to send again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zvt_crypto.domain.errors import Banned, GeoBlocked, Refused, Throttled, Unreachable, VenueError, shown
from zvt_crypto.venues.coinbase.wire import ErrorRest
from zvt_crypto.venues.region import refuses_region

# Without a word from the venue: its windows are a second long, its firewall closes for some minutes.
THROTTLED_MS = 2_000
BANNED_MS = 120_000
FIREWALL_MS = 300_000
# Nobody waits longer because of a number in a header: the longest window in any source is an hour.
LONGEST_MS = 3_600_000

Fate = type[VenueError]
# Names that decide whatever the HTTP status says. Orders are refused in answers with status 200; the names are kept here beside the others.
BY_NAME: dict[str, Fate] = {
    "rate_limit_exceeded": Throttled,
    "RATE_LIMIT_EXCEEDED": Throttled,
    "RESOURCE_EXHAUSTED": Throttled,
    "INTERNAL": Unreachable,
    "INTERNAL_SERVER_ERROR": Unreachable,
    "internal_server_error": Unreachable,
    "UNAVAILABLE": Unreachable,
    "DEADLINE_EXCEEDED": Unreachable,
    "INVALID_ARGUMENT": Refused,
    "NOT_FOUND": Refused,
    "PERMISSION_DENIED": Refused,
    "UNAUTHENTICATED": Refused,
    "INSUFFICIENT_FUND": Refused,
    "INVALID_LIMIT_PRICE_POST_ONLY": Refused,
    "INVALID_PRICE_PRECISION": Refused,
    "INVALID_SIZE_PRECISION": Refused,
    "UNSUPPORTED_ORDER_CONFIGURATION": Refused,
    "UNKNOWN_CANCEL_ORDER": Refused,
    "DUPLICATE_CANCEL_REQUEST": Refused,
    "ORDER_ENTRY_DISABLED": Refused,
    "INVALID_EDITED_SIZE": Refused,
    "CANNOT_EDIT_TO_BELOW_FILLED_SIZE": Refused,
}
BY_STATUS: dict[int, Fate] = {401: Refused, 418: Banned, 429: Throttled, 451: GeoBlocked}


def fate(status: int, headers: Mapping[str, str], body: bytes, what: str) -> VenueError:
    """The error of an answer that is not 200. `what` names the call, for the message."""
    told = _told(body)
    name = _name(told)
    said = f"coinbase {what}: HTTP {status} {_words(body, told)}"
    kind = _kind(status, body, name)
    if kind is GeoBlocked:
        return GeoBlocked(f"{said}. This region is not served; other exchanges: binance, bybit, okx.")
    if kind is Banned:
        return Banned(said, _wait_ms(headers, BANNED_MS))
    if kind is Throttled:
        return Throttled(said, _wait_ms(headers, FIREWALL_MS if status == 403 else THROTTLED_MS))
    if status == 401:
        said += ". A token lives two minutes: look at the clock first"
    return kind(said)


def _kind(status: int, body: bytes, name: str) -> Fate:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if refuses_region(status, body):
        return GeoBlocked
    if name in BY_NAME:
        return BY_NAME[name]
    if status == 403:
        return Refused if name else Throttled  # a page of the firewall has no name in it
    if status >= 500:
        return Unreachable
    return Refused if status >= 300 else Unreachable  # redirects are not followed: the hosts are a fixed list


def _told(body: bytes) -> ErrorRest | None:
    try:
        return msgspec.json.decode(body, type=ErrorRest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _name(told: ErrorRest | None) -> str:
    if told is None:
        return ""
    return told.error or next((item.id for item in told.errors), "") or told.message


def _words(body: bytes, told: ErrorRest | None) -> str:
    if told is None:
        return shown(body[:200].decode(errors="replace"), 120) if body else "without a body"
    parts = [told.error, *(f"{item.id} {item.message}" for item in told.errors[:3]), told.message, told.error_details]
    return shown(": ".join(dict.fromkeys(part.strip() for part in parts if part.strip())), 160)


def _wait_ms(headers: Mapping[str, str], usual_ms: int) -> int:
    for header in ("retry-after", "x-ratelimit-reset"):
        stated = headers.get(header, "")
        if stated.isascii() and stated.isdigit() and len(stated) < 6:  # seconds to go, and no moment
            return max(1, min(int(stated) * 1000, LONGEST_MS))
    return usual_ms
