"""Bybit's books: a snapshot, then changes whose `u` rises by one, and the market's own book at every step."""

from __future__ import annotations

from typing import Any

import pytest
from bybit_kit import BybitDesk, bybit_desk

Side = dict[float, float]


class Reader:
    """Follows the rule of the exchange's documentation, word for word."""

    def __init__(self) -> None:
        self.sides: dict[str, Side] = {"b": {}, "a": {}}
        self.update = 0
        self.snapshots = 0

    def take(self, frame: Any) -> None:
        data = frame["data"]
        if frame["type"] == "snapshot":
            self.sides, self.snapshots = {"b": {}, "a": {}}, self.snapshots + 1
        else:
            assert data["u"] == self.update + 1
        self.update = data["u"]
        for side, levels in self.sides.items():
            for price, size in data[side]:
                if float(size):
                    levels[float(price)] = float(size)
                else:
                    del levels[float(price)]

    def whole(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        return sorted(self.sides["b"].items(), reverse=True), sorted(self.sides["a"].items())


def shown(image: Any) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    bids, asks = ([(price / 1e8, size / 1e8) for price, size in side] for side in (image.bids, image.asks))
    return bids, asks


@pytest.fixture
def desk() -> BybitDesk:
    return bybit_desk(events_per_s=10.0)


def follow(desk: BybitDesk, session: Any, reader: Reader, topic: str, seconds: float) -> int:
    """Read for a while; how often the reader's book was compared with the market's."""
    compared = 0
    _, levels, symbol = topic.split(".")
    for _ in range(int(seconds / 0.1)):
        desk.wait(0.1)
        for frame in desk.read(session):
            reader.take(frame)
        truth = desk.dialect.book_of(session.category, symbol, int(levels))
        if truth is not None:
            assert (truth[0], shown(truth[1])) == (reader.update, reader.whole())
            compared += 1
    return compared


@pytest.mark.parametrize("category", ["spot", "linear"])
@pytest.mark.parametrize("levels", [50, 200, 1000])
def test_changes_make_the_markets_book(desk: BybitDesk, category: str, levels: int) -> None:
    topic, reader, session = f"orderbook.{levels}.BTCUSDT", Reader(), desk.open(category)
    _, first = desk.ask(session, "subscribe", topic)
    reader.take(first)
    assert follow(desk, session, reader, topic, 20) > 100
    assert reader.snapshots == 1


def test_one_level_comes_whole_each_time(desk: BybitDesk) -> None:
    reader, session = Reader(), desk.open("linear")
    reader.take(desk.ask(session, "subscribe", "orderbook.1.BTCUSDT")[1])
    follow(desk, session, reader, "orderbook.1.BTCUSDT", 20)
    assert reader.snapshots > 10


def test_a_second_reader_goes_on_with_the_first_ones_number(desk: BybitDesk) -> None:
    topic, first, second = "orderbook.50.BTCUSDT", Reader(), Reader()
    one, other = desk.open(), desk.open()
    first.take(desk.ask(one, "subscribe", topic)[1])
    follow(desk, one, first, topic, 5)
    second.take(desk.ask(other, "subscribe", topic)[1])
    assert second.update == first.update
    assert second.whole() == first.whole()
    desk.ask(one, "unsubscribe", topic)
    assert follow(desk, other, second, topic, 5) > 20


def test_a_book_that_nobody_read_for_a_while_does_not_begin_anew(desk: BybitDesk) -> None:
    topic, reader, session = "orderbook.50.BTCUSDT", Reader(), desk.open()
    reader.take(desk.ask(session, "subscribe", topic)[1])
    follow(desk, session, reader, topic, 2)
    desk.ask(session, "unsubscribe", topic)
    assert desk.dialect.book_of("spot", "BTCUSDT", 50) is None
    _, again = desk.ask(session, "subscribe", topic)
    assert (again["type"], again["data"]["u"]) == ("snapshot", reader.update + 1)


def test_a_restart_of_the_service_begins_at_one(desk: BybitDesk) -> None:
    topic, reader, session = "orderbook.50.BTCUSDT", Reader(), desk.open()
    reader.take(desk.ask(session, "subscribe", topic)[1])
    desk.dialect.restart_books()
    assert follow(desk, session, reader, topic, 10) > 50
    assert reader.snapshots == 2
    assert reader.update < 200


def test_rest_tells_the_number_of_a_thousand_levels(desk: BybitDesk) -> None:
    session = desk.open()
    _, first = desk.ask(session, "subscribe", "orderbook.1000.BTCUSDT")
    assert desk.get("orderbook", "category=spot&symbol=BTCUSDT")["u"] == first["data"]["u"]
    assert desk.get("orderbook", "category=spot&symbol=ETHUSDT")["u"] > 0


def test_the_book_of_a_delisted_symbol_is_nobodys(desk: BybitDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", "orderbook.50.SOLUSDT")
    desk.world.delist("spot", "SOLUSDT")
    assert desk.dialect.book_of("spot", "SOLUSDT", 50) is None
