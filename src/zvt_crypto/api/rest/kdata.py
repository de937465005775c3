"""GET /kdata: klines of one instrument and interval."""

from __future__ import annotations

from collections.abc import Mapping

from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.klines import KlineAnswers
from zvt_crypto.api.query import needed, truth, whole
from zvt_crypto.api.rest.hot import Answer, find_instrument
from zvt_crypto.api.rows import digits_of, encode, kdata_row
from zvt_crypto.api.shapes import Kdata
from zvt_crypto.domain.errors import BadTime
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.time import Interval, parse_interval, parse_time, to_rfc3339

DEFAULT_LIMIT = 100
MOST_LIMIT = 1_000  # as the exchanges; about 200 kB


def kdata_answer(deps: ApiDeps) -> Answer:
    """The endpoint's work, over one cache of encoded rows."""
    answers = KlineAnswers(deps.klines or deps.store.klines, deps.live, deps.clock)

    async def answer(query: Mapping[str, str]) -> bytes:
        interval = parse_interval(needed(query, "interval", "1m"))
        limit = whole(query, "limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
        final_only = truth(query, "final")
        start_ns, end_ns = _time(query, "start"), _time(query, "end")
        if start_ns is not None and end_ns is not None and start_ns >= end_ns:
            raise BadTime(f"start {query['start']!r} is not before end {query['end']!r}")
        instrument = find_instrument(deps.instruments(), query)
        as_of_ns = _time(query, "as_of")
        if as_of_ns is not None:
            return await _as_of(deps, instrument, interval, as_of_ns, start_ns, end_ns, limit)
        if start_ns is None and end_ns is None:
            return await answers.newest(instrument, interval, limit, final_only)
        return await answers.between(instrument, interval, start_ns, end_ns, limit, final_only)

    return answer


async def _as_of(
    deps: ApiDeps, instrument: Instrument, interval: Interval, as_of_ns: int, start_ns: int | None, end_ns: int | None, limit: int
) -> bytes:
    """What was answered at that moment; encoded anew each time, since the past is asked for seldom."""
    more = 0 if start_ns is None else 1
    rows = await deps.store.versions.read_as_of(instrument.id, interval, as_of_ns, start_ns, end_ns, limit + more)
    digits = digits_of(instrument)
    data = [kdata_row(kline, digits) for kline in rows[:limit]]
    return encode(Kdata(data, len(data), to_rfc3339(rows[limit].open_ns)) if len(rows) > limit else Kdata(data, len(data)))


def _time(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    return None if text is None else parse_time(text)
