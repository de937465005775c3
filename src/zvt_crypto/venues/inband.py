"""One WebSocket connection to a venue that sends its books' snapshots in the stream itself (ports.VenueStream).

Frames in, normalised events and verified books out. What differs between such venues is given as `StreamManners`: pure, no I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from zvt_crypto.domain.errors import Disconnected, Malformed, Refused, Unreachable, VenueError, shown
from zvt_crypto.domain.events import MarketEvent, TradesDoubted
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.plausible import is_plausible, too_early
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.engine.book import BookSync
from zvt_crypto.ports import Clock, Observer, Socket, Subscription
from zvt_crypto.venues.fields import LOOK_NS, FieldLog, FieldWatch, Kind
from zvt_crypto.venues.parsed import CONTROLS, Ask, Broken, Control, Drift, DriftLog, Parsed, Reply, Shutdown

# One odd frame is a frame; this many are a connection that does not speak our protocol.
MALFORMED_MOST = 20
ACK_TIMEOUT_S = 10.0
# The pauses before a book's snapshot is asked for once more. The last repeats: a book that cannot be had stays stale and says so, while
# trades and klines of the same connection go on.
RENEW_PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# How long a snapshot that was asked for may take before it is asked for again.
RENEW_TIMEOUT_S = 5.0
# In how many such times the first snapshot must have come: by itself, or when asked for. Then whoever waits for the book is told.
FIRST_TIMEOUTS = 2


class Message(msgspec.Struct, frozen=True):
    """A control message of ours, and the ids of the Replies that it waits for; none: the venue does not answer it."""

    payload: bytes
    awaits: tuple[int | str, ...] = ()


class StreamManners(Protocol):
    """How a venue is spoken to on one connection. May count (sequences, request ids), never waits.

    ping: what to send every `ping_s`, None where the venue needs nothing. messages_per_s: how many control messages it takes.
    """

    exchange: str
    ping: bytes | None
    ping_s: float
    messages_per_s: float

    def subscribe(self) -> list[Message]:
        """What subscribes to everything that this connection is for."""
        ...

    def renew(self, instrument: str) -> list[Message]:
        """What makes the venue send the snapshot of a book anew; none where only a new connection does."""
        ...

    def parse(self, payload: bytes, recv_ns: int) -> Sequence[Parsed]:
        """What a frame holds. Raises Malformed."""
        ...

    def kind_of(self, payload: bytes) -> Kind | None:
        """Of which kind a frame is, and the names that are known of it; None where nothing is. May raise what decoding raises."""
        ...

    def doubted(self, payload: bytes) -> Sequence[str] | None:
        """Whose book update (entity ids) a frame that cannot be read may have been; None: anybody's."""
        ...

    def doubted_trades(self, payload: bytes) -> Sequence[str]:
        """Whose trades (entity ids) it may have been, of those whose ids do not show that some are missing."""
        ...


