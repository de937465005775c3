"""GET /kdata: klines of one instrument and interval."""

from __future__ import annotations

from collections.abc import Mapping

from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.klines import KlineAnswers
from zvt_crypto.api.query import needed, truth, whole
from zvt_crypto.api.rest.hot import Answer, find_instrument
from zvt_crypto.domain.errors import BadTime
from zvt_crypto.domain.time import parse_interval, parse_time

DEFAULT_LIMIT = 100
MOST_LIMIT = 1_000  # as the exchanges; about 200 kB


def kdata_answer(deps: ApiDeps) -> Answer:
    """The endpoint's work, over one cache of encoded rows."""
    answers = KlineAnswers(deps.store.klines, deps.live, deps.clock)

    async def answer(query: Mapping[str, str]) -> bytes:
        interval = parse_interval(needed(query, "interval", "1m"))
        limit = whole(query, "limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
        final_only = truth(query, "final")
        start_ns, end_ns = _time(query, "start"), _time(query, "end")
        if start_ns is not None and end_ns is not None and start_ns >= end_ns:
            raise BadTime(f"start {query['start']!r} is not before end {query['end']!r}")
        instrument = find_instrument(deps.instruments(), query)
        if start_ns is None and end_ns is None:
            return await answers.newest(instrument, interval, limit, final_only)
        return await answers.between(instrument, interval, start_ns, end_ns, limit, final_only)

    return answer


def _time(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    return None if text is None else parse_time(text)
