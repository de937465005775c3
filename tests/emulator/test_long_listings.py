"""A listing of a thousand: lists of tickers wake nobody, who is not watched costs nothing, and catches up to the same market."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bybit_kit import bybit_desk
from coinbase_kit import coinbase_desk
from emulator_kit import SECOND_NS, START_NS, market_desk
from okx_kit import okx_desk

from zvt_crypto.emulator.instrument import FIRST_TRADE_ID, MarketInstrument, Room
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld, symbol_for
from zvt_crypto.emulator.model import Emission
from zvt_crypto.emulator.roster import spot_roster
from zvt_crypto.sim.crowd import Temper

LONG = (*DEFAULT_SYMBOLS, *spot_roster(1_000 - len(DEFAULT_SYMBOLS), 500))
LATE_NS = START_NS + 20 * 60 * SECOND_NS
Ask = Callable[[Any, str], Any]


def _binance(path: str, query: str = "") -> Ask:
    return lambda desk, _: desk.get(path, query)


def _bybit(query: str) -> Ask:
    return lambda desk, _: desk.get("tickers", query)["list"]


LISTS: dict[str, tuple[Callable[..., Any], list[tuple[Ask, int]]]] = {
    "binance": (
        market_desk,
        [
            (_binance("/api/v3/ticker/24hr"), 998),
            (_binance("/api/v3/ticker/price"), 998),
            (_binance("/api/v3/ticker/bookTicker"), 998),
            (_binance("/api/v3/ticker/24hr", 'symbols=["BTCUSDT","ETHUSDT"]'), 2),
            (_binance("/fapi/v1/ticker/24hr"), 2),
            (_binance("/fapi/v1/premiumIndex"), 2),
            (_binance("/fapi/v1/fundingRate"), 0),
        ],
    ),
    "bybit": (bybit_desk, [(_bybit("category=spot"), 998), (_bybit("category=linear"), 2)]),
    "okx": (
        okx_desk,
        [
            (lambda desk, _: desk.get("market/tickers", "instType=SPOT"), 998),
            (lambda desk, _: desk.get("market/tickers", "instType=SWAP"), 2),
            (lambda desk, _: desk.get("public/mark-price", "instType=SWAP"), 2),
            (lambda desk, _: desk.get("market/index-tickers", "quoteCcy=USDT"), 2),
            (lambda desk, _: desk.get("public/funding-rate", "instId=ANY"), 2),
        ],
    ),
    "coinbase": (
        coinbase_desk,
        [
            (lambda desk, _: desk.ask("market/products", "product_type=FUTURE")["products"], 2),
            (lambda desk, _: desk.ask("market/products", "product_ids=BTC-USD&product_ids=ETH-USD")["products"], 2),
            (lambda desk, _: [row for row in desk.ask("market/products")["products"] if row["price"]], 1_000),
        ],
    ),
}


def awake(world: MarketWorld) -> set[str]:
    return {" ".join(key) for key, lane in world._lanes.items() if lane.price is not None}


@pytest.mark.parametrize("exchange", list(LISTS))
def test_lists_of_tickers_wake_nobody(exchange: str) -> None:
    make, asked = LISTS[exchange]
    desk = make(symbols=LONG)
    for ask, rows in asked:
        assert len(ask(desk, exchange)) == rows
    desk.wait(5)
    assert awake(desk.dialect.world) == set()
    assert desk.dialect.world.status()["frames"] == 0


def test_who_sleeps_is_listed_at_its_listing_price_without_volume() -> None:
    row = next(row for row in bybit_desk(symbols=LONG).get("tickers", "category=spot")["list"] if row["symbol"] == "BTCUSDT")
    assert {row[name] for name in ("lastPrice", "bid1Price", "ask1Price", "prevPrice24h")} == {"60000"}
    assert (float(row["volume24h"]), float(row["turnover24h"])) == (0.0, 0.0)
    told = next(row for row in market_desk(symbols=LONG).get("/api/v3/ticker/24hr") if row["symbol"] == "BTCUSDT")
    assert (float(told["lastPrice"]), float(told["bidPrice"]), float(told["volume"]), told["count"]) == (60000.0, 60000.0, 0.0, 0)


@pytest.mark.parametrize(
    ("make", "ask"),
    [
        (market_desk, _binance("/api/v3/ticker/24hr", "symbol=BTCUSDT")),
        (market_desk, _binance("/api/v3/ticker/bookTicker", "symbol=BTCUSDT")),
        (bybit_desk, _bybit("category=spot&symbol=BTCUSDT")),
        (okx_desk, lambda desk, _: desk.get("market/ticker", "instId=BTC-USDT")),
        (coinbase_desk, lambda desk, _: desk.ask("market/products/BTC-USD")),
    ],
)
def test_a_ticker_of_one_wakes_it_and_lists_show_it_trading(make: Callable[..., Any], ask: Ask) -> None:
    desk = make(symbols=LONG)
    ask(desk, "")
    assert awake(desk.dialect.world) == {"spot BTCUSDT"}


def on_list(desk: Any) -> Any:
    return next(row for row in desk.get("/api/v3/ticker/24hr") if row["symbol"] == "BTCUSDT")


def test_lists_show_who_is_not_watched_as_it_was_last_told() -> None:
    desk = market_desk(symbols=LONG)
    alone = desk.get("/api/v3/ticker/24hr", "symbol=BTCUSDT")
    assert on_list(desk) == alone
    assert alone["count"] > 1_000
    desk.wait(60)
    assert on_list(desk) == alone
    later = desk.get("/api/v3/ticker/24hr", "symbol=BTCUSDT")
    assert later["lastId"] > alone["lastId"]
    assert on_list(desk) == later


def test_lists_show_who_was_asked_for_something_else_at_its_last_price() -> None:
    desk = market_desk(symbols=LONG)
    last = desk.get("/api/v3/trades", "symbol=BTCUSDT&limit=1")[0]
    row = on_list(desk)
    assert (row["lastPrice"], row["bidPrice"], row["count"]) == (last["price"], last["price"], 0)


def test_lists_show_who_is_watched_as_it_trades() -> None:
    desk = market_desk(symbols=LONG)
    told = []
    session = desk.open("/ws/btcusdt@trade")
    for _ in range(2):
        desk.wait(60)
        told.append(on_list(desk))
    assert told[1] == desk.get("/api/v3/ticker/24hr", "symbol=BTCUSDT")
    assert told[1]["lastId"] > told[0]["lastId"]
    assert len(desk.read(session)) > 100


def test_a_woken_instrument_that_nobody_watches_does_nothing_until_it_is_asked() -> None:
    world = MarketWorld(7, LONG, start_ns=START_NS, history_days=1)
    listing = world.listings("spot")["ETHUSDT"]
    world.trades(listing, None, 10)
    begun = world.status()["frames"]
    world.advance(LATE_NS)
    assert world.status()["frames"] == begun
    assert world.next_ns(LATE_NS) is None
    assert world.trades(listing, None, 1)[0].time_ns > LATE_NS - 60 * SECOND_NS


def shown(world: MarketWorld, name: str) -> tuple[Any, ...]:
    one = world.listings("spot")[name]
    bars = [world.bars(one, interval, None, None, 40) for interval in ("1s", "1m", "15m", "1h", "1d")]
    return world.trades(one, None, 900), world.aggs(one, None, None, None, 900), world.book(one, 500), *bars, world.day(one)


def test_who_slept_in_between_equals_who_was_awake_all_along() -> None:
    awake_all, asked, watched = (MarketWorld(7, symbols, start_ns=START_NS, history_days=2) for symbols in (DEFAULT_SYMBOLS, LONG, LONG))
    told: list[list[Emission]] = []
    for step, at_ns in enumerate(range(START_NS, LATE_NS, 97 * SECOND_NS)):
        for world in (awake_all, asked, watched):
            world.advance(at_ns)
        if step in (3, 8):
            assert shown(asked, "ETHUSDT") == shown(awake_all, "ETHUSDT")
        # For one step each, at the beginning, after a pause, and at once again, somebody listens.
        listens = step in (2, 6, 7)
        for world in (awake_all, watched):
            for stream in ("ethusdt@trade", "ethusdt@depth@100ms", "ethusdt@kline_1m", "ethusdt@ticker") if listens else ():
                world.watch("spot", stream, at_ns)
        told = [world.poll(at_ns + 90 * SECOND_NS, 0) for world in (awake_all, watched)]
        assert told[0] == told[1]
        assert bool(told[0]) == listens
        for world in (awake_all, watched):
            for stream in ("ethusdt@trade", "ethusdt@depth@100ms", "ethusdt@kline_1m", "ethusdt@ticker") if listens else ():
                world.unwatch("spot", stream)
    for world in (awake_all, asked, watched):
        world.advance(LATE_NS + 100 * SECOND_NS)
    assert shown(asked, "ETHUSDT") == shown(watched, "ETHUSDT") == shown(awake_all, "ETHUSDT")
    assert shown(asked, "BTCUSDT") == shown(awake_all, "BTCUSDT")


def test_who_is_listed_later_on_a_long_listing_sleeps_until_it_is_asked() -> None:
    worlds = [MarketWorld(7, symbols, start_ns=START_NS, history_days=1) for symbols in (DEFAULT_SYMBOLS, LONG)]
    for world in worlds:
        world.advance(LATE_NS)
        world.list_symbol(symbol_for("spot", "NEW"))
        world.advance(LATE_NS + 90 * SECOND_NS)
    assert awake(worlds[1]) == set()
    assert shown(worlds[1], "NEWUSDT") == shown(worlds[0], "NEWUSDT")


def test_a_minute_is_revised_where_the_market_stands_now() -> None:
    told = []
    for symbols in (DEFAULT_SYMBOLS, LONG):
        world = MarketWorld(7, symbols, start_ns=START_NS, history_days=1)
        world.day(world.listings("spot")["BTCUSDT"])
        world.advance(LATE_NS)
        world.revise_minute("spot", "BTCUSDT")
        told.append(world.bars(world.listings("spot")["BTCUSDT"], "1m", None, None, 3))
    assert told[0] == told[1]


def test_a_market_that_is_behind_catches_up_in_slices_to_the_same() -> None:
    whole, sliced = (MarketWorld(7, DEFAULT_SYMBOLS, start_ns=START_NS, history_days=1) for _ in range(2))
    sliced.most_orders = 500
    for world in (whole, sliced):
        world.watch("spot", "ethusdt@trade", START_NS)
        world.watch("spot", "ethusdt@depth@100ms", START_NS)
    told = whole.poll(LATE_NS, 0)
    slices = [sliced.poll(LATE_NS, 0)]
    while (due_ns := sliced.next_ns(LATE_NS)) is not None and due_ns <= LATE_NS:
        before = int(str(sliced.status()["frames"]))
        slices.append(sliced.poll(LATE_NS, 0))
        assert int(str(sliced.status()["frames"])) - before <= 500
    assert len(slices) > 20
    assert [one for part in slices for one in part] == told
    assert shown(sliced, "ETHUSDT") == shown(whole, "ETHUSDT")


def test_the_instruments_of_a_long_listing_share_what_those_of_a_short_one_hold() -> None:
    assert [(room.trades, room.minutes) for room in (Room(5), Room(50))] == [(200_000, 600_000)] * 2
    assert [(room.trades, room.minutes) for room in (Room(1_000), Room(9_000))] == [(2_500, 6_000), (1_200, 3_000)]


def test_one_of_a_long_listing_keeps_its_newest_trades_by_number() -> None:
    listing, room = MarketWorld(7, DEFAULT_SYMBOLS, start_ns=START_NS, history_days=1).listings("spot")["ETHUSDT"], Room(1_000)
    one = MarketInstrument(listing, 7, START_NS, 250_000_000_000, Temper(4.0), 1, room)
    while len(one.trades_kept) < 2_400 or one.trades_kept[0].id == FIRST_TRADE_ID:
        one.act(with_quote=False)
    newest = one.trades_kept[-1].id
    assert 2_000 < len(one.trades_kept) <= 2_500
    assert [row.id for row in one.trades(None, 1_000)] == list(range(newest - 999, newest + 1))
    assert one.aggs_kept[0].first_id >= one.trades_kept[0].id
    assert one.trades(FIRST_TRADE_ID + 1, 10)[0].id == one.trades_kept[0].id  # the oldest that is still known
