"""Binance's REST manners (venues.rest.RestManners): hosts, limits, the count in its headers, the fates of its refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from zvt_crypto.domain.errors import VenueError
from zvt_crypto.ports import Response
from zvt_crypto.venues.binance import request, spec
from zvt_crypto.venues.binance.faults import fate
from zvt_crypto.venues.binance.fields import answer_kind
from zvt_crypto.venues.binance.parse import parse_time
from zvt_crypto.venues.binance.spec import BinanceHosts, Market
from zvt_crypto.venues.rest import Call, RestManners


def manners(hosts: BinanceHosts) -> RestManners:
    """A spot call that this region is refused goes to the public data host from then on: that serves all of them."""
    return RestManners(
        exchange=spec.EXCHANGE,
        hosts={"spot": hosts.spot_rest, "usdm": hosts.usdm_rest},
        fallbacks={"spot": hosts.data_rest},
        limits=spec.LIMITS,
        judge=_judge,
        time=_time,
        kind_of=answer_kind,
        believe=_believe,
        closes=lambda call: (spec.CONNECT_BUCKETS[cast("Market", call.market)],),
    )


def _judge(call: Call, response: Response, now_ms: int) -> VenueError | None:
    if response.status == 200:
        return None
    what = call.target.partition("?")[0]
    return fate(cast("Market", call.market), response.status, response.headers, response.body, what, now_ms)


def _time(market: str) -> tuple[Call, Callable[[bytes], int]]:
    return request.time(cast("Market", market)), parse_time


def _believe(call: Call, response: Response) -> tuple[str, int] | None:
    used = response.headers.get(spec.USED_WEIGHT_HEADER, "")
    if used.isascii() and used.isdigit() and len(used) < 10:
        return spec.BUCKETS[cast("Market", call.market)], int(used)
    return None
