"""One connection of a venue, kept alive: connected, watched, replaced when it is lost or mute, and renewed before the venue cuts it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from zvt_crypto.domain.errors import BadInput, GeoBlocked, Refused, Throttled, VenueError
from zvt_crypto.domain.events import Event, MarketEvent, StreamStatus
from zvt_crypto.domain.instrument import TradingStatus
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, BookStale, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_S, Interval
from zvt_crypto.ports import Clock, ExchangeConnector, Observer, Subscription, VenueStream
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.watchdog import Watchdog

State = Literal["connecting", "live", "lost", "geo_blocked", "stopped"]
StreamKey = tuple[str, str, Interval | None]
_CHANNELS: dict[type, str] = {
    BookSnapshot: "depth",
    BookDelta: "depth",
    BookStale: "depth",
    Ticker: "ticker",
    BestQuote: "quote",
    MarkPrice: "mark",
}
_MOST_WARM = 50_000  # book events kept of a connection that is about to take over
_POSTPONE_S = 60.0


class Sink(Protocol):
    """Where a connection's events go."""

    def take(self, event: MarketEvent) -> None:
        """An event of the stream."""
        ...

    def connected(self, subscriptions: Sequence[Subscription]) -> None:
        """A connection for these has replaced another, or is the first."""
        ...

    async def look_at_listing(self) -> None:
        """An instrument may have been delisted: the venue refuses it, or says nothing of it alone. Its table is looked at anew."""
        ...


def key_of(event: MarketEvent) -> StreamKey:
    """Which subscription an event answers to."""
    if isinstance(event, Trade):
        return event.instrument, event.stream, None
    if isinstance(event, Kline):
        return event.instrument, "kline", event.interval
    return event.instrument, _CHANNELS.get(type(event), ""), None


class _Session:
    """An open stream and the task that reads it."""

    def __init__(self, stream: VenueStream, take: Callable[[list[MarketEvent]], None]) -> None:
        self.stream = stream
        self.take = take
        self.pump = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.take(await self.stream.receive())
            await asyncio.sleep(0)  # a stream that always has more must not starve the others

    def end(self) -> str | None:
        """Why the stream ended, None while it has not. Raises what is not the venue's doing."""
        if not self.pump.done():
            return None
        error = self.pump.exception()
        if isinstance(error, VenueError):
            return str(error)
        assert error is not None
        raise error

    async def stop(self) -> None:
        """End both."""
        self.pump.cancel()
        await asyncio.wait({self.pump})
        if not self.pump.cancelled():
            self.pump.exception()  # it was looked at in `end`, or does not matter any more
        await self.stream.close()


