"""Binance's WebSocket, fact by fact: forms, control frames, limits, pings, routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulator_kit import START_MS, Desk, market_desk

from zvt_crypto.emulator import dialect
from zvt_crypto.emulator.binance.dialect import OpenRefused

HOUR_S = 3600


@pytest.fixture
def desk() -> Desk:
    return market_desk(events_per_s=2.0)


def test_the_combined_form_wraps_every_event(desk: Desk) -> None:
    session = desk.open("/stream?streams=btcusdt@trade/ethusdt@trade")
    desk.wait(20)
    frames = desk.read(session)
    assert {frame["stream"] for frame in frames} == {"btcusdt@trade", "ethusdt@trade"}
    assert all(list(frame) == ["stream", "data"] for frame in frames)


def test_the_raw_form_sends_the_bare_payload(desk: Desk) -> None:
    session = desk.open("/ws/btcusdt@trade")
    desk.wait(20)
    assert {frame["e"] for frame in desk.read(session)} == {"trade"}


def test_streams_in_the_url_may_be_percent_encoded(desk: Desk) -> None:
    session = desk.open("/stream?streams=btcusdt%40trade")
    assert list(session.streams) == ["btcusdt@trade"]


def test_subscribe_list_and_unsubscribe(desk: Desk) -> None:
    session = desk.open("/ws")
    assert desk.say(session, {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@depth"], "id": 1}) == [{"result": None, "id": 1}]
    assert desk.say(session, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == [{"result": ["btcusdt@trade", "btcusdt@depth"], "id": 3}]
    assert desk.say(session, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": "x"}) == [{"result": None, "id": "x"}]
    desk.wait(20)
    assert {frame["e"] for frame in desk.read(session)} == {"depthUpdate"}


def test_the_combined_property_can_be_changed_while_connected(desk: Desk) -> None:
    session = desk.open("/ws/btcusdt@trade")
    assert desk.say(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}) == [{"result": False, "id": 2}]
    assert desk.say(session, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}) == [{"result": None, "id": 5}]
    desk.wait(20)
    assert all("stream" in frame for frame in desk.read(session))


def test_an_unknown_stream_is_acknowledged_and_stays_silent(desk: Desk) -> None:
    session = desk.open("/ws")
    assert desk.say(session, {"method": "SUBSCRIBE", "params": ["nope@trade", "btcusdt@nope", "BTCUSDT@trade"], "id": 1}) == [
        {"result": None, "id": 1}
    ]
    desk.wait(60)
    assert desk.read(session) == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{nonsense", 3),
        (b"[]", 2),
        ({"params": ["a"], "id": 1}, 2),
        ({"method": "SHOUT", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": "btcusdt@trade", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": -1}, 2),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": True}, 2),
        ({"method": "SUBSCRIBE", "params": ["a"] * 1025, "id": 1}, 2),
        ({"method": "SET_PROPERTY", "params": [7], "id": 1}, 2),
        ({"method": "SET_PROPERTY", "params": ["nope", True], "id": 1}, 0),
        ({"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1}, 1),
    ],
)
def test_a_bad_control_frame_is_answered_with_its_error(desk: Desk, message: Any, code: int) -> None:
    (answer,) = desk.say(desk.open("/ws"), message)
    assert answer["code"] == code
    assert answer["msg"]


@pytest.mark.parametrize(("url", "allowed"), [("/ws", 5), ("/public/ws", 10), ("/market/ws", 10)])
def test_one_message_too_many_within_a_second_ends_the_connection(desk: Desk, url: str, allowed: int) -> None:
    session = desk.open(url)
    for _ in range(allowed):
        assert desk.say(session, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
    assert session.closing is None
    assert desk.say(session, {"method": "LIST_SUBSCRIPTIONS", "id": 1}) == []
    assert session.closing is not None
    assert session.closing.code == 1008


def test_messages_of_an_earlier_second_do_not_count_and_pongs_do(desk: Desk) -> None:
    session = desk.open("/ws")
    for _ in range(4):
        for _ in range(5):
            desk.dialect.on_control(session, desk.now_ns, is_pong=True)
        desk.wait(1)
    assert session.closing is None


@pytest.mark.parametrize(("url", "every_s", "within_s"), [("/ws", 20, 60), ("/market/ws", 180, 600)])
def test_the_server_pings_and_ends_a_connection_that_does_not_answer(desk: Desk, url: str, every_s: int, within_s: int) -> None:
    session = desk.open(url)
    desk.wait(every_s - 1)
    assert session.pings == []
    desk.wait(1)
    assert len(session.pings) == 1
    desk.wait(within_s - 1)
    assert session.closing is None
    desk.wait(1)
    assert session.closing is not None


def test_an_answered_ping_keeps_the_connection_until_24_hours_are_over() -> None:
    desk = market_desk(events_per_s=0.01)
    session = desk.open("/ws")
    for _ in range(24 * 180 - 1):
        desk.wait(20)
        desk.dialect.on_control(session, desk.now_ns, is_pong=True)
    assert session.closing is None
    desk.wait(20)
    assert session.closing is not None
    assert session.closing.code == 1001


@pytest.mark.parametrize("path", ["/", "/socket", "/private/ws", "/wsx"])
def test_an_unknown_path_is_refused_with_404(desk: Desk, path: str) -> None:
    with pytest.raises(OpenRefused) as refusal:
        desk.open(path)
    assert refusal.value.status == 404


def test_usdm_divides_its_streams_between_public_and_market(desk: Desk) -> None:
    streams = "btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@markPrice@1s"
    public, market = desk.open(f"/public/stream?streams={streams}"), desk.open(f"/market/stream?streams={streams}")
    desk.wait(60)
    assert {frame["data"]["e"] for frame in desk.read(public)} == {"depthUpdate", "bookTicker"}
    assert {frame["data"]["e"] for frame in desk.read(market)} == {"aggTrade", "kline", "markPriceUpdate"}


@pytest.mark.parametrize(
    ("url", "host"), [("/stream?streams=btcusdt@kline_1m", "fstream.binance.com"), ("/legacy/ws/btcusdt@kline_1m", "")]
)
def test_the_retired_usdm_root_accepts_acknowledges_and_says_nothing(desk: Desk, url: str, host: str) -> None:
    session = desk.open(url, host)
    assert desk.say(session, {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 9}) == [{"result": None, "id": 9}]
    desk.wait(HOUR_S / 60)
    assert desk.read(session) == []


def test_usdm_sends_no_single_trades(desk: Desk) -> None:
    session = desk.open("/market/ws/btcusdt@trade")
    desk.wait(60)
    assert desk.read(session) == []


def test_more_than_1024_streams_end_the_connection(desk: Desk) -> None:
    session = desk.open("/ws")
    desk.say(session, {"method": "SUBSCRIBE", "params": [f"x{n}@trade" for n in range(1000)], "id": 1})
    assert session.closing is None
    desk.say(session, {"method": "SUBSCRIBE", "params": [f"y{n}@trade" for n in range(25)], "id": 2})
    assert session.closing is not None


def test_a_reader_that_never_reads_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "MOST_WAITING", 500)
    desk = market_desk(events_per_s=20.0)
    session = desk.open("/stream?streams=btcusdt@bookTicker/btcusdt@trade/ethusdt@bookTicker/ethusdt@trade/solusdt@bookTicker")
    for _ in range(600):
        desk.wait(0.5)
        desk.dialect.on_control(session, desk.now_ns, is_pong=True)
        if session.closing:
            break
    assert session.closing is not None
    assert session.closing.reason == "Too slow"


# ── Shapes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

SPOT = "btcusdt@trade/btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@kline_1s/btcusdt@depth/btcusdt@depth@100ms/btcusdt@depth5/btcusdt@bookTicker/btcusdt@ticker/btcusdt@miniTicker"
USDM_PUBLIC = "btcusdt@depth/btcusdt@depth@500ms/btcusdt@depth20@100ms/btcusdt@bookTicker"
USDM_MARKET = "btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@markPrice/btcusdt@ticker/btcusdt@miniTicker"


def firsts(desk: Desk, url: str) -> dict[str, Any]:
    session = desk.open(url)
    desk.wait(15)
    found: dict[str, Any] = {}
    for frame in desk.read(session):
        found.setdefault(frame["stream"], frame["data"])
    return found


def test_spot_payloads_have_their_fields_in_order(desk: Desk) -> None:
    seen = firsts(desk, f"/stream?streams={SPOT}")
    assert len(seen) == 10
    assert list(seen["btcusdt@trade"]) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert list(seen["btcusdt@aggTrade"]) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]
    assert list(seen["btcusdt@depth@100ms"]) == ["e", "E", "s", "U", "u", "b", "a"]
    assert list(seen["btcusdt@depth5"]) == ["lastUpdateId", "bids", "asks"]
    assert list(seen["btcusdt@bookTicker"]) == ["u", "s", "b", "B", "a", "A"]
    assert list(seen["btcusdt@kline_1m"]) == ["e", "E", "s", "k"]
    assert list(seen["btcusdt@kline_1m"]["k"]) == ["t", "T", "s", "i", "f", "L", "o", "c", "h", "l", "v", "n", "x", "q", "V", "Q", "B"]
    assert len(seen["btcusdt@depth5"]["bids"]) == 5
    assert {"e", "E", "s", "p", "P", "w", "x", "c", "Q", "b", "B", "a", "A", "o", "h", "l", "v", "q", "O", "C", "F", "L", "n"} == set(
        seen["btcusdt@ticker"]
    )
    assert list(seen["btcusdt@miniTicker"]) == ["e", "E", "s", "c", "o", "h", "l", "v", "q"]


def test_usdm_payloads_carry_their_own_fields(desk: Desk) -> None:
    public = firsts(desk, f"/public/stream?streams={USDM_PUBLIC}")
    market = firsts(desk, f"/market/stream?streams={USDM_MARKET}")
    assert {"E", "T", "pu", "ps", "st"} <= set(public["btcusdt@depth"])
    assert {"e", "E", "T", "st"} <= set(public["btcusdt@bookTicker"])
    assert public["btcusdt@depth20@100ms"]["e"] == "depthUpdate"
    assert {"nq", "st"} <= set(market["btcusdt@aggTrade"])
    assert list(market["btcusdt@markPrice"]) == ["e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"]
    assert market["btcusdt@markPrice"]["T"] == START_MS + 8 * 3_600_000


@pytest.mark.parametrize(
    ("stream", "every_ms"), [("depth@100ms", 100), ("depth", 1000), ("kline_1m", 2000), ("ticker", 1000), ("miniTicker", 1000)]
)
def test_a_spot_stream_keeps_its_rhythm(desk: Desk, stream: str, every_ms: int) -> None:
    session = desk.open(f"/ws/btcusdt@{stream}")
    desk.wait(59)
    times = [frame["E"] for frame in desk.read(session)]
    assert times
    assert all(time % every_ms == 0 for time in times)
    assert len(times) == len(set(times))


def test_a_closing_kline_comes_exactly_once_a_minute() -> None:
    desk = market_desk(events_per_s=0.05)
    session = desk.open("/ws/solusdt@kline_1m")
    desk.wait(20 * 60)
    closed = [frame["k"] for frame in desk.read(session) if frame["k"]["x"]]
    assert [k["t"] for k in closed] == [START_MS + n * 60_000 for n in range(20)]
    assert any(k["n"] == 0 and k["o"] == k["c"] and k["f"] == -1 for k in closed)


def test_a_subscriber_sees_nothing_from_before_it_came(desk: Desk) -> None:
    desk.now_ns += 30 * 10**9  # nobody polls meanwhile
    session = desk.open("/ws/btcusdt@trade")
    desk.wait(10)
    assert min(frame["T"] for frame in desk.read(session)) >= START_MS + 30_000


def test_status_counts_what_there_is(desk: Desk) -> None:
    desk.open("/stream?streams=btcusdt@trade/ethusdt@trade")
    status = json.loads(desk.http("/emulator/status")[2])
    assert (status["mode"], status["done"], status["sessions"], status["streams"]) == ("market", False, 1, 2)
    assert status["now_ns"] == desk.now_ns


def test_a_speed_that_binance_does_not_have_is_accepted_and_silent(desk: Desk) -> None:
    session = desk.open("/stream?streams=btcusdt@ticker@100ms/btcusdt@kline_1m@1000ms/btcusdt@trade@100ms")
    desk.wait(60)
    assert desk.read(session) == []
