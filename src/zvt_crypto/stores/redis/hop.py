"""Events from those who follow exchanges to those who record and serve: streams of a Redis server, divided by instrument.

Two streams a shard, with one hash tag, so that a Cluster spreads shards and reads both at once. `feed`: what must be stored; an entry is
acknowledged once it is appended and, where the server has replicas, one of them has it. `live`: books, forming klines, tickers, quotes; a
short stream of what is new, in which every book stands whole every few seconds, so that who begins, or missed something, knows it soon.
An entry holds the epoch of its writer (the token of a lease): of books, only the greatest one's are followed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import FEED_VERSION, Event
from zvt_crypto.domain.market import (
    BestQuote,
    BookDelta,
    BookSample,
    BookSnapshot,
    BookStale,
    Kline,
    Ticker,
)
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.ports import Clock, Feed, Fence, LiveState, Observer, Written
from zvt_crypto.stores.redis.address import driver_errors

SHARDS = 16
FEED_ENTRIES = 200_000  # a shard: what a recorder may fall behind
LIVE_ENTRIES = 2_000
LIVE: tuple[type, ...] = (BookSnapshot, BookDelta, BookStale, Kline, Ticker, BestQuote)
LIVE_BOUND = 50_000
FLUSH_S = 0.02
WHOLE_S = 2.0  # how often a book stands whole
BOOK_LEVELS = 5_000
REPLICA_MS = 1_000
READ_ENTRIES = 200
BLOCK_MS = 500
CHECK_S = 2.0
AGAIN_S = 0.3
BEGIN_MS = 5_000  # how far back of `live` who begins to serve looks: more than WHOLE_S

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode


def feed_key(shard: int) -> str:
    """The stream of what must be stored."""
    return f"zvt:{{{shard}}}:feed"


def live_key(shard: int) -> str:
    """The stream of what is new."""
    return f"zvt:{{{shard}}}:live"


def position_key(shard: int) -> str:
    """Up to where a recorder has stored the feed."""
    return f"zvt:{{{shard}}}:stored"


def mark_key(shard: int) -> str:
    """Stands as long as the server keeps what it was told."""
    return f"zvt:{{{shard}}}:mark"


class Away:
    """Turns what the driver raises into StoreUnavailable."""

    def __init__(self) -> None:
        self.errors = driver_errors()

    async def ask(self, what: str, work: Awaitable[Any]) -> Any:
        """The answer."""
        try:
            return await work
        except self.errors as error:
            raise StoreUnavailable(f"Redis: cannot {what}: {type(error).__name__}: {error}") from None


class Streams:
    """Appends, each on the server that has the shard, and known to a replica of it where there is one."""

    def __init__(self, client: Any, fence: Fence) -> None:
        self._client, self._fence, self._away = client, fence, Away()
        self._direct: dict[tuple[str, int], Any] = {}

    async def append(self, key: str, events: Sequence[Event], most: int, *, replicated: bool) -> None:
        """One entry; none once the lease is lost. Raises StoreUnavailable while nobody knows whether it is, and where Redis is away."""
        if self._fence.is_lost:
            return
        if not self._fence.may_publish():
            raise StoreUnavailable("the lease is asked for again")
        entry = {"v": FEED_VERSION, "e": self._fence.token, "d": _encode(events)}
        try:
            await self._away.ask("publish", self._append(key, entry, most, replicated))
        except StoreUnavailable:
            await self._forget()
            raise

    async def _append(self, key: str, entry: dict[str, Any], most: int, replicated: bool) -> None:
        server = await self._server(key)
        async with server.pipeline(transaction=False) as pipe:  # one connection: WAIT is for what was written on it
            pipe.xadd(key, entry, maxlen=most, approximate=True)
            if replicated:
                pipe.execute_command("WAIT", 1, REPLICA_MS)
            answers = await pipe.execute()
        if replicated and not answers[1]:
            told = await server.info("replication")
            if told.get("connected_slaves"):
                raise TimeoutError(f"no replica had it within {REPLICA_MS} ms")

    async def _server(self, key: str) -> Any:
        if not hasattr(self._client, "get_node_from_key"):
            return self._client
        import redis.asyncio

        await self._client.initialize()
        node = self._client.get_node_from_key(key)
        if node is None:
            raise TimeoutError(f"no server has {key} now")
        place = (node.host, node.port)
        if place not in self._direct:
            kept = {name: value for name, value in node.connection_kwargs.items() if name in _DIRECT}
            self._direct[place] = redis.asyncio.Redis(host=place[0], port=place[1], **kept)
        return self._direct[place]

    async def _forget(self) -> None:
        """Another server may have the shard now."""
        if hasattr(self._client, "nodes_manager"):
            await self.close()
            await look_again(self._client)

    async def close(self) -> None:
        """Release the connections."""
        direct, self._direct = self._direct, {}
        for server in direct.values():
            await server.aclose()


_DIRECT = ("username", "password", "socket_timeout", "socket_connect_timeout", "ssl")


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
        parts = divided(rows)
        await asyncio.gather(*(self._streams.append(feed_key(shard), part, FEED_ENTRIES, replicated=True) for shard, part in parts.items()))
        return Written(len(rows))


class LiveSender:
    """What is new, to those who serve. Nothing waits for it: what a server that is away did not take is replaced by what is newer."""

    def __init__(self, streams: Streams, feed: Feed, live: LiveState, clock: Clock, observer: Observer) -> None:
        self._streams, self._live, self._clock, self._observer = streams, live, clock, observer
        self._reader = feed.subscribe("live", bound=LIVE_BOUND, when_full="drop", kinds=LIVE)
        self._books: dict[str, None] = {}

    async def run(self) -> None:
        """Until cancelled."""
        whole_s = 0.0
        while True:
            await self._clock.sleep(FLUSH_S)
            events = [e for e in await self._reader.receive() if not (isinstance(e, Kline) and e.final)] if self._reader.pending() else []
            self._books.update((event.instrument, None) for event in events if isinstance(event, BookSnapshot | BookDelta))
            whole_s += FLUSH_S
            if whole_s >= WHOLE_S:
                whole_s = 0.0
                events += [book for name in self._books if (book := self._whole(name)) is not None]
            try:
                for shard, part in divided(events).items():
                    await self._streams.append(live_key(shard), part, LIVE_ENTRIES, replicated=False)
            except StoreUnavailable as error:
                self._observer.count("live_not_sent", len(events))
                self._observer.note("warning", "live_not_sent", events=len(events), reason=str(error))
                whole_s = WHOLE_S
                await self._clock.sleep(FLUSH_S * 10)

    def _whole(self, instrument: str) -> Event | None:
        book = self._live.book(instrument)
        if book is None or not book.is_valid:
            return None
        bids, asks = book.top(BOOK_LEVELS)
        return BookSnapshot(instrument, book.last_id, bids, asks, book.event_ns, book.recv_ns)


class Watch:
    """Sees that the server has lost what it was told: its mark is gone."""

    def __init__(self, client: Any, clock: Clock) -> None:
        self._client, self._clock, self._away = client, clock, Away()

    async def lost(self) -> int:
        """Return the shard whose mark vanished. What was published there and not yet stored is gone."""
        marked: set[int] = set()
        while True:
            for shard in range(SHARDS):
                try:
                    is_new = await self._away.ask("mark", self._client.set(mark_key(shard), 1, nx=True))
                except StoreUnavailable:
                    continue
                if is_new and shard in marked:
                    return shard
                marked.add(shard)
            await self._clock.sleep(CHECK_S)


class FeedReader:
    """One shard's streams, onto a feed of this process."""

    def __init__(self, client: Any, shard: int, publish: Callable[[Event], None], clock: Clock, observer: Observer) -> None:
        self._client, self._shard, self._publish, self._clock, self._observer = client, shard, publish, clock, observer
        self._away = Away()
        self._epochs: dict[str, int] = {}
        self.is_away = False

    async def serve(self) -> None:
        """All that is new, until cancelled."""
        places = {feed_key(self._shard): "$", live_key(self._shard): "$"}
        begun = False
        while True:
            try:
                if not begun:
                    now_ms = await self._now_ms()
                    places = {feed_key(self._shard): f"{now_ms}-0", live_key(self._shard): f"{max(0, now_ms - BEGIN_MS)}-0"}
                    begun = True
                for key, entry_id, epoch, events in await self._read(places):
                    places[key] = entry_id
                    for event in events:
                        if self._is_followed(event, epoch):
                            self._publish(event)
            except StoreUnavailable as error:
                await self._wait(error)
                begun = False

    async def record(self, stored: Callable[[], Awaitable[None]], fence: Fence) -> None:
        """What must be stored, from where the last recorder ended, until cancelled. `stored` returns once what was published is."""
        key, place = feed_key(self._shard), ""
        while True:
            try:
                if not place:
                    place = await self._begin()
                entries = await self._read({key: place})
                if not entries:
                    place = await self._checked(place)
                    continue
                for _, entry_id, _, events in entries:
                    place = entry_id
                    for event in events:
                        self._publish(event)
                await stored()
                if fence.may_publish():
                    await self._away.ask("keep the position", self._client.set(position_key(self._shard), place))
            except StoreUnavailable as error:
                await self._wait(error)

    async def _begin(self) -> str:
        held = await self._away.ask("read the position", self._client.get(position_key(self._shard)))
        return held.decode() if held else "0-0"

    async def _checked(self, place: str) -> str:
        """The beginning, where the stream has never been as far: the server lost it, and begins anew."""
        import redis.exceptions

        try:
            told = await self._client.xinfo_stream(feed_key(self._shard))
        except redis.exceptions.ResponseError:
            return place  # there is none yet
        except self._away.errors as error:
            raise StoreUnavailable(f"Redis: {error}") from None
        last = told["last-generated-id"]
        return place if _order(last.decode() if isinstance(last, bytes) else last) >= _order(place) else "0-0"

    async def _read(self, places: dict[str, str]) -> list[tuple[str, str, int, list[Event]]]:
        """(stream, id, epoch, events), oldest first."""
        answer = await self._away.ask("read", self._client.xread(dict(places), count=READ_ENTRIES, block=BLOCK_MS))
        self.is_away = False
        made = []
        for key, entries in answer.items() if isinstance(answer, dict) else answer or ():
            for entry_id, fields in _flat(entries):
                made.append((key.decode(), entry_id.decode(), int(fields[b"e"]), self._events(fields)))
        return made

    def _events(self, fields: dict[bytes, bytes]) -> list[Event]:
        try:
            return _decode(fields[b"d"])
        except msgspec.MsgspecError as error:
            self._observer.count("feed_unreadable")
            self._observer.note("error", "feed_unreadable", version=fields.get(b"v", b"").decode(), reason=str(error))
            return []

    def _is_followed(self, event: Event, epoch: int) -> bool:
        if not isinstance(event, BookSnapshot | BookDelta | BookStale):
            return True
        held = self._epochs.get(event.instrument, 0)
        if epoch > held:
            if not isinstance(event, BookSnapshot):
                return False  # of a new writer, its first whole book comes first
            self._epochs[event.instrument] = epoch
        return epoch >= held

    async def _now_ms(self) -> int:
        if hasattr(self._client, "get_node_from_key"):
            await self._away.ask("find the shard", self._client.initialize())
            node = self._client.get_node_from_key(feed_key(self._shard))
            seconds, micros = await self._away.ask("read the time", self._client.time(target_nodes=node))
        else:
            seconds, micros = await self._away.ask("read the time", self._client.time())
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def _wait(self, error: StoreUnavailable) -> None:
        if not self.is_away:
            self.is_away = True
            self._observer.note("warning", "feed_away", shard=self._shard, reason=str(error))
        await self._clock.sleep(AGAIN_S)
        await look_again(self._client)


async def look_again(client: Any) -> None:
    """Of a Cluster: who has which shard now. Who asks while another does shares its answer."""
    nodes = getattr(client, "nodes_manager", None)
    if nodes is not None:
        with contextlib.suppress(*Away().errors):
            await nodes.initialize()


def divided(events: Iterable[Event]) -> dict[int, list[Event]]:
    """By shard, each in its order."""
    parts: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        parts[shard_of(getattr(event, "instrument", ""), SHARDS)].append(event)
    return parts


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def _flat(entries: Any) -> Iterable[tuple[bytes, dict[bytes, bytes]]]:
    """One protocol answers with the entries, another with a list of such."""
    return entries[0] if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple) else entries
