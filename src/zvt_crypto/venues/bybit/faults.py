"""Bybit's refusals → what the caller must do next. `retCode` decides: HTTP says 200 to most of them.

Every call here is a read, so one of unknown outcome is safe to send again (Unreachable). Codes that only orders get stand here as well,
so that none is unknown; an order's own unknown outcome is to be asked for by its orderLinkId, never sent again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zvt_crypto.domain.errors import Banned, GeoBlocked, Malformed, Refused, Throttled, Unreachable, VenueError, shown
from zvt_crypto.venues.bybit.spec import LIMIT_RESET_HEADER
from zvt_crypto.venues.bybit.wire import Verdict
from zvt_crypto.venues.decode import BROKEN
from zvt_crypto.venues.region import refuses_region

# "Access too frequent" (403) shuts an address out for ten minutes.
BANNED_MS = 600_000
# Without a word of the venue: its windows are a second (an endpoint) and five (an address).
THROTTLED_MS = 1_000
OVERLOADED_MS = 5_000
# Nobody waits longer because of a number in a header.
LONGEST_MS = 3_600_000

Fate = type[VenueError]
# Nothing was changed, because it was so already.
UNCHANGED = frozenset({110025, 110026, 110043, 34040})
BY_CODE: dict[int, Fate] = {
    # the clock: send the same again with a better one
    -1: Unreachable,
    10002: Unreachable,
    # the key: sign, permission, address, expiry
    **dict.fromkeys((10003, 10004, 10005, 10007, 10008, 10010, 10024, 10027, 10028, 33004, -2015), Refused),
    # limits: an endpoint's, an account's, the system's
    **dict.fromkeys((429, 10006, 10403, 10429, 20003, 170222), Throttled),
    10018: Banned,  # the address's, in older words
    10009: GeoBlocked,
    # the venue does not know what came of it
    **dict.fromkeys((10000, 10016, 10019, 170001, 170007, 170032, 170146, 170147, 170310), Unreachable),
    # it exists already: ask for it
    **dict.fromkeys((10014, 110072, 170141), Refused),
    # it does not exist, or is done
    **dict.fromkeys((110001, 170213, 110008, 110010, 170139, 170142), Refused),
    # price, funds, size, number of orders
    **dict.fromkeys((110003, 110120, 110121, 170132, 170133, 170134, 170371, 170372), Refused),
    **dict.fromkeys((110004, 110007, 110012, 110045, 170033, 170131), Refused),
    **dict.fromkeys((110017, 110094, 170140, 110020, 170810, 170218), Refused),
    110079: Throttled,  # the order is being worked on
    # wrong calls
    **dict.fromkeys((10001, 10017, 10029, 10404), Refused),
}
BY_STATUS: dict[int, Fate] = {418: Banned, 429: Throttled, 451: GeoBlocked}
_ELSEWHERE = "This region is not served (the United States and mainland China are not); other exchanges: binance, okx, coinbase."


def fate(status: int, headers: Mapping[str, str], body: bytes, what: str) -> VenueError | None:
    """The error that an answer is; None where it is an answer. `what` names the call, for the message."""
    told = _told(body)
    if status == 200 and (told is None or told.retCode == 0 or told.retCode in UNCHANGED):
        return None if told is not None else Malformed(f"bybit {what} answered {_shown(body)}")
    said = f"bybit {what}: HTTP {status} {_shown(body) if told is None else f'code {told.retCode}, {shown(told.retMsg, 160)}'}"
    kind = _kind(status, body, told)
    if kind is GeoBlocked:
        return GeoBlocked(f"{said}. {_ELSEWHERE}")
    if kind is Banned:
        return Banned(f"{said}. Too many requests, or a region that is not served", _stated_ms(headers) or BANNED_MS)
    if kind is Throttled:
        usual = OVERLOADED_MS if status == 429 else THROTTLED_MS
        return Throttled(said, _stated_ms(headers) or _reset_ms(headers, told) or usual)
    return kind(said)


def _kind(status: int, body: bytes, told: Verdict | None) -> Fate:
    if status in BY_STATUS:
        return BY_STATUS[status]
    code = BY_CODE.get(told.retCode) if told is not None else None
    if status == 403 and code is not GeoBlocked:
        return GeoBlocked if refuses_region(status, body) else Banned
    if code is not None:
        return code
    return Unreachable if status >= 500 else Refused


def _told(body: bytes) -> Verdict | None:
    try:
        return msgspec.json.decode(body, type=Verdict)
    except BROKEN:
        return None


def _stated_ms(headers: Mapping[str, str]) -> int | None:
    stated = headers.get("retry-after", "")
    return min(int(stated[:9]) * 1000 or 1, LONGEST_MS) if stated.isascii() and stated.isdigit() else None


def _reset_ms(headers: Mapping[str, str], told: Verdict | None) -> int | None:
    """How long until the limit's window ends, both moments by the venue's clock."""
    stated = headers.get(LIMIT_RESET_HEADER, "")
    if told is None or told.time is None or not (stated.isascii() and stated.isdigit() and len(stated) == 13):
        return None
    left = int(stated) - told.time
    return min(left, LONGEST_MS) if left > 0 else None


def _shown(body: bytes) -> str:
    return shown(body[:200].decode(errors="replace"), 120) if body else "without a body"
