"""What is complete, missing, filled and revised, read from the tables themselves."""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from zvt_crypto.domain.coverage import Coverage, Difference
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import Interval, floor_ns, next_ns
from zvt_crypto.stores.postgres.chunks import FAR_NS
from zvt_crypto.stores.postgres.keys import Keys
from zvt_crypto.stores.postgres.packedcover import packed_groups, packed_revisions
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.postgres.rounding import differs_sql, is_of_quotients
from zvt_crypto.stores.precedence import SOURCES

_BAR = "open, high, low, close, volume, turnover, trades, final, source"
# Where the other streams keep their event times.
_TABLES = {"trade": "trade", "agg": "trade", "funding": "funding", "mark": "mark", "book": "book_snapshot"}


class Missing(Protocol):
    """As much of ports.KlineStore as is needed here."""

    async def bounds(self, instrument: str, interval: Interval) -> tuple[int, int] | None: ...

    async def missing(self, instrument: str, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[int, int]]: ...


class PostgresCoverage:
    """ports.CoverageStore."""

    def __init__(self, pool: Pool, keys: Keys, klines: Missing) -> None:
        self._pool, self._keys, self._klines = pool, keys, klines

    async def klines(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, now_ns: int | None = None
    ) -> Coverage:
        """As ports.CoverageStore says."""
        table, span = f"kline_{interval.slug}", (start_ns or 0, end_ns or FAR_NS)
        where = "instrument_id = $1 AND open_time >= $2 AND open_time < $3"
        counted = f"SELECT source, final, count(*), min(open_time), max(open_time) FROM {table} WHERE {where} GROUP BY 1, 2"
        versions = f"""
            SELECT count(DISTINCT r.open_time) FILTER (WHERE r.served), count(DISTINCT r.open_time) FILTER (WHERE {{differs}})
            FROM kline_revision r JOIN {table} k USING (instrument_id, open_time)
            WHERE r.slug = '{interval.slug}' AND r.instrument_id = $1 AND r.open_time >= $2 AND r.open_time < $3"""

        async def work(connection: Connection) -> Coverage:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return Coverage(instrument, f"kline {interval}", 0)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                groups = [tuple(row) for row in await connection.fetch(counted, key, *span)]
                groups += await packed_groups(connection, key, interval, *span)
                of_quotients = await is_of_quotients(connection, key)
                text = versions.format(differs=differs_sql(of_quotients=of_quotients))
                revised, differing = await connection.fetchrow(text, key, *span)
                packed = await packed_revisions(connection, key, interval, *span)
                gaps_open, filled = await _gaps(connection, key, "kline", span, interval)
            sources: dict[str, int] = {}
            for source, _, count, _, _ in groups:
                sources[SOURCES[source - 1]] = sources.get(SOURCES[source - 1], 0) + count
            return Coverage(
                instrument,
                f"kline {interval}",
                rows=sum(group[2] for group in groups),
                first_ns=min((group[3] for group in groups), default=None),
                last_ns=max((group[4] for group in groups), default=None),
                sources=sources,
                forming=sum(group[2] for group in groups if not group[1]),
                gaps_open=gaps_open,
                filled=filled,
                revised=revised + len({each.open_ns for each in packed if each.was_served}),
                differing=differing + len({each.open_ns for each in packed if each.differs(of_quotients=of_quotients)}),
            )

        found = await self._pool.run(f"read the coverage of {instrument}", work)
        begin_ns = found.first_ns if start_ns is None else start_ns
        until_ns = found.last_ns if end_ns is None else end_ns
        if begin_ns is None or until_ns is None:
            return found
        if end_ns is None:
            until_ns = until_ns if found.forming else next_ns(interval, until_ns)
        elif now_ns is not None:
            until_ns = min(until_ns, floor_ns(interval, now_ns))
        is_followed = bool(found.rows or found.gaps_open or found.filled) or await self._klines.bounds(instrument, interval) is not None
        missing = await self._klines.missing(instrument, interval, begin_ns, until_ns) if begin_ns < until_ns else []
        return msgspec.structs.replace(found, missing=missing, followed=is_followed)

    async def stream(
        self, instrument: str, stream: str, start_ns: int | None = None, end_ns: int | None = None, now_ns: int | None = None
    ) -> Coverage:
        """As ports.CoverageStore says."""
        span = (start_ns or 0, end_ns or FAR_NS)
        which = {"trade": " AND stream = 1", "agg": " AND stream = 2"}.get(stream, "")
        told = f"SELECT {{}} min(event_time), max(event_time) FROM {_TABLES[stream]} WHERE instrument_id = $1{which}"
        text = told.format("count(*),") + " AND event_time >= $2 AND event_time < $3"
        noticed = "SELECT min(start_time), max(end_time) FROM gap WHERE instrument_id = $1 AND channel = $2"

        async def work(connection: Connection) -> Coverage:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return Coverage(instrument, stream, 0)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows, first_ns, last_ns = await connection.fetchrow(text, key, *span)
                gaps_open, filled = await _gaps(connection, key, stream, span)
                ends = [first_ns, last_ns]
                # From the first thing that is known of the stream to the last: what lies in between without a gap is known.
                if start_ns is not None or end_ns is not None:
                    ends += [*await connection.fetchrow(told.format(""), key), *await connection.fetchrow(noticed, key, stream)]
            known = [at_ns for at_ns in ends if at_ns is not None]
            found = Coverage(instrument, stream, rows, first_ns, last_ns, gaps_open=gaps_open, filled=filled, followed=bool(known))
            if stream == "funding" or not known:  # a settlement comes every few hours: that none came since the last one says nothing
                return found
            until_ns = end_ns if now_ns is None or end_ns is None else min(end_ns, now_ns)
            return msgspec.structs.replace(found, unknown=_beyond(min(known), max(known), start_ns, until_ns))

        return await self._pool.run(f"read the coverage of {instrument}", work)

    async def differences(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, limit: int = 100
    ) -> list[Difference]:
        """As ports.CoverageStore says."""
        columns = ", ".join(f"{side}.{name}" for side in ("k", "r") for name in _BAR.split(", "))
        text = f"""
            SELECT r.open_time, r.served, r.recorded_at, {columns}
            FROM kline_revision r JOIN kline_{interval.slug} k USING (instrument_id, open_time)
            WHERE r.slug = '{interval.slug}' AND r.instrument_id = $1 AND r.open_time >= $2 AND r.open_time < $3 AND {{differs}}
            ORDER BY r.open_time, r.revision_id LIMIT $4"""

        async def work(connection: Connection) -> list[Difference]:
            key = await self._keys.find(connection, instrument)
            if key is None:
                return []
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                of_quotients = await is_of_quotients(connection, key)
                asked = text.format(differs=differs_sql(of_quotients=of_quotients))
                rows = await connection.fetch(asked, key, start_ns or 0, end_ns or FAR_NS, limit)
                packed = await packed_revisions(connection, key, interval, start_ns or 0, end_ns or FAR_NS)
            found = [
                Difference(_bar(instrument, interval, row[0], row[3:12]), _bar(instrument, interval, row[0], row[12:21]), row[1], row[2])
                for row in rows
            ]
            found += [
                Difference(
                    _bar(instrument, interval, each.open_ns, each.served),
                    _bar(instrument, interval, each.open_ns, each.other),
                    each.was_served,
                    each.recorded_ns,
                )
                for each in packed
                if each.differs(of_quotients=of_quotients)
            ]
            return sorted(found, key=lambda each: each.served.open_ns)[:limit]

        return await self._pool.run(f"read the differences of {instrument}", work)