class InbandStream:
    """A connection that is open already. `books` holds a BookSync for every instrument whose depth is subscribed.

    snapshot_timeout_s: how long a snapshot may take before it is asked for (again). fields: where unknown names are told, for all
    connections of an exchange together.
    """

    def __init__(
        self,
        name: str,
        socket: Socket,
        manners: StreamManners,
        subscriptions: Sequence[Subscription],
        books: Mapping[str, BookSync],
        clock: Clock,
        observer: Observer,
        *,
        snapshot_timeout_s: float = RENEW_TIMEOUT_S,
        fields: FieldLog | None = None,
    ) -> None:
        self.name = name
        self.subscriptions = tuple(subscriptions)
        self._socket, self._manners, self._books = socket, manners, books
        self._clock, self._observer = clock, observer
        self._snapshot_timeout_s = snapshot_timeout_s
        self._drift = DriftLog(manners.exchange, name, observer)
        self._fields = FieldWatch(fields or FieldLog(manners.exchange, observer))
        self._ready: list[MarketEvent] = []
        self._ended: VenueError | None = None
        self._malformed = 0
        self._unacknowledged: set[int | str] = set()
        self._sending = asyncio.Lock()
        self._may_send_ns = 0
        self._tries: dict[str, int] = {}
        self._renewals: dict[str, asyncio.Task[None]] = {}
        self._awaited: set[str] = set()  # whose first snapshot is given time to come by itself
        self._unheard = set(books)  # of whose book nothing was said yet
        self._heard: set[str] = set()
        self._pinging: asyncio.Task[None] | None = None
        self._due: float | None = None  # when the first snapshots must have come, by the loop's clock
        self._asking: set[asyncio.Task[None]] = set()

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

    async def subscribe(self) -> None:
        """Subscribe, within the venue's message rate, and wait for its word. Raises Refused, Disconnected or Unreachable."""
        if self._manners.ping is not None:
            self._pinging = asyncio.create_task(self._ping(self._manners.ping))
        await self._send(self._manners.subscribe())
        for instrument in self._books:
            self._awaited.add(instrument)
            self._begin_renewal(instrument, self._snapshot_timeout_s)
        self._due = asyncio.get_running_loop().time() + FIRST_TIMEOUTS * self._snapshot_timeout_s
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
        tasks = [*self._renewals.values(), *self._asking, *([self._pinging] if self._pinging is not None else [])]
        self._renewals, self._pinging = {}, None
        if self._ended is None:
            self._ended = Disconnected(f"{self.name}: closed by us")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._socket.close()

    async def _collect(self) -> None:
        try:
            frames = await (self._frames_in_time(self._due) if self._unheard and self._due is not None else self._socket.receive())
        except Disconnected as error:
            self._end(error)
            return
        if frames and not 0 <= frames[-1][1] - self._fields.looked_ns < LOOK_NS:
            self._fields.look(frames, self._manners.kind_of)
        for payload, recv_ns in frames:
            if self._ended is not None:
                return  # what comes after the end would bring books back that were said to be stale
            try:
                found = self._manners.parse(payload, recv_ns)
            except Malformed as error:
                self._doubt(payload, recv_ns, error)
                continue
            refused: Malformed | None = None
            for parsed in found:
                if isinstance(parsed, CONTROLS):
                    self._on_control(parsed)
                elif not is_plausible(parsed, recv_ns):
                    refused = too_early(self._manners.exchange, parsed, recv_ns)
                elif isinstance(parsed, (BookDelta, BookSnapshot)):
                    self._on_book(parsed)
                else:
                    self._ready.append(parsed)
            if refused is not None:
                self._doubt(payload, recv_ns, refused)

    async def _frames_in_time(self, due: float) -> list[tuple[bytes, int]]:
        """The next frames; none when the first snapshots are due before, and some have not come."""
        try:
            async with asyncio.timeout_at(due):
                return await self._socket.receive()
        except TimeoutError:
            self._due = None
            for instrument in sorted(self._unheard):
                self._tell_missing(instrument, f"no snapshot came within {FIRST_TIMEOUTS * self._snapshot_timeout_s:g} s")
            return []

    def _tell_missing(self, instrument: str, reason: str) -> None:
        """Of a book that never was valid nobody has heard; those who wait for it shall know why it does not come."""
        if instrument in self._unheard:
            self._unheard.discard(instrument)
            at_ns = self._clock.now_ns()
            self._ready.append(BookStale(instrument, reason, at_ns, at_ns))

    def _on_book(self, news: BookDelta | BookSnapshot) -> None:
        book = self._books.get(news.instrument)
        if book is None:
            return
        made = book.on_stream_snapshot(news) if isinstance(news, BookSnapshot) else book.on_delta(news)
        if made:
            self._ready += made
        else:
            self._heard.add(news.instrument)
        if book.book.is_valid:
            if not made:
                self._observer.count("book_updates_repeated", exchange=self._manners.exchange)
            self._settled(news.instrument)
        else:
            if made:  # it has just become stale: what was lost may not have been of books alone
                self._doubt_trades(b"", "a message of a book was lost", news.recv_ns)
            self._renew(news.instrument)  # a delta without a snapshot before it tells as much as a gap: the snapshot was lost

    def _on_control(self, parsed: Control) -> None:
        match parsed:
            case Drift():
                self._drift.take(parsed)
            case Reply(error=None):
                if parsed.id is not None:
                    self._unacknowledged.discard(parsed.id)
            case Reply():
                self._end(Refused(f"{self.name}: the venue refused a subscription: {shown(parsed.error)}"))
            case Shutdown():
                self._end(Disconnected(f"{self.name}: the venue announced that it shuts this connection down"))
            case Broken():
                self._end(Disconnected(f"{self.name}: {parsed.reason}"))
            case Ask():
                self._ask([Message(payload) for payload in parsed.payloads])

    def _doubt(self, payload: bytes, recv_ns: int, error: Malformed) -> None:
        """A frame that cannot be read: a book whose update it may have been is not valid any more, and trades may be missing."""
        self._malformed += 1
        self._observer.count("venue_malformed", exchange=self._manners.exchange)
        self._observer.note("warning", "venue_malformed", stream=self.name, reason=str(error))
        whose = self._manners.doubted(payload)
        for book in self._books.values() if whose is None else [self._books[one] for one in whose if one in self._books]:
            self._ready += book.reset(f"a book update could not be read: {error}", recv_ns, recv_ns)
            self._renew(book.instrument)
        self._doubt_trades(payload, f"a frame could not be read: {error}", recv_ns)
        if self._malformed >= MALFORMED_MOST:
            self._end(Disconnected(f"{self.name}: {self._malformed} frames could not be read, the last: {error}"))

    def _doubt_trades(self, payload: bytes, reason: str, recv_ns: int) -> None:
        """Where ids do not show what is lost, the venue is asked."""
        for instrument in self._manners.doubted_trades(payload):
            self._ready.append(TradesDoubted(instrument, "trade", reason, recv_ns, recv_ns))

    def _end(self, error: VenueError) -> None:
        """The connection is of no use any more: its books are not valid, and that is said before the error."""
        if self._ended is not None:
            return
        self._ended = error
        at_ns = self._clock.now_ns()
        for book in self._books.values():
            self._ready += book.reset(str(error), at_ns, at_ns)
        for instrument in sorted(self._unheard):
            self._tell_missing(instrument, f"the connection ended before the first snapshot: {error}")

    # ── What we send ──

    async def _send(self, messages: Sequence[Message]) -> None:
        async with self._sending:
            for message in messages:
                self._unacknowledged.update(message.awaits)
                await self._clock.sleep(max(0, self._may_send_ns - self._clock.now_ns()) / NS_PER_S)
                await self._socket.send(message.payload)
                self._may_send_ns = self._clock.now_ns() + int(NS_PER_S / self._manners.messages_per_s)

    def _ask(self, messages: Sequence[Message]) -> asyncio.Task[None]:
        """Send all of them, whatever happens to whoever asked: half of an unsubscribing and subscribing would be silence."""
        task = asyncio.create_task(self._send_or_end(messages))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return task

    async def _send_or_end(self, messages: Sequence[Message]) -> None:
        try:
            await self._send(messages)
        except Disconnected as error:
            self._end(error)

    def _renew(self, instrument: str) -> None:
        """Ask, unless it was asked already; news of a book whose first snapshot was waited for shows that none will come by itself."""
        if instrument in self._awaited:
            self._awaited.discard(instrument)
            if (waiting := self._renewals.pop(instrument, None)) is not None:
                waiting.cancel()
        if instrument not in self._renewals:
            self._begin_renewal(instrument, 0.0)

    def _begin_renewal(self, instrument: str, pause_s: float) -> None:
        if self._ended is None:
            self._renewals[instrument] = asyncio.create_task(self._renewal(instrument, pause_s))

    def _settled(self, instrument: str) -> None:
        self._unheard.discard(instrument)
        self._tries.pop(instrument, None)
        self._awaited.discard(instrument)
        if (task := self._renewals.pop(instrument, None)) is not None:
            task.cancel()

    async def _renewal(self, instrument: str, pause_s: float) -> None:
        """Ask for the snapshot until it has come: then it is cancelled. The connection's end ends it too."""
        book = self._books[instrument].book
        await self._clock.sleep(pause_s)
        self._awaited.discard(instrument)
        while not book.is_valid and self._ended is None:
            tries = self._tries.get(instrument, 0)
            self._tries[instrument] = tries + 1
            await self._clock.sleep(RENEW_PAUSES_S[min(tries, len(RENEW_PAUSES_S) - 1)])
            self._observer.count("book_snapshots_asked", exchange=self._manners.exchange)
            messages = self._manners.renew(instrument)
            if not messages:
                why = f"{instrument} needs a new snapshot, which only a new connection brings: {book.stale_reason}"
                self._tell_missing(instrument, why)
                self._end(Disconnected(f"{self.name}: {why}"))
                await self._socket.close()
                return
            await asyncio.shield(self._ask(messages))
            await self._clock.sleep(self._snapshot_timeout_s)

    async def _ping(self, payload: bytes) -> None:
        try:
            while True:
                await self._clock.sleep(self._manners.ping_s)
                await self._socket.send(payload)
        except Disconnected:
            return  # the reader hears of it and says so
