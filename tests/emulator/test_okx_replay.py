"""Recordings of OKX: read, played as received, and answered about by REST."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from emulator_kit import START_NS
from okx_kit import BUSINESS, PUBLIC, OkxDesk, okx_desk

from zvt_crypto.domain.errors import BadCapture
from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.okx.dialect import OkxDialect
from zvt_crypto.emulator.replay import ReplayWorld

FRAMES = Path(__file__).resolve().parent.parent / "fixtures" / "okx" / "frames_2022.txt.gz"
SWAP = "BTC-USDT-SWAP"
LISTENED = (("books", "BTC-USDT"), ("trades", "BTC-USDT"), ("tickers", "BTC-USDT"), ("books", SWAP), ("trades", SWAP), ("mark-price", SWAP))


def line(at_ns: int, **record: Any) -> str:
    return json.dumps({**record, "ts": at_ns / 1e9}, separators=(",", ":"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OkxDesk, list[bytes]]:
    """What a recorder beside the synthetic exchange writes in 90 seconds; that exchange; the public frames."""
    desk = okx_desk(events_per_s=4.0)
    public, business = desk.open(PUBLIC), desk.open(BUSINESS)
    lines = [line(START_NS, t="header", exchange="OKX")]
    for kind in ("SPOT", "SWAP"):
        _, _, body = desk.dialect.handle_http("GET", "/api/v5/public/instruments", f"instType={kind}", {}, desk.now_ns)
        url = f"https://www.okx.com/api/v5/public/instruments?instType={kind}"
        lines.append(line(START_NS, t="http", url=url, data=body.decode()))
    frames: list[bytes] = []
    for session, name, args in ((public, "public", LISTENED), (business, "business", (("candle1m", "BTC-USDT"),))):
        lines.append(line(START_NS, t="connect", conn=name, addr=f"wss://ws.okx.com/ws/v5/{name}"))
        asked = json.dumps({"op": "subscribe", "args": [{"channel": channel, "instId": inst_id} for channel, inst_id in args]})
        for frame in desk.dialect.on_text(session, asked.encode(), desk.now_ns):
            lines.append(line(desk.now_ns, t="recv", conn=name, data=frame.decode()))
            frames += [frame] if session is public and b'"event"' not in frame else []
    lines.append(line(START_NS, t="recv", conn="public", data="pong"))
    for _ in range(900):
        desk.wait(0.1)
        for session, name in ((public, "public"), (business, "business")):
            for frame in session.outbox:
                lines.append(line(desk.now_ns, t="recv", conn=name, data=frame.decode()))
                frames += [frame] if session is public else []
            session.outbox.clear()
    path = tmp_path_factory.mktemp("okx") / "okx.jsonl"
    path.write_text("\n".join(lines))
    return path, desk, frames


def replay_desk(path: Path, **more: Any) -> OkxDesk:
    world = ReplayWorld(read_capture(path), **{"speed": 1.0, "gather_s": 1.0, **more})
    return OkxDesk(OkxDialect(world))


def test_a_recording_knows_whose_it_is_and_what_it_holds(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    capture = read_capture(recording[0])
    assert capture.exchange == "okx"
    held = {(channel.market, channel.symbol, channel.name) for channel in capture.channels()}
    assert held == {
        ("spot", "BTC-USDT", "depth"), ("spot", "BTC-USDT", "aggTrade"), ("spot", "BTC-USDT", "ticker"), ("spot", "BTC-USDT", "kline_1m"),
        ("usdm", SWAP, "depth"), ("usdm", SWAP, "aggTrade"), ("usdm", SWAP, "markPrice"),
    }  # fmt: skip


def test_frames_go_out_byte_by_byte_in_their_order(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    path, _, frames = recording
    desk = replay_desk(path)
    session = desk.open()
    acks = desk.ask(session, "subscribe", *LISTENED)
    assert [frame["event"] for frame in acks] == ["subscribe"] * len(LISTENED)
    desk.wait(1)
    desk.wait(120)
    assert list(session.outbox) == frames
    assert desk.world.done


def test_after_the_last_frame_rest_tells_what_the_exchange_told(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    path, original, _ = recording
    desk = replay_desk(path)
    desk.ask(desk.open(), "subscribe", *LISTENED)
    desk.wait(1)
    desk.wait(120)
    for inst_id in ("BTC-USDT", SWAP):
        (book,), (true,) = (one.get("market/books", f"instId={inst_id}&sz=400") for one in (desk, original))
        assert [row[:2] for row in book["asks"]] == [row[:2] for row in true["asks"]]
        assert [row[:2] for row in book["bids"]] == [row[:2] for row in true["bids"]]
    ticker, true = (one.get("market/ticker", "instId=BTC-USDT")[0] for one in (desk, original))
    assert [ticker[key] for key in ("last", "open24h", "high24h")] == [true[key] for key in ("last", "open24h", "high24h")]
    closed = [one.get("market/candles", "instId=BTC-USDT&limit=2")[1][:6] for one in (desk, original)]
    assert closed[0] == closed[1]
    newest, true = (one.get("market/trades", f"instId={SWAP}&limit=5") for one in (desk, original))
    assert {row["tradeId"] for row in newest[:3]} <= {row["tradeId"] for row in true}
    marks = desk.get("public/mark-price", f"instId={SWAP}")
    assert float(marks[0]["markPx"]) > 0
    assert int(desk.get("public/time")[0]["ts"]) >= START_NS // 10**6 + 85_000


def test_instruments_are_the_recorded_answer(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    path, original, _ = recording
    desk = replay_desk(path)
    assert desk.get("public/instruments", "instType=SPOT") == original.get("public/instruments", "instType=SPOT")
    assert [row["instId"] for row in desk.get("public/instruments", f"instType=SWAP&instId={SWAP}")] == [SWAP]
    assert desk.get("public/instruments", "instType=FUTURES") == []


def test_a_reader_that_comes_midway_begins_with_the_book_so_far(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    desk = replay_desk(recording[0])
    desk.ask(desk.open(), "subscribe", ("books", "BTC-USDT"))
    desk.wait(1)
    desk.wait(30.25)
    late = desk.open()
    _, snapshot = desk.ask(late, "subscribe", ("books", "BTC-USDT"))
    assert snapshot["action"] == "snapshot"
    assert snapshot["data"][0]["prevSeqId"] == -1
    seq_id = snapshot["data"][0]["seqId"]
    desk.wait(30)
    for frame in desk.read(late):
        assert frame["data"][0]["prevSeqId"] == seq_id
        seq_id = frame["data"][0]["seqId"]


def test_a_channel_that_was_not_recorded_is_acknowledged_and_silent(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    desk = replay_desk(recording[0])
    session = desk.open()
    for channel, inst_id in (("books5", "BTC-USDT"), ("funding-rate", SWAP)):
        assert [frame["event"] for frame in desk.ask(session, "subscribe", (channel, inst_id))] == ["subscribe"]
        assert [frame["event"] for frame in desk.ask(session, "unsubscribe", (channel, inst_id))] == ["unsubscribe"]
    assert desk.ask(session, "subscribe", ("books5", "DOGE-USDT"))[0]["code"] == "60018"


def test_a_book_without_a_recorded_snapshot_is_called_partial(recording: tuple[Path, OkxDesk, list[bytes]], tmp_path: Path) -> None:
    kept = [text for text in recording[0].read_text().splitlines() if "snapshot" not in text]
    path = tmp_path / "late.jsonl"
    path.write_text("\n".join(kept))
    desk = replay_desk(path)
    assert desk.dialect.status(desk.now_ns)["partial_books"] == ["spot BTC-USDT", f"usdm {SWAP}"]
    assert [frame["event"] for frame in desk.ask(desk.open(), "subscribe", ("books", "BTC-USDT"))] == ["subscribe"]


def test_recordings_of_two_exchanges_are_no_capture(recording: tuple[Path, OkxDesk, list[bytes]], tmp_path: Path) -> None:
    other = tmp_path / "binance"
    other.write_text(
        '1735689600000000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true}}\n'
    )
    with pytest.raises(BadCapture, match="recordings of binance and okx: play them apart"):
        read_capture([recording[0], other])
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text(line(START_NS, t="header", exchange="KRAKEN") + "\n" + line(START_NS, t="recv", conn="a", data="{}"))
    with pytest.raises(BadCapture, match="a recording of 'kraken'; those of binance, bybit, okx"):
        read_capture(foreign)


def test_real_inverse_contracts_are_told_in_contracts_base_and_quote() -> None:
    """Without a recorded listing: contracts are of 100 dollars of BTC, and of 10 of all others."""
    desk = replay_desk(FRAMES)
    dated, swap = "BTC-USD-220527", "UNI-USD-SWAP"
    desk.ask(desk.open(), "subscribe", *[(channel, name) for channel in ("trades", "tickers") for name in (dated, swap)])
    desk.wait(1)
    desk.wait(60)
    frames = [json.loads(line.partition(b" ")[2]) for line in gzip.decompress(FRAMES.read_bytes()).splitlines()]
    told = [frame for frame in frames if "data" in frame]
    trades = [row for frame in told if frame["arg"] == {"channel": "trades", "instId": dated} for row in frame["data"]]
    rows = desk.get("market/candles", f"instId={dated}&bar=1m")
    assert sum(float(row[5]) for row in rows) == sum(float(row["sz"]) for row in trades)
    base = sum(float(row["sz"]) * 100 / float(row["px"]) for row in trades)
    assert sum(float(row[6]) for row in rows) == pytest.approx(base, abs=1e-7)
    assert sum(float(row[7]) for row in rows) == 100 * sum(float(row["sz"]) for row in trades)
    assert len(trades) > 1
    for name in (dated, swap):
        seen = [row for frame in told if frame["arg"] == {"channel": "tickers", "instId": name} for row in frame["data"]]
        (ticker,) = desk.get("market/ticker", f"instId={name}")
        assert (ticker["vol24h"], ticker["volCcy24h"]) == (seen[-1]["vol24h"], seen[-1]["volCcy24h"])
    (row,) = desk.get("public/instruments", "instType=SWAP")
    assert (row["instId"], row["ctType"], row["ctVal"], row["settleCcy"]) == (swap, "inverse", "10", "UNI")


def test_a_recorded_swap_is_counted_as_its_listing_says(recording: tuple[Path, OkxDesk, list[bytes]]) -> None:
    path, original, _ = recording
    desk = replay_desk(path)
    desk.ask(desk.open(), "subscribe", ("trades", SWAP))
    desk.wait(1)
    desk.wait(120)
    (_, whole), (_, true) = (one.get("market/candles", f"instId={SWAP}&limit=2") for one in (desk, original))
    assert float(whole[5]) * 0.01 == pytest.approx(float(whole[6])), "contracts of 0.01 BTC"
    assert float(whole[7]) / float(whole[6]) == pytest.approx(float(whole[4]), rel=0.01)
    assert whole[1:8] == true[1:8]


def test_an_index_is_that_of_its_perpetual(tmp_path: Path) -> None:
    frame = {
        "arg": {"channel": "index-tickers", "instId": "BTC-USDT"},
        "data": [{"instId": "BTC-USDT", "idxPx": "1", "ts": "1735689600000"}],
    }
    (tmp_path / "index.txt").write_text(f"1735689600000000000 {json.dumps(frame)}\n")
    capture = read_capture(tmp_path / "index.txt")
    assert {(one.market, one.symbol, one.name) for one in capture.channels()} == {("usdm", SWAP, "index-tickers")}


@pytest.mark.data
def test_a_real_recording_is_played_whole(recorded: Path) -> None:
    """OKX of May 2022, before seqId: books by snapshots and updates, trades, tickers, of a pair, an inverse swap and a dated contract."""
    path = recorded / "cryptofeed" / "v3" / "OKX.jsonl.zst"
    desk = replay_desk(path)
    capture = desk.world.capture
    names = ("BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527")
    assert {(frame.market, frame.symbol) for frame in capture.frames} == {("spot", names[0]), ("usdm", names[1]), ("usdm", names[2])}
    session = desk.open()
    desk.ask(session, "subscribe", *[(channel, name) for channel in ("books", "trades", "tickers") for name in names])
    desk.wait(1)
    desk.wait(60)
    assert list(session.outbox) == [frame.payload for frame in capture.frames]
    assert len(session.outbox) == 287 + 3 + 74 + 28
    for name in names:
        (book,) = desk.get("market/books", f"instId={name}&sz=400")
        assert book["asks"]
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])
        assert desk.get("market/ticker", f"instId={name}")[0]["last"] == desk.get("market/trades", f"instId={name}&limit=1")[0]["px"]
    assert [row["instId"] for row in desk.get("public/instruments", "instType=FUTURES")].count("BTC-USD-220527") == 1
