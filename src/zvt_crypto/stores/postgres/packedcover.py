"""What the packed klines add to coverage: their counts from the catalogue, and the versions of theirs that the revisions keep."""

from __future__ import annotations

from typing import Any, NamedTuple

from zvt_crypto.domain.time import Interval
from zvt_crypto.stores.postgres.bars import Bars
from zvt_crypto.stores.postgres.chunks import PACKABLE, list_chunks, read_chunks
from zvt_crypto.stores.postgres.pool import Connection
from zvt_crypto.stores.postgres.rounding import differs

Group = tuple[int, bool, int, int, int]  # source, final, rows, first open, last open

_REVISIONS = """
SELECT c.low, c.high, r.open_time, r.served, r.recorded_at,
       r.open, r.high, r.low, r.close, r.volume, r.turnover, r.trades, r.final, r.source
FROM kline_packed c JOIN kline_revision r ON r.instrument_id = c.instrument_id AND r.slug = c.slug
    AND r.open_time >= c.low AND r.open_time < c.high
WHERE c.instrument_id = $1 AND c.slug = $2 AND c.low < $4 AND c.high > $3 AND r.open_time >= $3 AND r.open_time < $4
ORDER BY r.open_time, r.revision_id
"""


class PackedRevision(NamedTuple):
    """A version beside the packed bar that is served. Both: open, high, low, close, volume, turnover, trades, final, source."""

    open_ns: int
    was_served: bool
    recorded_ns: int
    served: tuple[Any, ...]
    other: tuple[Any, ...]

    def differs(self, *, of_quotients: bool) -> bool:
        """Whether prices or volume do, by more than rounding."""
        return differs(self.served, self.other, of_quotients=of_quotients)


async def packed_groups(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> list[Group]:
    """Counts by source; chunks that the range cuts are looked into."""
    if interval not in PACKABLE:
        return []
    groups: list[Group] = []
    for chunk in await list_chunks(connection, key, interval, start_ns, end_ns):
        by_source, first_ns, last_ns = chunk.by_source, chunk.first_ns, chunk.last_ns
        if first_ns < start_ns or last_ns >= end_ns:
            bars = await read_chunks(connection, key, interval, max(chunk.low_ns, start_ns), min(chunk.high_ns, end_ns))
            if not bars.rows():
                continue
            by_source, first_ns, last_ns = bars.by_source(), int(bars.open_us[0]) * 1000, int(bars.open_us[-1]) * 1000
        groups += [(code, True, count, first_ns, last_ns) for code, count in enumerate(by_source, 1) if count]
    return groups


async def packed_revisions(connection: Connection, key: int, interval: Interval, start_ns: int, end_ns: int) -> list[PackedRevision]:
    """Every kept version of a packed bar, oldest bar first."""
    if interval not in PACKABLE:
        return []
    found: list[PackedRevision] = []
    span, served = (0, 0), {}
    for low, high, open_ns, was_served, recorded_ns, *other in await connection.fetch(_REVISIONS, key, interval.slug, start_ns, end_ns):
        if span != (low, high):
            span, served = (low, high), _by_open(await read_chunks(connection, key, interval, low, high))
        if open_ns in served:
            found.append(PackedRevision(open_ns, was_served, recorded_ns, served[open_ns], tuple(other)))
    return found


def _by_open(bars: Bars) -> dict[int, tuple[Any, ...]]:
    turnover = [None if value != value else value for value in bars.turnover.tolist()]
    trades = [None if value < 0 else value for value in bars.trades.tolist()]
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = zip(*(column.tolist() for column in columns), turnover, trades, [True] * bars.rows(), bars.source.tolist(), strict=True)
    return dict(zip((bars.open_us * 1000).tolist(), rows, strict=True))
