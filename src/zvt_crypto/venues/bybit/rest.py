"""Bybit's REST manners (venues.rest.RestManners): one host, one clock and one budget for all categories."""

from __future__ import annotations

from collections.abc import Callable

from zvt_crypto.domain.errors import VenueError
from zvt_crypto.ports import Response
from zvt_crypto.venues.bybit import request, spec
from zvt_crypto.venues.bybit.answers import parse_time
from zvt_crypto.venues.bybit.faults import fate
from zvt_crypto.venues.bybit.fields import answer_kind
from zvt_crypto.venues.bybit.spec import BybitHosts
from zvt_crypto.venues.rest import Call, RestManners


def manners(hosts: BybitHosts) -> RestManners:
    """The counts in its headers are those of an account and an endpoint, not of the address: they say when to come back, no more."""
    return RestManners(
        exchange=spec.EXCHANGE,
        hosts={spec.MARKET: hosts.rest},
        limits=spec.LIMITS,
        slides=True,
        judge=_judge,
        time=_time,
        kind_of=answer_kind,
    )


def _judge(call: Call, response: Response, now_ms: int) -> VenueError | None:
    return fate(response.status, response.headers, response.body, call.target.partition("?")[0])


def _time(market: str) -> tuple[Call, Callable[[bytes], int]]:
    return request.time(), parse_time
