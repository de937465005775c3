"""What was dropped, as gaps: one for each instrument, channel and interval, however many events it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookSample, Funding, Gap, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import Interval, next_ns

Channel = Literal["trade", "agg", "kline", "book", "mark", "funding"]
REASON = "dropped: queue and spool were full"


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
