"""OKX's WebSocket, fact by fact: paths, acknowledgements, errors, pings, idle cuts, limits, channels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from okx_kit import BUSINESS, PUBLIC, START_MS, OkxDesk, okx_desk

from zvt_crypto.emulator.dialect import OpenRefused
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.okx.dialect import OkxDialect
from zvt_crypto.emulator.virtual import VirtualClock, run

MINUTE_MS = 60_000


@pytest.fixture
def desk() -> OkxDesk:
    return okx_desk()


def test_each_arg_is_acknowledged_before_its_data(desk: OkxDesk) -> None:
    frames = desk.ask(desk.open(), "subscribe", ("trades", "BTC-USDT"), ("tickers", "ETH-USDT"), request_id="a1")
    assert [frame.get("event", frame["arg"]["channel"]) for frame in frames] == ["subscribe", "trades", "subscribe", "tickers"]
    assert frames[0] == {
        "id": "a1",
        "event": "subscribe",
        "arg": {"channel": "trades", "instId": "BTC-USDT"},
        "connId": frames[0]["connId"],
    }
    assert "id" not in desk.ask(desk.open(), "subscribe", ("trades", "BTC-USDT"))[0]


def test_a_second_subscription_is_acknowledged_and_tells_nothing_new(desk: OkxDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", ("books", "BTC-USDT"))
    assert [frame["event"] for frame in desk.ask(session, "subscribe", ("books", "BTC-USDT"))] == ["subscribe"]
    desk.wait(5)
    frames = desk.read(session)
    assert len({frame["data"][0]["seqId"] for frame in frames}) == len(frames)


def test_an_unsubscribed_channel_is_silent(desk: OkxDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", ("trades", "BTC-USDT"), ("books5", "BTC-USDT"), ("books", "BTC-USDT"))
    for channel in ("books5", "trades", "books"):
        assert [frame["event"] for frame in desk.ask(session, "unsubscribe", (channel, "BTC-USDT"))] == ["unsubscribe"]
    desk.read(session)
    desk.wait(20)
    assert desk.read(session) == []
    assert [frame["event"] for frame in desk.ask(session, "unsubscribe", ("trades", "BTC-USDT"))] == ["unsubscribe"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{nonsense", "60012"),
        ("[]", "60012"),
        ('{"args":[]}', "60012"),
        ('{"op":"subscribe","id":"a-b","args":[{"channel":"trades","instId":"BTC-USDT"}]}', "60012"),
        ('{"op":"subscribe","id":7,"args":[{"channel":"trades","instId":"BTC-USDT"}]}', "60012"),
        ('{"op":"shout","args":[{"channel":"trades"}]}', "60019"),
        ('{"op":"subscribe"}', "60013"),
        ('{"op":"subscribe","args":[]}', "60013"),
        ('{"op":"subscribe","args":["trades"]}', "60013"),
        ('{"op":"login","args":[{"apiKey":"k"}]}', "60005"),
        ('{"op":"subscribe","args":[{"channel":"books-l2-tbt","instId":"BTC-USDT"}]}', "60011"),
        ('{"op":"subscribe","args":[{"channel":"trades","instId":"NOPE-USDT"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"nope","instId":"BTC-USDT"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"trades"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"funding-rate","instId":"BTC-USDT"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"tr\\"ades","instId":"BTC-USDT"}]}', "60018"),
        ('{"op":"subscribe","args":[{"channel":"trades","instId":"' + "B" * 70_000 + '"}]}', "60012"),
    ],
)
def test_a_bad_request_is_answered_with_its_error(desk: OkxDesk, text: str, code: str) -> None:
    (frame,) = desk.text(desk.open(), text)
    assert (frame["event"], frame["code"], bool(frame["msg"]), len(frame["connId"])) == ("error", code, True, 8)


def test_candles_are_told_on_business_only_and_the_rest_on_public_only(desk: OkxDesk) -> None:
    (refused,) = desk.ask(desk.open(PUBLIC), "subscribe", ("candle1Dutc", "BTC-USDT"), request_id="7")
    assert (refused["id"], refused["code"]) == ("7", "60018")
    assert refused["msg"].startswith("Wrong URL or channel:candle1Dutc,instId:BTC-USDT doesn't exist.")
    assert desk.ask(desk.open(BUSINESS), "subscribe", ("candle1Dutc", "BTC-USDT"))[0]["event"] == "subscribe"
    desk.wait(2)
    assert desk.ask(desk.open(BUSINESS), "subscribe", ("books", "BTC-USDT"))[0]["code"] == "60018"
    assert desk.ask(desk.open(BUSINESS), "subscribe", ("candle7m", "BTC-USDT"))[0]["code"] == "60018"


def test_one_bad_arg_leaves_the_others(desk: OkxDesk) -> None:
    frames = desk.ask(desk.open(), "subscribe", ("nope", "BTC-USDT"), ("trades", "BTC-USDT"))
    assert [frame.get("event") for frame in frames] == ["error", "subscribe", None]


def test_ping_is_text_and_so_is_its_answer(desk: OkxDesk) -> None:
    assert desk.text(desk.open(), "ping") == ["pong"]


@pytest.mark.parametrize("traffic", ["none", "ping", "control"])
def test_a_connection_without_traffic_is_cut_after_30_seconds(desk: OkxDesk, traffic: str) -> None:
    session = desk.open()
    desk.wait(29)
    if traffic == "ping":
        desk.text(session, "ping")
    elif traffic == "control":
        desk.dialect.on_control(session, desk.now_ns, is_pong=False)
    desk.wait(1)
    assert (session.closing is None) == (traffic != "none")
    desk.wait(29)
    assert session.closing is not None
    assert session.closing.code == 4004


def test_what_is_pushed_is_traffic(desk: OkxDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", ("mark-price", "BTC-USDT-SWAP"))
    for _ in range(100):
        desk.wait(1)
        desk.read(session)
    assert session.closing is None


def test_paths(desk: OkxDesk) -> None:
    assert desk.dialect.open("/ws/v5/public", "brokerId=9999", desk.now_ns).path == "public"
    with pytest.raises(OpenRefused) as refusal:
        desk.open("/ws/v5/nowhere")
    assert refusal.value.status == 404


def test_a_fourth_connection_within_a_second_is_refused(desk: OkxDesk) -> None:
    for _ in range(3):
        desk.open()
    with pytest.raises(OpenRefused) as refusal:
        desk.open()
    assert refusal.value.status == 429
    desk.wait(1)
    desk.open()
    desk.dialect.connects_per_s = 100
    desk.open()


def test_a_request_over_the_hourly_limit_is_refused(desk: OkxDesk) -> None:
    desk.dialect.requests_per_hour = 2
    session = desk.open()
    for _ in range(2):
        assert desk.ask(session, "subscribe", ("trades", "BTC-USDT"))[0]["event"] == "subscribe"
    assert desk.ask(session, "subscribe", ("trades", "BTC-USDT"))[0]["code"] == "60014"
    desk.wait(3600)
    assert desk.ask(session, "subscribe", ("trades", "BTC-USDT"))[0]["event"] == "subscribe"


def test_a_restart_is_told_a_minute_before_the_cut(desk: OkxDesk) -> None:
    session = desk.open()
    desk.dialect.announce_restart(desk.now_ns)
    (notice,) = desk.read(session)
    assert (notice["event"], notice["code"]) == ("notice", "64008")
    for _ in range(3):
        desk.wait(19)
        desk.text(session, "ping")
    assert session.closing is None
    desk.wait(3)
    assert session.closing is not None
    assert session.closing.code == 1001


def test_faults_refuse_cut_and_answer_handshakes(desk: OkxDesk) -> None:
    desk.dialect.faults.http(503, path="/ws")
    with pytest.raises(OpenRefused) as refusal:
        desk.open()
    assert (refusal.value.status, json.loads(refusal.value.body)["code"]) == (503, "50001")
    session = desk.open()
    desk.dialect.faults.cut_all()
    desk.dialect.faults.refuse_connections(10)
    with pytest.raises(OpenRefused):
        desk.open()
    desk.wait(0)
    assert session.closing is not None


def test_a_lost_first_frame_leaves_the_acknowledgement(desk: OkxDesk) -> None:
    desk.dialect.faults.drop_frame(lambda frame: b'"snapshot"' in frame)
    assert [frame.get("event") for frame in desk.ask(desk.open(), "subscribe", ("books", "BTC-USDT"))] == ["subscribe"]


def test_a_closed_connection_is_forgotten(desk: OkxDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", ("books", "BTC-USDT"), ("books5", "BTC-USDT"), ("trades", "BTC-USDT"))
    desk.dialect.on_close(session)
    status = json.loads(desk.dialect.handle_http("GET", "/emulator/status", "", {}, desk.now_ns)[2])
    assert (status["sessions"], status["streams"]) == (0, 0)
    assert desk.dialect.book_of("BTC-USDT") is None
    assert desk.dialect.next_due_ns(desk.now_ns) is None


# ── Channels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trades_join_the_fills_of_one_taker_and_trades_all_does_not() -> None:
    desk = okx_desk(events_per_s=20.0)
    public, business = desk.open(), desk.open(BUSINESS)
    joined, single = desk.ask(public, "subscribe", ("trades", "SOL-USDT")), desk.ask(business, "subscribe", ("trades-all", "SOL-USDT"))
    assert joined[1]["data"][0]["tradeId"] == single[1]["data"][0]["tradeId"]  # the last one before the subscription
    desk.wait(30)
    rows, fills = desk.rows(public, "trades"), desk.rows(business, "trades-all")
    assert sum(int(row["count"]) for row in rows) == len(fills)
    assert max(int(row["count"]) for row in rows) > 1
    ends = {fill["tradeId"]: fill for fill in fills}
    assert all((ends[row["tradeId"]]["px"], ends[row["tradeId"]]["side"]) == (row["px"], row["side"]) for row in rows)
    assert sum(float(row["sz"]) for row in rows) == pytest.approx(sum(float(fill["sz"]) for fill in fills))


def test_candles_begin_with_the_open_one_and_close_exactly_once() -> None:
    desk = okx_desk(events_per_s=0.05)
    session = desk.open(BUSINESS)
    first = desk.ask(session, "subscribe", ("candle1m", "SOL-USDT"))[1]["data"]
    assert (int(first[0][0]), first[0][8]) == (START_MS, "0")
    desk.wait(20 * 60)
    rows = desk.rows(session, "candle1m")
    assert [int(row[0]) for row in rows if row[8] == "1"] == [START_MS + n * MINUTE_MS for n in range(20)]
    assert all(len(row) == 9 for row in rows)


def test_a_day_of_the_east_closes_at_16_utc(desk: OkxDesk) -> None:
    desk = okx_desk(events_per_s=0.01)
    session = desk.open(BUSINESS)
    desk.ask(session, "subscribe", ("candle1D", "BTC-USDT"), ("candle1Dutc", "BTC-USDT"))
    desk.wait(24 * 3600)
    frames = desk.read(session)
    east = [row for frame in frames if frame["arg"]["channel"] == "candle1D" for row in frame["data"]]
    utc = [row for frame in frames if frame["arg"]["channel"] == "candle1Dutc" for row in frame["data"]]
    assert [int(row[0]) for row in east if row[8] == "1"] == [START_MS - 8 * 60 * MINUTE_MS]
    assert [int(row[0]) for row in utc if row[8] == "1"] == [START_MS]
    closed = next(row for row in east if row[8] == "1")
    assert closed == next(row for row in desk.get("market/candles", "instId=BTC-USDT&bar=1D&limit=3") if row[0] == closed[0])


def test_seconds_are_told_when_they_are_over() -> None:
    desk = okx_desk(events_per_s=20.0)
    session = desk.open(BUSINESS)
    desk.ask(session, "subscribe", ("candle1s", "BTC-USDT"))
    desk.wait(10)
    rows = desk.rows(session, "candle1s")
    assert rows
    assert {row[8] for row in rows} == {"1"}
    assert len({row[0] for row in rows}) == len(rows)


def test_marks_come_every_second_and_funding_every_minute(desk: OkxDesk) -> None:
    session = desk.open()
    first = desk.ask(
        session, "subscribe", ("mark-price", "BTC-USDT-SWAP"), ("funding-rate", "BTC-USDT-SWAP"), ("index-tickers", "BTC-USDT")
    )
    assert [frame["arg"]["channel"] for frame in first if "data" in frame] == ["mark-price", "funding-rate", "index-tickers"]
    desk.wait(180)
    frames = desk.read(session)
    counts = [sum(frame["arg"]["channel"] == channel for frame in frames) for channel in ("mark-price", "funding-rate", "index-tickers")]
    assert counts == [180, 3, 180]
    assert set(frames[0]["arg"]) == {"channel", "instId"}


def test_tickers_follow_the_trades_within_a_tenth_of_a_second(desk: OkxDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", ("tickers", "BTC-USDT"), ("trades", "BTC-USDT"))
    desk.wait(60)
    frames = desk.read(session)
    times = [int(frame["data"][0]["ts"]) for frame in frames if frame["arg"]["channel"] == "tickers"]
    assert times
    assert all(time % 100 == 0 for time in times)
    trade = next(frame["data"][0] for frame in reversed(frames) if frame["arg"]["channel"] == "trades")
    assert any(int(trade["ts"]) <= time <= int(trade["ts"]) + 100 for time in times)


def test_instruments_are_pushed_whole(desk: OkxDesk) -> None:
    session = desk.open()
    told = desk.text(session, '{"op":"subscribe","args":[{"channel":"instruments","instType":"SWAP"}]}')
    assert told[0]["arg"] == {"channel": "instruments", "instType": "SWAP"}
    assert [row["instId"] for row in told[1]["data"]] == ["BTC-USDT-SWAP", "ETH-USDT-SWAP"]
    gone = desk.text(session, '{"op":"unsubscribe","args":[{"channel":"instruments","instType":"SWAP"}]}')
    assert [frame["event"] for frame in gone] == ["unsubscribe"]


def test_in_memory_a_client_that_pings_is_kept_and_one_that_does_not_is_cut() -> None:
    async def main() -> tuple[bool, bool]:
        clock = VirtualClock()
        dialect = OkxDialect(MarketWorld(3, start_ns=clock.now_ns(), events_per_s=0.01, history_days=1))
        transport = MemoryTransport(dialect, clock)
        mute, awake = await transport.connect("ws://emulator/ws/v5/public"), await transport.connect("ws://emulator/ws/v5/public")
        for _ in range(5):
            await clock.sleep(20)
            await awake.send(b"ping")
        held: Any = dialect.sessions
        return mute._session.id in held, awake._session.id in held

    assert run(main()) == (False, True)
