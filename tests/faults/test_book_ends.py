"""A book of a snapshot that Binance cut, followed over the emulated exchange until its price has left the first snapshot: never a level
that is not the exchange's own, never a hole, and renewed without a break."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from faults.every_venue import PERP, SPOT, desk_of
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.emulator import virtual
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.route import Route

SNAPSHOT_DEPTH = 20
SECONDS = 240.0


class Reader:
    """route.Sink: a live book beside the exchange's own."""

    def __init__(self, desk, instrument: str) -> None:
        self.book = Book(instrument)
        self.desk = desk
        self.truth: dict[int, tuple] = {}
        self.first: BookSnapshot | None = None
        self.stale: list[BookStale] = []
        self.renewed = self.compared = self.wrong = self.outside = 0
        desk.faults.bend_frame("drop", self._sees, None)

    def _sees(self, payload: bytes) -> bool:
        """Keeps the exchange's book at each of its messages; drops none."""
        if self.desk.is_update(payload):
            last_id, *sides = self.desk.true_book(self.book.instrument, 1_000)
            self.truth[last_id] = tuple(sides)
        return False

    def connected(self, subscriptions) -> None:
        """As route.Sink says."""

    async def look_at_listing(self) -> None:
        """As route.Sink says."""

    def take(self, event: Event) -> None:
        """An event of the connection."""
        if isinstance(event, BookStale):
            self.stale.append(event)
        if not isinstance(event, BookSnapshot | BookDelta | BookStale):
            return
        if isinstance(event, BookSnapshot):
            self.first = self.first or event
            self.renewed += self.book.is_valid
        self._apply(event)
        theirs = self.truth.get(self.book.last_id)
        if not self.book.is_valid or theirs is None:
            return
        own = self.book.top(1_000)
        self.compared += 1
        self.wrong += any(not levels or levels != true[: len(levels)] for levels, true in zip(own, theirs, strict=True))
        assert self.first is not None
        assert self.first.bids_to is not None
        assert self.first.asks_to is not None
        self.outside += own[0][0][0] < self.first.bids_to or own[1][0][0] > self.first.asks_to

    def _apply(self, event) -> None:
        self.book.apply_event(event)


class BlindReader(Reader):
    """Takes what a snapshot holds for the whole side."""

    def _apply(self, event) -> None:
        if isinstance(event, BookSnapshot):
            event = msgspec.structs.replace(event, bids_to=None, asks_to=None)
        self.book.apply_event(event)


def followed(symbol: str, kind: type[Reader] = Reader) -> Reader:
    async def go() -> Reader:
        desk = desk_of("binance", 5, (SPOT, PERP), 60.0)
        desk.connector.options = msgspec.structs.replace(desk.connector.options, snapshot_depth=SNAPSHOT_DEPTH)
        await desk.connector.fetch_instruments()
        instrument = getattr(desk, symbol)
        reader = kind(desk, instrument)
        wanted = [Subscription(instrument, "depth")]
        route = Route("it", desk.connector, wanted, reader, reader.take, desk.clock, desk.notes, IngestOptions(), random.Random(5))
        task = asyncio.create_task(route.run())
        await desk.clock.sleep(SECONDS)
        told = list(reader.stale)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await desk.close()
        reader.stale = told
        return reader

    return virtual.run(go())


@pytest.mark.parametrize("symbol", ["pair", "perp"])
def test_a_book_is_renewed_before_its_price_leaves_the_snapshot(symbol, figure):
    reader = followed(symbol)
    figure(
        f"cut books, binance {symbol}: {reader.renewed} renewed, {reader.outside} of {reader.compared} books with a best price outside the "
        f"first snapshot, {reader.wrong} wrong, stale {len(reader.stale)} times"
    )
    assert reader.wrong == 0
    assert reader.renewed >= 3
    assert reader.outside >= 20
    assert reader.compared > 0.8 * len(reader.truth)


def test_a_book_with_holes_would_be_seen():
    assert followed("perp", BlindReader).wrong > 0