async def _gaps(
    connection: Connection, key: int, channel: str, span: tuple[int, int], interval: Interval | None = None
) -> tuple[int, dict[str, int]]:
    """(open, filled by source) of the gaps that touch the span; of klines: those of the interval, and those of none, which are of all."""
    text = """SELECT filled_from, count(*) FROM gap
        WHERE instrument_id = $1 AND channel = $2 AND end_time >= $3 AND start_time < $4
          AND ($5::text IS NULL OR kline_interval IS NULL OR kline_interval = $5) GROUP BY 1"""
    named = None if interval is None else str(interval)
    found = {row[0]: row[1] for row in await connection.fetch(text, key, channel, *span, named)}
    return found.pop(None, 0), found


def _beyond(low_ns: int, high_ns: int, start_ns: int | None, end_ns: int | None) -> list[tuple[int, int]]:
    """Of [start_ns, end_ns): what lies before `low_ns`, and what after `high_ns`. An end that is None is not asked for."""
    before = [] if start_ns is None else [(start_ns, low_ns if end_ns is None else min(low_ns, end_ns))]
    after = [] if end_ns is None else [(high_ns if start_ns is None else max(high_ns, start_ns), end_ns)]
    return [(low, high) for low, high in [*before, *after] if low < high]


def _bar(instrument: str, interval: Interval, open_ns: int, row: Sequence[Any]) -> Kline:
    open_, high, low, close, volume, turnover, trades, final, source = row
    return Kline(instrument, interval, open_ns, open_, high, low, close, volume, turnover, trades, final, SOURCES[source - 1])
