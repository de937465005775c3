"""One WebSocket connection to Binance (ports.VenueStream): frames in, normalised events and verified books out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from zvt_crypto.domain.errors import Disconnected, Malformed, Refused, Unreachable, VenueError, shown
from zvt_crypto.domain.events import BookEvent, MarketEvent, TradesDoubted
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, TradeStream
from zvt_crypto.domain.plausible import is_plausible, too_early
from zvt_crypto.engine.book import BookSync
from zvt_crypto.ports import Clock, Observer, Socket, Subscription
from zvt_crypto.venues.binance.fields import frame_kind
from zvt_crypto.venues.binance.parse import FrameParser, depth_symbol, may_be_trade_of
from zvt_crypto.venues.binance.spec import EXCHANGE, SUBSCRIBE_MOST
from zvt_crypto.venues.fields import LOOK_NS, FieldLog, FieldWatch
from zvt_crypto.venues.parsed import CONTROLS, Broken, Control, Drift, DriftLog, Reply, Shutdown

# One odd frame is a frame; this many are a connection that does not speak our protocol.
MALFORMED_MOST = 20
ACK_TIMEOUT_S = 10.0
# Snapshots that one connection asks for at the same time, and the pauses before the next try for a book that did not come to be. The
# last pause repeats: a book that cannot be had stays stale and says so, while trades and klines of the same connection go on.
SNAPSHOTS_AT_ONCE = 4
SNAPSHOT_PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

FetchSnapshot = Callable[[str], Awaitable[BookSnapshot]]


class BinanceStream:
    """A connection that is open already. `books` holds a BookSync for every instrument whose depth is subscribed.

    fields: where unknown names are told, for all connections together.
    """

    def __init__(
        self,
        name: str,
        socket: Socket,
        parser: FrameParser,
        subscriptions: Sequence[Subscription],
        books: Mapping[str, BookSync],
        natives: Mapping[str, str],
        fetch_snapshot: FetchSnapshot,
        clock: Clock,
        observer: Observer,
        fields: FieldLog | None = None,
    ) -> None:
        self.name = name
        self.subscriptions = tuple(subscriptions)
        self._socket, self._parser, self._books, self._natives = socket, parser, books, natives
        self._fetch_snapshot, self._clock, self._observer = fetch_snapshot, clock, observer
        self._ready: list[MarketEvent] = []
        self._ended: VenueError | None = None
        self._malformed = 0
        self._drift = DriftLog(EXCHANGE, name, observer)
        self._fields = FieldWatch(fields or FieldLog(EXCHANGE, observer))
        self._unacknowledged: set[int] = set()
        self._frames: asyncio.Task[list[tuple[bytes, int]]] | None = None
        self._queue: list[str] = []  # instruments whose book wants a snapshot, first come first served
        self._fetches: dict[str, asyncio.Task[BookSnapshot]] = {}
        self._tries: dict[str, int] = {}
        self._heard: set[str] = set()
        self._told: set[str] = set()  # instruments of which was said that their snapshot cannot be had

    async def receive(self) -> list[MarketEvent]:
        """The next batch. Raises Disconnected or Refused once all events before the end have been given out."""
        while not self._ready:
            if self._ended is not None:
                raise self._ended
            await self._collect()
        batch, self._ready = self._ready, []
        return batch

    def heard(self) -> set[str]:
        """As ports.VenueStream says."""
        heard, self._heard = self._heard, set()
        return heard

    async def subscribe(self, streams: Sequence[str], messages_per_s: int) -> None:
        """Subscribe by message, within the venue's message rate, and wait for its word. Raises Refused or Unreachable."""
        for number, start in enumerate(range(0, len(streams), SUBSCRIBE_MOST), 1):
            message = {"method": "SUBSCRIBE", "params": list(streams[start : start + SUBSCRIBE_MOST]), "id": number}
            self._unacknowledged.add(number)
            await self._socket.send(msgspec.json.encode(message))
            await self._clock.sleep(1 / messages_per_s)
        try:
            async with asyncio.timeout(ACK_TIMEOUT_S):
                while self._unacknowledged and self._ended is None:
                    await self._collect()
        except TimeoutError:
            raise Unreachable(f"{self.name}: no answer to a subscription within {ACK_TIMEOUT_S} s") from None
        if self._ended is not None:
            raise self._ended

    async def close(self) -> None:
        """End it."""
        tasks = [*self._fetches.values(), *([self._frames] if self._frames is not None else [])]
        self._fetches, self._frames, self._queue = {}, None, []
        if self._ended is None:
            self._ended = Disconnected(f"{self.name}: closed by us")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._socket.close()

    async def _collect(self) -> None:
        """Wait for frames or snapshots, whichever comes first. What was begun goes on when the waiting is cancelled."""
        try:
            if not self._fetches and self._frames is None:
                self._take(await self._socket.receive())
                return
            if self._frames is None:
                self._frames = asyncio.create_task(self._socket.receive())
            await asyncio.wait({self._frames, *self._fetches.values()}, return_when=asyncio.FIRST_COMPLETED)
            self._take_snapshots()
            if self._frames.done():
                frames, self._frames = self._frames, None
                self._take(frames.result())
        except Disconnected as error:
            self._end(error)

    def _take(self, frames: list[tuple[bytes, int]]) -> None:
        if frames and not 0 <= frames[-1][1] - self._fields.looked_ns < LOOK_NS:
            self._fields.look(frames, frame_kind)
        parse, ready = self._parser.parse, self._ready
        for payload, recv_ns in frames:
            try:
                parsed = parse(payload, recv_ns)
            except Malformed as error:
                self._doubt(payload, recv_ns, error)
                continue
            if isinstance(parsed, CONTROLS):
                self._on_control(parsed)
            elif not is_plausible(parsed, recv_ns):
                self._doubt(payload, recv_ns, too_early(EXCHANGE, parsed, recv_ns))
            elif isinstance(parsed, BookDelta):
                self._on_delta(parsed)
            else:
                ready.append(parsed)

    def _on_delta(self, delta: BookDelta) -> None:
        book = self._books.get(delta.instrument)
        if book is None:
            return
        made = book.on_delta(delta)
        if made:
            self._ready += made
        else:
            self._heard.add(delta.instrument)
        self._want(book)

    def _on_control(self, parsed: Control) -> None:
        match parsed:
            case Drift():
                self._drift.take(parsed)
            case Reply(error=None):
                if isinstance(parsed.id, int):
                    self._unacknowledged.discard(parsed.id)
            case Reply():
                self._end(Refused(f"{self.name}: the venue refused a subscription: {shown(parsed.error)}"))
            case Shutdown():
                self._end(Disconnected(f"{self.name}: the venue announced that it shuts this connection down"))
            case Broken():
                self._end(Disconnected(f"{self.name}: {parsed.reason}"))

    def _doubt(self, payload: bytes, recv_ns: int, error: Malformed) -> None:
        """A frame that cannot be read: a book whose update it may have been is not valid any more, and trades may be missing."""
        self._malformed += 1
        self._observer.count("venue_malformed", exchange=EXCHANGE)
        self._observer.note("warning", "venue_malformed", stream=self.name, reason=str(error))
        native = depth_symbol(payload)
        if native is not None:
            one = self._books.get(self._natives.get(native, ""))
            for book in [one] if one is not None else self._books.values():
                self._ready += book.reset("a depth update could not be read", recv_ns, recv_ns)
                self._want(book)
        self._doubt_trades(may_be_trade_of(payload), f"a frame could not be read: {error}", recv_ns)
        if self._malformed >= MALFORMED_MOST:
            self._end(Disconnected(f"{self.name}: {self._malformed} frames could not be read, the last: {error}"))

    def _doubt_trades(self, native: str | None, reason: str, recv_ns: int) -> None:
        if native is None:
            return
        one = self._natives.get(native)
        for subscription in self.subscriptions:
            stream: TradeStream = "agg" if subscription.channel == "agg" else "trade"
            if subscription.channel == stream and one in (None, subscription.instrument):
                self._ready.append(TradesDoubted(subscription.instrument, stream, reason, recv_ns, recv_ns))

    def _end(self, error: VenueError) -> None:
        """The connection is of no use any more: its books are not valid, and that is said before the error."""
        if self._ended is not None:
            return
        self._ended = error
        at_ns = self._clock.now_ns()
        for book in self._books.values():
            self._ready += book.reset(str(error), at_ns, at_ns)

    # ── Snapshots ──

    def _want(self, book: BookSync) -> None:
        instrument = book.instrument
        if not book.wants_snapshot or instrument in self._fetches or instrument in self._queue:
            return
        self._queue.append(instrument)
        self._fetch_more()

    def _fetch_more(self) -> None:
        while self._queue and len(self._fetches) < SNAPSHOTS_AT_ONCE and self._ended is None:
            instrument = self._queue.pop(0)
            self._fetches[instrument] = asyncio.create_task(self._fetch(instrument))

    async def _fetch(self, instrument: str) -> BookSnapshot:
        tries = self._tries.get(instrument, 0)
        self._tries[instrument] = tries + 1
        await self._clock.sleep(SNAPSHOT_PAUSES_S[min(tries, len(SNAPSHOT_PAUSES_S) - 1)])
        self._observer.count("book_snapshots_asked", exchange=EXCHANGE)
        return await self._fetch_snapshot(instrument)

    def _take_snapshots(self) -> None:
        for instrument in [name for name, task in self._fetches.items() if task.done()]:
            task = self._fetches.pop(instrument)
            book = self._books[instrument]
            try:
                made: list[BookEvent] = book.on_snapshot(task.result())
            except Refused as error:
                self._end(error)
                return
            except VenueError as error:
                self._observer.note("warning", "book_snapshot_failed", stream=self.name, instrument=instrument, reason=str(error))
                made = self._told_stale(instrument, f"its snapshot cannot be had: {error}")
            self._ready += made
            if book.wants_snapshot:
                self._queue.append(instrument)
            elif book.book.is_valid:
                self._tries.pop(instrument, None)
                self._told.discard(instrument)
        self._fetch_more()

    def _told_stale(self, instrument: str, reason: str) -> list[BookEvent]:
        """Once, until it is valid: those who wait for the book shall know why it does not come."""
        if instrument in self._told or self._books[instrument].book.is_valid:
            return []
        self._told.add(instrument)
        at_ns = self._clock.now_ns()
        return [BookStale(instrument, reason, at_ns, at_ns)]
