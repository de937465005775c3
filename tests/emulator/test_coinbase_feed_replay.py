"""Recordings of Coinbase Exchange's feed: played on the feed as received, and to Advanced Trade's readers in its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coinbase_kit import CoinbaseDesk, coinbase_desk

from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.coinbase.dialect import CoinbaseDialect
from zvt_crypto.emulator.replay import ReplayWorld

REAL = Path(__file__).resolve().parent.parent / "fixtures" / "coinbase" / "feed_frames.txt"
CHANNELS = ["level2_batch", "matches", "ticker"]


def real_frames(product_id: str) -> list[Any]:
    frames = [json.loads(text.partition(" ")[2]) for text in REAL.read_text().splitlines()]
    return [frame for frame in frames if frame["product_id"] == product_id]


def replay_desk(path: Path) -> CoinbaseDesk:
    return CoinbaseDesk(CoinbaseDialect(ReplayWorld(read_capture(path), speed=1e5, gather_s=1.0)))


def on_feed(desk: CoinbaseDesk, product_id: str) -> Any:
    session = desk.open("/ws-feed")
    assert [frame["type"] for frame in desk.tell(session, "subscribe", CHANNELS, product_id)] == ["subscriptions"]
    return session


def on_advanced(desk: CoinbaseDesk, product_id: str) -> Any:
    session = desk.open()
    for channel in ("level2", "market_trades", "ticker"):
        assert [frame["channel"] for frame in desk.say(session, "subscribe", channel, product_id)] == ["subscriptions"]
    return session


def told(frames: list[Any], channel: str, key: str) -> list[Any]:
    """(type of the event, its rows) of Advanced's messages of a channel."""
    return [(event["type"], event[key]) for frame in frames if frame["channel"] == channel for event in frame["events"]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CoinbaseDesk, list[bytes]]:
    """What cryptofeed's old recorder beside the synthetic exchange writes in 60 seconds; that exchange; the frames of market data."""
    desk = coinbase_desk(events_per_s=4.0)
    session = desk.open("/ws-feed")

    def at() -> str:
        return f"{desk.now_ns // 10**9}.{desk.now_ns % 10**9 // 1000:06d}"

    _, _, body = desk.dialect.handle_http("GET", "/products", "", {}, desk.now_ns)
    lines = [f"https://api.pro.coinbase.com/products -> {at()}: {body.decode()}", 'configuration: {"trades":["BTC-USD"]}']
    lines.append(f"wss://ws-feed.pro.coinbase.com <-> {at()}")
    asked = json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": [*CHANNELS, "heartbeat"]})
    session.outbox.extend(desk.dialect.on_text(session, asked.encode(), desk.now_ns))
    frames: list[bytes] = []
    for _ in range(600):
        for frame in session.outbox:
            lines.append(f"{at()}: {frame.decode()}")
            frames += [frame] if not frame.startswith((b'{"type":"heart', b'{"type":"subs')) else []
        session.outbox.clear()
        desk.wait(0.1)
    path = tmp_path_factory.mktemp("coinbase") / "COINBASE.0"
    path.write_text("\n".join(lines))
    return path, desk, frames


def test_a_recording_of_the_feed_knows_whose_it_is_and_what_it_holds(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    capture = read_capture(recording[0])
    assert capture.exchange == "coinbase"
    held = {(one.symbol, one.name) for one in capture.channels()}
    assert held == {("BTC-USD", "feed_depth"), ("BTC-USD", "feed_trade"), ("BTC-USD", "feed_ticker")}
    assert [answer.path for answer in capture.answers] == ["products"]


def test_the_feed_hears_every_frame_as_it_was(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    path, original, frames = recording
    desk = replay_desk(path)
    session = on_feed(desk, "BTC-USD")
    desk.wait(1)
    desk.wait(2)
    assert list(session.outbox) == frames
    assert desk.get("products") == original.get("products")
    here, there = (one.get("products/BTC-USD/trades", "limit=500") for one in (desk, original))
    known = {row["trade_id"]: row for row in there}
    assert len(here) > 100
    assert all(known.get(row["trade_id"], row) == row for row in here)
    book = desk.get("products/BTC-USD/book", "level=2")
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])


