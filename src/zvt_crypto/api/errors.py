"""Our errors → HTTP, by a table; every error of the API is an RFC 9457 problem."""

from __future__ import annotations

import secrets
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from zvt_crypto.api.shapes import Problem
from zvt_crypto.domain import errors

MEDIA_TYPE = "application/problem+json"

# Looked up along the class's ancestry, so the most special entry decides. What is not here is our own fault: 500.
STATUS: dict[type[Exception], int] = {
    errors.BadInput: 422,
    errors.UnknownExchange: 404,
    errors.UnknownSymbol: 404,
    errors.NotFound: 404,
    errors.BadFrame: 400,
    errors.BadQuery: 400,
    errors.VenueError: 502,  # the venue failed or refused us
    errors.Throttled: 503,
    errors.Unreachable: 503,
    errors.Stale: 503,
    errors.StoreUnavailable: 503,
    errors.Overflow: 503,
}
# The framework's own statuses, by the code that stands for them.
FRAMEWORK_CODES: dict[int, str] = {
    400: "bad_request",
    404: "no_such_path",
    405: "method_not_allowed",
    413: "body_too_large",
    414: "uri_too_long",
    421: "host_not_allowed",
    403: "origin_not_allowed",
    422: "bad_input",
}
STALE_RETRY_S = 1  # a book is resynchronised within about a second


def status_of(error: Exception) -> int:
    """The HTTP status of one of our errors; 500 for all others."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def title_of(status: int) -> str:
    """The status's own phrase."""
    return HTTPStatus(status).phrase


def problem(status: int, code: str, detail: str, instance: str, headers: dict[str, str] | None = None) -> Response:
    """A problem answer. `type` points into the API page, where every code is explained."""
    body = Problem(type=f"/docs#{code}", title=title_of(status), status=status, detail=detail, code=code, instance=instance)
    return Response(msgspec.json.encode(body), status, headers=headers, media_type=MEDIA_TYPE)


def internal_problem(correlation_id: str) -> Response:
    """The answer to a fault of ours: says where to find it in the log, and nothing else."""
    body = Problem(
        type="/docs#internal",
        title=title_of(500),
        status=500,
        detail=f"an internal fault; the log tells more under {correlation_id}",
        code="internal",
        instance=f"urn:zvt-crypto:fault:{correlation_id}",
        correlation_id=correlation_id,
    )
    return Response(msgspec.json.encode(body), 500, media_type=MEDIA_TYPE)


def new_correlation_id() -> str:
    """16 hexadecimal digits, unguessable."""
    return secrets.token_hex(8)


def answer_of(error: errors.ZvtCryptoError, instance: str) -> Response | None:
    """The problem of one of our errors, or None where it is a fault of ours, whose words are for the log only."""
    status = status_of(error)
    if status == 500:
        return None
    return problem(status, error.code, str(error), instance, retry_after(error))


def retry_after(error: Exception) -> dict[str, str] | None:
    """When to ask again, where that is known."""
    if isinstance(error, errors.Throttled):
        return {"retry-after": str(max(1, -(-error.wait_ms // 1000)))}
    if isinstance(error, errors.Stale | errors.StoreUnavailable):
        return {"retry-after": str(STALE_RETRY_S)}
    return None


def framework_problem(status: int, detail: str, instance: str, headers: dict[str, str] | None = None) -> Response:
    """An error that the framework found before us (no such path, wrong method, unreadable parameters)."""
    return problem(status, FRAMEWORK_CODES.get(status, "error"), detail, instance, headers)