class Route:
    """`run` is one task, which has one more for each open connection. `name` stands in status events, for example `binance 1`."""

    def __init__(
        self,
        name: str,
        connector: ExchangeConnector,
        subscriptions: Sequence[Subscription],
        sink: Sink,
        publish: Callable[[Event], None],
        clock: Clock,
        observer: Observer,
        options: IngestOptions,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.state: State = "stopped"
        self.is_lost = False  # the connection was lost, or refused, and no other stands yet
        self.subscriptions = self._wanted = tuple(subscriptions)
        self._connector = connector
        self._sink = sink
        self._publish = publish
        self._clock = clock
        self._observer = observer
        self._options = options
        self._backoff = Backoff(rng, first_s=options.first_wait_s, most_s=options.most_wait_s, stable_s=options.stable_s)
        self._books: dict[str, None] = {}  # instruments whose book is valid, in the order they became so
        self._watchdog = Watchdog(
            [(s.instrument, s.channel, s.interval) for s in self.subscriptions],
            clock.now_ns(),
            floor_s=options.silence_floor_s,
            cap_s=options.silence_cap_s,
            first_s=options.first_data_s,
        )

    async def run(self) -> None:
        """Keep the connection. Ends only by being cancelled, or by an error that is ours."""
        try:
            while True:
                await self._clock.sleep(await self._try_once())
        finally:
            self._lose_books("stopped")
            self._tell("stopped", "")

    def follow_listed(self) -> int:
        """Leave out what the table says is gone: one instrument that is refused would keep all others of the connection out. What is
        listed again comes back with the next connection. How many subscriptions there are."""
        listed = tuple(s for s in self._wanted if self._is_listed(s.instrument))
        if listed != self.subscriptions:
            for instrument in dict.fromkeys(s.instrument for s in self.subscriptions if s not in listed):
                self._observer.note("warning", "not_followed", stream=self.name, instrument=instrument, reason="it is delisted")
            self.subscriptions = listed
            self._watchdog.await_only([(s.instrument, s.channel, s.interval) for s in listed], self._clock.now_ns())
        return len(listed)

    def _is_listed(self, instrument: str) -> bool:
        held = self._connector.instruments.get(instrument)
        return held is None or held.status is not TradingStatus.DELISTED

    async def _try_once(self) -> float:
        """One connection from its opening to its end. Returns the seconds to wait before the next."""
        if not self.follow_listed():
            self._tell("stopped", "nothing of it is listed any more")
            self.is_lost = False
            return self._options.refresh_s
        self._tell("connecting", "")
        try:
            stream = await self._connector.open_stream(self.subscriptions)
        except GeoBlocked as error:
            self._tell("geo_blocked", str(error))
            return self._options.geo_recheck_s
        except Throttled as error:
            self._tell("lost", str(error))
            return max(error.wait_ms / 1_000, self._backoff.next_s())
        except VenueError as error:
            self._tell("lost", str(error))
            if isinstance(error, Refused):
                await self._sink.look_at_listing()
            return self._backoff.next_s()
        began_ns = self._clock.now_ns()
        reason = await self._live(stream)
        if self.state == "live":
            self._backoff.worked(self._clock.now_ns() - began_ns)
        self._lose_books(reason)
        self._tell("lost", reason)
        self._observer.count("reconnects", stream=self.name)
        if self._watchdog.is_one:
            await self._sink.look_at_listing()
        return self._backoff.next_s()

    async def _live(self, stream: VenueStream) -> str:
        """Until the connection is lost: the reason."""
        self._watchdog.connected(self._clock.now_ns())
        session = _Session(stream, self._take)
        try:
            self.is_lost = False
            self._sink.connected(self.subscriptions)
            rotate_ns = self._in_ns(self._options.rotate_after_s)
            while True:
                reason = await self._watch(session, rotate_ns)
                if reason is not None:
                    return reason
                replaced = await self._rotate(session)
                rotate_ns = self._in_ns(self._options.rotate_after_s if replaced is not session else _POSTPONE_S)
                session = replaced
        finally:
            await session.stop()

    async def _watch(self, session: _Session, rotate_ns: int) -> str | None:
        """Why the connection must be replaced; None when it is time to renew it."""
        while True:
            await asyncio.wait({session.pump}, timeout=self._options.check_s)
            now_ns = self._clock.now_ns()
            self._watchdog.stirred([(instrument, "depth", None) for instrument in session.stream.heard()], now_ns)
            reason = session.end() or self._watchdog.mute(now_ns)
            if reason is not None or now_ns >= rotate_ns:
                return reason
            self._observer.gauge("stream_silent_s", self._watchdog.age_ns(now_ns) / NS_PER_S, stream=self.name)

    async def _rotate(self, old: _Session) -> _Session:
        """A new connection beside the old one; the new one's books take over once they are whole. The old one stays if that fails."""
        try:
            stream = await self._connector.open_stream(self.subscriptions)
        except (VenueError, BadInput) as error:
            self._observer.note("warning", "rotation_postponed", stream=self.name, reason=str(error))
            return old
        warm = _Warm(self._take, {s.instrument for s in self.subscriptions if s.channel == "depth"})
        new = _Session(stream, warm.take)
        try:
            await self._overlap(old, new, warm)
            failed = new.pump.done()
            await (new if failed else old).stop()
        except BaseException:
            await new.stop()
            raise
        if failed:
            return old
        new.take = self._take
        for instrument in [name for name in self._books if name not in warm.whole]:
            self._take([BookStale(instrument, "connection renewed", self._clock.now_ns())])
        self._take(warm.books)
        self._observer.note("info", "connection_renewed", stream=self.name)
        return new

    async def _overlap(self, old: _Session, new: _Session, warm: _Warm) -> None:
        least_ns, most_ns = self._in_ns(self._options.overlap_s), self._in_ns(self._options.max_overlap_s)
        while not new.pump.done() and not old.pump.done():
            await asyncio.wait({old.pump, new.pump}, timeout=self._options.check_s, return_when=asyncio.FIRST_COMPLETED)
            now_ns = self._clock.now_ns()
            if now_ns >= most_ns or (now_ns >= least_ns and warm.is_ready):
                return

    def _take(self, events: Sequence[MarketEvent]) -> None:
        """Events of the connection that counts."""
        if not events:
            return
        if self.state != "live":
            self._tell("live", "")
        keys: dict[StreamKey, None] = {}
        for event in events:
            keys[key_of(event)] = None
            kind = type(event)
            if kind is BookSnapshot:
                self._books[event.instrument] = None
            elif kind is BookStale:
                self._books.pop(event.instrument, None)
            self._sink.take(event)
        self._watchdog.arrived(keys, self._clock.now_ns())
        self._observer.count("events_received", len(events), stream=self.name)

    def _lose_books(self, reason: str) -> None:
        now_ns = self._clock.now_ns()
        for instrument in self._books:
            self._publish(BookStale(instrument, reason, now_ns, now_ns))
        self._books.clear()

    def _tell(self, state: State, reason: str) -> None:
        if state == self.state and state != "lost":
            return
        self.state = state
        if state in ("lost", "geo_blocked"):
            self.is_lost = True
        now_ns = self._clock.now_ns()
        self._publish(StreamStatus(self._connector.exchange, self.name, state, reason, now_ns, now_ns))
        self._observer.note(
            "warning" if state in ("lost", "geo_blocked") else "info", "stream", stream=self.name, state=state, reason=reason
        )

    def _in_ns(self, seconds: float) -> int:
        return self._clock.now_ns() + int(seconds * NS_PER_S)


class _Warm:
    """What a connection says before it takes over: its books are kept back, all else goes on (who reads it drops repeats)."""

    def __init__(self, take: Callable[[Sequence[MarketEvent]], None], books: set[str]) -> None:
        self.books: list[MarketEvent] = []
        self.whole: set[str] = set()
        self._awaited = books
        self._take = take

    @property
    def is_ready(self) -> bool:
        """Whether every book is there (or too much waits already)."""
        return self.whole >= self._awaited or len(self.books) > _MOST_WARM

    def take(self, events: list[MarketEvent]) -> None:
        """Events of the new connection."""
        for event in events:
            if isinstance(event, BookSnapshot):
                self.whole.add(event.instrument)
            elif isinstance(event, BookStale):
                self.whole.discard(event.instrument)
        books = [e for e in events if isinstance(e, BookSnapshot | BookDelta | BookStale)]
        self.books += books
        self._take([e for e in events if not isinstance(e, BookSnapshot | BookDelta | BookStale)])
