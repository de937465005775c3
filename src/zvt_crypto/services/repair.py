"""Close what is missing, from the venue, and say of each hole what became of it: gaps that were noticed, and holes between stored bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from zvt_crypto.domain.errors import BadInput, Malformed, Refused
from zvt_crypto.domain.market import Gap
from zvt_crypto.domain.time import INTERVALS, Interval
from zvt_crypto.ports import Store
from zvt_crypto.services.backfill import Backfill, BackfillReport


class Repaired(msgspec.Struct, frozen=True):
    """A hole [start_ns, end_ns). `rows`: fetched now, where that is counted. `reason`: why it is open still."""

    instrument: str
    stream: str
    start_ns: int
    end_ns: int
    closed: bool
    rows: int | None = None
    reason: str = ""


async def repair(
    backfill: Backfill,
    store: Store,
    instruments: Sequence[str],
    intervals: Sequence[Interval] = INTERVALS,
    tell: Callable[[Repaired], None] = lambda _: None,
) -> list[Repaired]:
    """Every open gap and every hole between the stored final bars of these instruments, oldest first; each is told as it is done.

    Raises VenueError when the venue does not answer at all, StoreError.
    """
    done: list[Repaired] = []

    def note(one: Repaired) -> None:
        done.append(one)
        tell(one)

    await backfill.heal(only=frozenset(instruments), tell=lambda gap, reason: note(_of_gap(gap, reason)))
    for name in instruments:
        for interval in intervals:
            held = await store.coverage.klines(name, interval)
            for start_ns, end_ns in held.missing:
                note(await _fill(backfill, name, interval, start_ns, end_ns))
    return done


async def _fill(backfill: Backfill, name: str, interval: Interval, start_ns: int, end_ns: int) -> Repaired:
    stream = f"kline {interval}"
    try:
        report = await backfill.klines(name, interval, start_ns, end_ns)
    except (Refused, Malformed, BadInput) as error:
        return Repaired(name, stream, start_ns, end_ns, closed=False, rows=0, reason=str(error))
    return Repaired(name, stream, start_ns, end_ns, report.is_complete, report.rows, _why(report))


def _of_gap(gap: Gap, reason: str) -> Repaired:
    stream = gap.channel if gap.interval is None else f"{gap.channel} {gap.interval}"
    return Repaired(gap.instrument, stream, gap.start_ns, gap.end_ns, not reason, None, reason)


def _why(report: BackfillReport) -> str:
    return "" if report.is_complete else f"the exchange does not have {len(report.absent)} parts of it"
