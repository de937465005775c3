"""Klines of the intervals that Coinbase has: paged reads by time, closed rows told from open ones, silent intervals filled in.

The venue leaves out intervals without trades. Where trades lie on both sides of such a silence, and the silence is no longer than a
page, its rows are flat ones: the close before, volume 0, trades 0, source `derived`. A longer silence, and one that nothing follows yet,
stays a hole: nobody can tell it from an outage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S, Interval, floor_ns, is_aligned, next_ns
from zvt_crypto.ports import Clock
from zvt_crypto.venues.coinbase import request, spec
from zvt_crypto.venues.coinbase.answers import parse_candles
from zvt_crypto.venues.coinbase.product import product_of
from zvt_crypto.venues.parsed import Drift
from zvt_crypto.venues.rest import RestCaller
from zvt_crypto.venues.span import Span, bounded

_VALUES = ("open", "high", "low", "close", "volume")


class Candles:
    """Reads pages through a RestCaller. `drifted` hears of what was odd in them."""

    def __init__(self, rest: RestCaller, clock: Clock, drifted: Callable[[Sequence[Drift]], None]) -> None:
        self._rest, self._clock, self._drifted = rest, clock, drifted

    async def forward(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """Oldest first from the start (the listing where there is none)."""
        step, days = spec.step_ns(interval), Days(self, instrument)
        first_ns, last_ns = await self.opens(interval, span)
        made: list[Kline] = []
        before: Kline | None = None
        cursor, width = first_ns, min(spec.CANDLES_MOST, span.rows())
        while cursor <= last_ns and len(made) < span.rows():
            stop = min(cursor + (width - 1) * step, last_ns)
            closed_ns = await self._closed_ns()
            page = await self.page(instrument, interval, cursor, stop)
            cursor, width = stop + step, spec.CANDLES_MOST
            if not page:
                following = await days.at_or_after(spec.day_of(cursor)) if interval is not Interval.DAY_1 else cursor
                if following is None:
                    break
                cursor = max(cursor, following)
                continue
            if before is None and 0 < page[0].open_ns - first_ns < spec.SILENCE_MOST * step:
                before = await self._before(instrument, interval, first_ns)
            run = filled([before, *page] if before is not None else page, step, closed_ns)
            made += [kline for kline in run if kline.open_ns >= first_ns and kline is not before]
            before = page[-1]
        if len(made) < span.rows() and (before is None or before.open_ns < last_ns):
            made += await self._silent_end(instrument, interval, before, first_ns, last_ns)
        return bounded(made[: span.rows()], span, instrument.id)

    async def newest(self, instrument: Instrument, interval: Interval, span: Span) -> list[Kline]:
        """The newest `limit` before the end, oldest first."""
        step, days = spec.step_ns(interval), Days(self, instrument)
        _, last_ns = await self.opens(interval, span)
        parts: list[list[Kline]] = []
        after: Kline | None = None
        cursor, missing = last_ns, span.rows()
        width = min(spec.CANDLES_MOST, missing)
        while missing > 0 and cursor >= spec.FIRST_NS:
            start, closed_ns = cursor - (width - 1) * step, await self._closed_ns()
            page = await self.page(instrument, interval, start, cursor)
            cursor, width = start - step, spec.CANDLES_MOST
            if not page:
                preceding = await days.at_or_before(spec.day_of(cursor))
                if preceding is None:
                    break
                cursor = min(cursor, preceding + NS_PER_DAY - step)
                continue
            if after is None and page[-1].open_ns < last_ns:
                after = await self._after(instrument, interval, last_ns)
            part = filled([*page, after] if after is not None else page, step, closed_ns)
            parts.append([kline for kline in part if kline.open_ns <= last_ns and kline is not after])
            missing -= len(parts[-1])
            after = page[0]
        return [kline for part in reversed(parts) for kline in part][-span.rows() :]

    async def opens(self, interval: Interval, span: Span) -> tuple[int, int]:
        """The first and the last open of a span that may exist by now."""
        since_ns = max(span.since_ns or 0, spec.FIRST_NS)
        first_ns = since_ns if is_aligned(interval, since_ns) else next_ns(interval, since_ns)
        await self._rest.server_ns("advanced")
        now_ns = self._rest.guess_server_ns("advanced")
        return first_ns, floor_ns(interval, now_ns if span.until_ns is None else min(now_ns, span.until_ns - 1))

    async def page(self, instrument: Instrument, interval: Interval, first_ns: int, last_ns: int) -> list[Kline]:
        """The traded rows that open in [first_ns, last_ns], at most a page, oldest first. Final is what the venue's clock is well past;
        what it has only just passed is read twice, and not final where the two differ."""
        # The clock before the question: a kline that closes while the answer is on its way is not final in it.
        server_ns = await self._rest.read_server_ns("advanced")
        rows = await self._rows(instrument, interval, first_ns, last_ns, server_ns)
        close_ns = floor_ns(interval, server_ns - spec.FINAL_GRACE_NS)
        newest_ns = floor_ns(interval, close_ns - 1)
        if close_ns <= server_ns - spec.SETTLED_NS or not first_ns <= newest_ns <= last_ns:
            return rows
        await self._clock.sleep(spec.REREAD_PAUSE_S)
        again = await self._rows(instrument, interval, first_ns, last_ns, server_ns)
        held = {row.open_ns: row for row in rows}
        return [row if _agree(row, held.get(row.open_ns)) else msgspec.structs.replace(row, final=False) for row in again]

    async def _closed_ns(self) -> int:
        """What closes up to now may be final."""
        return await self._rest.read_server_ns("advanced") - spec.FINAL_GRACE_NS

    async def _rows(self, instrument: Instrument, interval: Interval, first_ns: int, last_ns: int, server_ns: int) -> list[Kline]:
        call = request.candles(instrument.native_symbol, spec.GRANULARITY[interval], first_ns // NS_PER_S, last_ns // NS_PER_S)
        body = await self._rest.read_page(call)
        rows, drift = parse_candles(body, product_of(instrument), interval, server_ns - spec.FINAL_GRACE_NS)
        self._drifted(drift)
        return [row for row in rows if first_ns <= row.open_ns <= last_ns]  # rows may precede what was asked for

    async def _before(self, instrument: Instrument, interval: Interval, open_ns: int) -> Kline | None:
        """The last traded row before `open_ns`, if it is near."""
        step = spec.step_ns(interval)
        rows = await self.page(instrument, interval, open_ns - spec.SILENCE_MOST * step, open_ns - step)
        return rows[-1] if rows else None

    async def _after(self, instrument: Instrument, interval: Interval, open_ns: int) -> Kline | None:
        """The first traded row after `open_ns`, if it is near and there may be one."""
        step = spec.step_ns(interval)
        if floor_ns(interval, await self._rest.server_ns("advanced")) <= open_ns:
            return None
        rows = await self.page(instrument, interval, open_ns + step, open_ns + spec.SILENCE_MOST * step)
        return rows[0] if rows else None

    async def _silent_end(
        self, instrument: Instrument, interval: Interval, before: Kline | None, first_ns: int, last_ns: int
    ) -> list[Kline]:
        """Flat rows after the last traded one of a span up to its end, where trades follow."""
        closed_ns = await self._closed_ns()
        after = await self._after(instrument, interval, last_ns)
        if after is None:
            return []
        before = before or await self._before(instrument, interval, first_ns)
        if before is None:
            return []
        run = filled([before, after], spec.step_ns(interval), closed_ns)
        return [kline for kline in run[1:-1] if first_ns <= kline.open_ns <= last_ns]


class Days:
    """On which days an instrument was traded, page by page, so that minutes are not asked for through years of silence."""

    def __init__(self, candles: Candles, instrument: Instrument) -> None:
        self._candles, self._instrument = candles, instrument
        self._first_ns = self._last_ns = -1  # what `_opens` covers
        self._opens: list[int] = []

    async def at_or_after(self, day_ns: int) -> int | None:
        """The first day from `day_ns` on with a trade."""
        _, today_ns = await self._candles.opens(Interval.DAY_1, Span())
        while day_ns <= today_ns:
            await self._cover(day_ns, day_ns, day_ns + (spec.CANDLES_MOST - 1) * NS_PER_DAY)
            found = next((open_ns for open_ns in self._opens if open_ns >= day_ns), None)
            if found is not None:
                return found
            day_ns = self._last_ns + NS_PER_DAY
        return None

    async def at_or_before(self, day_ns: int) -> int | None:
        """The last day up to `day_ns` with a trade."""
        while day_ns >= spec.FIRST_NS:
            await self._cover(day_ns, day_ns - (spec.CANDLES_MOST - 1) * NS_PER_DAY, day_ns)
            found = next((open_ns for open_ns in reversed(self._opens) if open_ns <= day_ns), None)
            if found is not None:
                return found
            day_ns = self._first_ns - NS_PER_DAY
        return None

    async def _cover(self, day_ns: int, first_ns: int, last_ns: int) -> None:
        if not self._first_ns <= day_ns <= self._last_ns:
            rows = await self._candles.page(self._instrument, Interval.DAY_1, first_ns, last_ns)
            self._opens, self._first_ns, self._last_ns = [row.open_ns for row in rows], first_ns, last_ns


def filled(rows: Sequence[Kline], step_ns: int, closed_ns: int) -> list[Kline]:
    """The rows, with flat ones in every silence between two of them that is no longer than a page; final where they close up to
    `closed_ns`."""
    made = list(rows[:1])
    for before, after in pairwise(rows):
        if after.open_ns - before.open_ns <= spec.SILENCE_MOST * step_ns:
            opens = range(before.open_ns + step_ns, after.open_ns, step_ns)
            made += [_flat(before, open_ns, open_ns + step_ns <= closed_ns) for open_ns in opens]
        made.append(after)
    return made


def _flat(before: Kline, open_ns: int, final: bool) -> Kline:
    price = before.close
    return Kline(before.instrument, before.interval, open_ns, price, price, price, price, 0.0, 0.0, 0, final, "derived")


def _agree(row: Kline, held: Kline | None) -> bool:
    return held is not None and all(getattr(row, name) == getattr(held, name) for name in _VALUES)
