"""Coinbase's WebSockets: subscriptions, numbers, heartbeats, refusals, limits, and connections that end."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from coinbase_kit import CoinbaseDesk, coinbase_desk
from emulator_kit import START_NS

from zvt_crypto.domain.time import parse_time
from zvt_crypto.emulator.dialect import OpenRefused

PERP = "BTC-PERP-INTX"


@pytest.fixture
def desk() -> CoinbaseDesk:
    return coinbase_desk(events_per_s=6.0)


def numbers(frames: list[Any]) -> list[int]:
    return [frame["sequence_num"] for frame in frames]


def of(frames: list[Any], channel: str) -> list[Any]:
    """The events of a channel's messages."""
    return [event for frame in frames if frame.get("channel") == channel for event in frame["events"]]


# ── Advanced ──


def test_every_message_has_the_next_number_whatever_it_is_about(desk: CoinbaseDesk) -> None:
    session = desk.open()
    frames = desk.say(session, "subscribe", "heartbeats")
    for channel in ("level2", "market_trades", "ticker", "ticker_batch", "candles"):
        frames += desk.say(session, "subscribe", channel, "BTC-USD", PERP)
    desk.wait(20, step=0.1)
    frames += desk.read(session)
    assert numbers(frames) == list(range(len(frames)))
    assert len(frames) > 300
    channels = {frame["channel"] for frame in frames}
    assert channels == {"heartbeats", "l2_data", "market_trades", "ticker", "ticker_batch", "candles", "subscriptions"}
    times = [parse_time(frame["timestamp"]) for frame in frames]
    assert times[0] == START_NS
    assert times[-1] <= desk.now_ns


def test_numbers_belong_to_the_connection(desk: CoinbaseDesk) -> None:
    first, second = desk.open(), desk.open()
    one = desk.say(first, "subscribe", "market_trades", "BTC-USD")
    desk.say(second, "subscribe", "heartbeats")
    other = desk.say(second, "subscribe", "market_trades", "BTC-USD")
    assert (numbers(one), numbers(other)) == ([0, 1], [1, 2])
    desk.wait(3, step=0.1)
    assert [event["trades"] for event in of(desk.read(first), "market_trades")] == [
        event["trades"] for event in of(desk.read(second), "market_trades")
    ]


def test_answers_tell_everything_that_is_subscribed_after_the_snapshots(desk: CoinbaseDesk) -> None:
    session = desk.open()
    told = desk.say(session, "subscribe", "level2", "BTC-USD", "ETH-USD")
    assert [frame["channel"] for frame in told] == ["l2_data", "l2_data", "subscriptions"]
    assert [event["product_id"] for event in of(told, "l2_data")] == ["BTC-USD", "ETH-USD"]
    assert of(desk.say(session, "subscribe", "heartbeats", "ETH-USD"), "subscriptions") == [
        {"subscriptions": {"heartbeats": ["heartbeats"], "level2": ["BTC-USD", "ETH-USD"]}}
    ]
    again = desk.say(session, "subscribe", "level2", "BTC-USD")
    assert [frame["channel"] for frame in again] == ["subscriptions"]
    left = desk.say(session, "unsubscribe", "level2", "BTC-USD")
    assert of(left, "subscriptions") == [{"subscriptions": {"heartbeats": ["heartbeats"], "level2": ["ETH-USD"]}}]
    desk.say(session, "unsubscribe", "level2", "ETH-USD")
    assert of(desk.say(session, "unsubscribe", "heartbeats"), "subscriptions") == [{"subscriptions": {}}]
    desk.wait(5, step=0.1)
    assert desk.read(session) == []
    assert desk.dialect.status(desk.now_ns)["streams"] == 0


def test_heartbeats_come_each_second_and_count_on(desk: CoinbaseDesk) -> None:
    session = desk.open()
    desk.say(session, "subscribe", "heartbeats")
    desk.wait(10, step=0.3)
    frames = desk.read(session)
    beats = of(frames, "heartbeats")
    assert [parse_time(frame["timestamp"]) for frame in frames] == [START_NS + second * 10**9 for second in range(1, 11)]
    counts = [beat["heartbeat_counter"] for beat in beats]
    assert counts == list(range(counts[0], counts[0] + 10))
    # No standard form: a space for the T, a suffix of Go's.
    assert beats[0]["current_time"].startswith("2025-01-01 00:00:00.999999999 +0000 UTC m=+")


