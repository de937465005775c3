"""Recordings of Coinbase's Advanced Trade: read, played as received under the connection's own numbers, and answered about by REST."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from coinbase_kit import ADVANCED, CoinbaseDesk, coinbase_desk
from emulator_kit import START_NS

from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.coinbase.dialect import CoinbaseDialect
from zvt_crypto.emulator.replay import ReplayWorld

PERP = "BTC-PERP-INTX"
LISTENED = (
    ("level2", "BTC-USD"),
    ("level2", PERP),
    ("market_trades", "BTC-USD"),
    ("market_trades", PERP),
    ("ticker", "BTC-USD"),
    ("candles", "BTC-USD"),
)
NUMBER = re.compile(rb'"sequence_num":(\d+)')


def line(at_ns: int, **record: Any) -> str:
    return json.dumps({**record, "ts": at_ns / 1e9}, separators=(",", ":"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CoinbaseDesk, list[bytes]]:
    """What a recorder beside the synthetic exchange writes in 90 seconds; that exchange; the frames of market data."""
    desk = coinbase_desk(events_per_s=4.0)
    session = desk.open()
    lines = [line(START_NS, t="header", exchange="COINBASE")]
    for kind in ("SPOT", "FUTURE"):
        _, _, body = desk.dialect.handle_http("GET", ADVANCED + "market/products", f"product_type={kind}", {}, desk.now_ns)
        lines.append(
            line(START_NS, t="http", url=f"https://api.coinbase.com{ADVANCED}market/products?product_type={kind}", data=body.decode())
        )
    lines.append(line(START_NS, t="http", url=f"https://api.coinbase.com{ADVANCED}time", data="{}"))
    lines.append(line(START_NS, t="connect", conn="a", addr="wss://advanced-trade-ws.coinbase.com"))
    told = list(desk.dialect.on_text(session, b'{"type":"subscribe","channel":"heartbeats"}', desk.now_ns))
    for channel, product_id in LISTENED:
        asked = json.dumps({"type": "subscribe", "channel": channel, "product_ids": [product_id]})
        told += desk.dialect.on_text(session, asked.encode(), desk.now_ns)
    session.outbox.extend(told)
    frames: list[bytes] = []
    for _ in range(900):
        for frame in session.outbox:
            lines.append(line(desk.now_ns, t="recv", conn="a", data=frame.decode()))
            frames += [frame] if not frame.startswith((b'{"channel":"heart', b'{"channel":"subs')) else []
        session.outbox.clear()
        desk.wait(0.1)
    path = tmp_path_factory.mktemp("coinbase") / "coinbase.jsonl"
    path.write_text("\n".join(lines))
    return path, desk, frames


def replay_desk(path: Path, **more: Any) -> CoinbaseDesk:
    return CoinbaseDesk(CoinbaseDialect(ReplayWorld(read_capture(path), **{"speed": 1.0, "gather_s": 1.0, **more})))


def listen(desk: CoinbaseDesk, *wanted: tuple[str, str]) -> Any:
    session = desk.open()
    for channel, product_id in wanted:
        assert desk.say(session, "subscribe", channel, product_id)[-1]["channel"] == "subscriptions"
    return session


def unnumbered(frames: Any) -> list[bytes]:
    return [NUMBER.sub(b"", frame) for frame in frames]


def test_a_recording_knows_whose_it_is_and_what_it_holds(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    capture = read_capture(recording[0])
    assert capture.exchange == "coinbase"
    assert {(one.market, one.symbol, one.name) for one in capture.channels()} == {
        ("spot", "BTC-USD", "depth"), ("spot", "BTC-USD", "trade"), ("spot", "BTC-USD", "ticker"), ("spot", "BTC-USD", "kline_5m"),
        ("usdm", PERP, "depth"), ("usdm", PERP, "trade"),
    }  # fmt: skip
    assert [answer.path for answer in capture.answers] == ["market/products SPOT", "market/products FUTURE"]


def test_frames_go_out_in_their_order_under_the_numbers_of_the_new_connection(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    path, _, frames = recording
    desk = replay_desk(path)
    session = listen(desk, *LISTENED)
    (acked,) = desk.say(session, "subscribe", "heartbeats")
    desk.wait(1)
    desk.wait(120)
    heard = [frame for frame in session.outbox if not frame.startswith(b'{"channel":"heartbeats"')]
    assert unnumbered(heard) == unnumbered(frames)
    numbers = [int(found[1]) for frame in session.outbox if (found := NUMBER.search(frame))]
    assert sorted([*numbers, acked["sequence_num"]]) == list(range(len(LISTENED), len(LISTENED) + 1 + len(session.outbox)))
    assert numbers == sorted(numbers)
    assert len(heard) < len(session.outbox)
    assert desk.world.done


def test_after_the_last_frame_rest_tells_what_the_exchange_told(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    path, original, _ = recording
    desk = replay_desk(path)
    listen(desk, *LISTENED)
    desk.wait(1)
    desk.wait(120)
    for one in (desk, original):
        one.wait(2)
    for product_id in ("BTC-USD", PERP):
        seen, true = (one.ask("market/product_book", f"product_id={product_id}&limit=20")["pricebook"] for one in (desk, original))
        # What changed in the last fraction of a second was not recorded.
        assert len([row for row in seen["bids"] if row in true["bids"]]) > 10
    here, there = (one.get("products/BTC-USD/trades", "limit=200") for one in (desk, original))
    assert len(here) > 150
    known = {row["trade_id"]: row for row in there}
    assert all(known[row["trade_id"]] == row for row in here if row["trade_id"] in known)
    assert len([row for row in here if row["trade_id"] in known]) > 100
    assert len(desk.ask(f"market/products/{PERP}/ticker", "limit=50")["trades"]) == 50
    assert desk.ask("market/products/BTC-USD")["volume_24h"] != ""
    minute = START_NS // 10**9
    rows = [
        one.ask("market/products/BTC-USD/candles", f"start={minute}&end={minute}&granularity=ONE_MINUTE")["candles"]
        for one in (desk, original)
    ]
    assert rows[0] == rows[1]
    assert int(desk.ask("time")["epochSeconds"]) >= minute + 85


def test_products_are_the_recorded_answer(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    path, original, _ = recording
    desk = replay_desk(path)
    for kind in ("SPOT", "FUTURE"):
        seen, true = (one.ask("market/products", f"product_type={kind}")["products"] for one in (desk, original))
        assert [row["product_id"] for row in seen] == [row["product_id"] for row in true]
    (one,) = desk.ask("market/products", "product_ids=BTC-USD")["products"]
    assert (one["price_increment"], one["base_increment"], one["quote_currency_id"]) == ("0.01", "0.00001", "USD")
    assert desk.ask(f"market/products/{PERP}")["product_type"] == "FUTURE"


def test_a_reader_that_comes_midway_begins_with_the_book_so_far(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    desk = replay_desk(recording[0])
    listen(desk, ("level2", "BTC-USD"))
    desk.wait(1)
    desk.wait(30)
    late = desk.open()
    snapshot, acked = desk.say(late, "subscribe", "level2", "BTC-USD")
    assert (snapshot["channel"], snapshot["events"][0]["type"], acked["channel"]) == ("l2_data", "snapshot", "subscriptions")
    whole = desk.ask("market/product_book", "product_id=BTC-USD")["pricebook"]
    told = [(row["price_level"], row["new_quantity"]) for row in snapshot["events"][0]["updates"] if row["side"] == "bid"]
    assert told == [(row["price"], row["size"]) for row in whole["bids"]]
    desk.wait(10)
    assert {frame["events"][0]["type"] for frame in desk.read(late)} == {"update"}


def test_what_was_not_recorded_is_acknowledged_and_silent(recording: tuple[Path, CoinbaseDesk, list[bytes]]) -> None:
    desk = replay_desk(recording[0])
    session = desk.open()
    assert [frame["channel"] for frame in desk.say(session, "subscribe", "ticker_batch", "BTC-USD")] == ["subscriptions"]
    assert [frame["channel"] for frame in desk.say(session, "unsubscribe", "ticker_batch", "BTC-USD")] == ["subscriptions"]
    assert desk.say(session, "subscribe", "level2", "DOGE-USD")[0]["type"] == "error"
    feed = desk.open("/ws-feed")
    assert [frame["type"] for frame in desk.tell(feed, "subscribe", ["matches"], "BTC-USD")] == ["subscriptions"]


def test_a_book_without_a_recorded_snapshot_is_called_partial(recording: tuple[Path, CoinbaseDesk, list[bytes]], tmp_path: Path) -> None:
    kept = [text for text in recording[0].read_text().splitlines() if "snapshot" not in text]
    kept = [text for text in kept if "market/products" not in text]
    kept.append(line(START_NS, t="http", url=f"https://api.coinbase.com{ADVANCED}market/products", data='{"error":"INTERNAL"}'))
    path = tmp_path / "late.jsonl"
    path.write_text("\n".join(kept))
    desk = replay_desk(path)
    assert desk.dialect.status(desk.now_ns)["partial_books"] == ["spot BTC-USD", f"usdm {PERP}"]
    assert [row["product_id"] for row in desk.ask("market/products")["products"]] == ["BTC-USD"]
    listen(desk, ("market_trades", "BTC-USD"))
    desk.wait(1)
    desk.wait(60)
    day = desk.get("products/BTC-USD/stats")
    assert float(day["last"]) == float(desk.get("products/BTC-USD/trades", "limit=1")[0]["price"])


@pytest.mark.data
def test_a_real_recording_is_played_whole(recorded: Path) -> None:
    """Coinbase of August 2026: two books of 46,000 and 23,000 levels, trades, tickers and candles of one connection."""
    desk = replay_desk(recorded / "derived_split" / "COINBASE_first_320_lines_DEV.jsonl.zst")
    capture = desk.world.capture
    names = ("BTC-USD", "ETH-USD")
    assert (capture.exchange, {frame.symbol for frame in capture.frames}) == ("coinbase", set(names))
    session = listen(desk, *[(channel, name) for name in names for channel in ("level2", "market_trades", "ticker", "candles")])
    desk.wait(1)
    desk.wait(60)
    assert unnumbered(session.outbox) == unnumbered(frame.payload for frame in capture.frames)
    assert len(session.outbox) == 116 + 112 + 26 + 22 + 14 + 6 + 2 + 2
    for name in names:
        book = desk.ask("market/product_book", f"product_id={name}")["pricebook"]
        assert (len(book["bids"]) > 5_000, len(book["asks"]) > 10_000) == (True, True)
        assert float(book["bids"][0]["price"]) < float(book["asks"][0]["price"])
    ticker = json.loads([frame for frame in session.outbox if b'"ticker"' in frame and b"BTC-USD" in frame][-1])["events"][0]["tickers"][0]
    row = desk.ask("market/products/BTC-USD")
    assert (row["price"], row["volume_24h"], row["high_24h"]) == (ticker["price"], ticker["volume_24_h"], ticker["high_24_h"])
    assert desk.ask("market/products")["num_products"] == 920
