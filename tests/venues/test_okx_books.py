"""OKX's books: the worked example of the rules, and a recorded stream proved by the checksums that the venue sent along then."""

from __future__ import annotations

import json
import random
import zlib

import pytest

from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.engine.book import Book, BookSync
from zvt_crypto.venues.okx.book import CONTINUITY
from zvt_crypto.venues.okx.parse import FrameParser
from zvt_crypto.venues.okx.units import traded, traded_of

BOOK = "cryptopair_okx_btcusdt"
NATIVES = ("BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527")


def snapshot(seq: int) -> BookSnapshot:
    return BookSnapshot(BOOK, seq, [(10.0, 1.0)], [(11.0, 1.0)], 1)


def update(prev: int | None, seq: int, size: float | None = 2.0) -> BookDelta:
    return BookDelta(BOOK, seq, seq, prev, [] if size is None else [(10.0, size)], [], 2)


# ── The rules ──


def test_the_worked_example():
    sync = BookSync(BOOK, CONTINUITY)
    assert sync.on_stream_snapshot(snapshot(1000)) == [snapshot(1000)]
    assert sync.on_delta(update(1000, 1093)) == [update(1000, 1093)]
    keep_alive = update(1093, 1093, None)
    assert sync.on_delta(keep_alive) == [keep_alive]
    after_maintenance = update(1093, 7)
    assert sync.on_delta(after_maintenance) == [after_maintenance]
    assert sync.book.last_id == 7
    (stale,) = sync.on_delta(update(9, 12))
    assert isinstance(stale, BookStale)
    assert "after 9" in stale.reason
    assert sync.book.top(1) == ([], [])
    # Nothing is served until the snapshot that a new subscription brings.
    assert sync.on_delta(update(12, 13)) == []
    assert sync.on_stream_snapshot(snapshot(2000)) == [snapshot(2000)]
    assert sync.on_delta(update(2000, 2001)) == [update(2000, 2001)]


def test_a_repetition_is_ignored_and_one_of_longer_ago_is_a_gap():
    sync = BookSync(BOOK, CONTINUITY)
    sync.on_stream_snapshot(snapshot(1000))
    sync.on_delta(update(1000, 1010))
    sync.on_delta(update(1010, 1020))
    assert sync.on_delta(update(1010, 1020)) == []
    assert sync.book.is_valid
    assert isinstance(sync.on_delta(update(1000, 1010))[0], BookStale)


def test_an_update_without_ids_continues_nothing():
    sync = BookSync(BOOK, CONTINUITY)
    sync.on_stream_snapshot(snapshot(1000))
    assert isinstance(sync.on_delta(update(None, 1000))[0], BookStale)


def test_a_crossed_book_is_stale():
    sync = BookSync(BOOK, CONTINUITY)
    sync.on_stream_snapshot(snapshot(1000))
    crossed = BookDelta(BOOK, 1001, 1001, 1000, [(11.5, 1.0)], [], 2)
    assert isinstance(sync.on_delta(crossed)[0], BookStale)


# ── The recording ──


@pytest.fixture(scope="module")
def recorded_books(okx) -> dict[str, list[bytes]]:
    """Native symbol → its frames of `books`."""
    begins = {native: f'{{"arg":{{"channel":"books","instId":"{native}"}}'.encode() for native in NATIVES}
    return {native: [raw for _, raw in okx.frames if raw.startswith(begin)] for native, begin in begins.items()}


def checksum_of(book: Book, in_contracts) -> int:
    """The venue's CRC32 of the best 25 levels a side, in turns: `bid:size:ask:size:…` as the venue writes the numbers."""
    bids, asks = book.top(25)
    parts = []
    for rank in range(25):
        for side in (bids, asks):
            if rank < len(side):
                price, size = side[rank]
                parts += [decimal_text(price), decimal_text(in_contracts(size, price))]
    crc = zlib.crc32(":".join(parts).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def test_the_checksum_is_the_venues():
    book = Book(BOOK)
    book.load(BookSnapshot(BOOK, 1, [(3366.1, 7.0), (3366.0, 6.0)], [(3366.8, 9.0), (3368.0, 8.0), (3372.0, 8.0)], 1))
    assert checksum_of(book, lambda size, _price: size) == 1362239393


@pytest.mark.parametrize(("native", "frames"), [("BTC-USDT", 98), ("UNI-USD-SWAP", 93), ("BTC-USD-220527", 99)])
def test_the_rebuilt_book_matches_every_checksum_of_the_recording(okx, recorded_books, native, frames):
    of = traded(okx.listed.resolve(native, "okx"))
    parser, book, matched = FrameParser(traded_of(okx.listed)), Book(of.id), 0

    def in_contracts(size: float, price: float) -> float:
        # Two of the three are inverse: their base is turned back into whole contracts, so the sums prove the conversion too.
        return round(size * price / of.value, 6) if of.is_inverse else size

    for raw in recorded_books[native]:
        for event in parser.parse(raw, 1):
            book.apply_event(event)
        assert book.is_valid
        assert checksum_of(book, in_contracts) == json.loads(raw)["data"][0]["checksum"]
        matched += 1
    assert matched == frames


@pytest.mark.parametrize("native", NATIVES)
def test_any_lost_message_of_the_recording_shows_on_the_next(okx, recorded_books, native):
    # The recording is older than the ids: they are put in as the venue writes them now, with jumps of any size.
    rng, seq, parser, chain = random.Random(5), 0, FrameParser(traded_of(okx.listed)), []
    for number, raw in enumerate(recorded_books[native]):
        before, seq = (seq if number else -1), seq + rng.randrange(1, 100)
        chain += parser.parse(raw.replace(b'"checksum":', f'"prevSeqId":{before},"seqId":{seq},"checksum":'.encode()), 1)
    assert len(chain) > 90
    for lost in range(1, len(chain) - 1):
        sync = BookSync(chain[0].instrument, CONTINUITY)
        made = sync.on_stream_snapshot(chain[0])
        for event in chain[1:lost]:
            made += sync.on_delta(event)
        assert made == chain[:lost]
        (told,) = sync.on_delta(chain[lost + 1])
        assert isinstance(told, BookStale)
        for event in chain[lost + 2 :]:
            assert sync.on_delta(event) == []
        assert not sync.book.is_valid
    # Without the first of all there is no book at any time.
    sync = BookSync(chain[0].instrument, CONTINUITY)
    assert not any(sync.on_delta(event) for event in chain[1:])
