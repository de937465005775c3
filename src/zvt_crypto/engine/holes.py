"""What was dropped or damaged, as gaps: one for each instrument, channel and interval, however many events it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookSample, Funding, Gap, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import NS_PER_S, Interval, next_ns
from zvt_crypto.ports import SpoolBreak

Channel = Literal["trade", "agg", "kline", "book", "mark", "funding"]
REASON = "dropped: queue and spool were full"
DAMAGED = "damaged while it waited in the spool"
_MARK_NS = 2 * NS_PER_S  # mark prices are kept once a second


class Holes:
    """Grows with instruments, channels and intervals only."""

    def __init__(self) -> None:
        self._gaps: dict[tuple[str, Channel, Interval | None], Gap] = {}

    def __len__(self) -> int:
        return len(self._gaps)

    def add(self, events: Iterable[Event]) -> None:
        """Events that are lost. Forming klines are no loss."""
        for event in events:
            gap = _gap_of(event)
            if gap is None:
                continue
            key = (gap.instrument, gap.channel, gap.interval)
            held = self._gaps.get(key)
            self._gaps[key] = gap if held is None else _joined(held, gap)

    def taken(self) -> list[Gap]:
        """All of them; they stay until `stored` is told."""
        return list(self._gaps.values())

    def stored(self, gaps: Iterable[Gap]) -> None:
        """These are in the store: what was added to one since stays as a new hole."""
        done = {id(g) for g in gaps}
        self._gaps = {key: gap for key, gap in self._gaps.items() if id(gap) not in done}


def _gap_of(event: Event) -> Gap | None:
    match event:
        case Trade():
            number = int(event.trade_id) if event.trade_id.isdecimal() else None
            return Gap(event.instrument, event.stream, event.event_ns, event.event_ns + 1, number, number, REASON, None, event.event_ns)
        case Kline(final=True):
            end_ns = next_ns(event.interval, event.open_ns)
            return Gap(event.instrument, "kline", event.open_ns, end_ns, None, None, REASON, None, event.event_ns, interval=event.interval)
        case Funding():
            return Gap(event.instrument, "funding", event.event_ns, event.event_ns + 1, None, None, REASON, None, event.event_ns)
        case MarkPrice():
            return Gap(event.instrument, "mark", event.event_ns, event.event_ns + 1, None, None, REASON, None, event.event_ns)
        case BookSample():
            return Gap(event.instrument, "book", event.event_ns, event.event_ns + 1, None, None, REASON, None, event.event_ns)
        case Gap(filled_from=None):
            return event
        case _:
            return None


def _joined(a: Gap, b: Gap) -> Gap:
    firsts = [g.first_id for g in (a, b) if g.first_id is not None]
    lasts = [g.last_id for g in (a, b) if g.last_id is not None]
    return msgspec.structs.replace(
        a,
        start_ns=min(a.start_ns, b.start_ns),
        end_ns=max(a.end_ns, b.end_ns),
        first_id=min(firsts, default=None),
        last_id=max(lasts, default=None),
        event_ns=max(a.event_ns, b.event_ns),
    )


def gaps_of_break(damaged: SpoolBreak) -> list[Gap]:
    """What may be missing between the events on both sides of a damaged part of the spool; nothing, where it continues.

    A stream that shows on one side only is in doubt up to the newest, or from the oldest, that shows at all.
    """
    sides = (
        {_key(g): g for e in side if (g := _gap_of(e)) is not None and not isinstance(e, Gap)} for side in (damaged.before, damaged.after)
    )
    before, after = sides
    if not before and not after:
        return []
    first_ns = min(g.start_ns for g in (before or after).values())
    last_ns = max(g.end_ns for g in (after or before).values())
    gaps = (_between(before.get(key), after.get(key), first_ns, last_ns) for key in dict.fromkeys([*before, *after]))
    return [gap for gap in gaps if gap is not None]


def _key(gap: Gap) -> tuple[str, Channel, Interval | None]:
    return gap.instrument, gap.channel, gap.interval


def _between(a: Gap | None, b: Gap | None, first_ns: int, last_ns: int) -> Gap | None:
    """The hole between two events of a stream, each given as the gap that it would leave."""
    known = a or b
    assert known is not None, "a stream shows on one side at least"
    start_ns = a.end_ns if a is not None else min(first_ns, known.start_ns)
    end_ns = b.start_ns if b is not None else max(last_ns, known.end_ns)
    first_id = a.last_id + 1 if a is not None and a.last_id is not None else None
    last_id = b.first_id - 1 if b is not None and b.first_id is not None else None
    if known.channel == "kline":
        continues = start_ns >= end_ns
    elif known.channel in ("trade", "agg"):
        continues = first_id is not None and last_id is not None and first_id > last_id
        start_ns, end_ns = start_ns - (a is not None), end_ns + (b is not None)  # others may be of the same instant
    else:
        continues = end_ns - start_ns < (_MARK_NS if known.channel == "mark" else 0)
    if continues:
        return None
    return Gap(
        known.instrument, known.channel, start_ns, max(start_ns, end_ns), first_id, last_id, DAMAGED, None, end_ns, interval=known.interval
    )
