"""Entries of the feed as a recorder counts them: where some are gone, it says what may be missing."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Gap, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MS, Interval, floor_ns, next_ns


class Entry(NamedTuple):
    """One of a stream."""

    key: str
    id: str
    writer: str
    epoch: int
    number: int
    events: list[Event]


class Continuity:
    """What a recorder knows of the feed of a shard: up to where it has come, what each writer counted last, and the newest of each stream.

    A writer counts its entries. Where the count jumps, entries are gone (a server that was emptied, a stream that was cut): the next event
    of each instrument comes with the hole before it.
    """

    def __init__(self) -> None:
        self.place = "0-0"
        self._counted: dict[str, tuple[int, int]] = {}  # writer → epoch, count
        self._newest: dict[tuple[str, str, Interval | None], int] = {}  # (instrument, channel, interval) → event time
        self._torn: dict[str, int] = {}  # writer → since when, ns
        self._told: set[tuple[str, str, str, Interval | None]] = set()

    def load(self, held: bytes | None) -> None:
        """As `save` wrote it."""
        if held:
            self.place, self._counted = msgspec.msgpack.decode(held, type=tuple[str, dict[str, tuple[int, int]]])

    def save(self) -> bytes:
        """To be loaded by the next one."""
        return msgspec.msgpack.encode((self.place, self._counted))

    def take(self, entry: Entry) -> list[Event]:
        """The events of the next entry, each hole before the event behind it."""
        held = self._counted.get(entry.writer)
        if held is not None and entry.number > (held[1] if held[0] == entry.epoch else 0) + 1 and entry.epoch >= held[0]:
            self._torn[entry.writer] = order_of(self.place)[0] * NS_PER_MS
            self._told = {told for told in self._told if told[0] != entry.writer}
        if held is None or entry.epoch > held[0] or (entry.epoch == held[0] and entry.number > held[1]):
            self._counted[entry.writer] = entry.epoch, entry.number
        made: list[Event] = []
        for event in entry.events:
            if isinstance(event, Trade | Kline):
                made += self._hole(entry.writer, event)
            made.append(event)
        self.place = entry.id
        return made

    def _hole(self, writer: str, event: Trade | Kline) -> list[Event]:
        """Before the first event of a stream after the jump: from the newest one that came, or from when the jump was."""
        if isinstance(event, Trade):
            channel, interval, at_ns = str(event.stream), None, event.event_ns
        elif event.source == "venue":
            channel, interval, at_ns = "kline", event.interval, event.open_ns
        else:
            return []
        key = event.instrument, channel, interval
        last_ns = self._newest.get(key)
        self._newest[key] = max(at_ns, last_ns or 0)
        start_ns = self._torn.get(writer)
        if start_ns is None or (writer, *key) in self._told:
            return []
        self._told.add((writer, *key))
        if interval is not None:
            start_ns = floor_ns(interval, start_ns) if last_ns is None else next_ns(interval, last_ns)
        elif last_ns is not None:
            start_ns = last_ns
        if start_ns >= at_ns:
            return []
        reason = "Redis lost what nobody had stored"
        return [Gap(event.instrument, cast("Any", channel), start_ns, at_ns, None, None, reason, None, at_ns, interval=interval)]


def order_of(entry_id: str) -> tuple[int, int]:
    """An id as it is ordered."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
