"""Live entries as one who serves them may believe them: a book is followed without a hole, of one writer, or is stale."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.stores.redis.counted import Entry
from zvt_crypto.stores.redis.streams import WHOLE_S

SILENT_NS = int(3 * WHOLE_S * NS_PER_S)  # every valid book stands whole once in WHOLE_S


class _Followed(msgspec.Struct):
    """A book: whose entries it follows, up to which update, and when something came of it last."""

    epoch: int
    writer: str
    is_valid: bool
    last_id: int
    heard_ns: int


class Following:
    """What a reader of a shard's live stream knows. Grows with instruments and writers only.

    A writer counts its entries. Where the count jumps, its books are stale until each stands whole again; so are those of a writer that is
    silent. Of a book only the greatest epoch's events pass, and they begin with a whole book.
    """

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, int]] = {}  # writer → epoch, count
        self._books: dict[str, _Followed] = {}

    def take(self, entry: Entry, now_ns: int) -> list[Event]:
        """The events of an entry that may be published, with the ends of the books that it shows to be broken before them."""
        held = self._counted.get(entry.writer, (0, 0))
        place = entry.epoch, entry.number
        if place <= held:
            return []
        self._counted[entry.writer] = place
        made: list[Event] = []
        if entry.epoch == held[0] and entry.number > held[1] + 1:
            made += self._end("entries of the shared feed are missing", now_ns, writer=entry.writer)
        for event in entry.events:
            if not isinstance(event, BookSnapshot | BookDelta | BookStale) or self._passes(entry, event, now_ns):
                made.append(event)
        return made

    def silent(self, now_ns: int) -> list[Event]:
        """The ends of books of which nothing has come for too long."""
        return self._end("nothing is heard of it on the shared feed", now_ns, before_ns=now_ns - SILENT_NS)

    def away(self, now_ns: int) -> list[Event]:
        """The ends of all books: nobody tells what becomes of them."""
        return self._end("the shared feed is away", now_ns)

    def _passes(self, entry: Entry, event: BookSnapshot | BookDelta | BookStale, now_ns: int) -> bool:
        book = self._books.get(event.instrument)
        if book is not None and entry.epoch < book.epoch:
            return False
        is_same = book is not None and book.is_valid and (book.epoch, book.writer) == (entry.epoch, entry.writer)
        if isinstance(event, BookStale):
            if book is not None:
                book.is_valid = False
            return True
        if isinstance(event, BookDelta) and not is_same:
            return False
        is_known = is_same and isinstance(event, BookSnapshot) and book is not None and event.last_id == book.last_id
        self._books[event.instrument] = _Followed(entry.epoch, entry.writer, True, event.last_id, now_ns)
        return not is_known  # it only stands whole again, for those who begin

    def _end(self, reason: str, now_ns: int, *, writer: str | None = None, before_ns: int | None = None) -> list[Event]:
        made: list[Event] = []
        for instrument, book in self._books.items():
            if book.is_valid and writer in (None, book.writer) and (before_ns is None or book.heard_ns < before_ns):
                book.is_valid = False
                made.append(BookStale(instrument, reason, now_ns, now_ns))
        return made
