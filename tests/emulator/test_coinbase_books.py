"""Coinbase's streamed books: the whole book first, then what changes, and the number under which a reader stands."""

from __future__ import annotations

from typing import Any

import pytest
from coinbase_kit import CoinbaseDesk, coinbase_desk

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.time import parse_time

PRODUCTS = pytest.mark.parametrize(("product_id", "market"), [("BTC-USD", "spot"), ("BTC-PERP-INTX", "usdm")])
Sides = tuple[dict[float, float], dict[float, float]]


class Reader:
    """A client's books by product, and the number of the newest message about each."""

    def __init__(self) -> None:
        self.books: dict[str, Sides] = {}
        self.stands: dict[str, int] = {}

    def hear(self, frames: list[Any]) -> None:
        for frame in frames:
            if frame.get("channel") == "l2_data":
                for event in frame["events"]:
                    self._take(event)
                    self.stands[event["product_id"]] = frame["sequence_num"]

    def _take(self, event: Any) -> None:
        if event["type"] == "snapshot":
            self.books[event["product_id"]] = ({}, {})
        bids, asks = self.books[event["product_id"]]
        for row in event["updates"]:
            side = {"bid": bids, "offer": asks}[row["side"]]
            if float(row["new_quantity"]):
                side[float(row["price_level"])] = float(row["new_quantity"])
            else:
                side.pop(float(row["price_level"]), None)

    def best(self, product_id: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        bids, asks = self.books[product_id]
        return sorted(bids.items(), reverse=True), sorted(asks.items())


def true_book(desk: CoinbaseDesk, market: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    image = desk.world.book(desk.world.listings(market)["BTCUSDT"], 100_000)
    bids, asks = ([(price / 1e8, size / 1e8) for price, size in side] for side in (image.bids, image.asks))
    return bids, asks


@PRODUCTS
def test_the_snapshot_is_the_whole_book_and_updates_keep_it_so(product_id: str, market: str) -> None:
    desk, reader, equal = coinbase_desk(events_per_s=8.0), Reader(), 0
    session = desk.open()
    reader.hear(desk.say(session, "subscribe", "level2", product_id))
    assert reader.best(product_id) == true_book(desk, market)
    for _ in range(400):
        desk.wait(0.05)
        reader.hear(desk.read(session))
        truth = desk.dialect.book_of(product_id)
        if truth is not None:
            assert truth[0] == reader.stands[product_id]
            assert reader.best(product_id) == true_book(desk, market)
            equal += 1
    assert equal > 300


def test_updates_come_together_and_name_only_what_changed() -> None:
    desk = coinbase_desk(events_per_s=50.0)
    session = desk.open()
    desk.say(session, "subscribe", "level2", "BTC-USD")
    desk.wait(5)
    frames = desk.read(session)
    times = [parse_time(frame["timestamp"]) for frame in frames]
    assert all(at % 50_000_000 == 0 for at in times)
    assert len(set(times)) == len(times)
    rows = [row for frame in frames for row in frame["events"][0]["updates"]]
    assert {row["side"] for row in rows} == {"bid", "offer"}
    assert "0" in {row["new_quantity"] for row in rows}
    assert all(frame["events"][0]["updates"] for frame in frames)


def test_one_who_comes_later_stands_where_the_others_stand() -> None:
    desk, first, second = coinbase_desk(events_per_s=8.0), Reader(), Reader()
    one = desk.open()
    first.hear(desk.say(one, "subscribe", "level2", "BTC-USD"))
    desk.wait(5.03)
    first.hear(desk.read(one))
    other = desk.open()
    second.hear(desk.say(other, "subscribe", "level2", "BTC-USD"))
    assert second.best("BTC-USD") == first.best("BTC-USD")
    desk.wait(5)
    first.hear(desk.read(one))
    second.hear(desk.read(other))
    assert second.best("BTC-USD") == first.best("BTC-USD")
    desk.dialect.on_close(one)
    desk.wait(5)
    second.hear(desk.read(other))
    while (truth := desk.dialect.book_of("BTC-USD")) is None:
        desk.wait(0.05)
        second.hear(desk.read(other))
    assert truth[0] == second.stands["BTC-USD"]
    assert second.best("BTC-USD") == true_book(desk, "spot")


def test_a_lost_update_is_gone_for_its_reader_and_seen_by_the_number() -> None:
    desk, reader = coinbase_desk(events_per_s=8.0), Reader()
    session = desk.open()
    reader.hear(desk.say(session, "subscribe", "level2", "BTC-USD"))
    desk.dialect.faults.drop_frame(lambda frame: b'"update"' in frame)
    desk.wait(0.5)
    frames = desk.read(session)
    assert frames[0]["sequence_num"] == 3  # 0 the snapshot, 1 the answer, 2 lost
    reader.hear(frames)
    again = Reader()
    again.hear(desk.say(desk.open(), "subscribe", "level2", "BTC-USD"))
    assert again.best("BTC-USD") != reader.best("BTC-USD")


def test_nobody_reads_nobody_stands() -> None:
    desk = coinbase_desk()
    assert desk.dialect.book_of("BTC-USD") is None
    assert desk.dialect.book_of("NOPE-USD") is None
    session = desk.open()
    desk.say(session, "subscribe", "level2", "BTC-USDC")
    assert desk.dialect.book_of("BTC-USD") == desk.dialect.book_of("BTC-USDC") != None  # noqa: E711
    desk.say(session, "unsubscribe", "level2", "BTC-USDC")
    assert desk.dialect.book_of("BTC-USD") is None


def test_books_never_begin_anew() -> None:
    with pytest.raises(BadInput, match="belong to the connection"):
        coinbase_desk().dialect.restart_books()


def test_the_feeds_book_is_the_worlds_and_has_no_number() -> None:
    desk = coinbase_desk(events_per_s=8.0)
    session = desk.open("/ws-feed")
    acked, snapshot = desk.tell(session, "subscribe", ["level2_batch"], "BTC-USD")
    assert (acked["type"], snapshot["type"]) == ("subscriptions", "snapshot")
    books = {"buy": dict(snapshot["bids"]), "sell": dict(snapshot["asks"])}
    equal = 0
    for _ in range(200):
        desk.wait(0.05)
        for frame in desk.read(session):
            assert frame["type"] == "l2update"
            assert "sequence" not in frame
            for side, price, size in frame["changes"]:
                if float(size):
                    books[side][price] = size
                else:
                    books[side].pop(price, None)
        truth = desk.dialect.book_of("BTC-USD", "level2_batch")
        if truth is not None:
            held = [{float(p): float(s) for p, s in side.items()} for side in books.values()]
            assert held == [dict(side) for side in true_book(desk, "spot")]
            assert truth[0] == -1
            equal += 1
    assert equal > 150
