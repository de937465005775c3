"""Bybit's rule of continuity: the venue's worked example, and recorded books with any one message missing."""

from __future__ import annotations

import pytest

from venues.bybit_parts import BTC, ETH, book, books_of, parser, recorded_ob500, recorded_spot
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.engine.book import BookSync
from zvt_crypto.venues.bybit.book import CONTINUITY, REPEATS_MOST

XRP = "cryptoperp_bybit_xrpusdt"


class Follower:
    """A book fed with raw messages."""

    def __init__(self, instrument: str = BTC, category: str = "spot") -> None:
        self.sync = BookSync(instrument, CONTINUITY)
        self.parser = parser(category)

    def take(self, raw: bytes) -> list:
        (news,) = self.parser.parse(raw, 1)
        return self.sync.on_stream_snapshot(news) if isinstance(news, BookSnapshot) else self.sync.on_delta(news)

    @property
    def state(self) -> tuple:
        return self.sync.book.is_valid, self.sync.book.last_id, self.sync.book.top(1_000)


def kinds(events: list) -> list[type]:
    return [type(event) for event in events]


def test_the_worked_example():
    follower = Follower()
    assert kinds(follower.take(book("snapshot", 100, [["10", "1"]], [["11", "1"]]))) == [BookSnapshot]
    assert kinds(follower.take(book("delta", 101, [["10", "2"]]))) == [BookDelta]
    assert follower.take(book("delta", 101, [["10", "9"]])) == []  # it came twice
    assert follower.sync.book.top(1) == ([(10.0, 2.0)], [(11.0, 1.0)])
    (stale,) = follower.take(book("delta", 103, [["10", "5"]]))
    assert isinstance(stale, BookStale)
    assert "after update 101: the next message holds 103" in stale.reason
    assert follower.take(book("delta", 104)) == []
    assert kinds(follower.take(book("snapshot", 1, [["9", "1"]], [["12", "1"]]))) == [BookSnapshot]
    assert kinds(follower.take(book("delta", 2, [["9", "0"]]))) == [BookDelta]
    assert follower.state == (True, 2, ([], [(12.0, 1.0)]))


def test_any_snapshot_replaces_a_valid_book():
    follower = Follower()
    follower.take(book("snapshot", 100, [["10", "1"]], [["11", "1"]]))
    assert kinds(follower.take(book("snapshot", 500, [["20", "1"]], [["21", "1"]]))) == [BookSnapshot]
    assert follower.state == (True, 500, ([(20.0, 1.0)], [(21.0, 1.0)]))


def test_a_count_that_began_anew_without_a_snapshot_is_a_gap_and_no_repetition():
    follower = Follower()
    follower.take(book("snapshot", 100_000, [["10", "1"]], [["11", "1"]]))
    assert follower.take(book("delta", 100_000 - REPEATS_MOST + 1)) == []
    assert kinds(follower.take(book("delta", 100_000 - REPEATS_MOST))) == [BookStale]


RECORDINGS = {
    "btc": (BTC, "spot", books_of([raw for _, raw in recorded_spot()], "BTCUSDT")),
    "eth": (ETH, "spot", books_of([raw for _, raw in recorded_spot()], "ETHUSDT")),
    "xrp": (XRP, "linear", recorded_ob500()),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_book_is_unbroken_and_as_deep_as_its_topic(name):
    instrument, category, frames = RECORDINGS[name]
    follower = Follower(instrument, category)
    depth = 500 if name == "xrp" else 200
    for raw in frames:
        assert len(follower.take(raw)) == 1
        _, _, (bids, asks) = follower.state
        # The venue keeps its own to the topic's depth: one level too many or too few, and ours were wrong.
        assert (len(bids), len(asks)) == (depth, depth)
        assert bids[0][0] < asks[0][0]


@pytest.mark.parametrize("name", RECORDINGS)
def test_any_one_lost_message_shows_on_the_next(name):
    instrument, category, frames = RECORDINGS[name]
    for lost in range(1, min(len(frames) - 1, 80)):
        follower = Follower(instrument, category)
        for raw in frames[:lost]:
            follower.take(raw)
        assert kinds(follower.take(frames[lost + 1])) == [BookStale], lost
        assert follower.state[0] is False
        assert all(follower.take(raw) == [] for raw in frames[lost + 2 : lost + 6])


@pytest.mark.parametrize("name", RECORDINGS)
def test_without_its_snapshot_nothing_comes_out(name):
    instrument, category, frames = RECORDINGS[name]
    follower = Follower(instrument, category)
    assert all(follower.take(raw) == [] for raw in frames[1:10])
