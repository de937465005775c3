"""OKX's connections against the emulated exchange: what it announces, loses, restarts and refuses."""

from __future__ import annotations

import msgspec
import pytest

from zvt_crypto.domain.errors import Disconnected, Refused, Throttled
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, MarkPrice, Trade
from zvt_crypto.domain.time import NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.market import MarketWorld, Symbol
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.okx.dialect import OkxDialect
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.okx import OkxConnector, OkxHosts

BTC, PERP = "cryptopair_okx_btcusdt", "cryptoperp_okx_btcusdt"
SYMBOLS = (
    Symbol("spot", "BTC", "USDT", "60000", "0.01", "0.00001", 1500),
    Symbol("usdm", "BTC", "USDT", "60010", "0.1", "0.001", 20, "100"),
)


class Desk:
    """A connector on an emulated OKX, on virtual time."""

    def __init__(self, kit, events_per_s: float) -> None:
        self.clock, self.notes = virtual.VirtualClock(), kit.ListObserver()
        self.world = MarketWorld(3, SYMBOLS, start_ns=self.clock.now_ns(), events_per_s=events_per_s, history_days=1)
        self.dialect = OkxDialect(self.world)
        self.transport = MemoryTransport(self.dialect, self.clock, latency_ms=5)
        hosts = OkxHosts.local("http://emulator", "ws://emulator")
        budget = LimitBudget(self.clock, self.notes)
        self.connector = OkxConnector(self.transport, self.clock, budget, self.notes, instruments=Instruments(), hosts=hosts)

    async def heard(self, stream, wanted, most_s: float = 300.0) -> list:
        """Everything up to and with the first event that is `wanted`."""
        events, until_ns = [], self.clock.now_ns() + int(most_s * NS_PER_S)
        while not any(wanted(event) for event in events):
            assert self.clock.now_ns() < until_ns, "what was wanted did not come"
            events += await stream.receive()
        return events

    def is_true(self, book: Book, native: str) -> bool:
        """Whether a book stands where the exchange's own does; if it stands at the same update, it must be equal."""
        held = self.dialect.book_of(native)
        if held is None or held[0] != book.last_id:
            return False
        bids, asks = ([(price / 1e8, size / 1e8) for price, size in side[:20]] for side in (held[1].bids, held[1].asks))
        assert book.top(20) == (bids, asks)
        return True


@pytest.fixture
def run(kit):
    """`run(scenario)`: scenario(desk) on a fresh virtual loop."""

    def go(scenario, events_per_s: float = 6.0):
        async def whole():
            desk = Desk(kit, events_per_s)
            await desk.connector.fetch_instruments()
            try:
                return await scenario(desk)
            finally:
                await desk.transport.close()

        return virtual.run(whole())

    return go


@pytest.mark.parametrize(("instrument", "native"), [(BTC, "BTC-USDT"), (PERP, "BTC-USDT-SWAP")])
def test_ids_that_fall_after_maintenance_do_not_break_a_book(run, instrument, native):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(instrument, "depth")])
        book, equal, fell = Book(instrument), 0, False
        for number in range(600):
            if number == 200:
                desk.dialect.restart_books()
            for event in await stream.receive():
                fell = fell or (isinstance(event, BookDelta) and event.last_id < book.last_id)
                assert not isinstance(event, BookStale)
                book.apply_event(event)
            equal += desk.is_true(book, native)
        await stream.close()
        return equal, fell

    equal, fell = run(scenario)
    assert equal > 100
    assert fell


def test_a_quiet_book_is_kept_alive_and_its_connection_too(run):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(BTC, "depth")])
        empty = await desk.heard(stream, lambda e: isinstance(e, BookDelta) and not e.bids and not e.asks, 2_000)
        await desk.clock.sleep(100)
        kinds = {type(event) for event in await stream.receive()}
        return empty[-1], kinds

    last, kinds = run(scenario, events_per_s=0.004)
    assert last.prev_id == last.last_id
    assert kinds == {BookDelta}


def test_a_restart_that_is_announced_ends_the_connection_after_its_books(run):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(BTC, "depth"), Subscription(BTC, "ticker")])
        await desk.heard(stream, lambda e: isinstance(e, BookDelta))
        desk.dialect.announce_restart(desk.clock.now_ns())
        before = desk.clock.now_ns()
        events = []

        async def read_on():
            while True:
                events.extend(await stream.receive())

        with pytest.raises(Disconnected, match="announced"):
            await read_on()
        await stream.close()
        return events[-1], desk.clock.now_ns() - before

    last, waited_ns = run(scenario)
    assert isinstance(last, BookStale)
    assert waited_ns < 10 * NS_PER_S  # not when the venue cuts, a minute later


