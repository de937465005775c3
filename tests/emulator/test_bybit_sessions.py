"""Bybit's sockets: handshakes, requests and their answers, what each topic pushes, and how a connection ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bybit_kit import BybitDesk, bybit_desk
from emulator_kit import SECOND_NS, START_NS

from zvt_crypto.emulator.bybit.sessions import MOST_CHARS
from zvt_crypto.emulator.bybit.wire import trade_id
from zvt_crypto.emulator.dialect import OpenRefused
from zvt_crypto.emulator.market import READY_SYMBOLS


@pytest.fixture
def desk() -> BybitDesk:
    return bybit_desk(events_per_s=5.0)


def rows(frames: list[Any], topic: str) -> list[Any]:
    return [row for frame in frames if frame["topic"] == topic for row in frame["data"]]


# ── Handshakes ──


@pytest.mark.parametrize("category", ["spot", "linear", "inverse", "option"])
def test_every_category_has_a_path_of_its_own(desk: BybitDesk, category: str) -> None:
    assert desk.open(category).category == category


def test_a_handshake_to_nowhere_is_refused_and_too_many_too(desk: BybitDesk) -> None:
    with pytest.raises(OpenRefused) as nowhere:
        desk.dialect.open("/v5/private", "", desk.now_ns)
    desk.dialect.connects.most = 1
    desk.open()
    with pytest.raises(OpenRefused) as many:
        desk.open()
    assert (nowhere.value.status, many.value.status) == (404, 403)


def test_faults_refuse_connections(desk: BybitDesk) -> None:
    desk.dialect.faults.http(503, 1)
    with pytest.raises(OpenRefused) as away:
        desk.open()
    desk.dialect.faults.refuse_connections(5)
    with pytest.raises(OpenRefused) as closed:
        desk.open()
    assert (away.value.status, closed.value.status) == (503, 0)


# ── Requests ──


def test_a_subscription_is_acknowledged_as_each_category_does(desk: BybitDesk) -> None:
    for category, text in (("spot", "subscribe"), ("linear", "")):
        ack = desk.ask(desk.open(category), "subscribe", "publicTrade.BTCUSDT", request_id="7")[0]
        assert (ack["success"], ack["ret_msg"], ack["op"], ack["req_id"]) == (True, text, "subscribe", "7")
    assert "req_id" not in desk.ask(desk.open(), "subscribe", "publicTrade.BTCUSDT")[0]


def test_a_ping_is_answered_with_a_pong(desk: BybitDesk) -> None:
    (pong,) = desk.text(desk.open(), '{"op":"ping","req_id":"1"}')
    assert (pong["success"], pong["ret_msg"], pong["op"], pong["req_id"]) == (True, "pong", "ping", "1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Request not in JSON format"),
        ("[]", "error:unknown op"),
        ('{"op":7}', "error:unknown op"),
        ('{"op":"shout"}', "error:unknown op shout"),
        ('{"op":"subscribe"}', "error:args is empty"),
        ('{"op":"subscribe","args":"x"}', "error:args is not a list of topics"),
        ('{"op":"subscribe","args":["orderbook.7.BTCUSDT"]}', "Invalid topic: orderbook.7.BTCUSDT"),
        ('{"op":"subscribe","args":["publicTrade.NOPE"]}', "Invalid topic: publicTrade.NOPE"),
        ('{"op":"subscribe","args":["kline.7.BTCUSDT"]}', "Invalid topic: kline.7.BTCUSDT"),
        ('{"op":"subscribe","args":["liquidation.BTCUSDT"]}', "Invalid topic: liquidation.BTCUSDT"),
    ],
)
def test_a_wrong_request_is_refused_by_its_text(desk: BybitDesk, text: str, told: str) -> None:
    (answer,) = desk.text(desk.open(), text)
    assert (answer["success"], answer["ret_msg"]) == (False, told)


def test_a_topic_is_subscribed_once_and_pairs_ten_at_a_time(desk: BybitDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", "tickers.BTCUSDT")
    assert desk.ask(session, "subscribe", "tickers.BTCUSDT")[0]["ret_msg"] == "error:already subscribed,topic:tickers.BTCUSDT"
    many = [f"kline.{name}.BTCUSDT" for name in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D")]
    assert desk.ask(session, "subscribe", *many)[0]["ret_msg"] == "args size >10"
    assert desk.ask(desk.open("linear"), "subscribe", *many)[0]["success"]
    assert "characters" in desk.ask(desk.open("linear"), "subscribe", "x" * MOST_CHARS)[0]["ret_msg"]


def test_options_and_other_categories_have_no_topics_of_a_pair(desk: BybitDesk) -> None:
    for category in ("option", "inverse"):
        assert desk.ask(desk.open(category), "subscribe", "publicTrade.BTCUSDT")[0]["ret_msg"] == "Invalid topic: publicTrade.BTCUSDT"


# ── Topics ──


@pytest.mark.parametrize(("category", "market"), [("spot", "spot"), ("linear", "usdm")])
def test_trades_are_the_markets_each_once(desk: BybitDesk, category: str, market: Any) -> None:
    session = desk.open(category)
    desk.ask(session, "subscribe", "publicTrade.BTCUSDT")
    listing = desk.world.listings(market)["BTCUSDT"]
    before = desk.world.trades(listing, None, 1)[0].id
    desk.wait(30, step=0.5)
    told = rows(desk.read(session), "publicTrade.BTCUSDT")
    truth = desk.world.trades(listing, before + 1, 10_000)
    assert [(row["i"], float(row["p"]), float(row["v"]), row["S"]) for row in told] == [
        (trade_id(listing, t.id), t.price / 1e8, t.size / 1e8, "Sell" if t.buyer_is_maker else "Buy") for t in truth
    ]
    assert len(told) > 20
    assert all(("L" in row) == (category == "linear") for row in told)


def test_a_kline_begins_with_how_it_stands_and_is_confirmed_once(desk: BybitDesk) -> None:
    session = desk.open()
    _, first = desk.ask(session, "subscribe", "kline.1.BTCUSDT")
    assert (first["topic"], first["type"], first["data"][0]["confirm"]) == ("kline.1.BTCUSDT", "snapshot", False)
    assert first["data"][0]["end"] - first["data"][0]["start"] == 59_999
    desk.wait(130, step=1)
    told = rows(desk.read(session), "kline.1.BTCUSDT")
    closed = [row for row in told if row["confirm"]]
    truth = desk.world.bars(desk.world.listings("spot")["BTCUSDT"], "1m", START_NS, None, 2)
    assert [(row["start"], float(row["close"]), float(row["volume"])) for row in closed] == [
        (bar.open_ns // 10**6, bar.close / 1e8, bar.size / 1e8) for bar in truth
    ]
    assert len(told) > 60


def test_a_pairs_ticker_is_whole_and_a_contracts_tells_what_changed(desk: BybitDesk) -> None:
    spot, linear = desk.open(), desk.open("linear")
    for session in (spot, linear):
        assert desk.ask(session, "subscribe", "tickers.BTCUSDT")[1]["type"] == "snapshot"
    desk.wait(20, step=0.1)
    whole, changed = desk.read(spot), desk.read(linear)
    assert {frame["type"] for frame in whole} == {"snapshot"}
    assert {frame["type"] for frame in changed} == {"delta"}
    assert all("lastPrice" in frame["data"] for frame in whole)
    assert min(len(frame["data"]) for frame in changed) < 8
    assert all(frame["data"]["symbol"] == "BTCUSDT" for frame in changed)


def test_what_is_unsubscribed_is_heard_no_more(desk: BybitDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", "publicTrade.BTCUSDT", "tickers.BTCUSDT")
    assert desk.ask(session, "unsubscribe", "publicTrade.BTCUSDT", "kline.1.BTCUSDT")[0]["success"]
    desk.wait(10, step=0.5)
    assert {frame["topic"] for frame in desk.read(session)} == {"tickers.BTCUSDT"}
    assert desk.dialect.status(desk.now_ns)["streams"] == 1
    desk.dialect.on_close(session)
    assert desk.dialect.status(desk.now_ns)["streams"] == desk.dialect.status(desk.now_ns)["sessions"] == 0


def test_inverse_topics_count_in_dollars() -> None:
    desk = bybit_desk(events_per_s=5.0, symbols=READY_SYMBOLS)
    session = desk.open("inverse")
    _, book, ticker = desk.ask(session, "subscribe", "publicTrade.BTCUSD", "orderbook.50.BTCUSD", "tickers.BTCUSD")
    assert all(float(size) % 100 == 0 for _, size in book["data"]["b"])
    assert float(ticker["data"]["turnover24h"]) < 1e-3 * float(ticker["data"]["volume24h"])
    desk.wait(20, step=0.5)
    told = rows(desk.read(session), "publicTrade.BTCUSD")
    assert told
    assert all(float(row["v"]) % 100 == 0 for row in told)


# ── Ends ──


def test_a_client_that_says_nothing_for_ten_minutes_is_cut(desk: BybitDesk) -> None:
    quiet, alive = desk.open(), desk.open()
    for _ in range(3):
        desk.wait(300)
        desk.dialect.on_control(alive, desk.now_ns, is_pong=False)
    assert quiet.closing is not None
    assert (quiet.closing.code, alive.closing) == (1006, None)


def test_the_next_thing_to_do_is_told(desk: BybitDesk) -> None:
    assert desk.dialect.next_due_ns(desk.now_ns) is None
    session = desk.open()
    assert desk.dialect.next_due_ns(desk.now_ns) == START_NS + 600 * SECOND_NS
    desk.ask(session, "subscribe", "orderbook.50.BTCUSDT")
    due_ns = desk.dialect.next_due_ns(desk.now_ns)
    assert due_ns is not None
    assert due_ns < START_NS + 10 * SECOND_NS


def test_a_frame_that_faults_take_is_not_sent(desk: BybitDesk) -> None:
    desk.dialect.faults.drop_frame(lambda frame: b'"snapshot"' in frame, 1)
    assert [frame["op"] for frame in desk.ask(desk.open(), "subscribe", "orderbook.50.BTCUSDT")] == ["subscribe"]
    assert json.loads(desk.dialect.handle_http("GET", "/emulator/status", "", {}, desk.now_ns)[2])["dropped"] == 1
