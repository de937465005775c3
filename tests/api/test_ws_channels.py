"""What subscribers hear, through real sockets."""

from __future__ import annotations

from typing import Any

import msgspec

from api.api_parts import BTC, NOW, make_kline
from api.ws_parts import Hall
from zvt_crypto.domain.instrument import Instruments, TradingStatus
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Trade

SYMBOL = BTC.id


def make_trade(number: int, price: float = 100.5) -> Trade:
    return Trade(SYMBOL, "trade", str(number), price, 0.25, "buy" if number % 2 else "sell", NOW, NOW)


def make_book(last_id: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> BookSnapshot:
    return BookSnapshot(SYMBOL, last_id, bids, asks, NOW, NOW)


def make_delta(last_id: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> BookDelta:
    return BookDelta(SYMBOL, last_id, last_id, None, bids, asks, NOW, NOW)


async def test_the_missions_frames_are_valid_as_they_stand(hall: Hall) -> None:
    client = await hall.connect()
    for params in (
        {"channel": "kline", "symbol": "cryptopair_binance_btcusdt", "interval": "1m"},
        {"channel": "trade", "symbol": "cryptopair_binance_btcusdt"},
    ):
        await client.say(method="subscribe", params=params)
        assert await client.hear() == {"id": None, "result": params}
    depth = {"channel": "depth", "symbol": "cryptopair_binance_btcusdt", "depth": 20}
    await client.say(method="subscribe", params=depth)
    assert await client.hear() == {"id": None, "result": depth}


async def test_what_is_delisted_is_refused_with_a_reason(hall: Hall) -> None:
    hall.gateway.instruments = lambda: Instruments([msgspec.structs.replace(BTC, status=TradingStatus.DELISTED)])
    client = await hall.connect()
    await client.say(method="subscribe", params={"channel": "trade", "symbol": SYMBOL})
    error = (await client.hear())["error"]
    assert (error["code"], SYMBOL in error["message"], "delisted" in error["message"]) == ("unsupported", True, True)


async def test_a_kline_message_is_a_row_of_the_rest_api_in_the_contracts_envelope(hall: Hall) -> None:
    client = await hall.connect()
    await client.say(id=1, method="subscribe", params={"channel": "kline", "symbol": "BTC/USDT", "exchange": "binance", "interval": "1m"})
    assert await client.hear() == {"id": 1, "result": {"channel": "kline", "symbol": SYMBOL, "interval": "1m"}}
    hall.happen(make_kline("2024-08-09T00:00:00Z", 61640.5, final=False))
    assert await client.hear() == {
        "channel": "kline",
        "symbol": SYMBOL,
        "interval": "1m",
        "seq": 1,
        "type": "update",
        "data": {
            "timestamp": "2024-08-09T00:00:00.000Z",
            "open": "61640.50",
            "high": "61641.50",
            "low": "61640.50",
            "close": "61640.50",
            "volume": "2.50000",
            "turnover": "154101.25",
            "trades": 7,
            "final": False,
            "source": "venue",
        },
    }


async def test_a_bar_that_closes_and_the_next_that_opens_are_two_messages_in_order(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("kline", interval="1m")
    hall.happen(
        make_kline("2024-08-09T00:00:00Z", 1.0, final=False),
        make_kline("2024-08-09T00:00:00Z", 2.0),
        make_kline("2024-08-09T00:01:00Z", 3.0, final=False),
    )
    heard = [await client.hear() for _ in range(2)]
    assert [(m["seq"], m["data"]["close"], m["data"]["final"]) for m in heard] == [(1, "2.00", True), (2, "3.00", False)]


async def test_a_weaker_source_does_not_take_a_row_back(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("kline", interval="1m")
    hall.happen(make_kline("2024-08-09T00:00:00Z", 2.0, source="venue"))
    assert (await client.hear())["data"]["close"] == "2.00"
    hall.happen(make_kline("2024-08-09T00:00:00Z", 1.0, source="trades"), make_kline("2024-08-09T00:00:00Z", 9.0, final=False))
    await client.hears_nothing()
    hall.happen(make_kline("2024-08-08T23:59:00Z", 7.0))  # an older bar, closed late
    assert (await client.hear())["data"]["close"] == "7.00"


async def test_trades_come_in_batches_with_the_keys_of_the_contract(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("trade")
    hall.happen(make_trade(1), make_trade(2, 99.0))
    assert await client.hear() == {
        "channel": "trade",
        "symbol": SYMBOL,
        "seq": 1,
        "type": "update",
        "data": [
            {"trade_id": "1", "price": "100.50", "quantity": "0.25000", "side": "buy", "timestamp": "2024-08-09T00:01:15.099Z"},
            {"trade_id": "2", "price": "99.00", "quantity": "0.25000", "side": "sell", "timestamp": "2024-08-09T00:01:15.099Z"},
        ],
    }


async def test_the_number_rises_by_one_and_is_the_same_for_all(hall: Hall) -> None:
    early, late = await hall.connect(), await hall.connect()
    await early.subscribe("trade")
    hall.happen(make_trade(1))
    assert (await early.hear())["seq"] == 1
    await late.subscribe("trade")
    for number in (2, 3):
        hall.happen(make_trade(number))
        assert (await early.hear())["seq"] == number
        assert (await late.hear())["seq"] == number


async def test_a_newcomer_gets_the_newest_row_under_the_newest_number(hall: Hall) -> None:
    first, second = await hall.connect(), await hall.connect()
    await first.subscribe("kline", interval="1m")
    for close in (1.0, 2.0):
        hall.happen(make_kline("2024-08-09T00:00:00Z", close, final=False))
        await first.hear()
    await second.subscribe("kline", interval="1m")
    assert [(m["seq"], m["data"]["close"]) for m in [await second.hear()]] == [(2, "2.00")]
    hall.happen(make_kline("2024-08-09T00:00:00Z", 3.0, final=False))
    assert (await second.hear())["seq"] == 3


async def test_the_first_of_all_gets_what_the_live_state_knows(hall: Hall) -> None:
    hall.live.apply(make_kline("2024-08-09T00:00:00Z", 5.0, final=False))
    client = await hall.connect()
    await client.subscribe("kline", interval="1m")
    assert [(m["seq"], m["data"]["close"]) for m in [await client.hear()]] == [(1, "5.00")]


async def test_a_book_is_a_snapshot_then_only_the_levels_that_changed_within_the_window(hall: Hall) -> None:
    hall.live.apply(make_book(1, [(100.0, 1.0), (99.0, 2.0), (98.0, 3.0)], [(101.0, 1.0), (102.0, 2.0)]))
    client = await hall.connect()
    await client.subscribe("depth", depth=2)
    assert await client.hear() == {
        "channel": "depth",
        "symbol": SYMBOL,
        "depth": 2,
        "seq": 1,
        "type": "snapshot",
        "data": {
            "bids": [["100.00", "1.00000"], ["99.00", "2.00000"]],
            "asks": [["101.00", "1.00000"], ["102.00", "2.00000"]],
            "timestamp": "2024-08-09T00:01:15.099Z",
        },
    }
    # A better bid pushes 99 out of the window of two; 98 is outside it and stays unsaid; an ask changes its size.
    hall.happen(make_delta(2, [(100.5, 4.0), (98.0, 9.0)], [(102.0, 2.5)]))
    message = await client.hear()
    assert (message["seq"], message["type"]) == (2, "delta")
    assert message["data"]["bids"] == [["100.50", "4.00000"], ["99.00", "0"]]
    assert message["data"]["asks"] == [["102.00", "2.50000"]]
    hall.happen(make_delta(3, [(98.0, 1.0)], []))  # nothing within the window
    await client.hears_nothing()
    hall.happen(make_delta(4, [(100.5, 0.0)], []))  # 99 comes back
    assert (await client.hear())["data"]["bids"] == [["99.00", "2.00000"], ["100.50", "0"]]


async def test_following_the_deltas_gives_the_book(hall: Hall) -> None:
    hall.live.apply(make_book(1, [(100.0 - i, 1.0) for i in range(30)], [(101.0 + i, 1.0) for i in range(30)]))
    client = await hall.connect()
    await client.subscribe("depth", depth=5)
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}

    def follow(message: Any) -> None:
        for side, held in sides.items():
            if message["type"] == "snapshot":
                held.clear()
            for price, size in message["data"][side]:
                if size == "0":
                    del held[price]
                else:
                    held[price] = size

    follow(await client.hear())
    for step in range(2, 40):
        hall.happen(make_delta(step, [(100.0 - step * 7 % 9, step % 3 * 1.0)], [(101.0 + step * 5 % 8, step % 4 * 0.5)]))
        top = hall.live.book(SYMBOL)
        assert top is not None
        before = (dict(sides["bids"]), dict(sides["asks"]))
        wanted = [{f"{p:.2f}": f"{s:.5f}" for p, s in side} for side in top.top(5)]
        if list(before) != wanted:
            follow(await client.hear())
        assert [sides["bids"], sides["asks"]] == wanted


async def test_a_broken_book_says_stale_and_then_comes_back_whole(hall: Hall) -> None:
    hall.live.apply(make_book(1, [(100.0, 1.0)], [(101.0, 1.0)]))
    client = await hall.connect()
    await client.subscribe("depth")
    assert (await client.hear())["type"] == "snapshot"
    hall.happen(BookStale(SYMBOL, "a gap", NOW))
    message = await client.hear()
    assert (message["type"], message["seq"], message["depth"]) == ("stale", 2, 20)
    assert message["data"] == {"bids": [], "asks": [], "timestamp": "2024-08-09T00:01:15.099Z"}
    hall.happen(make_book(9, [(90.0, 1.0)], [(91.0, 1.0)]))
    message = await client.hear()
    assert (message["type"], message["seq"], message["data"]["bids"]) == ("snapshot", 3, [["90.00", "1.00000"]])


async def test_a_book_that_breaks_and_heals_within_one_flush_is_a_snapshot(hall: Hall) -> None:
    hall.live.apply(make_book(1, [(100.0, 1.0)], [(101.0, 1.0)]))
    client = await hall.connect()
    await client.subscribe("depth")
    await client.hear()
    hall.happen(BookStale(SYMBOL, "a gap", NOW), make_book(9, [(90.0, 1.0)], [(91.0, 1.0)]))
    assert [(m["type"], m["seq"]) for m in [await client.hear()]] == [("snapshot", 2)]


async def test_a_book_that_is_not_there_begins_as_stale(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("depth")
    assert [(m["type"], m["seq"]) for m in [await client.hear()]] == [("stale", 1)]


async def test_subscribing_again_repeats_the_newest_state(hall: Hall) -> None:
    hall.live.apply(make_book(1, [(100.0, 1.0)], [(101.0, 1.0)]))
    client = await hall.connect()
    for _ in range(2):
        await client.subscribe("depth")
        assert [(m["type"], m["seq"]) for m in [await client.hear()]] == [("snapshot", 1)]
    assert hall.gateway.hub.streams() == 1


async def test_who_unsubscribes_hears_no_more_and_a_stream_without_listeners_is_forgotten(hall: Hall) -> None:
    client = await hall.connect()
    for channel, more in (("trade", {}), ("kline", {"interval": "1M"}), ("depth", {"depth": 5})):
        await client.subscribe(channel, **more)
        if channel == "depth":
            await client.hear()
        assert hall.gateway.hub.streams() == 1
        await client.say(id=5, method="unsubscribe", params={"channel": channel, "symbol": SYMBOL, **more})
        assert await client.hear() == {"id": 5, "result": {"channel": channel, "symbol": SYMBOL, **more}}
        assert hall.gateway.hub.streams() == 0
    hall.happen(make_trade(1))
    await client.hears_nothing()
    await client.say(id=6, method="unsubscribe", params={"channel": "trade", "symbol": SYMBOL})
    assert (await client.hear())["error"]["code"] == "not_subscribed"


async def test_a_client_that_leaves_takes_its_subscriptions_with_it(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("trade")
    await client.socket.close()
    other = await hall.connect()
    await other.hears_nothing()
    assert (hall.gateway.hub.streams(), hall.gateway.clients()) == (0, 1)


async def test_trades_lost_before_the_gateway_are_a_jump_in_the_numbers(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("trade")
    hall.happen(make_trade(1))
    assert (await client.hear())["seq"] == 1
    hall.gateway.hub.lost()
    hall.happen(make_trade(3))
    assert (await client.hear())["seq"] == 3


async def test_an_instrument_that_nobody_follows_is_refused_instead_of_silent(hall: Hall) -> None:
    hall.gateway.follows = lambda symbol: symbol != SYMBOL
    client = await hall.connect()
    await client.say(id=1, method="subscribe", params={"channel": "trade", "symbol": SYMBOL})
    answer = await client.hear()
    assert answer["error"]["code"] == "unsupported"
    assert SYMBOL in answer["error"]["message"]


async def test_a_book_that_nobody_saw_yet_has_no_time(hall: Hall) -> None:
    client = await hall.connect()
    await client.subscribe("depth", depth=20)
    message = await client.hear()
    assert (message["type"], message["data"]) == ("stale", {"bids": [], "asks": [], "timestamp": None})
