"""Kline answers from bytes that were encoded once.

What an answer holds comes from two places: the store (everything, but up to a second behind its writers) and the live state (the
newest unbroken run, including the forming bar). Both are looked at on every question: the live state directly, the store at
most once in MAX_AGE_NS per series (its newest rows may lie in memory, as stores/recent.py says, and most questions cost no query then),
so a row that a backfill or another process revises is served at the latest a second later.
Rows are encoded again only when they differ from what was encoded, so a revised row cannot be answered from old bytes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from zvt_crypto.api.rows import Digits, digits_of, encode, kdata_row
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_S, Interval, to_rfc3339
from zvt_crypto.ports import Clock, KlineStore, LiveState

MAX_AGE_NS = NS_PER_S * 3 // 4  # the store in front of us may be a quarter of a second behind: together one
MOST_ROWS = 100_000  # kept in all, encoded or in finished answers: below 100 MB
MOST_SERIES = 2_000
MOST_ROWS_A_SERIES = 5_000
MOST_ANSWERS_A_SERIES = 8
LIVE_RUN = 1_501  # what the live state keeps of a series, and the forming bar
# Who is believed when two sources tell the same bar.
SOURCE_RANK = {"venue": 2, "import": 2, "trades": 1, "derived": 0}


def merge(stored: Sequence[Kline], live: Sequence[Kline]) -> list[Kline]:
    """One row an open, oldest first. A final row beats a forming one, then venue > trades > derived; of equals the stored one
    where it is final (revisions reach the store first), else the live one."""
    if not live:
        return list(stored)
    rows = {kline.open_ns: kline for kline in stored}
    for kline in live:
        held = rows.get(kline.open_ns)
        if held is None or _rank(kline) > _rank(held) or (_rank(kline) == _rank(held) and not kline.final):
            rows[kline.open_ns] = kline
    return [rows[open_ns] for open_ns in sorted(rows)]


def _rank(kline: Kline) -> tuple[bool, int]:
    return kline.final, SOURCE_RANK[kline.source]


class _Answer(msgspec.Struct):
    """A finished body, and exactly what it was made from."""

    stored: list[Kline]
    live: list[Kline]
    body: bytes


class _Series:
    """What is kept of one instrument and interval."""

    def __init__(self, instrument: Instrument, interval: Interval, digits: Digits) -> None:
        self.counted = 0  # the weight that is part of the total
        self.instrument = instrument
        self.interval = interval
        self.digits = digits
        self.encoded: dict[int, tuple[Kline, bytes]] = {}
        self.answers: dict[tuple[int, bool], _Answer] = {}
        self.stored: list[Kline] = []
        self.stored_limit = 0
        self.stored_ns = 0
        self.loading: asyncio.Task[list[Kline]] | None = None
        self.loading_limit = 0

    def row(self, kline: Kline) -> bytes:
        held = self.encoded.get(kline.open_ns)
        if held is not None and (held[0] is kline or held[0] == kline):
            return held[1]
        data = encode(kdata_row(kline, self.digits))
        self.encoded[kline.open_ns] = (kline, data)
        return data

    def trim(self) -> None:
        while len(self.encoded) > MOST_ROWS_A_SERIES:
            del self.encoded[next(iter(self.encoded))]
        while len(self.answers) > MOST_ANSWERS_A_SERIES:
            del self.answers[next(iter(self.answers))]

    def weight(self) -> int:
        return len(self.encoded) + len(self.stored) + sum(limit for limit, _ in self.answers)


class KlineAnswers:
    """Bodies of kdata answers. One per application; bounded."""

    def __init__(self, store: KlineStore, live: LiveState, clock: Clock) -> None:
        self._store = store
        self._live = live
        self._clock = clock
        self._series: OrderedDict[tuple[str, Interval], _Series] = OrderedDict()
        self._rows = 0

    async def newest(self, instrument: Instrument, interval: Interval, limit: int, final_only: bool) -> bytes:
        """The newest `limit` rows. Raises StoreUnavailable where the live state alone cannot answer."""
        series = self._open(instrument, interval)
        live = self._live.klines(instrument.id, interval, limit + 1)
        stored = await self._stored(series, instrument.id, interval, limit + 1, covered=len(live) > limit)
        held = series.answers.get((limit, final_only))
        if held is not None and held.stored is stored and held.live == live:
            return held.body
        rows = [k for k in merge(stored, live) if k.final or not final_only][-limit:]
        body = _body(series, rows, None)
        series.answers[(limit, final_only)] = _Answer(stored, live, body)
        self._trim(series)
        return body

    async def between(
        self, instrument: Instrument, interval: Interval, start_ns: int | None, end_ns: int | None, limit: int, final_only: bool
    ) -> bytes:
        """Rows that open in [start, end): the first `limit` from `start` (with `next` where more follow), or, without `start`, the
        newest `limit` before `end`."""
        series = self._open(instrument, interval)
        stored = await self._store.read(instrument.id, interval, start_ns, end_ns, limit + 1)
        run = self._live.klines(instrument.id, interval, LIVE_RUN)
        live = [k for k in run if (start_ns is None or k.open_ns >= start_ns) and (end_ns is None or k.open_ns < end_ns)]
        if len(stored) > limit and live:  # the store has more than we read: nothing may be joined beyond its edge
            live = [k for k in live if (k.open_ns <= stored[-1].open_ns if start_ns is not None else k.open_ns >= stored[0].open_ns)]
        rows = [k for k in merge(stored, live) if k.final or not final_only]
        more = start_ns is not None and len(rows) > limit
        body = _body(series, rows[-limit:] if start_ns is None else rows[:limit], to_rfc3339(rows[limit].open_ns) if more else None)
        self._trim(series)
        return body

    def _open(self, instrument: Instrument, interval: Interval) -> _Series:
        key = (instrument.id, interval)
        series = self._series.get(key)
        if series is None or (series.instrument is not instrument and series.digits != digits_of(instrument)):
            self._rows -= series.counted if series is not None else 0
            series = self._series[key] = _Series(instrument, interval, digits_of(instrument))
        series.instrument = instrument
        self._series.move_to_end(key)
        return series

    def _trim(self, series: _Series) -> None:
        """Keep the total below its bound: the series that were asked for longest ago go first."""
        series.trim()
        if self._series.get((series.instrument.id, series.interval)) is series:  # it may have been dropped while we waited
            self._rows += series.weight() - series.counted
            series.counted = series.weight()
        while (self._rows > MOST_ROWS or len(self._series) > MOST_SERIES) and len(self._series) > 1:
            _, oldest = self._series.popitem(last=False)
            self._rows -= oldest.counted

    async def _stored(self, series: _Series, instrument: str, interval: Interval, limit: int, *, covered: bool) -> list[Kline]:
        """The store's newest rows, at most MAX_AGE_NS old. `covered`: the live state could answer alone if the store cannot."""
        if series.stored_limit >= limit and self._clock.now_ns() - series.stored_ns < MAX_AGE_NS:
            return series.stored
        if series.loading is None or series.loading_limit < limit:
            series.loading_limit = limit
            series.loading = asyncio.create_task(self._load(series, instrument, interval, limit))
        try:
            # Several askers share one read; one that leaves must not take it from the others.
            return await asyncio.shield(series.loading)
        except StoreUnavailable:
            if covered:
                return []
            raise

    async def _load(self, series: _Series, instrument: str, interval: Interval, limit: int) -> list[Kline]:
        task = asyncio.current_task()
        try:
            # Asked before, stamped before: the age is that of the question, not of the answer.
            asked_ns = self._clock.now_ns()
            rows = await self._store.read(instrument, interval, None, None, limit)
            if rows != series.stored:
                series.stored = rows
            series.stored_limit, series.stored_ns = limit, asked_ns
            return series.stored
        finally:
            if series.loading is task:
                series.loading = None


def _body(series: _Series, rows: Sequence[Kline], following: str | None) -> bytes:
    """The answer's JSON, joined from the rows' own."""
    data = b",".join([series.row(kline) for kline in rows])
    tail = b',"next":"%b"}' % following.encode() if following is not None else b"}"
    return b'{"data":[%b],"count":%d%b' % (data, len(rows), tail)
