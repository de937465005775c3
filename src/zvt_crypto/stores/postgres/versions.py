"""What was known when: klines as they were answered at a past moment, and every version of one bar.

Which version is served is the greatest of (final, source, known_at), and whatever was served or refused is kept. So the answer of a
moment is the greatest among the versions known by then: nothing has to be replayed. Forming versions are not kept; final ones answer.
A version answers until another took its place, and no longer: where that other has left the database (archived, forgotten), none does.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from typing import Any

from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import FIXED_NS, NS_PER_DAY, Interval, next_ns
from zvt_crypto.domain.versions import BarHistory, Version, in_order
from zvt_crypto.ports import FactStore, KlineStore
from zvt_crypto.stores.postgres.chunks import packed_until, read_chunks
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.precedence import SOURCES

_BAR = "open_time, open, high, low, close, volume, turnover, trades, source, known_at"
_LAST = 9_223_372_036_854_775_807  # the served row follows every revision
_SPAN = "instrument_id = $1 AND open_time >= $2 AND open_time < $3 AND final"
_AS_OF = f"""
    SELECT DISTINCT ON (open_time) {_BAR}, turn FROM (
        SELECT {_BAR}, {_LAST} AS turn FROM kline_{{slug}} WHERE {_SPAN} AND known_at <= $4
        UNION ALL
        SELECT {_BAR}, revision_id FROM kline_revision WHERE slug = '{{slug}}' AND {_SPAN} AND known_at <= $4
            AND served AND recorded_at > $4
    ) told ORDER BY open_time, source DESC, known_at DESC, turn DESC"""
_EVERY = f"""
    SELECT {_BAR}, true AS served, NULL::timestamptz AS recorded_at, {_LAST} AS turn FROM kline_{{slug}} WHERE {_SPAN}
    UNION ALL
    SELECT {_BAR}, served, recorded_at, revision_id FROM kline_revision WHERE slug = '{{slug}}' AND {_SPAN}
    ORDER BY turn"""
_MOST_DOUBLINGS = 40
_MAKE_BARS = ("kline", "trade", "agg")  # holes of these are holes of bars


class PostgresVersions:
    """ports.VersionStore."""

    def __init__(self, pool: Pool, keys: Keys, klines: KlineStore, facts: FactStore) -> None:
        self._pool, self._keys, self._klines, self._facts = pool, keys, klines, facts

    async def read_as_of(
        self,
        instrument: str,
        interval: Interval,
        as_of_ns: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int | None = None,
    ) -> list[Kline]:
        """As ports.VersionStore says."""
        bounds = await self._klines.bounds(instrument, interval)
        if bounds is None:
            return []
        low_ns = max(bounds[0], start_ns or 0)
        high_ns = min(next_ns(interval, bounds[1]), end_ns if end_ns is not None else next_ns(interval, bounds[1]))
        if limit is None:
            return await self._between(instrument, interval, as_of_ns, low_ns, high_ns)
        found: list[Kline] = []
        step_ns = limit * FIXED_NS.get(interval, 31 * NS_PER_DAY)
        for _ in range(_MOST_DOUBLINGS):
            left = limit - len(found)
            if left <= 0 or low_ns >= high_ns:
                break
            if start_ns is None:
                cut_ns = max(low_ns, high_ns - step_ns)
                found = (await self._between(instrument, interval, as_of_ns, cut_ns, high_ns))[-left:] + found
                high_ns = cut_ns
            else:
                cut_ns = min(high_ns, low_ns + step_ns)
                found += (await self._between(instrument, interval, as_of_ns, low_ns, cut_ns))[:left]
                low_ns = cut_ns
            step_ns *= 2
        return found

    async def history(self, instrument: str, interval: Interval, open_ns: int) -> BarHistory:
        """As ports.VersionStore says."""
        end_ns = next_ns(interval, open_ns)

        async def work(connection: Connection) -> list[Version]:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return []
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(_EVERY.format(slug=interval.slug), key, open_ns, open_ns + 1000)
                packed = await _packed(connection, key, interval, open_ns, open_ns + 1000)
            made = [Version(_kline(instrument, interval, row), row[9], row[10], row[11] if row[10] else None) for row in rows]
            return made + [Version(_kline(instrument, interval, row), row[9], served=True) for row in packed]

        versions = await self._pool.run(f"read the versions of a bar of {instrument}", work)
        gaps = [
            gap
            for gap in await self._facts.read_gaps(instrument)
            if gap.channel in _MAKE_BARS and gap.start_ns < end_ns and gap.end_ns > open_ns and gap.interval in (None, interval)
        ]
        return BarHistory(instrument, open_ns, in_order(versions), gaps)

    async def _between(self, instrument: str, interval: Interval, as_of_ns: int, start_ns: int, end_ns: int) -> list[Kline]:
        async def work(connection: Connection) -> list[Kline]:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return []
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(_AS_OF.format(slug=interval.slug), key, start_ns, end_ns, as_of_ns)
                packed = await _packed(connection, key, interval, start_ns, end_ns)
            best: dict[int, Any] = {row[0]: row for row in rows}
            for row in packed:
                held = best.get(row[0])
                if row[9] <= as_of_ns // 1000 * 1000 and (held is None or (row[8], row[9], row[10]) > (held[8], held[9], held[10])):
                    best[row[0]] = row
            return [_kline(instrument, interval, best[at]) for at in sorted(best)]

        return await self._pool.run(f"read klines of {instrument} as they were known", work)


async def _packed(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[Any, ...]]:
    """The packed rows of the span, in the columns of the statements above."""
    if await packed_until(connection, interval) <= start_ns:
        return []
    bars = await read_chunks(connection, key, interval, start_ns, end_ns)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.turnover, bars.trades, bars.source)
    rows = zip((bars.open_us * 1000).tolist(), *(column.tolist() for column in columns), (bars.known_us * 1000).tolist(), strict=True)
    return [
        (at, *prices, None if turnover != turnover else turnover, None if trades < 0 else trades, source, known, _LAST)
        for at, *prices, turnover, trades, source, known in rows
    ]


def _kline(instrument: str, interval: Interval, row: Any) -> Kline:
    open_ns, open_, high, low, close, volume, turnover, trades, source = row[:9]
    return Kline(instrument, interval, open_ns, open_, high, low, close, volume, turnover, trades, True, SOURCES[source - 1])