def test_heartbeats_go_on_in_silence_and_not_through_a_half_open_connection(desk: CoinbaseDesk) -> None:
    session = desk.open()
    last = desk.say(session, "subscribe", "heartbeats") + desk.say(session, "subscribe", "market_trades", "BTC-USD")
    desk.dialect.faults.mute()
    desk.wait(10, step=0.1)
    frames = desk.read(session)
    assert {frame["channel"] for frame in frames} == {"heartbeats"}
    assert len(frames) == 10
    # What was lost has used up its numbers.
    lost = desk.dialect.faults.dropped
    assert lost > 5
    assert numbers(frames)[-1] - numbers(last)[-1] > len(frames)
    desk.dialect.faults.resume()
    desk.dialect.faults.stall()
    desk.wait(10, step=0.1)
    assert desk.read(session) == []
    desk.dialect.faults.resume()
    desk.wait(3, step=0.1)
    later = desk.read(session)
    assert numbers(later) == list(range(numbers(later)[0], numbers(later)[0] + len(later)))
    assert numbers(later)[0] > numbers(frames)[-1] + 10


def test_a_lost_message_leaves_a_gap(desk: CoinbaseDesk) -> None:
    session = desk.open()
    desk.say(session, "subscribe", "level2", "BTC-USD")
    desk.dialect.faults.drop_frame(lambda frame: b'"update"' in frame)
    desk.wait(3, step=0.1)
    seen = numbers(desk.read(session))
    assert seen == list(range(3, 3 + len(seen)))
    other = desk.open()
    desk.dialect.faults.drop_frame(lambda frame: b'"snapshot"' in frame)
    assert numbers(desk.say(other, "subscribe", "level2", "BTC-USD")) == [1]


def test_trades_come_in_quarters_of_a_second_newest_first_and_none_is_missing(desk: CoinbaseDesk) -> None:
    session = desk.open()
    (snapshot,) = of(desk.say(session, "subscribe", "market_trades", "BTC-USD"), "market_trades")
    assert (snapshot["type"], len(snapshot["trades"])) == ("snapshot", 100)
    desk.wait(60, step=0.05)
    frames = desk.read(session)
    updates = of(frames, "market_trades")
    assert all(parse_time(frame["timestamp"]) % 250_000_000 == 0 for frame in frames)
    assert {event["type"] for event in updates} == {"update"}
    assert any(len(event["trades"]) > 1 for event in updates)
    rows = [row for event in (snapshot, *updates) for row in reversed(event["trades"])]
    truth = desk.world.trades(desk.world.listings("spot")["BTCUSDT"], int(rows[0]["trade_id"]), len(rows))
    assert [(int(row["trade_id"]), float(row["price"]), float(row["size"]), parse_time(row["time"]), row["side"]) for row in rows] == [
        (t.id, t.price / 1e8, t.size / 1e8, t.time_ns, "BUY" if t.buyer_is_maker else "SELL") for t in truth
    ]
    newest = desk.world.trades(desk.world.listings("spot")["BTCUSDT"], None, 1)[0]
    assert newest.id - truth[-1].id < 10


def test_the_same_batches_come_however_often_the_carrier_looks() -> None:
    told = []
    for step in (0.05, 0.7, None):
        desk = coinbase_desk(events_per_s=6.0)
        session = desk.open()
        desk.say(session, "subscribe", "market_trades", "BTC-USD")
        desk.wait(30, step=step)
        told.append(list(session.outbox))
    assert told[0] == told[1] == told[2]


