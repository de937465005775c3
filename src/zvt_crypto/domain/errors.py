"""Every error of the platform, on one page, sorted by what the caller must do next.

Each class carries a stable `code`: it stands in problem details, WebSocket errors and `--json` output, and does not change
within v1. A message names the value that was wrong. Secrets never enter a message.
"""

from __future__ import annotations

from collections.abc import Sequence


class ZvtCryptoError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""

    code = "error"


# ── The caller gave something we cannot use: mend the call ────────────────────────────────────────────────────────────


class BadInput(ZvtCryptoError, ValueError):
    """An argument is wrong; sending the same again gives the same answer."""

    code = "bad_input"


class UnknownExchange(BadInput):
    """The exchange id is not one of ours."""

    code = "unknown_exchange"

    def __init__(self, exchange: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown exchange {shown(exchange)}: known are {', '.join(known)}")


class UnknownSymbol(BadInput):
    """No instrument answers to this name."""

    code = "unknown_symbol"

    def __init__(self, symbol: str, near: Sequence[str] = ()) -> None:
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"unknown symbol {shown(symbol)}{hint}")


class NothingListed(BadInput):
    """An exchange lists none of the symbols that are to be followed; another one may."""

    code = "nothing_listed"


class AmbiguousSymbol(BadInput):
    """Several instruments answer to this name: give the exchange or the entity id."""

    code = "ambiguous_symbol"

    def __init__(self, symbol: str, candidates: Sequence[str]) -> None:
        super().__init__(f"ambiguous symbol {shown(symbol)}: could be {', '.join(candidates)}")


class UnknownInterval(BadInput):
    """Not one of 1m 5m 15m 30m 1h 4h 1d 1w 1M."""

    code = "unknown_interval"

    def __init__(self, interval: object, known: Sequence[str]) -> None:
        super().__init__(f"unknown interval {shown(interval)}: known are {' '.join(known)}")


class OutOfRange(BadInput):
    """A number outside its stated bounds."""

    code = "out_of_range"

    def __init__(self, name: str, value: object, low: object, high: object) -> None:
        super().__init__(f"{name} {shown(value)} is out of range: {low} to {high}")


class BadTime(BadInput):
    """A time that is not RFC 3339, not an epoch number of a known unit, or a datetime without a zone."""

    code = "bad_time"


class BadQuery(BadInput):
    """A query string names a parameter that its path does not have, or one of them twice: half of what was meant would be ignored."""

    code = "bad_query"


class BadFrame(BadInput):
    """A client of ours sent a WebSocket frame or body we cannot read."""

    code = "bad_frame"


class UnknownMethod(BadInput):
    """A WebSocket request names a method that does not exist."""

    code = "unknown_method"

    def __init__(self, method: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown method {shown(method)}: known are {', '.join(known)}")


class UnknownChannel(BadInput):
    """A subscription names a channel that does not exist."""

    code = "unknown_channel"

    def __init__(self, channel: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown channel {shown(channel)}: known are {', '.join(known)}")


class NotSubscribed(BadInput):
    """An unsubscription names what the client does not listen to."""

    code = "not_subscribed"


class TooMany(BadInput):
    """More of something than one client may have."""

    code = "too_many"


class Unsupported(BadInput):
    """The request is well formed, but this venue or build cannot do it."""

    code = "unsupported"


class BadCapture(BadInput):
    """A recording is not in a format we know, or ends in the middle of a frame."""

    code = "bad_capture"


class BadConfig(BadInput):
    """A setting is missing, unknown or has a value out of its domain."""

    code = "bad_config"


# ── The four fates of a request to an exchange ────────────────────────────────────────────────────────────────────────


class VenueError(ZvtCryptoError):
    """Something between us and an exchange went wrong."""

    code = "venue_error"


class Refused(VenueError):
    """The venue said no: do not send it again."""

    code = "venue_refused"


class Throttled(VenueError):
    """The venue wants us to wait `wait_ms`, then the same may be sent."""

    code = "venue_throttled"

    def __init__(self, message: str, wait_ms: int) -> None:
        super().__init__(message)
        self.wait_ms = wait_ms


class Unreachable(VenueError):
    """It never left us, or a read got no answer: safe to send again."""

    code = "venue_unreachable"


class OutcomeUnknown(VenueError):
    """A write left and nobody answered: ask by our order id, never resend blind."""

    code = "venue_outcome_unknown"


class GeoBlocked(Refused):
    """The venue does not serve this region (HTTP 451, or a 403 that says so). Not a fault: retrying cannot help."""

    code = "venue_geo_blocked"


class Banned(Throttled):
    """The venue banned this address for `wait_ms` (HTTP 418): everything to it stops until then."""

    code = "venue_banned"


class Malformed(VenueError):
    """The venue sent bytes that do not match its own protocol; nothing of them was used."""

    code = "venue_malformed"


class Disconnected(Unreachable):
    """A stream ended. What was missed is unknown until it is fetched."""

    code = "venue_disconnected"


class Stale(VenueError):
    """A book (or another live value) exists but is not valid now: it is being resynchronised."""

    code = "stale"


# ── Our own places ────────────────────────────────────────────────────────────────────────────────────────────────────


class StoreError(ZvtCryptoError):
    """The database refused or failed."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The database cannot be reached now: keep the rows and try again."""

    code = "store_unavailable"


class StoreFull(StoreUnavailable):
    """The database's disk is full: keep the rows, free room, try again."""

    code = "store_full"


class ConstraintViolated(StoreError):
    """A row contradicts the schema (unknown reference, high below low, a price of zero, ...): this row is wrong."""

    code = "constraint_violated"


class NotFound(ZvtCryptoError):
    """The named thing does not exist."""

    code = "not_found"


class PortTaken(ZvtCryptoError):
    """Another process listens where we should."""

    code = "port_taken"

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is taken by another process")


class Overflow(ZvtCryptoError):
    """A bounded reader was full and its rule is to fail rather than to lose."""

    code = "overflow"


class GaveUp(ZvtCryptoError):
    """A part of the process cannot do its job, and starting it again does not help. The message says why: end, and say so."""

    code = "gave_up"


def shown(value: object, most: int = 80) -> str:
    """The value as it may stand in a message: quoted, control characters escaped, cut at `most` characters."""
    text = repr(value) if isinstance(value, str) else repr(str(value))
    return text if len(text) <= most else text[: most - 1] + "…" + text[-1]
