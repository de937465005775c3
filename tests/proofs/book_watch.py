"""A book followed through faults at chosen messages, and judged against the exchange's own after every message."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.every_venue import PERP, SPOT, desk_of
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.faults import Bend
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.route import Route

LEVELS = 50
LATENCY_MS = 5.0
EVENTS_PER_S = 40.0  # orders a second: nearly every beat of a book's stream has news
_LONGEST_S = 3_000.0
# Faults come every few seconds here: a connection that stood so long is no reason to wait longer before the next one.
OPTIONS = IngestOptions(stable_s=2.0)
Levels = list[tuple[float, float]]


@dataclass
class Fault:
    """What became of one. Times in ns of the virtual clock; None: not (yet)."""

    position: int
    at_ns: int
    found_valid: bool
    next_ns: int | None = None  # when the exchange sent the book's next message
    stale_ns: int | None = None
    valid_ns: int | None = None

    @property
    def told_late_ns(self) -> int | None:
        """How long after the next message had come the loss was told."""
        if self.stale_ns is None or self.next_ns is None:
            return None
        return self.stale_ns - self.next_ns - int(LATENCY_MS * NS_PER_MS)

    @property
    def back_s(self) -> float | None:
        """From the loss being told, or the fault itself where nothing had to be told, to a valid book."""
        return None if self.valid_ns is None else (self.valid_ns - (self.stale_ns or self.at_ns)) / NS_PER_S


@dataclass
class Verdict:
    """What a run showed. `compared`: messages after which our book was valid and held against the exchange's; `wrong` of them differed."""

    compared: int = 0
    wrong: int = 0
    unknown: int = 0  # valid at an id that the exchange sent no message of: a snapshot by REST
    snapshots: int = 0
    messages: int = 0
    faults: list[Fault] = field(default_factory=list)


class BookWatch:
    """route.Sink. Bends the book messages at `positions`, counted from the first the exchange sends."""

    def __init__(self, desk: Any, instrument: str, kind: Bend, positions: Sequence[int]) -> None:
        self.verdict = Verdict()
        self._desk, self._instrument = desk, instrument
        self._positions = set(positions)
        self._truth: dict[int, tuple[Levels, Levels]] = {}
        self._book = Book(instrument)
        self._is_ended = False
        desk.faults.bend_frame(kind, self._picks, None)

    @property
    def is_over(self) -> bool:
        """Whether every fault has happened and been mended."""
        faults = self.verdict.faults
        return len(faults) == len(self._positions) and all(one.valid_ns is not None and one.next_ns is not None for one in faults)

    # ── The exchange's end ────────────────────────────────────────────────────────────────────────────────────────────

    def _picks(self, payload: bytes) -> bool:
        if not (self._desk.is_update(payload) or b'"snapshot"' in payload):
            return False
        number, self.verdict.messages = self.verdict.messages, self.verdict.messages + 1
        now_ns = self._desk.clock.now_ns()
        last_id, bids, asks = self._desk.true_book(self._instrument, LEVELS)
        if last_id is not None and last_id >= 0:
            self._truth[last_id] = (bids, asks)
        if self.verdict.faults and self.verdict.faults[-1].next_ns is None:
            self.verdict.faults[-1].next_ns = now_ns
        if number in self._positions:
            self.verdict.faults.append(Fault(number, now_ns, self._book.is_valid))
            return True
        return False

    def end(self) -> None:
        """What comes now is our own end."""
        self._is_ended = True

    # ── Our end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def connected(self, subscriptions: Sequence[Subscription]) -> None:
        """As route.Sink says."""

    async def look_at_listing(self) -> None:
        """As route.Sink says: nothing is ever delisted here."""

    def take(self, event: Event) -> None:
        """An event of the connection, or of its loss."""
        if self._is_ended or not isinstance(event, BookSnapshot | BookDelta | BookStale):
            return
        self._book.apply_event(event)
        self.verdict.snapshots += isinstance(event, BookSnapshot)
        self._note(event)
        self._compare()

    def _note(self, event: Event) -> None:
        fault = self.verdict.faults[-1] if self.verdict.faults else None
        if fault is None:
            return
        now_ns = self._desk.clock.now_ns()
        if isinstance(event, BookStale) and fault.stale_ns is None:
            fault.stale_ns = now_ns
            fault.valid_ns = None
        elif self._book.is_valid and fault.valid_ns is None and self._is_past(fault, now_ns):
            fault.valid_ns = now_ns

    def _is_past(self, fault: Fault, now_ns: int) -> bool:
        """Whether the message after the fault has come: before it nobody can know of a loss."""
        return fault.next_ns is not None and now_ns >= fault.next_ns + int(LATENCY_MS * NS_PER_MS)

    def _compare(self) -> None:
        if not self._book.is_valid:
            return
        theirs = self._truth.get(self._book.last_id)
        if theirs is None:
            self.verdict.unknown += 1
            return
        self.verdict.compared += 1
        self.verdict.wrong += self._book.top(LEVELS) != theirs


def bent_at(venue: str, which: str, kind: Bend, positions: Sequence[int], seed: int = 1) -> Verdict:
    """Follow one book until all faults are mended. `which`: `pair` or `perp`."""

    async def go() -> Verdict:
        desk = desk_of(venue, seed, (SPOT, PERP), EVENTS_PER_S, LATENCY_MS)
        await desk.connector.fetch_instruments()
        instrument = getattr(desk, which)
        watch = BookWatch(desk, instrument, kind, positions)
        wanted = [Subscription(instrument, "depth")]
        publish: Callable[[Event], None] = watch.take
        route = Route(venue, desk.connector, wanted, watch, publish, desk.clock, desk.notes, OPTIONS, random.Random(seed))
        task = asyncio.create_task(route.run())
        try:
            until_ns = desk.clock.now_ns() + int(_LONGEST_S * NS_PER_S)
            while not watch.is_over and desk.clock.now_ns() < until_ns:
                await desk.clock.sleep(0.5)
                if task.done():
                    task.result()
        finally:
            watch.end()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await desk.close()
        return watch.verdict

    return virtual.run(go())