def test_who_comes_later_hears_the_same_trades_without_hole_or_repetition(desk: CoinbaseDesk) -> None:
    first, second = desk.open(), None
    desk.say(first, "subscribe", "market_trades", "BTC-USD")
    desk.wait(3.11, step=0.05)
    desk.dialect.poll(desk.now_ns)
    second = desk.open()
    (snapshot,) = of(desk.say(second, "subscribe", "market_trades", "BTC-USD"), "market_trades")
    desk.wait(10, step=0.05)
    rows = [row for event in (snapshot, *of(desk.read(second), "market_trades")) for row in reversed(event["trades"])]
    ids = [int(row["trade_id"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_candles_are_of_five_minutes_and_nothing_tells_their_end(desk: CoinbaseDesk) -> None:
    session = desk.open()
    desk.say(session, "subscribe", "heartbeats")
    (snapshot,) = of(desk.say(session, "subscribe", "candles", "BTC-USD"), "candles")
    starts = [int(row["start"]) for row in snapshot["candles"]]
    assert starts == sorted(starts)
    assert 90 < len(starts) <= 100
    desk.wait(330, step=0.5)
    frames = [frame for frame in desk.read(session) if frame["channel"] == "candles"]
    assert all(parse_time(frame["timestamp"]) % 1_000_000_000 == 0 for frame in frames)
    rows = {int(event["candles"][0]["start"]): event["candles"][0] for event in of(frames, "candles")}
    assert sorted(rows) == [START_NS // 10**9, START_NS // 10**9 + 300]
    (bar,) = desk.world.bars(desk.world.listings("spot")["BTCUSDT"], "5m", START_NS, START_NS, 1)
    closed = rows[START_NS // 10**9]
    assert [float(closed[key]) for key in ("open", "high", "low", "close", "volume")] == [value / 1e8 for value in bar[1:6]]
    assert set(closed) == {"start", "high", "low", "open", "close", "volume", "product_id"}


def test_tickers_come_with_every_change_and_in_batches_every_five_seconds(desk: CoinbaseDesk) -> None:
    session = desk.open()
    desk.say(session, "subscribe", "ticker", "BTC-USD")
    desk.say(session, "subscribe", "ticker_batch", "BTC-USD")
    desk.wait(30, step=0.05)
    frames = desk.read(session)
    rows = [event["tickers"][0] for event in of(frames, "ticker")]
    assert len(rows) > 50
    assert all(before != after for before, after in pairwise(rows))
    image = desk.world.book(desk.world.listings("spot")["BTCUSDT"], 1)
    assert (float(rows[-1]["best_bid"]), float(rows[-1]["best_ask"])) == (image.bids[0][0] / 1e8, image.asks[0][0] / 1e8)
    batches = [frame for frame in frames if frame["channel"] == "ticker_batch"]
    assert [parse_time(frame["timestamp"]) - START_NS for frame in batches] == [second * 10**9 for second in range(5, 31, 5)]
    assert "best_bid" not in of(batches, "ticker_batch")[0]["tickers"][0]


def test_another_name_of_a_book_hears_the_products_own_frames(desk: CoinbaseDesk) -> None:
    session = desk.open()
    told = desk.say(session, "subscribe", "market_trades", "BTC-USDC")
    assert {row["product_id"] for row in of(told, "market_trades")[0]["trades"]} == {"BTC-USD"}
    assert of(told, "subscriptions") == [{"subscriptions": {"market_trades": ["BTC-USDC"]}}]
    assert [frame["channel"] for frame in desk.say(session, "subscribe", "market_trades", "BTC-USD")] == ["subscriptions"]
    desk.say(session, "unsubscribe", "market_trades", "BTC-USDC")
    desk.wait(5, step=0.1)
    assert of(desk.read(session), "market_trades")
    desk.say(session, "unsubscribe", "market_trades", "BTC-USD")
    desk.wait(5, step=0.1)
    assert desk.read(session) == []


def test_status_tells_of_products(desk: CoinbaseDesk) -> None:
    session = desk.open()
    (event,) = of(desk.say(session, "subscribe", "status", "BTC-USD"), "status")
    assert [(row["id"], row["quote_currency"], row["status"]) for row in event["products"]] == [("BTC-USD", "USD", "online")]
    (every,) = of(desk.say(desk.open(), "subscribe", "status"), "status")
    assert PERP in {row["id"] for row in every["products"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Malformed JSON"),
        ("[]", "Type has to be"),
        ('{"type":"ping"}', "Type has to be"),
        ('{"type":"subscribe"}', "channel is required"),
        ('{"type":"subscribe","channel":["level2","ticker"],"product_ids":["BTC-USD"]}', "channel is required"),
        ('{"type":"subscribe","channel":"level3","product_ids":["BTC-USD"]}', "level3 is not supported"),
        ('{"type":"subscribe","channel":"user"}', "authentication failure"),
        ('{"type":"subscribe","channel":"level2"}', "product_ids is required"),
        ('{"type":"subscribe","channel":"level2","product_ids":"BTC-USD"}', "list of strings"),
        ('{"type":"subscribe","channel":"level2","product_ids":["BTC-USD","NOPE-USD"]}', "NOPE-USD is not a valid product"),
    ],
)
def test_errors_have_no_channel_and_no_number(desk: CoinbaseDesk, text: str, words: str) -> None:
    session = desk.open()
    (error,) = desk.text(session, text)
    assert set(error) == {"type", "message"}
    assert words in error["message"]
    assert session.subscriptions == {}
    assert numbers(desk.say(session, "subscribe", "heartbeats")) == [0]


# ── Ends and limits ──


def test_who_does_not_subscribe_within_five_seconds_is_closed(desk: CoinbaseDesk) -> None:
    for path, host in (("/", "advanced-trade-ws"), ("/", "ws-feed.exchange.coinbase.com")):
        silent, wrong, good = (desk.open(path, host) for _ in range(3))
        desk.text(wrong, '{"type":"subscribe"}')
        if good.api == "advanced":
            desk.say(good, "subscribe", "ticker", "BTC-USD")
        else:
            desk.tell(good, "subscribe", ["ticker"], "BTC-USD")
        assert desk.dialect.next_due_ns(desk.now_ns) is not None
        desk.wait(4.9)
        assert not any(one.closing for one in (silent, wrong, good))
        desk.wait(0.1)
        assert [one.closing is not None for one in (silent, wrong, good)] == [True, True, False]


def test_a_connection_that_hears_nothing_for_75_seconds_is_closed() -> None:
    desk = coinbase_desk(events_per_s=0.001)
    quiet, beating = desk.open(), desk.open()
    for session in (quiet, beating):
        desk.say(session, "subscribe", "market_trades", PERP)
    desk.say(beating, "subscribe", "heartbeats")
    desk.wait(74)
    assert quiet.closing is None
    assert quiet.due_ns() == START_NS + 75 * 10**9
    desk.wait(2)
    assert quiet.closing is not None
    assert quiet.closing.code == 1000
    desk.wait(200, step=1)
    assert beating.closing is None


def test_a_long_leap_makes_no_heap_of_heartbeats() -> None:
    desk = coinbase_desk(events_per_s=0.01)
    session = desk.open()
    desk.say(session, "subscribe", "heartbeats")
    desk.wait(7_200)
    assert len(desk.read(session)) == 61
    assert session.closing is None


def test_messages_of_all_connections_share_one_limit(desk: CoinbaseDesk) -> None:
    one, two = desk.open(), desk.open()
    for _ in range(10):
        assert desk.say(one, "subscribe", "heartbeats")[0]["channel"] == "subscriptions"
        assert desk.say(two, "subscribe", "heartbeats")[0]["channel"] == "subscriptions"
    assert desk.say(one, "subscribe", "heartbeats") == [{"type": "error", "message": "rate limit exceeded"}]
    desk.wait(0.2)
    assert desk.say(two, "subscribe", "heartbeats")[0]["channel"] == "subscriptions"


def test_handshakes_are_limited_and_may_be_refused(desk: CoinbaseDesk) -> None:
    for _ in range(20):
        desk.open()
    with pytest.raises(OpenRefused) as limited:
        desk.open()
    assert limited.value.status == 429
    desk.wait(1)
    desk.dialect.faults.http(503)
    with pytest.raises(OpenRefused) as refused:
        desk.open()
    assert (refused.value.status, b"UNAVAILABLE" in refused.value.body) == (503, True)
    desk.dialect.faults.refuse_connections(1)
    with pytest.raises(OpenRefused) as outright:
        desk.open()
    assert outright.value.status == 0
    desk.wait(2)
    assert desk.open().closing is None


def test_a_connection_that_ended_is_forgotten(desk: CoinbaseDesk) -> None:
    session, other = desk.open(), desk.open("/ws-feed")
    desk.say(session, "subscribe", "level2", "BTC-USD")
    desk.tell(other, "subscribe", ["matches"], "BTC-USD")
    assert desk.dialect.status(desk.now_ns)["streams"] == 2
    desk.dialect.on_control(session, desk.now_ns, is_pong=False)
    for one in (session, other):
        desk.dialect.on_close(one)
    assert (desk.dialect.sessions, desk.dialect.status(desk.now_ns)["streams"]) == ({}, 0)


# ── Exchange's feed ──


def test_the_feed_is_told_by_host_or_path(desk: CoinbaseDesk) -> None:
    apis = [
        desk.open(path, host).api for path, host in (("/", "ws-feed.x"), ("/", "ws-direct.x"), ("/ws-feed", "127.0.0.1"), ("/any", "h"))
    ]
    assert apis == ["exchange", "exchange", "exchange", "advanced"]


def test_channels_of_the_feed_with_products_of_their_own_or_the_messages(desk: CoinbaseDesk) -> None:
    session = desk.open("/ws-feed")
    told = desk.tell(session, "subscribe", ["matches", {"name": "heartbeat", "product_ids": ["ETH-USD"]}, "ticker"], "BTC-USD")
    assert told[0]["channels"] == [
        {"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None},
        {"name": "heartbeat", "product_ids": ["BTC-USD", "ETH-USD"], "account_ids": None},
        {"name": "ticker", "product_ids": ["BTC-USD"], "account_ids": None},
    ]
    assert [frame["type"] for frame in told[1:]] == ["last_match", "ticker"]
    desk.wait(30, step=0.05)
    frames = desk.read(session)
    matches = [frame for frame in frames if frame["type"] == "match"]
    truth = desk.world.trades(desk.world.listings("spot")["BTCUSDT"], told[1]["trade_id"] + 1, 1_000)
    assert [(row["trade_id"], float(row["price"]), row["side"]) for row in matches] == [
        (t.id, t.price / 1e8, "buy" if t.buyer_is_maker else "sell") for t in truth
    ]
    assert [row["trade_id"] for row in frames if row["type"] == "ticker"] == [t.id for t in truth]
    beats = [frame for frame in frames if frame["type"] == "heartbeat"]
    assert [row["product_id"] for row in beats[:2]] == ["BTC-USD", "ETH-USD"]
    assert len(beats) == 60
    assert beats[-2]["last_trade_id"] == truth[-1].id
    left = desk.tell(session, "unsubscribe", ["matches", "heartbeat", "ticker"], "BTC-USD", "ETH-USD")
    assert left == [{"type": "subscriptions", "channels": []}]
    desk.wait(5, step=0.1)
    assert desk.read(session) == []


def test_the_feeds_batches_and_status(desk: CoinbaseDesk) -> None:
    session = desk.open("/ws-feed")
    told = desk.tell(session, "subscribe", ["status", "ticker_batch"], "BTC-USD")
    assert [frame["type"] for frame in told] == ["subscriptions", "ticker", "status"]
    assert [row["id"] for row in told[2]["products"]] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    desk.wait(20, step=0.5)
    assert len(desk.read(session)) == 4


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"type": "subscribe"}, "No channels provided"),
        ({"type": "unsubscribe", "channels": []}, "No channels provided"),
        ({"type": "subscribe", "channels": ["matches"]}, "No products provided"),
        ({"type": "subscribe", "channels": ["level5"], "product_ids": ["BTC-USD"]}, "level5 is not a valid channel"),
        ({"type": "subscribe", "channels": [5], "product_ids": ["BTC-USD"]}, "5 is not a valid channel"),
        ({"type": "subscribe", "channels": ["level2"], "product_ids": ["BTC-USD"]}, "level2 channel requires authentication"),
        ({"type": "subscribe", "channels": ["full"], "product_ids": ["BTC-USD"]}, "full channel requires authentication"),
        ({"type": "subscribe", "channels": ["matches"], "product_ids": ["BTC-USDC"]}, "BTC-USDC is not a valid product"),
        ({"type": "subscribe", "channels": ["heartbeat"], "product_ids": [PERP]}, f"{PERP} is not a valid product"),
    ],
)
def test_the_feed_refuses_with_a_reason(desk: CoinbaseDesk, asked: dict[str, Any], reason: str) -> None:
    (error,) = desk.text(desk.open("/ws-feed"), json.dumps(asked))
    assert error == {"type": "error", "message": f"Failed to {asked['type']}", "reason": reason}