def test_advanced_hears_the_same_trades_and_books(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    path, _, frames = recording
    desk = replay_desk(path)
    session = on_advanced(desk, "BTC-USD")
    desk.wait(1)
    desk.wait(2)
    heard = desk.read(session)
    assert [frame["sequence_num"] for frame in heard] == list(range(3, 3 + len(heard)))
    recorded = [json.loads(frame) for frame in frames]
    trades = [row for _, rows in told(heard, "market_trades", "trades") for row in rows]
    matches = [frame for frame in recorded if frame["type"] in ("match", "last_match")]
    assert [(row["trade_id"], row["price"], row["size"], row["side"], row["time"]) for row in trades] == [
        (str(row["trade_id"]), row["price"], row["size"], row["side"].upper(), row["time"]) for row in matches
    ]
    (first, *_), *changes = (rows for rows in ([event] for event in told(heard, "l2_data", "updates")))
    assert first[0] == "snapshot"
    assert len(changes) == len([frame for frame in recorded if frame["type"] == "l2update"])
    sides: dict[str, dict[str, str]] = {"bid": {}, "offer": {}}
    for _, rows in told(heard, "l2_data", "updates"):
        for row in rows:
            sides[row["side"]][row["price_level"]] = row["new_quantity"]
    held = {side: {float(p): float(s) for p, s in rows.items() if float(s)} for side, rows in sides.items()}
    book = desk.ask("market/product_book", "product_id=BTC-USD")["pricebook"]
    assert {float(row["price"]): float(row["size"]) for row in book["bids"]} == held["bid"]
    assert {float(row["price"]): float(row["size"]) for row in book["asks"]} == held["offer"]
    ticker = [row for _, rows in told(heard, "ticker", "tickers") for row in rows][-1]
    last = [frame for frame in recorded if frame["type"] == "ticker"][-1]
    assert (ticker["price"], ticker["volume_24_h"], ticker["best_bid"]) == (last["price"], last["volume_24h"], last["best_bid"])
    row = desk.ask("market/products/BTC-USD")
    assert (row["price"], row["high_24h"], row["price_increment"]) == (last["price"], last["high_24h"], "0.01")


def test_a_reader_that_comes_midway_begins_with_the_book_so_far(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    desk = CoinbaseDesk(CoinbaseDialect(ReplayWorld(read_capture(recording[0]), speed=1.0, gather_s=1.0)))
    on_feed(desk, "BTC-USD")
    desk.wait(1)
    desk.wait(30)
    late = desk.open("/ws-feed")
    acked, book = desk.tell(late, "subscribe", ["level2_batch"], "BTC-USD")
    assert (acked["type"], book["type"]) == ("subscriptions", "snapshot")
    true = desk.get("products/BTC-USD/book", "level=2")
    assert book["bids"] == [row[:2] for row in true["bids"]]


@pytest.mark.parametrize("product_id", ["BTC-EUR", "ETH-USD", "BAT-USDC", "ETC-GBP", "YFI-USD", "BTC-USD"])
def test_real_messages_go_out_as_they_were(product_id: str) -> None:
    desk = replay_desk(REAL)
    session = on_feed(desk, product_id)
    desk.wait(1)
    for _ in range(20):
        desk.wait(600)
    assert desk.world.done
    assert desk.read(session) == real_frames(product_id)


def test_real_messages_are_told_to_advanced_in_its_words() -> None:
    desk = replay_desk(REAL)
    readers = {product_id: on_advanced(desk, product_id) for product_id in ("ETC-GBP", "BTC-EUR", "BAT-USDC", "YFI-USD", "BTC-USD")}
    heard: dict[str, list[Any]] = {product_id: [] for product_id in readers}
    desk.wait(1)
    for _ in range(200):
        desk.wait(60)
        for product_id, session in readers.items():
            heard[product_id] += desk.read(session)
    ((kind, (match,)),) = told(heard["ETC-GBP"], "market_trades", "trades")
    assert (kind, match) == ("update", {"product_id": "ETC-GBP", "trade_id": "216544", "price": "4.978", "size": "0.97133855",
                                        "time": "2019-08-01T00:00:03.816Z", "side": "BUY"})  # fmt: skip
    (row,) = desk.get("products/ETC-GBP/trades")
    assert (row["trade_id"], row["side"], row["price"]) == (216544, "buy", "4.978")
    first, second = told(heard["BTC-EUR"], "l2_data", "updates")
    assert [(one["side"], one["price_level"], one["new_quantity"]) for one in first[1]] == [("offer", "9202.54", "0.432")]
    assert [(one["side"], one["price_level"]) for one in second[1]] == [("bid", "9202.7"), ("offer", "9222.39")]
    assert not second[1][0]["event_time"].startswith("0001")
    ((kind, rows),) = told(heard["BAT-USDC"], "l2_data", "updates")
    assert (kind, [(one["side"], one["price_level"], one["new_quantity"]) for one in rows]) == (
        "snapshot", [("bid", "0.247175", "5299"), ("offer", "0.257175", "12")],
    )  # fmt: skip
    (event,) = told(heard["YFI-USD"], "l2_data", "updates")
    assert [one["new_quantity"] for one in event[1]] == ["0.020416", "0", "0.039985"]  # a size that was no number is none
    assert len(told(heard["BTC-USD"], "ticker", "tickers")) == 3
    assert set(desk.dialect.status(desk.now_ns)["partial_books"]) == {"spot BTC-EUR", "spot ETH-USD"}
