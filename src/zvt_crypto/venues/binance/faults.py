"""Binance's refusals → what the caller must do next. Every call here is a read, so one that got no answer is safe to send again."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from zvt_crypto.domain.errors import Banned, GeoBlocked, Refused, Throttled, Unreachable, VenueError, shown
from zvt_crypto.venues.binance.spec import BinanceHosts, Market
from zvt_crypto.venues.binance.wire import ErrorRest
from zvt_crypto.venues.region import refuses_region

# Without a Retry-After: the weight window is a minute, a ban lasts two minutes at least, the firewall's five.
THROTTLED_MS = 60_000
BANNED_MS = 120_000
FIREWALL_MS = 300_000
OVERLOADED_MS = 1_000
# A ban lasts three days at most; nobody waits longer because of a number in a header.
LONGEST_MS = 3 * 86_400_000

Fate = type[VenueError]
# Codes that decide whatever the HTTP status says. All others of a 4xx are refusals.
BY_CODE: dict[int, Fate] = {
    -1000: Unreachable,  # unknown error while processing
    -1001: Unreachable,  # internal error, disconnected
    -1003: Throttled,  # too many requests
    -1006: Unreachable,  # unexpected response from the message bus
    -1007: Unreachable,  # timeout at the back end
    -1008: Throttled,  # system-level protection
    -1015: Throttled,  # too many orders
    -1016: Unreachable,  # service shutting down
}
BY_STATUS: dict[int, Fate] = {418: Banned, 429: Throttled, 451: GeoBlocked}
_BANNED_UNTIL = re.compile(r"until (\d{13})")


def fate(market: Market, status: int, headers: Mapping[str, str], body: bytes, what: str, now_ms: int) -> VenueError:
    """The error of an answer that is not 200. `what` names the call, for the message; `now_ms` is our clock."""
    told = _told(body)
    said = f"binance {market} {what}: HTTP {status} {_shown(body) if told is None else f'code {told.code}, {shown(told.msg, 160)}'}"
    kind = _kind(status, body, told)
    if kind is GeoBlocked:
        return GeoBlocked(f"{said}. {still_works(market)}")
    if kind is Banned:
        return Banned(said, _wait_ms(headers, told, now_ms, BANNED_MS))
    if kind is Throttled:
        usual = FIREWALL_MS if status == 403 else OVERLOADED_MS if told is not None and told.code == -1008 else THROTTLED_MS
        return Throttled(said, _wait_ms(headers, told, now_ms, usual))
    return kind(said)


def still_works(market: Market) -> str:
    """What a user whose region is refused can do."""
    data = BinanceHosts().data_rest
    mine = f"Public spot market data is served to all regions by {data}"
    mine += "" if market == "spot" else ", USD-M is not"
    return f"This region is not served. {mine}; other exchanges: bybit, okx, coinbase."


def _kind(status: int, body: bytes, told: ErrorRest | None) -> Fate:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status == 403:
        # The firewall answers 403 too: mostly to too many requests, so that waiting helps.
        return GeoBlocked if refuses_region(status, body) else Throttled
    if told is not None and told.code in BY_CODE:
        return BY_CODE[told.code]
    if status >= 500:
        return Unreachable
    if 300 <= status < 400:
        return Refused  # redirects are not followed: the hosts are a fixed list
    return Refused if status >= 400 else Unreachable


def _told(body: bytes) -> ErrorRest | None:
    try:
        return msgspec.json.decode(body, type=ErrorRest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _wait_ms(headers: Mapping[str, str], told: ErrorRest | None, now_ms: int, usual_ms: int) -> int:
    stated = headers.get("retry-after", "")
    if stated.isascii() and stated.isdigit():
        return min(int(stated[:9]) * 1000 or 1, LONGEST_MS)
    until = _BANNED_UNTIL.search(told.msg) if told is not None else None
    if until is not None and int(until[1]) > now_ms:
        return min(int(until[1]) - now_ms, LONGEST_MS)
    return usual_ms


def _shown(body: bytes) -> str:
    return shown(body[:200].decode(errors="replace"), 120) if body else "without a body"
