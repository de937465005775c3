"""OKX's books: the chain of ids, snapshots in band, keep-alives, maintenance, the window of 400 levels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from okx_kit import OkxDesk, okx_desk

from zvt_crypto.emulator.model import BookImage, Depth
from zvt_crypto.emulator.okx import books
from zvt_crypto.emulator.okx.books import BookFeed


class Client:
    """Follows `books` as the documentation says; what it asserts is what a client may rely on."""

    def __init__(self) -> None:
        self.seq_id = 0
        self.frames = 0
        self.sides: dict[str, dict[str, str]] = {}

    def read(self, frames: list[Any]) -> None:
        for frame in frames:
            (data,) = frame["data"]
            if frame["action"] == "snapshot":
                assert data["prevSeqId"] == -1
                self.sides = {"asks": {}, "bids": {}}
            else:
                assert data["prevSeqId"] == self.seq_id
            assert data["checksum"] == 0
            for side, held in self.sides.items():
                for price, size, zero, orders in data[side]:
                    assert (zero, orders == "0") == ("0", size == "0")
                    if size == "0":
                        held.pop(price, None)
                    else:
                        held[price] = size
            self.seq_id = data["seqId"]
            self.frames += 1

    def book(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        bids, asks = ([(float(price), float(size)) for price, size in self.sides[side].items()] for side in ("bids", "asks"))
        return sorted(bids, reverse=True), sorted(asks)


def truth(image: BookImage, unit: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    bids, asks = ([(price / 1e8, round(size / unit, 8)) for price, size in side] for side in (image.bids, image.asks))
    return bids, asks


@pytest.fixture
def desk() -> OkxDesk:
    return okx_desk(events_per_s=8.0)


@pytest.mark.parametrize(("inst_id", "unit"), [("BTC-USDT", 1e8), ("BTC-USDT-SWAP", 1e6)])
def test_a_client_that_follows_the_chain_holds_the_worlds_book(desk: OkxDesk, inst_id: str, unit: float) -> None:
    session, client = desk.open(), Client()
    client.read(desk.ask(session, "subscribe", ("books", inst_id))[1:])
    compared = 0
    for _ in range(200):
        desk.wait(0.1)
        client.read(desk.read(session))
        held = desk.dialect.book_of(inst_id)
        if held is not None:
            assert (client.seq_id, client.book()) == (held[0], truth(held[1], unit))
            compared += 1
    assert compared == 200  # on the grid of the frames the world has not moved since
    assert client.frames > 50


def test_between_two_frames_nothing_is_claimed(desk: OkxDesk) -> None:
    desk.ask(desk.open(), "subscribe", ("books", "BTC-USDT"))
    claims = []
    for _ in range(200):
        desk.wait(0.037)
        claims.append(desk.dialect.book_of("BTC-USDT") is None)
    assert any(claims)
    assert not all(claims)


def test_a_later_reader_gets_what_the_others_hold_and_goes_on_with_them(desk: OkxDesk) -> None:
    first, early = desk.open(), Client()
    early.read(desk.ask(first, "subscribe", ("books", "BTC-USDT"))[1:])
    desk.wait(3.05)
    early.read(desk.read(first))
    second, late = desk.open(), Client()
    late.read(desk.ask(second, "subscribe", ("books", "BTC-USDT"))[1:])
    assert (late.seq_id, late.book()) == (early.seq_id, early.book())
    desk.wait(5)
    early.read(desk.read(first))
    late.read(desk.read(second))
    assert (late.seq_id, late.book()) == (early.seq_id, early.book())


def test_resubscribing_brings_a_fresh_snapshot(desk: OkxDesk) -> None:
    session, client = desk.open(), Client()
    desk.ask(session, "subscribe", ("books", "BTC-USDT"))
    desk.wait(5)
    desk.read(session)
    desk.ask(session, "unsubscribe", ("books", "BTC-USDT"))
    desk.wait(5)
    client.read(desk.ask(session, "subscribe", ("books", "BTC-USDT"))[1:])
    desk.wait(5)
    client.read(desk.read(session))
    held = desk.dialect.book_of("BTC-USDT")
    assert held is not None
    assert (client.seq_id, client.book()) == (held[0], truth(held[1], 1e8))


def test_after_a_minute_without_change_the_same_id_comes_twice() -> None:
    desk = okx_desk(events_per_s=0.001)
    session, client = desk.open(), Client()
    client.read(desk.ask(session, "subscribe", ("books", "BTC-USDT"))[1:])
    desk.wait(150, step=1)
    frames = desk.read(session)
    quiet = [frame["data"][0] for frame in frames if not frame["data"][0]["asks"] + frame["data"][0]["bids"]]
    assert len(quiet) == 2
    assert all(data["prevSeqId"] == data["seqId"] for data in quiet)
    client.read(frames)


def test_the_keep_alive_is_due_when_it_is_due() -> None:
    desk = okx_desk(events_per_s=0.001)
    desk.ask(desk.open(), "subscribe", ("books", "BTC-USDT"))
    due = desk.dialect.next_due_ns(desk.now_ns)
    assert due is not None
    assert due - desk.now_ns <= 60_000_000_000


def test_after_maintenance_ids_are_small_and_the_chain_holds(desk: OkxDesk) -> None:
    session, client = desk.open(), Client()
    client.read(desk.ask(session, "subscribe", ("books", "BTC-USDT-SWAP"), ("books5", "BTC-USDT-SWAP"))[1:2])
    desk.wait(5)
    frames = desk.read(session)
    client.read([frame for frame in frames if frame["arg"]["channel"] == "books"])
    before = client.seq_id
    desk.dialect.restart_books()
    desk.wait(5)
    frames = desk.read(session)
    first = next(frame["data"][0] for frame in frames if frame["arg"]["channel"] == "books")
    assert (first["prevSeqId"], first["seqId"] < 1_000) == (before, True)
    client.read([frame for frame in frames if frame["arg"]["channel"] == "books"])
    assert client.seq_id == desk.dialect.book_of("BTC-USDT-SWAP")[0]  # type: ignore[index]
    assert max(frame["data"][0]["seqId"] for frame in frames if frame["arg"]["channel"] == "books5") < 1_000_000


@pytest.mark.parametrize(("channel", "count"), [("books5", 5), ("bbo-tbt", 1)])
def test_small_books_are_whole_pictures_without_an_action(desk: OkxDesk, channel: str, count: int) -> None:
    session = desk.open()
    _, first = desk.ask(session, "subscribe", (channel, "BTC-USDT"))
    assert "action" not in first
    assert [len(first["data"][0][side]) for side in ("asks", "bids")] == [count, count]
    assert "checksum" not in first["data"][0]
    assert ("instId" in first["data"][0]) == (channel == "books5")
    second = desk.ask(desk.open(), "subscribe", (channel, "BTC-USDT"))[1]
    assert second["data"] == first["data"]
    for _ in range(50):
        desk.wait(0.1)
        frames = desk.read(session)
        held = desk.dialect.book_of("BTC-USDT", channel)
        if frames and held is not None:
            data = frames[-1]["data"][0]
            shown = [[(float(p), float(s)) for p, s, _, _ in data[side]] for side in ("bids", "asks")]
            assert (data["seqId"], *shown) == (held[0], *truth(held[1], 1e8))


def test_a_book_that_nobody_reads_is_not_told_of(desk: OkxDesk) -> None:
    assert desk.dialect.book_of("BTC-USDT") is None
    assert desk.dialect.book_of("BTC-USDT", "books5") is None


def test_a_delisted_book_falls_silent(desk: OkxDesk) -> None:
    session = desk.open()
    desk.ask(session, "subscribe", ("books", "BTC-USDT"), ("trades", "BTC-USDT"))
    desk.wait(5)
    desk.world.delist("spot", "BTCUSDT")
    desk.read(session)
    desk.wait(5)
    assert desk.read(session) == []
    assert desk.dialect.book_of("BTC-USDT") is None
    assert desk.ask(session, "subscribe", ("books5", "BTC-USDT"))[0]["code"] == "60018"
    desk.dialect.on_close(session)


# ── The window ────────────────────────────────────────────────────────────────────────────────────────────────────────

SIDE = st.dictionaries(st.integers(1, 30), st.integers(1, 9), max_size=20)
CHANGES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), max_size=12).map(lambda rows: list(dict(rows).items()))


@settings(max_examples=300, deadline=None)
@given(SIDE, SIDE, st.lists(st.tuples(CHANGES, CHANGES), max_size=8))
def test_a_reader_of_the_window_holds_the_best_levels_whatever_changes(
    bids: dict[int, int], asks: dict[int, int], steps: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "LEVELS", 5)
        feed = BookFeed(BookImage(100, 0, list(bids.items()), list(asks.items())), 0, 0)
        held = {"bids": dict(feed.image(0).bids), "asks": dict(feed.image(0).asks)}
        whole = {"bids": dict(bids), "asks": dict(asks)}
        for step, (bid_rows, ask_rows) in enumerate(steps):
            told = feed.update(Depth(0, 101 + step, 0, 0, bid_rows, ask_rows))
            for side, rows, sent in (("bids", bid_rows, told[0].bids if told else []), ("asks", ask_rows, told[0].asks if told else [])):
                for price, size in rows:
                    whole[side].pop(price, None) if size == 0 else whole[side].update({price: size})
                for price, size in sent:
                    held[side].pop(price, None) if size == 0 else held[side].update({price: size})
            assert held["bids"] == dict(sorted(whole["bids"].items(), reverse=True)[:5])
            assert held["asks"] == dict(sorted(whole["asks"].items())[:5])
            assert (told is None) or told[0].bids or told[0].asks


def test_what_changes_outside_of_the_window_makes_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "LEVELS", 2)
    feed = BookFeed(BookImage(10, 0, [(9, 1), (8, 1), (7, 1)], []), 0, 0)
    assert feed.update(Depth(11, 11, 10, 0, [(7, 5)], [])) is None
    told = feed.update(Depth(12, 12, 11, 0, [(9, 0)], []))
    assert told == (BookImage(12, 0, [(9, 0), (7, 5)], []), 10, 12)
