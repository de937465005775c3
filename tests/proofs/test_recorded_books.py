"""Books rebuilt from what Binance sent, through real sockets: emulator → connector → book."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proofs.proof_parts import SPOT, Recording, played
from zvt_crypto.domain.events import MarketEvent
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, BookStale
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription

pytestmark = pytest.mark.data


class Judge:
    """A book beside the recorded quotes; whatever comes first waits for the other."""

    def __init__(self, entity: str) -> None:
        self.book = Book(entity)
        self.quotes: dict[int, BestQuote] = {}
        self.equal = self.compared = 0
        self.stale: list[BookStale] = []
        self.started = self.renewed = 0  # snapshots: of a book that was not valid, of one that was
        self.ends = (0.0, float("inf"))  # beyond which the newest snapshot tells nothing
        self.beyond = 0  # levels served from there
        self.applied: list[int] = []

    def take(self, event: MarketEvent) -> None:
        if isinstance(event, BestQuote):
            self.quotes[event.update_id] = event
            self.compare(event.update_id)
        elif isinstance(event, BookSnapshot | BookDelta | BookStale):
            if isinstance(event, BookSnapshot):
                self.started += not self.book.is_valid
                self.renewed += self.book.is_valid
                self.ends = (event.bids_to or 0.0, event.asks_to or float("inf"))
            self.book.apply_event(event)
            if isinstance(event, BookStale):
                self.stale.append(event)
                assert self.book.top(5) == ([], []), "a stale book serves nothing"
                return
            bids, asks = self.book.top(2_000)
            self.beyond += sum(price < self.ends[0] for price, _ in bids) + sum(price > self.ends[1] for price, _ in asks)
            self.applied.append(event.last_id)
            self.compare(event.last_id)

    def compare(self, update_id: int) -> None:
        quote = self.quotes.get(update_id)
        if quote is None or not self.book.is_valid or self.book.last_id != update_id:
            return
        self.compared += 1
        self.equal += self.book.best() == ((quote.bid, quote.bid_quantity), (quote.ask, quote.ask_quantity))


def book_channels(entity: str) -> list[Subscription]:
    return [Subscription(entity, "depth"), Subscription(entity, "quote")]


async def test_the_book_equals_the_recorded_quote_at_every_equal_update_id(recorded: Path, recording: Recording) -> None:
    messages = list(recording.messages(recorded))
    updates = {m["u"] for m in messages if m.get("e") == "depthUpdate"}
    quotes = {m["u"] for m in messages if "B" in m and "A" in m}
    async with played(recorded, recording) as run:
        judge = Judge(recording.entity)
        stream = await run.stream(book_channels(recording.entity))
        await run.follow(stream, judge.take)
        await stream.close()
    assert judge.stale == []
    assert judge.started == 1
    assert judge.beyond == 0
    # On spot the price leaves the first snapshot's 1,000 levels; on USD-M it does not.
    assert bool(judge.renewed) == (recording is SPOT)
    # The recording runs as fast as it is read, so the first snapshot is one of a moment into it; from there on all are compared.
    first_id = judge.applied[0]
    assert judge.compared == len({u for u in updates & quotes if u > first_id}) > 150
    assert judge.equal == judge.compared


def lost_diffs() -> list[int]:
    """A fixed sample of places, far enough in for the first snapshot to have come."""
    return sorted(random.Random(20240808).sample(range(1000, 6400), 3))


@pytest.mark.parametrize("place", lost_diffs())
async def test_a_lost_diff_is_reported_on_the_next_message_and_the_book_comes_back(recorded: Path, place: int) -> None:
    diffs = [m for m in SPOT.messages(recorded) if m.get("e") == "depthUpdate"]
    lost, following = diffs[place], diffs[place + 1]
    async with played(recorded, SPOT) as run:
        judge = Judge(SPOT.entity)
        run.server.dialect.faults.drop_frame(lambda payload: f'"u":{lost["u"]},'.encode() in payload and b"depthUpdate" in payload)
        stream = await run.stream(book_channels(SPOT.entity))
        await run.follow(stream, judge.take)
        await stream.close()
        assert run.server.dialect.faults.dropped == 1
    assert len(judge.stale) == 1
    assert str(following["U"]) in judge.stale[0].reason
    assert lost["u"] not in judge.applied
    assert judge.started == 2
    assert judge.beyond == 0
    assert judge.book.is_valid
    assert judge.book.last_id == diffs[-1]["u"]
    assert judge.equal == judge.compared > 500
