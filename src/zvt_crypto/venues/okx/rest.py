"""OKX's REST manners (venues.rest.RestManners): one host, a bucket for each call, and bodies that decide."""

from __future__ import annotations

from collections.abc import Callable

from zvt_crypto.domain.errors import VenueError
from zvt_crypto.ports import Response
from zvt_crypto.venues.okx import request, spec
from zvt_crypto.venues.okx.faults import fate
from zvt_crypto.venues.okx.fields import answer_kind
from zvt_crypto.venues.okx.parse_rest import parse_time
from zvt_crypto.venues.okx.spec import OkxHosts
from zvt_crypto.venues.rest import Call, RestManners


def manners(hosts: OkxHosts) -> RestManners:
    """A ban closes every bucket: it is the address that is banned."""
    return RestManners(
        exchange=spec.EXCHANGE,
        hosts={spec.REST_MARKET: hosts.rest},
        limits=spec.LIMITS,
        slides=True,
        judge=_judge,
        time=_time,
        kind_of=answer_kind,
        closes=lambda _call: tuple(spec.LIMITS),
    )


def _judge(call: Call, response: Response, _now_ms: int) -> VenueError | None:
    return fate(response.status, response.headers, response.body, call.target.partition("?")[0])


def _time(_market: str) -> tuple[Call, Callable[[bytes], int]]:
    return request.time(), parse_time
