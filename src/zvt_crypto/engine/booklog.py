"""Books in full: segments of verified book events, each beginning with a whole book, and the book of any instant from them. Pure.

Instants are those at which we learnt of an event (`recv_ns`; where it did not come over a wire, `event_ns`), never going back: so a book
of 12:00:00 is what a live book showed then, the way to us included.
"""

from __future__ import annotations

import hashlib

import msgspec
import zstandard

from zvt_crypto.domain.booklog import BookSegment
from zvt_crypto.domain.errors import StoreError
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Level
from zvt_crypto.engine.book import Book

FORM = 1  # of `BookSegment.data`; another one gets another number
_LEVEL = 3  # higher ones save 4 % and cost thrice the time


class _Whole(msgspec.Struct, frozen=True, array_like=True, tag=0):
    at: int  # ns since the segment's start, as `event` and `recv`, which may be negative; 0 for none stays `None`
    event: int | None
    recv: int | None
    last_id: int
    bids: list[Level]
    asks: list[Level]
    bids_to: float | None
    asks_to: float | None


class _Delta(msgspec.Struct, frozen=True, array_like=True, tag=1):
    at: int
    event: int | None
    recv: int | None
    first_id: int
    last_id: int
    prev_id: int | None
    bids: list[Level]
    asks: list[Level]


class _Stale(msgspec.Struct, frozen=True, array_like=True, tag=2):
    at: int
    event: int | None
    recv: int | None
    reason: str


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[_Whole | _Delta | _Stale])


class SegmentLog:
    """What happens to one book, gathered into a segment. Make it with a whole book, or with the word that there is none."""

    def __init__(self, first: BookSnapshot | BookStale, at_ns: int) -> None:
        self.instrument = first.instrument
        self.start_ns = self.last_ns = at_ns
        self.events = 0
        self._first_id = self._last_id = 0
        self._packed = bytearray()
        self._book = Book(first.instrument)
        self.take(first, at_ns)
        self._first_id = self._last_id

    @property
    def size_bytes(self) -> int:
        """Of the events, before they are compressed."""
        return len(self._packed)

    def take(self, event: BookEvent, at_ns: int) -> None:
        """The next event; one that is dated before the last is taken as of the same instant."""
        self.last_ns = max(self.last_ns, at_ns)
        start_ns = self.start_ns
        times = (self.last_ns - start_ns, _since(event.event_ns, start_ns), _since(event.recv_ns, start_ns))
        packed: _Whole | _Delta | _Stale
        match event:
            case BookDelta():
                packed = _Delta(*times, event.first_id, event.last_id, event.prev_id, event.bids, event.asks)
            case BookSnapshot():
                packed = _Whole(*times, event.last_id, event.bids, event.asks, event.bids_to, event.asks_to)
            case BookStale():
                packed = _Stale(*times, event.reason)
        _ENCODER.encode_into(packed, self._packed, -1)
        self.events += 1
        self._book.apply_event(event)
        self._last_id = getattr(event, "last_id", self._last_id)

    def state(self) -> BookSnapshot | BookStale:
        """What a following segment begins with."""
        book = self._book
        return book.whole() if book.is_valid else BookStale(self.instrument, book.stale_reason or "", book.event_ns, book.recv_ns)

    def close(self, until_ns: int) -> BookSegment:
        """All of it, until `until_ns`; at least until after the last event."""
        array = b"\xdd" + self.events.to_bytes(4, "big")  # msgpack: an array of so many
        data = zstandard.ZstdCompressor(_LEVEL).compress(array + bytes(self._packed))
        until_ns = max(until_ns, self.last_ns + 1)
        return BookSegment(self.instrument, self.start_ns, until_ns, self._first_id, self._last_id, self.events, FORM, _digest(data), data)


def learnt_ns(event: BookEvent) -> int:
    """When we learnt of it."""
    return event.recv_ns or event.event_ns


def events_of(segment: BookSegment) -> list[tuple[int, BookEvent]]:
    """(when we learnt of it, event), in their order. Raises StoreError where the segment is damaged."""
    if segment.form != FORM:
        raise StoreError(f"{_named(segment)} has the form {segment.form}; this build reads {FORM}")
    if _digest(segment.data) != segment.digest:
        raise StoreError(f"{_named(segment)} is damaged: its checksum is another one")
    packed = _DECODER.decode(zstandard.ZstdDecompressor().decompress(segment.data))
    return [(segment.start_ns + each.at, _event(segment, each)) for each in packed]


def book_at(segment: BookSegment, at_ns: int) -> Book:
    """The book of an instant that the segment answers for: valid, or stale with the reason."""
    assert segment.start_ns <= at_ns < segment.until_ns
    book = Book(segment.instrument)
    for learnt, event in events_of(segment):
        if learnt > at_ns:
            break
        book.apply_event(event)
    return book


def _event(segment: BookSegment, packed: _Whole | _Delta | _Stale) -> BookEvent:
    name, start_ns = segment.instrument, segment.start_ns
    event_ns, recv_ns = _ns(packed.event, start_ns), _ns(packed.recv, start_ns)
    match packed:
        case _Delta():
            return BookDelta(name, packed.first_id, packed.last_id, packed.prev_id, packed.bids, packed.asks, event_ns, recv_ns)
        case _Whole():
            return BookSnapshot(name, packed.last_id, packed.bids, packed.asks, event_ns, recv_ns, packed.bids_to, packed.asks_to)
        case _Stale():
            return BookStale(name, packed.reason, event_ns, recv_ns)


def _since(at_ns: int, start_ns: int) -> int | None:
    return at_ns - start_ns if at_ns else None


def _ns(since: int | None, start_ns: int) -> int:
    return 0 if since is None else start_ns + since


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _named(segment: BookSegment) -> str:
    return f"the book segment of {segment.instrument} from {segment.start_ns}"
