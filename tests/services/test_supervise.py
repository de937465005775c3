"""The supervisor, the stream service, the plan and the tables."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import msgspec
import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, PAIR_OF, PERP, PERP_OF, START, ListConnector, Notes, kline, trade
from zvt_crypto.domain.errors import BadInput, GaveUp, OutOfRange, UnknownSymbol, Unreachable
from zvt_crypto.domain.instrument import CryptoPair, Instruments, TradingStatus
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.ports import Subscription
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.plan import plan_subscriptions
from zvt_crypto.services.stream import CryptoStreamService
from zvt_crypto.services.supervise import Supervisor, explained
from zvt_crypto.services.tables import Tables
from zvt_crypto.venues.listing import relisted


class Flaky:
    """A part that fails so many times, then works until cancelled (or returns)."""

    def __init__(self, failures: int, error: Exception | None = None, *, returns: bool = True) -> None:
        self.failures, self.error, self.returns, self.starts = failures, error or RuntimeError("oops"), returns, 0

    async def run(self) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise self.error
        if not self.returns:
            await asyncio.Event().wait()


def supervisor(notes: Notes | None = None, **named) -> Supervisor:
    return Supervisor(VirtualClock(), notes or Notes(), random.Random(1), **named)


def test_a_failing_part_is_begun_again_and_told():
    notes, part = Notes(), Flaky(3)
    virtual.run(supervisor(notes).run({"part": part.run}))
    assert part.starts == 4
    assert [f["reason"] for _, name, f in notes.notes if name == "part_failed"] == ["RuntimeError: oops"] * 3


def test_too_many_failures_in_a_row_end_everything_with_the_reason():
    part, other = Flaky(99), Flaky(0, returns=False)
    with pytest.raises(GaveUp, match="part cannot go on: RuntimeError: oops"):
        virtual.run(supervisor(most_restarts=3).run({"part": part.run, "other": other.run}))
    assert part.starts == 4


def test_a_stable_time_between_failures_is_forgiven():
    class Slow(Flaky):
        async def run(self) -> None:
            await asyncio.sleep(100)
            await super().run()

    part = Slow(20)
    virtual.run(supervisor(most_restarts=3, stable_s=60.0).run({"part": part.run}))
    assert part.starts == 21


def test_a_wrong_setting_is_not_tried_again_even_from_inside_a_group():
    part = Flaky(9, ExceptionGroup("all", [ValueError("x"), OutOfRange("limit", 5, 1, 2)]))
    with pytest.raises(GaveUp, match="part cannot go on: limit '5' is out of range"):
        virtual.run(supervisor().run({"part": part.run}))
    assert part.starts == 1


def test_one_part_that_fails_does_not_disturb_another():
    part, steady = Flaky(5), Flaky(0, returns=False)

    async def go() -> None:
        task = asyncio.create_task(supervisor().run({"part": part.run, "steady": steady.run}))
        await asyncio.sleep(120)
        assert (part.starts, steady.starts, task.done()) == (6, 1, False)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual.run(go())


def test_an_error_without_words_is_named_by_its_kind():
    assert explained(ExceptionGroup("g", [KeyError()])) == "KeyError"


def test_an_error_of_ours_is_told_in_its_own_words():
    assert explained(ExceptionGroup("g", [UnknownSymbol("X")])) == "unknown symbol 'X'"
    assert explained(UnknownSymbol.__new__(UnknownSymbol)) == "UnknownSymbol"


# ── CryptoStreamService ──


def service(feed: MemoryFeed, connector=None) -> CryptoStreamService:
    return CryptoStreamService(connector or ListConnector(now_ns=START), feed, MemoryStore(), VirtualClock(), Notes())  # type: ignore[arg-type]


async def test_data_given_as_dicts_or_structs_goes_onto_the_feed():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=10, when_full="fail")
    made = service(feed)
    snapshot = BookSnapshot(BTC, 1, [(1.0, 1.0)], [(2.0, 1.0)], START)
    await made.process_kdata_updates(kline(0))
    await made.process_kdata_updates(msgspec.to_builtins(kline(1)))
    await made.handle_trade_events(msgspec.to_builtins(trade(1)))
    for event in (snapshot, BookDelta(BTC, 2, 2, None, [], [(2.0, 0.0)], START), BookStale(BTC, "why", START)):
        assert await made.manage_orderbook_updates(msgspec.to_builtins(event)) == event
        await made.manage_orderbook_updates(event)
    events = await reader.receive()
    assert events[:4] == [kline(0), kline(1), trade(1), snapshot]
    assert len(events) == 9


async def test_data_that_is_none_is_refused_and_published_nowhere():
    feed = MemoryFeed()
    reader = feed.subscribe("r", bound=10, when_full="fail")
    made = service(feed)
    with pytest.raises(BadInput, match="missing required field `interval`"):
        await made.process_kdata_updates({"kind": "kline", "instrument": BTC})
    with pytest.raises(BadInput, match="Expected `float`"):
        await made.handle_trade_events({**msgspec.to_builtins(trade(1)), "price": "much"})
    with pytest.raises(BadInput, match="book_snapshot, book_delta, book_stale"):
        await made.manage_orderbook_updates({"bids": []})
    assert reader.pending() == 0


def test_a_real_time_stream_follows_symbols_until_cancelled():
    from faults.live_market import BTC as NAME
    from faults.live_market import Live

    async def go() -> None:
        live = Live(1)
        made = CryptoStreamService(live.connector, live.platform.feed, live.store, live.clock, live.notes)  # type: ignore[arg-type]
        task = asyncio.create_task(made.start_realtime_stream(["BTC/USDT"]))
        await live.sleep(90)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert live.live.last_trade(NAME) is not None
        assert live.live.ticker(NAME) is not None
        with pytest.raises(GaveUp, match="unknown symbol"):
            await made.start_realtime_stream(["NOPE"])
        await live.transport.close()

    virtual.run(go())


# ── plan ──


def test_a_plan_names_each_subscription_once_and_leaves_out_what_is_not_there():
    connector = ListConnector(now_ns=START)
    plan = plan_subscriptions(connector, ["BTCUSDT", "BTC/USDT", PERP], ("trade", "kline", "mark"), (Interval.MIN_1, Interval.HOUR_1))  # type: ignore[arg-type]
    assert plan == [
        Subscription(BTC, "trade"),
        Subscription(BTC, "kline", Interval.MIN_1),
        Subscription(BTC, "kline", Interval.HOUR_1),
        Subscription(PERP, "agg"),
        Subscription(PERP, "kline", Interval.MIN_1),
        Subscription(PERP, "kline", Interval.HOUR_1),
        Subscription(PERP, "mark"),
    ]
    with pytest.raises(UnknownSymbol):
        plan_subscriptions(connector, ["BTCUSDTT"])  # type: ignore[arg-type]


# ── tables ──


class Listing(ListConnector):
    def __init__(self, *listings: CryptoPair) -> None:
        super().__init__(now_ns=START)
        self.listings: list = list(listings)  # type: ignore[type-arg]
        self.instruments = Instruments()

    async def fetch_instruments(self) -> list:  # type: ignore[type-arg]
        self._called("instruments")
        self.instruments = Instruments(self.listings)
        return self.listings


def pairs(count: int) -> list[CryptoPair]:
    names = [f"C{n:02}" for n in range(count)]
    return [
        msgspec.structs.replace(PAIR_OF, id=f"cryptopair_binance_{n.lower()}usdt", native_symbol=f"{n}USDT", base_asset=n) for n in names
    ]


def tables(connector: Listing, store: MemoryStore, notes: Notes | None = None) -> Tables:
    return Tables(connector, store, VirtualClock(), notes or Notes())  # type: ignore[arg-type]


def test_listings_and_their_assets_are_stored_and_changes_become_facts():
    async def go() -> None:
        connector, store = Listing(PAIR_OF), MemoryStore()
        made = tables(connector, store)
        await made.load()
        assert set(store.table) == {BTC}
        assert set(store.assets) == {"crypto_binance_btc", "crypto_binance_usdt"}
        connector.listings = [msgspec.structs.replace(PAIR_OF, tick=Decimal("0.1")), PERP_OF]
        await made.refresh()
        assert store.table[BTC].tick == Decimal("0.1")
        assert PERP in store.table

    virtual.run(go())


def test_what_is_no_longer_listed_is_delisted():
    async def go() -> None:
        connector, store = Listing(*pairs(10)), MemoryStore()
        made = tables(connector, store)
        await made.load()
        connector.listings = pairs(9)
        await made.refresh()
        gone = [i.native_symbol for i in store.table.values() if i.status is TradingStatus.DELISTED]
        assert gone == ["C09USDT"]

    virtual.run(go())


class Real(Listing):
    """Gives ids, and keeps what it listed before, as connectors do."""

    async def fetch_instruments(self) -> list:  # type: ignore[type-arg]
        self._called("instruments")
        made, self.instruments = relisted(self.listings, self.instruments, self.now_ns)
        return made


def test_a_running_process_shows_what_is_gone_as_delisted_and_when():
    async def go() -> None:
        connector, store = Real(*pairs(10)), MemoryStore()
        made = tables(connector, store)
        await made.load()
        connector.listings = pairs(9)
        news = await made.refresh()
        gone = connector.instruments.resolve("C09USDT", "binance")
        assert (gone.status, gone.delisted_ns) == (TradingStatus.DELISTED, store.table[gone.id].delisted_ns)
        assert gone.delisted_ns is not None
        assert news.delisted == [gone.id]
        assert len(connector.instruments) == 10

    virtual.run(go())


def test_what_was_gone_for_a_moment_lives_again_under_its_id_and_that_is_told():
    async def go() -> None:
        connector, store, notes = Real(*pairs(10)), MemoryStore(), Notes()
        made = tables(connector, store, notes)
        await made.load()
        connector.listings = pairs(9)
        await made.refresh()
        connector.listings, connector.now_ns = pairs(10), VirtualClock().now_ns()
        news = await made.refresh()
        back = store.table["cryptopair_binance_c09usdt"]
        assert (back.status, back.delisted_ns, len(store.table)) == (TradingStatus.ACTIVE, None, 10)
        assert connector.instruments.get(back.id) == back
        assert news.listed_again == [back.id]
        assert "listed_again" in [name for _, name, _ in notes.notes]

    virtual.run(go())


def test_a_name_listed_anew_after_a_week_begins_a_history_of_its_own():
    async def go() -> None:
        connector, store, notes = Real(*pairs(10)), MemoryStore(), Notes()
        made = tables(connector, store, notes)
        await made.load()
        connector.listings = pairs(9)
        await made.refresh()
        connector.listings, connector.now_ns = pairs(10), VirtualClock().now_ns() + 8 * 86_400 * 10**9
        await made.refresh()
        old, new = store.table["cryptopair_binance_c09usdt"], store.table["cryptopair_binance_c09usdt_c09usdt"]
        assert (old.status, new.status) == (TradingStatus.DELISTED, TradingStatus.ACTIVE)
        assert connector.instruments.resolve("C09/USDT", "binance") == new
        assert [f["before"] for _, name, f in notes.notes if name == "relisted"] == [old.id]

    virtual.run(go())


def test_what_a_user_delisted_stays_so_while_the_venue_lists_it():
    async def go() -> None:
        connector, store, notes = Real(*pairs(3)), MemoryStore(), Notes()
        made = tables(connector, store, notes)
        await made.load()
        name = "cryptopair_binance_c01usdt"
        await store.delist(name, VirtualClock().now_ns(), by="user")  # another process
        connector.now_ns = VirtualClock().now_ns()
        news = await made.refresh()
        assert store.table[name].status is TradingStatus.DELISTED
        assert connector.instruments.resolve(name).status is TradingStatus.DELISTED
        assert news.kept_delisted == [name]
        assert [f["instrument"] for _, event, f in notes.notes if event == "kept_delisted"] == [name]

    virtual.run(go())


def test_what_a_venue_lists_as_delisted_was_so_since_it_was_first_seen():
    async def go() -> None:
        connector, store = Real(*pairs(2)), MemoryStore()
        made = tables(connector, store)
        await made.load()
        connector.listings = [pairs(2)[0], msgspec.structs.replace(pairs(2)[1], status=TradingStatus.DELISTED)]
        await made.refresh()
        since_ns = store.table["cryptopair_binance_c01usdt"].delisted_ns
        assert since_ns is not None
        await asyncio.sleep(3600)
        await made.refresh()
        assert store.table["cryptopair_binance_c01usdt"].delisted_ns == since_ns

    virtual.run(go())


def test_a_listing_without_most_of_what_was_there_is_doubted():
    async def go() -> None:
        connector, store, notes = Listing(*pairs(40), PERP_OF), MemoryStore(), Notes()  # type: ignore[arg-type]
        made = tables(connector, store, notes)
        await made.load()
        connector.listings = pairs(5)  # and no perpetual at all: that market did not answer
        await made.refresh()
        assert all(i.status is TradingStatus.ACTIVE for i in store.table.values())
        assert [f["missing"] for _, name, f in notes.notes if name == "listing_doubted"] == [35]

    virtual.run(go())


def test_a_venue_that_does_not_answer_leaves_the_stored_table_in_force():
    async def go() -> None:
        store = MemoryStore()
        await store.save([PAIR_OF], START)
        connector = Listing()
        connector.fails = [Unreachable("down")]
        held = tables(connector, store)
        assert BTC in await held.load()
        assert str(held.missed) == "down"
        await held.load()
        assert held.missed is None
        empty = Listing()
        empty.fails = [Unreachable("down")]
        with pytest.raises(Unreachable):
            await tables(empty, MemoryStore()).load()

    virtual.run(go())
