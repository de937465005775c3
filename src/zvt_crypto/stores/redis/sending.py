"""What this process follows, onto the streams: what must be stored, and what is only new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSample, BookSnapshot, BookStale, Kline, Ticker
from zvt_crypto.ports import Clock, Feed, LiveState, Observer, Written
from zvt_crypto.stores.redis.streams import FEED_ENTRIES, LIVE_ENTRIES, SHARDS, WHOLE_S, Streams, divided, feed_key, live_key

LIVE: tuple[type, ...] = (BookSnapshot, BookDelta, BookStale, Kline, Ticker, BestQuote)
LIVE_BOUND = 50_000
FLUSH_S = 0.02
BOOK_LEVELS = 5_000


class FeedStore:
    """The writing half of ports.Store over the feed's streams: a recorder upon it hands on what it would store, with all that it does for
    rows that cannot be stored now."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.trades = self.klines = self.facts = self
        self.append = self.upsert = self.save_funding = self.save_mark = self.save_gaps = self._send

    async def save_books(self, books: Sequence[BookSnapshot], known_at_ns: int) -> None:
        """Samples of books."""
        await self._send([BookSample(b.instrument, b.last_id, b.bids, b.asks, b.event_ns, b.recv_ns) for b in books], known_at_ns)

    async def _send(self, rows: Sequence[Any], known_at_ns: int) -> Written:
        parts = {feed_key(shard): part for shard, part in divided(rows).items()}
        await self._streams.append_all(parts, FEED_ENTRIES, replicated=True)
        return Written(len(rows))


class LiveSender:
    """What is new, to those who serve. Nothing waits for it: what a server that is away did not take is replaced by what is newer."""

    def __init__(self, streams: Streams, feed: Feed, live: LiveState, clock: Clock, observer: Observer) -> None:
        self._streams, self._live, self._clock, self._observer = streams, live, clock, observer
        self._reader = feed.subscribe("live", bound=LIVE_BOUND, when_full="drop", kinds=LIVE)
        self._books: dict[str, None] = {}
        self._dropped = 0

    async def run(self) -> None:
        """Until cancelled."""
        whole_s = 0.0
        while True:
            await self._clock.sleep(FLUSH_S)
            events = [e for e in await self._reader.receive() if not (isinstance(e, Kline) and e.final)] if self._reader.pending() else []
            self._books.update((event.instrument, None) for event in events if isinstance(event, BookSnapshot | BookDelta))
            self._pass_over_dropped()
            whole_s += FLUSH_S
            if whole_s >= WHOLE_S:
                whole_s = 0.0
                events += [book for name in self._books if (book := self._whole(name)) is not None]
            if not await self._send(events):
                whole_s = WHOLE_S
                await self._clock.sleep(FLUSH_S * 10)

    async def _send(self, events: Sequence[Event]) -> bool:
        """Whether all of it went out; a server that fails keeps no other back."""
        parts = {live_key(shard): part for shard, part in divided(events).items()}
        try:
            await self._streams.append_all(parts, LIVE_ENTRIES, replicated=False)
        except StoreUnavailable as error:
            self._observer.count("live_not_sent", len(events))
            self._observer.note("warning", "live_not_sent", events=len(events), reason=str(error))
            return False
        return True

    def _pass_over_dropped(self) -> None:
        """What the queue dropped was of any shard: readers must not go on as if nothing were missing."""
        if self._reader.dropped != self._dropped:
            self._dropped = self._reader.dropped
            for shard in range(SHARDS):
                self._streams.pass_over(live_key(shard))

    def _whole(self, instrument: str) -> Event | None:
        book = self._live.book(instrument)
        if book is None or not book.is_valid:
            return None
        bids, asks = book.top(BOOK_LEVELS)
        ends = [side[-1][0] if len(side) == BOOK_LEVELS else None for side in (bids, asks)]  # beyond them there may be more
        return BookSnapshot(instrument, book.last_id, bids, asks, book.event_ns, book.recv_ns, *ends)
