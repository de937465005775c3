"""Recordings of Bybit: read, played as received, and answered about by REST."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from bybit_kit import FRAMES, BybitDesk, bybit_desk
from emulator_kit import START_NS

from zvt_crypto.emulator.bybit.dialect import BybitDialect
from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.market import READY_SYMBOLS
from zvt_crypto.emulator.replay import ReplayWorld

SPOT = FRAMES / "spot_frames.txt.gz"
NAMES = ("BTCUSDT", "ETHUSDT")
TOPICS = [f"{kind}.{name}" for name in NAMES for kind in ("orderbook.200", "publicTrade", "kline.1", "tickers")]
OF_CONTRACTS = ["orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT", "kline.1.BTCUSDT"]


def replay_desk(path: Path, **more: Any) -> BybitDesk:
    return BybitDesk(BybitDialect(ReplayWorld(read_capture(path), **{"speed": 1.0, "gather_s": 1.0, **more})))


def played(path: Path, category: str, topics: list[str]) -> tuple[BybitDesk, Any]:
    """The whole of a recording, heard."""
    desk = replay_desk(path)
    session = desk.open(category)
    assert [frame["success"] for frame in desk.ask(session, "subscribe", *topics)] == [True]
    desk.wait(1)
    desk.wait(200)
    assert desk.world.done
    return desk, session


def real_frames() -> list[bytes]:
    lines = gzip.decompress(SPOT.read_bytes()).splitlines()
    return [raw for raw in (line.partition(b" ")[2] for line in lines) if b'"topic"' in raw]


def line(at_ns: int, **record: Any) -> str:
    return json.dumps({**record, "ts": at_ns / 1e9}, separators=(",", ":"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BybitDesk, list[bytes]]:
    """What a recorder beside the synthetic exchange writes of a linear contract in 70 seconds; that exchange; the frames."""
    desk = bybit_desk(events_per_s=4.0)
    session = desk.open("linear")
    lines = [line(START_NS, t="header", exchange="BYBIT")]
    for query in ("category=linear&limit=1", "category=linear&limit=1&cursor=1", "category=spot"):
        _, _, body = desk.dialect.handle_http("GET", "/v5/market/instruments-info", query, {}, desk.now_ns)
        lines.append(line(START_NS, t="http", url=f"https://api.bybit.com/v5/market/instruments-info?{query}", data=body.decode()))
    lines.append(line(START_NS, t="http", url="https://api.bybit.com/v5/market/time", data="{}"))
    lines.append(line(START_NS, t="http", url="https://api.bybit.com/v5/market/instruments-info?category=inverse", data='{"retCode":1}'))
    lines.append(line(START_NS, t="connect", conn="a", addr="wss://stream.bybit.com/v5/public/linear"))
    session.outbox.extend(desk.dialect.on_text(session, json.dumps({"op": "subscribe", "args": OF_CONTRACTS}).encode(), desk.now_ns))
    frames: list[bytes] = []
    for _ in range(700):
        for frame in session.outbox:
            lines.append(line(desk.now_ns, t="recv", conn="a", data=frame.decode()))
            frames += [frame] if b'"topic"' in frame else []
        session.outbox.clear()
        desk.wait(0.1)
    path = tmp_path_factory.mktemp("bybit") / "bybit.jsonl"
    path.write_text("\n".join(lines))
    return path, desk, frames


def test_a_recording_knows_whose_it_is_and_what_it_holds(recording: tuple[Path, BybitDesk, list[bytes]]) -> None:
    real, made = read_capture(SPOT), read_capture(recording[0])
    assert (real.exchange, made.exchange) == ("bybit", "bybit")
    kinds = {"depth200", "trade", "kline_1m", "ticker"}
    assert {(one.market, one.symbol, one.name) for one in real.channels()} == {("spot", name, kind) for name in NAMES for kind in kinds}
    assert {(one.market, one.symbol, one.name) for one in made.channels()} == {
        ("usdm", "BTCUSDT", kind) for kind in ("depth50", "bookTicker", "trade", "ticker", "kline_1m")
    }
    assert [answer.path for answer in made.answers] == [f"instruments-info {name}" for name in ("linear", "linear", "spot", "inverse")]


def test_real_frames_go_out_byte_by_byte_in_their_order() -> None:
    _, session = played(SPOT, "spot", TOPICS)
    assert list(session.outbox) == real_frames()
    assert len(session.outbox) == 674


def test_after_the_last_real_frame_rest_tells_what_was_recorded() -> None:
    desk, _ = played(SPOT, "spot", TOPICS)
    frames = [json.loads(frame) for frame in real_frames()]
    for name in NAMES:
        sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        for data in (frame["data"] for frame in frames if frame["topic"] == f"orderbook.200.{name}"):
            for side in sides:
                sides[side] |= dict(data[side])
        held = [{float(price): size for price, size in sides[side].items() if float(size)} for side in ("b", "a")]
        book = desk.get("orderbook", f"category=spot&symbol={name}&limit=1000")
        assert [(float(price), size) for price, size in book["b"]] == sorted(held[0].items(), reverse=True)
        assert [(float(price), size) for price, size in book["a"]] == sorted(held[1].items())
        assert book["u"] == [frame["data"]["u"] for frame in frames if frame["topic"] == f"orderbook.200.{name}"][-1]
        trades = [row for frame in frames if frame["topic"] == f"publicTrade.{name}" for row in frame["data"]]
        rows = desk.get("recent-trade", f"category=spot&symbol={name}&limit=60")["list"]
        assert [(row["execId"], row["price"], row["size"], row["side"], row["time"]) for row in reversed(rows)] == [
            (row["i"], row["p"], row["v"], row["S"], str(row["T"])) for row in trades
        ]
        minutes = {row["start"]: row for frame in frames if frame["topic"] == f"kline.1.{name}" for row in frame["data"]}
        (newest, before) = desk.get("kline", f"category=spot&symbol={name}&interval=1")["list"]
        for told in (newest, before):
            true = minutes[int(told[0])]
            assert told[1:] == [true[key] for key in ("open", "high", "low", "close", "volume", "turnover")]
        (five,) = desk.get("kline", f"category=spot&symbol={name}&interval=5")["list"]
        assert float(five[5]) == pytest.approx(float(newest[5]) + float(before[5]))
        (ticker,) = desk.get("tickers", f"category=spot&symbol={name}")["list"]
        last = [frame["data"] for frame in frames if frame["topic"] == f"tickers.{name}"][-1]
        assert {key: last[key] for key in ticker if key in last and key != "price24hPcnt"}.items() <= ticker.items()
    assert desk.get("instruments-info", "category=spot&symbol=BTCUSDT")["list"][0]["priceFilter"]["tickSize"] == "0.1"
    assert [row["symbol"] for row in desk.get("instruments-info", "category=spot")["list"]] == list(NAMES)


def test_frames_of_a_contract_go_out_as_they_came(recording: tuple[Path, BybitDesk, list[bytes]]) -> None:
    path, original, frames = recording
    desk, session = played(path, "linear", OF_CONTRACTS)
    assert list(session.outbox) == frames
    here, there = (one.get("recent-trade", "category=linear&symbol=BTCUSDT&limit=50")["list"] for one in (desk, original))
    known = {row["execId"]: row for row in there}
    common = [row for row in here if row["execId"] in known]
    assert len(common) > 20
    assert all({**row, "seq": ""} == {**known[row["execId"]], "seq": ""} for row in common)
    (seen,), (true,) = (one.get("tickers", "category=linear&symbol=BTCUSDT")["list"] for one in (desk, original))
    assert (seen["fundingRate"], seen["nextFundingTime"]) == (true["fundingRate"], true["nextFundingTime"])
    assert float(seen["markPrice"]) == pytest.approx(float(true["markPrice"]), rel=0.01)


def test_instruments_are_the_recorded_pages(recording: tuple[Path, BybitDesk, list[bytes]]) -> None:
    path, original, _ = recording
    desk = replay_desk(path)
    for query in ("category=linear", "category=spot", "category=linear&symbol=ETHUSDT", "category=linear&baseCoin=ETH"):
        assert desk.get("instruments-info", query)["list"] == original.get("instruments-info", query)["list"]
    assert desk.get("instruments-info", "category=linear&limit=1")["nextPageCursor"] == "1"
    assert desk.get("instruments-info", "category=linear&status=PreLaunch")["list"] == []
    assert desk.refused("instruments-info", "category=linear&symbol=NOPE")[0] == 10001
    assert desk.get("instruments-info", "category=inverse")["list"] == []


def test_a_reader_that_comes_midway_begins_with_book_and_ticker_so_far(recording: tuple[Path, BybitDesk, list[bytes]]) -> None:
    desk = replay_desk(recording[0])
    desk.ask(desk.open("linear"), "subscribe", "orderbook.50.BTCUSDT")
    desk.wait(1)
    desk.wait(30.25)
    late = desk.open("linear")
    acked, book, ticker = desk.ask(late, "subscribe", "orderbook.50.BTCUSDT", "tickers.BTCUSDT")
    assert (acked["success"], book["type"], ticker["type"]) == (True, "snapshot", "snapshot")
    assert (len(book["data"]["b"]), len(book["data"]["a"])) == (50, 50)
    assert "openInterest" not in ticker["data"]
    update = book["data"]["u"]
    desk.wait(20)
    books = [frame for frame in desk.read(late) if frame["topic"].startswith("orderbook")]
    assert [frame["data"]["u"] for frame in books] == list(range(update + 1, update + 1 + len(books)))
    assert len(books) > 10


def test_a_book_of_another_depth_is_played_under_the_name_that_was_asked_for() -> None:
    desk = replay_desk(SPOT)
    session = desk.open()
    desk.ask(session, "subscribe", "orderbook.50.BTCUSDT")
    desk.wait(1)
    desk.wait(60)
    frames = desk.read(session)
    assert {frame["topic"] for frame in frames} == {"orderbook.50.BTCUSDT"}
    assert len(frames) == 300
    assert frames[-1]["data"]["u"] == desk.get("orderbook", "category=spot&symbol=BTCUSDT")["u"]


def test_what_was_not_recorded_is_acknowledged_and_silent() -> None:
    desk = replay_desk(SPOT)
    session = desk.open()
    for topic in ("orderbook.1.BTCUSDT", "kline.60.BTCUSDT"):
        assert [frame["success"] for frame in desk.ask(session, "subscribe", topic)] == [True]
        assert [frame["success"] for frame in desk.ask(session, "unsubscribe", topic)] == [True]
    for topic in ("orderbook.7.BTCUSDT", "liquidation.BTCUSDT", "publicTrade.DOGEUSDT"):
        assert desk.ask(session, "subscribe", topic)[0]["ret_msg"] == f"Invalid topic: {topic}"


def test_the_archive_of_books_is_a_recording_of_contracts(tmp_path: Path) -> None:
    """Bybit publishes its books as bare frames: the time in them is when they are played."""
    desk, session = played(FRAMES / "linear_ob500.txt.gz", "linear", ["orderbook.200.XRPUSDT"])
    assert {(one.market, one.symbol, one.name) for one in desk.world.channels()} == {("usdm", "XRPUSDT", "depth500")}
    assert {frame["topic"] for frame in desk.read(session)} == {"orderbook.200.XRPUSDT"}
    (row,) = desk.get("instruments-info", "category=linear")["list"]
    assert (row["baseCoin"], row["quoteCoin"], row["priceFilter"]["tickSize"]) == ("XRP", "USDT", "0.0001")


def test_a_book_without_a_recorded_snapshot_is_called_partial(tmp_path: Path) -> None:
    path = tmp_path / "late.txt"
    kept = [text for text in gzip.decompress(SPOT.read_bytes()).splitlines() if b'"snapshot","data":{"s"' not in text]
    path.write_bytes(b"\n".join(kept))
    desk, session = played(path, "spot", TOPICS)
    assert desk.dialect.status(desk.now_ns)["partial_books"] == ["spot BTCUSDT", "spot ETHUSDT"]
    assert desk.get("orderbook", "category=spot&symbol=BTCUSDT")["b"] == []
    assert len(session.outbox) == 672


def test_block_trades_and_ids_of_no_kind_are_played_and_told_by_no_rest(tmp_path: Path) -> None:
    rows = [
        {"i": "2290000001189048101", "T": 1786310822605, "p": "65140.5", "v": "1", "S": "Buy", "BT": True},
        {"i": "seven", "T": 1786310822606, "p": "65140.5", "v": "2", "S": "Buy", "BT": False},
        {"i": "2290000001189048102", "T": 1786310822607, "p": "65140.5", "v": "3", "S": "Buy", "BT": False},
    ]
    frame = {"topic": "publicTrade.BTCUSDT", "ts": 1786310822607, "type": "snapshot", "data": rows + rows[2:]}
    path = tmp_path / "trades.txt"
    path.write_text(f"1786310822607000000 {json.dumps(frame)}\n")
    desk, session = played(path, "spot", ["publicTrade.BTCUSDT"])
    assert [row["execId"] for row in desk.get("recent-trade", "category=spot&symbol=BTCUSDT")["list"]] == ["2290000001189048102"]
    assert json.loads(session.outbox[0]) == frame
    (ticker,) = desk.get("tickers", "category=spot&symbol=BTCUSDT")["list"]
    assert (ticker["lastPrice"], ticker["volume24h"]) == ("65140.5", "3")


@pytest.mark.data
def test_a_real_recording_is_played_whole(recorded: Path) -> None:
    """Bybit of August 2026, spot, one connection."""
    path = recorded / "derived_split" / "BYBIT_spot_ws3_DEV.jsonl.zst"
    desk, session = played(path, "spot", TOPICS)
    assert list(session.outbox) == [frame.payload for frame in desk.world.capture.frames]
    assert (len(session.outbox), len(desk.get("instruments-info", "category=spot")["list"])) == (674, 557)


def test_inverse_contracts_are_known_by_their_names_where_no_address_tells(tmp_path: Path) -> None:
    desk = bybit_desk(events_per_s=4.0, symbols=READY_SYMBOLS)
    session = desk.open("inverse")
    topics = ["publicTrade.BTCUSD", "orderbook.50.BTCUSD"]
    session.outbox.extend(desk.dialect.on_text(session, json.dumps({"op": "subscribe", "args": topics}).encode(), desk.now_ns))
    lines = []
    for _ in range(120):
        lines += [f"{desk.now_ns} {frame.decode()}" for frame in session.outbox]
        session.outbox.clear()
        desk.wait(0.5)
    path = tmp_path / "inverse.txt"
    path.write_text("\n".join(lines))
    again, _ = played(path, "inverse", topics)
    assert {(one.market, one.symbol) for one in again.world.channels()} == {("coinm", "BTCUSD")}
    (row,) = again.get("kline", "category=inverse&symbol=BTCUSD&interval=1&limit=1")["list"]
    (true,) = desk.get("kline", f"category=inverse&symbol=BTCUSD&interval=1&start={row[0]}&limit=1")["list"]
    assert float(row[5]) / float(row[6]) == pytest.approx(float(row[4]), rel=0.01), "dollars over base is a price"
    assert row[1:4] == true[1:4]
    (listed,) = again.get("instruments-info", "category=inverse")["list"]
    assert (listed["contractType"], listed["baseCoin"], listed["settleCoin"]) == ("InversePerpetual", "BTC", "BTC")
