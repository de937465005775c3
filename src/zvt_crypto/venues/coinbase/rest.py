"""Coinbase's REST manners (venues.rest.RestManners): hosts, limits, what remains by its headers, the fates of its refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from zvt_crypto.domain.errors import VenueError
from zvt_crypto.ports import Response
from zvt_crypto.venues.coinbase import request, spec
from zvt_crypto.venues.coinbase.answers import parse_time
from zvt_crypto.venues.coinbase.faults import fate
from zvt_crypto.venues.coinbase.fields import answer_kind
from zvt_crypto.venues.coinbase.spec import Api, CoinbaseHosts
from zvt_crypto.venues.rest import Call, RestManners


def manners(hosts: CoinbaseHosts) -> RestManners:
    """Two hosts; the clock is Advanced's."""
    return RestManners(
        exchange=spec.EXCHANGE,
        hosts={"advanced": hosts.advanced_rest, "exchange": hosts.exchange_rest},
        limits=spec.LIMITS,
        slides=True,
        judge=_judge,
        time=_time,
        kind_of=answer_kind,
        believe=_believe,
        closes=lambda _call: (*spec.BUCKETS.values(), spec.CONNECT_BUCKET),
    )


def _judge(call: Call, response: Response, _now_ms: int) -> VenueError | None:
    if response.status == 200:
        return None
    return fate(response.status, response.headers, response.body, call.target.partition("?")[0])


def _time(_market: str) -> tuple[Call, Callable[[bytes], int]]:
    return request.time(), parse_time


def _believe(call: Call, response: Response) -> tuple[str, int] | None:
    """Never more than what remains. The stated limit may belong to a longer window than ours: then much remains, and nothing is used."""
    remaining = response.headers.get(spec.REMAINING_HEADER, "")
    if remaining.isascii() and remaining.isdigit() and len(remaining) < 10:
        return spec.BUCKETS[cast("Api", call.market)], max(0, spec.REQUESTS_PER_S - int(remaining))
    return None