def test_a_snapshot_that_is_lost_is_asked_for_again(run):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(BTC, "depth")])
        await desk.heard(stream, lambda e: isinstance(e, BookDelta))
        faults = desk.dialect.faults
        faults.drop_frame(lambda payload: b'"action":"update"' in payload)
        faults.drop_frame(lambda payload: b'"action":"snapshot"' in payload, times=2)
        events = await desk.heard(stream, lambda e: isinstance(e, BookSnapshot))
        book = Book(BTC)
        for event in events:
            book.apply_event(event)
        for _ in range(50):
            for event in await stream.receive():
                book.apply_event(event)
        await stream.close()
        return [type(e) for e in events if not isinstance(e, BookDelta)], book.is_valid, desk.notes.counted["book_snapshots_asked"]

    kinds, is_valid, asked = run(scenario)
    assert kinds == [BookStale, BookSnapshot]
    assert is_valid
    assert asked == 3


def test_a_repeated_update_changes_nothing(run, monkeypatch):
    async def scenario(desk):
        encode = desk.dialect._encode
        monkeypatch.setattr(desk.dialect, "_encode", lambda topic, emission: tuple(encode(topic, emission)) * 2)
        stream = await desk.connector.open_stream([Subscription(BTC, "depth")])
        book, equal = Book(BTC), 0
        for _ in range(100):
            for event in await stream.receive():
                assert not isinstance(event, BookStale)
                book.apply_event(event)
            equal += desk.is_true(book, "BTC-USDT")
        await stream.close()
        return equal, desk.notes.counted["book_updates_repeated"]

    equal, repeated = run(scenario)
    assert equal > 20
    assert repeated > 50


def test_a_mark_price_carries_index_and_funding(run):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(PERP, "mark")])
        events = await desk.heard(stream, lambda e: e.index_price is not None and e.funding_rate is not None)
        await stream.close()
        return events, await desk.connector.fetch_mark(PERP), desk.clock.now_ns()

    events, by_rest, now_ns = run(scenario)
    assert {type(event) for event in events} == {MarkPrice}
    assert events[-1].next_funding_ns > now_ns
    assert (by_rest.funding_rate, by_rest.next_funding_ns) == (events[-1].funding_rate, events[-1].next_funding_ns)


def test_sizes_of_contracts_are_base_on_every_way(run):
    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(PERP, "trade"), Subscription(PERP, "kline", Interval.MIN_1)])
        trades = [e for e in await desk.heard(stream, lambda e: isinstance(e, Trade) and e.recv_ns) if isinstance(e, Trade)]
        await stream.close()
        listing = desk.world.listings("usdm")["BTCUSDT"]
        true = [row for row in desk.world.trades(listing, int(trades[0].trade_id), 1_000) if row.id <= int(trades[-1].trade_id)]
        return (
            [(t.trade_id, t.quantity) for t in trades],
            [(str(row.id), row.size / 1e8) for row in true],
            await ticker_and_world(desk, listing),
        )

    async def ticker_and_world(desk, listing):
        ticker = await desk.connector.fetch_ticker(PERP)
        return ticker.volume, desk.world.day(listing).bar.size / 1e8

    ours, theirs, (volume, true_volume) = run(scenario)
    assert ours == theirs
    assert volume == pytest.approx(true_volume, rel=1e-3)


def test_a_subscription_that_the_venue_does_not_know_is_refused(run):
    async def scenario(desk):
        table = desk.connector.instruments
        gone = msgspec.structs.replace(table.get(BTC), id="cryptopair_okx_goneusdt", native_symbol="GONE-USDT", base_asset="GONE")
        desk.connector.instruments = Instruments([*table, gone])
        with pytest.raises(Refused, match="60018"):
            await desk.connector.open_stream([Subscription(gone.id, "ticker")])
        return len(desk.dialect.sessions)

    assert run(scenario) == 0


def test_connections_are_opened_no_faster_than_the_venue_allows(run):
    async def scenario(desk):
        streams = [await desk.connector.open_stream([Subscription(BTC, "ticker")]) for _ in range(8)]
        for stream in streams:
            await stream.close()
        return desk.notes.counted.get("rate_budget_penalties", 0)

    assert run(scenario) == 0


def test_a_handshake_that_is_throttled_says_so(run):
    async def scenario(desk):
        desk.dialect.faults.http(429, path="/ws/")
        with pytest.raises(Throttled):
            await desk.connector.open_stream([Subscription(BTC, "ticker")])

    run(scenario)
