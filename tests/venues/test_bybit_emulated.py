"""The connector on an emulated Bybit that misbehaves: books and tickers are right or say that they are not."""

from __future__ import annotations

import random

import pytest

from conformance.venues.conftest import SYMBOLS, Notes
from conformance.venues.desk_bybit import BybitDesk
from zvt_crypto.domain.errors import Banned, Disconnected
from zvt_crypto.domain.market import BookSnapshot, BookStale, MarkPrice, Ticker
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator import virtual
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription

KINDS = ("drop", "delay", "duplicate", "reorder", "corrupt", "truncate")


def run(scenario, seed: int = 7):
    async def whole():
        desk = BybitDesk(seed, SYMBOLS, Notes())
        await desk.connector.fetch_instruments()
        try:
            return await scenario(desk)
        finally:
            await desk.close()

    return virtual.run(whole())


class Reader:
    """Follows one connection, opens it again when it ends, and counts how often a valid book stood at the exchange's own number."""

    def __init__(self, desk, wanted: list[Subscription]) -> None:
        self.desk, self.wanted = desk, wanted
        self.books = {s.instrument: Book(s.instrument) for s in wanted if s.channel == "depth"}
        self.last: dict[tuple[str, type], object] = {}
        self.kinds: list[type] = []
        self.equal = self.opened = 0
        self.stream = None

    async def read(self, seconds: float) -> None:
        until_ns = self.desk.clock.now_ns() + int(seconds * NS_PER_S)
        while self.desk.clock.now_ns() < until_ns:
            if self.stream is None:
                self.stream = await self.desk.connector.open_stream(self.wanted)
                self.opened += 1
            try:
                events = await self.stream.receive()
            except Disconnected:
                await self.close()
                continue
            for event in events:
                self.kinds.append(type(event))
                self.last[event.instrument, type(event)] = event
                if event.instrument in self.books:
                    self.books[event.instrument].apply_event(event)
            self.compare()

    def compare(self) -> None:
        for instrument, book in self.books.items():
            last_id, bids, asks = self.desk.true_book(instrument, 20)
            if book.is_valid and book.last_id == last_id:
                assert [list(side) for side in book.top(20)] == [bids, asks], (instrument, last_id)
                self.equal += 1

    async def close(self) -> None:
        if self.stream is not None:
            await self.stream.close()
            self.stream = None


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_to_frames_no_valid_book_is_wrong(seed):
    async def scenario(desk):
        chance = random.Random(seed)
        spot = Reader(desk, [Subscription(desk.pair, "depth"), Subscription(desk.pair, "trade")])
        linear = Reader(desk, [Subscription(desk.perp, "depth"), Subscription(desk.perp, "ticker")])
        for _ in range(25):
            for reader in (spot, linear):
                desk.faults.bend_frame(chance.choice(KINDS), desk.is_update, chance.randrange(1, 4), by_s=chance.random() * 2)
                await reader.read(8)
                await reader.close()
        stale = sum(kind is BookStale for kind in (*spot.kinds, *linear.kinds))
        return spot.equal, linear.equal, stale, dict(desk.faults.bent)

    spot, linear, stale, bent = run(scenario, seed)
    assert min(spot, linear) > 500
    assert set(bent) == set(KINDS), f"seed {seed}"
    assert stale > 20


def test_a_restart_of_the_venue_replaces_the_book_without_a_stale_one():
    async def scenario(desk):
        reader = Reader(desk, [Subscription(desk.pair, "depth")])
        await reader.read(5)
        desk.dialect.restart_books()
        reader.kinds.clear()
        await reader.read(5)
        await reader.close()
        return reader, desk.notes.counts

    reader, counts = run(scenario)
    assert reader.kinds.count(BookSnapshot) == 1
    assert BookStale not in reader.kinds
    assert reader.books["cryptopair_bybit_btcusdt"].last_id < 200
    assert counts.get("book_snapshots_asked", 0) == 0
    assert reader.equal > 20


def test_added_up_tickers_equal_those_by_rest():
    async def scenario(desk):
        reader = Reader(desk, [Subscription(desk.perp, "ticker"), Subscription(desk.perp, "mark")])
        await reader.read(30)
        day, mark = await desk.connector.fetch_ticker(desk.perp), await desk.connector.fetch_mark(desk.perp)
        await reader.read(0.2)
        await reader.close()
        return reader.last, day, mark, reader.kinds

    last, day, mark, kinds = run(scenario)
    perp = BybitDesk.perp
    assert kinds.count(Ticker) > 20

    def values(t: Ticker) -> tuple:
        return (t.open, t.high, t.low, t.volume is not None, t.turnover is not None, t.bid < t.ask)

    assert values(last[perp, Ticker]) == values(day)
    assert (last[perp, MarkPrice].next_funding_ns, last[perp, MarkPrice].index_price) == (mark.next_funding_ns, mark.index_price)


def test_a_ticker_that_could_not_be_read_comes_back():
    async def scenario(desk):
        reader = Reader(desk, [Subscription(desk.perp, "ticker")])
        await reader.read(5)
        desk.faults.bend_frame("truncate", lambda payload: b'"topic":"tickers' in payload and b'"delta"' in payload)
        reader.kinds.clear()
        await reader.read(10)
        await reader.close()
        return reader, desk.notes.counts

    reader, counts = run(scenario)
    assert counts["venue_malformed"] == 1
    assert reader.opened == 1, "the connection stays"
    assert reader.kinds.count(Ticker) > 10


def test_our_budget_is_never_shut_out_and_a_lower_limit_shuts_us_out_for_ten_minutes():
    async def scenario(desk):
        for _ in range(900):
            await desk.connector.fetch_ticker(desk.pair)
        within = dict(desk.notes.counts)
        desk.dialect.scale_limits(0.01)

        async def ask_often():
            for _ in range(20):
                await desk.connector.fetch_ticker(desk.pair)

        with pytest.raises(Banned) as error:
            await ask_often()
        asked = desk.dialect.requests
        with pytest.raises(Banned):
            await desk.connector.get_order_book(desk.pair)
        return within, error.value.wait_ms, desk.dialect.requests - asked

    within, wait_ms, asked = run(scenario)
    assert "venue_errors" not in within
    assert (wait_ms, asked) == (600_000, 0)
