"""ccxt itself: made when it is needed, its errors given the fate that ours have."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiohttp

from zvt_crypto.domain.errors import GeoBlocked, Malformed, Refused, Throttled, Unreachable, Unsupported, VenueError, shown
from zvt_crypto.venues.causes import cause_of, place_of

T = TypeVar("T")
_URL = re.compile(r"https?://[^\s/?#]+|wss?://[^\s/?#]+")
# ccxt does not say how long to wait.
THROTTLED_MS = 10_000


def make_client(exchange: str, config: dict[str, Any] | None = None) -> Any:
    """ccxt.pro's client of an exchange. Raises Unsupported where ccxt is not installed or does not know it."""
    try:
        import ccxt.pro
    except ModuleNotFoundError:
        how = "pip install 'zvt-crypto[ccxt]'"
        raise Unsupported(f"exchange {exchange!r} is reached through ccxt, which is not installed: {how}") from None
    made = getattr(ccxt.pro, exchange, None)
    if made is None:
        import ccxt.async_support

        made = getattr(ccxt.async_support, exchange, None)
    if made is None:
        raise Unsupported(f"ccxt {ccxt.__version__} does not know exchange {exchange!r}")
    return made({"enableRateLimit": True, "newUpdates": True, **(config or {})})


async def asked(exchange: str, what: str, call: Awaitable[T]) -> T:
    """What ccxt answers. Raises a VenueError, or Unsupported."""
    from ccxt.base import errors

    try:
        return await call
    except errors.NotSupported as error:
        raise Unsupported(f"{exchange} {what}: ccxt cannot ({_said(error)})") from None
    except errors.BaseError as error:
        raise _fate(exchange, what, error) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # ccxt meets an answer that it did not expect
        raise Malformed(f"{exchange} {what}: ccxt could not read the answer: {type(error).__name__} {_said(error)}") from None


def _fate(exchange: str, what: str, error: Exception) -> VenueError:
    from ccxt.base import errors

    cause = error.__cause__
    if isinstance(cause, (aiohttp.ClientError, OSError)):  # also where ccxt calls it an error of the exchange: a body cut short
        where = _URL.search(str(error))
        return Unreachable(f"{exchange} {what}: {cause_of(cause, place_of(where[0]) if where else 'the exchange')}")
    said = f"{exchange} {what}: {type(error).__name__} {_said(error)}"
    if isinstance(error, (errors.RateLimitExceeded, errors.DDoSProtection)):
        return Throttled(said, THROTTLED_MS)
    if "451" in said or "restricted location" in said.lower():
        return GeoBlocked(said)
    if isinstance(error, errors.BadResponse):
        return Malformed(said)
    if isinstance(error, (errors.NetworkError, errors.OnMaintenance)):
        return Unreachable(said)
    return Refused(said)


def _said(error: Exception) -> str:
    return shown(str(error).replace("\n", " "), 200)
