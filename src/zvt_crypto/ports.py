"""Every contract between rooms, on one page. Doors stay blind to each other because they meet here.

All are Protocols: an implementation need not import this file, and a fake passes the same conformance suite as the real one.
Ranges are [start_ns, end_ns). Every method that waits may be cancelled at any await without losing what it was given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from zvt_crypto.domain.booklog import BookSegment
from zvt_crypto.domain.checks import CheckReport
from zvt_crypto.domain.coverage import Coverage, Difference
from zvt_crypto.domain.events import BookEvent, Event, FeedPosition, MarketEvent
from zvt_crypto.domain.instrument import CryptoAsset, Instrument, Instruments
from zvt_crypto.domain.market import (
    BookSnapshot,
    Funding,
    Gap,
    Kline,
    MarkPrice,
    Ticker,
    Trade,
    TradeContinuity,
    TradeStream,
)
from zvt_crypto.domain.time import Interval
from zvt_crypto.domain.versions import BarHistory

if TYPE_CHECKING:  # it takes 0.1 s to import, and most processes make no frames
    import polars as pl

Channel = Literal["trade", "agg", "kline", "depth", "ticker", "quote", "mark"]
# Who may spend first when a rate budget is short.
Priority = Literal["cancel", "order", "live", "backfill"]
# For whom a connector asks for the past: a backfill, or the live path, which fetches what it lost. Of the task that sets it and of those
# that it starts, as a contextvar is.
HISTORY_PRIORITY: ContextVar[Priority] = ContextVar("history_priority", default="backfill")


# ── Time, network, watching ───────────────────────────────────────────────────────────────────────────────────────────


class Clock(Protocol):
    """Wall time and waiting. A virtual one moves only when everybody waits."""

    def now_ns(self) -> int:
        """UTC now, ns."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Response(msgspec.Struct, frozen=True):
    """An HTTP answer. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Socket(Protocol):
    """A WebSocket connection of ours to somebody."""

    async def receive(self) -> list[tuple[bytes, int]]:
        """All frames that wait, at least one: (payload, recv_ns). Raises Disconnected when the connection has ended."""
        ...

    async def send(self, payload: bytes) -> None:
        """A text frame. Raises Disconnected."""
        ...

    async def close(self) -> None:
        """End the connection; safe to call twice."""
        ...


class Transport(Protocol):
    """The network as a client sees it: real sockets, or an emulator in memory."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, timeout_ms: int = 10_000
    ) -> Response:
        """One HTTP exchange, no redirects followed, the body bounded. Raises Unreachable (nothing came back)."""
        ...

    async def connect(self, url: str, *, timeout_ms: int = 10_000) -> Socket:
        """Open a WebSocket. Raises Unreachable, or the HTTP refusal as Throttled, GeoBlocked or Refused."""
        ...

    async def close(self) -> None:
        """Release every connection."""
        ...


class Observer(Protocol):
    """Where rooms that do not log report what somebody should see."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def note(self, level: Literal["debug", "info", "warning", "error"], event: str, **fields: object) -> None:
        """A line for the log. Fields never hold secrets."""
        ...


class RateBudget(Protocol):
    """What we may still send to a venue. `bucket` names one of its limits, for example `binance.spot.weight`."""

    async def acquire(self, bucket: str, weight: int, priority: Priority) -> None:
        """Wait until `weight` may be spent. Raises Banned or Throttled when the wait would be longer than the caller's patience."""
        ...

    def believe(self, bucket: str, used: int) -> None:
        """The venue's own count from its headers; it wins over ours."""
        ...

    def set_limit(self, bucket: str, limit: int, window_ms: int, *, slides: bool = False) -> None:
        """The venue stated this limit (exchangeInfo). `slides`: it holds for any stretch of that length, not for windows of a clock."""
        ...

    def penalise(self, bucket: str, wait_ms: int) -> None:
        """The venue throttled or banned us: nothing goes out for `wait_ms`."""
        ...


# ── Exchanges ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Subscription(msgspec.Struct, frozen=True, order=True):
    """One channel of one instrument. `interval` for klines only."""

    instrument: str
    channel: Channel
    interval: Interval | None = None


class VenueStream(Protocol):
    """One connection's worth of subscriptions, normalised.

    Books come out verified: a BookSnapshot, then only BookDeltas that continue it; a break is a BookStale (on the very message
    that shows it) followed, once resynchronised, by a new BookSnapshot. Nobody downstream checks sequence numbers of books again.
    Trades come as the venue sends them (ids may jump after a reconnect: that is the ingest's to judge). Control frames do not come out.
    """

    subscriptions: tuple[Subscription, ...]

    async def receive(self) -> list[MarketEvent]:
        """The next batch, at least one event. Raises Disconnected when the connection ended, Refused where the venue refused it."""
        ...

    def heard(self) -> set[str]:
        """Instruments whose book updates came since the last call though no event was made of them, because the snapshot is missing or
        they are repetitions: the connection is not silent about these."""
        ...

    async def close(self) -> None:
        """End it; safe to call twice."""
        ...


class ExchangeConnector(Protocol):
    """One exchange, all its markets. `symbol` is any name that `Instruments.resolve` takes.

    Errors: UnknownSymbol, UnknownInterval, OutOfRange for a wrong call; Refused, Throttled, Unreachable for the venue's answer.
    """

    exchange: str
    instruments: Instruments  # the table that symbols are read through; replaced as a whole

    @property
    def left_out(self) -> Mapping[str, str]:
        """Markets that the last `fetch_instruments` could not list, each with the reason."""
        ...

    async def fetch_server_time(self) -> int:
        """The venue's clock, ns."""
        ...

    async def fetch_instruments(self) -> list[Instrument]:
        """Everything that it lists, ids assigned against `self.instruments`; also makes them `self.instruments`."""
        ...

    async def fetch_kdata(
        self,
        symbol: str,
        interval: Interval | str,
        since: object = None,
        until: object = None,
        limit: int | None = None,
    ) -> list[Kline]:
        """Klines oldest first, opens in [since, until); paged as far as needed. `limit` keeps the first ones from `since`, or, without
        `since`, the newest. A row is final only if the venue's own clock is past its close."""
        ...

    async def fetch_trades(
        self,
        symbol: str,
        since: object = None,
        *,
        until: object = None,
        stream: TradeStream | None = None,
        from_id: int | None = None,
        to_id: int | None = None,
        limit: int | None = None,
    ) -> list[Trade]:
        """Trades oldest first, by time or by id (`from_id` and `to_id` inclusive); paged. `stream` None: the one that subscriptions use.

        `limit` keeps the first ones from the beginning, or, without one, the newest. Where the venue cannot go back to `since`, the answer
        is what it still has, and no error: who must know asks from a known trade on. An unbroken run in either case, up to its last row.
        Ids that are no numbers, or have no order (`trade_continuity` is opaque), make `from_id` and `to_id` Unsupported.
        """
        ...

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """The rolling 24 hours."""
        ...

    async def fetch_funding(self, symbol: str, since: object = None, until: object = None) -> list[Funding]:
        """Settled funding, oldest first. Unsupported for spot."""
        ...

    async def fetch_mark(self, symbol: str) -> MarkPrice:
        """Mark and index price now. Unsupported for spot."""
        ...

    async def fetch_mark_kdata(self, symbol: str, since: object = None, until: object = None) -> list[MarkPrice]:
        """Mark and index price of the past, one row a minute (its close), oldest first. Unsupported for spot."""
        ...

    async def get_order_book(self, symbol: str, depth: int = 20) -> BookSnapshot:
        """The book now, by REST."""
        ...

    def subscribe_kdata(self, symbols: Sequence[str], interval: Interval | str = "1m") -> AsyncIterator[Kline]:
        """Klines as they form and close. Ends with Disconnected: CryptoStreamService is what reconnects."""
        ...

    def subscribe_trades(self, symbols: Sequence[str]) -> AsyncIterator[Trade]:
        """Trades."""
        ...

    def subscribe_order_book(self, symbols: Sequence[str]) -> AsyncIterator[BookEvent]:
        """Verified book events, as VenueStream says."""
        ...

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        """The subscriptions, divided as the venue's sockets demand (market, host, streams a connection). Raises Unsupported."""
        ...

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> VenueStream:
        """One connection for one of the `routes`. Returns once connected and subscribed."""
        ...

    def trade_stream(self, symbol: str) -> TradeStream:
        """Which of the two id spaces this connector's live trades of the instrument have: it alone feeds bars."""
        ...

    def trade_continuity(self, symbol: str, stream: TradeStream | None = None) -> TradeContinuity:
        """What trade ids of that stream (None: `trade_stream`) prove, which decides how missing trades are noticed and fetched.

        dense: ids rise by exactly one, so a jump is a hole of known ids, and `fetch_trades` by id fills it.
        increasing: ids rise and may jump, so only a reconnect makes a hole; filled from the last known id on (`from_id`), and complete
        if the answer begins with that trade.
        opaque: ids have no order (UUIDs), so only a reconnect makes a hole; filled by time, and complete if a known trade is in the answer.
        Stream and `fetch_trades` must give the same rows: a venue that sums fills in one and not in the other has two streams.
        """
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


# ── Stores, by noun ───────────────────────────────────────────────────────────────────────────────────────────────────
# Writes are idempotent: the same rows twice leave the same rows once. They raise StoreUnavailable or StoreFull (nothing was
# kept: try again) and ConstraintViolated (these rows are wrong; the message names the first).


class Written(msgspec.Struct, frozen=True):
    """What a write did: rows new, rows changed (the older version went to the revisions), rows that were known already."""

    inserted: int
    changed: int = 0
    known: int = 0


class InstrumentStore(Protocol):
    """Instruments and assets, with their dated facts."""

    async def load(self, exchange: str | None = None) -> Instruments:
        """The table as of now, delisted ones included."""
        ...

    async def load_at(self, at_ns: int, exchange: str | None = None) -> Instruments:
        """Those that were listed at that moment, by all that is known now, with the values that were in force then: None (a status
        `unknown`) where no fact goes back so far."""
        ...

    async def rename(self, entity_id: str, successor_id: str, at_ns: int, by: Literal["venue", "user"] = "user") -> None:
        """The exchange goes on with `successor_id` from `at_ns` on: the old name is delisted, and its facts name the new one. Raises
        NotFound."""
        ...

    async def save(self, instruments: Iterable[Instrument], known_at_ns: int) -> Written:
        """Create or update. What changed becomes a dated fact, valid from `known_at_ns`. An id is never reused."""
        ...

    async def delist(self, entity_id: str, at_ns: int, by: Literal["venue", "user"] = "venue") -> None:
        """Mark as delisted from `at_ns`, since the venue lists it no more, or since a user says so; rows stay. Raises NotFound."""
        ...

    async def delisted_by(self, entity_id: str) -> Literal["venue", "user"] | None:
        """Who told of its last delisting; None where none did."""
        ...

    async def facts(self, entity_id: str) -> list[tuple[str, str | None, int, int]]:
        """(field, value, valid_from_ns, known_at_ns) of an instrument or asset, oldest first. Raises NotFound."""
        ...

    async def load_assets(self, exchange: str | None = None) -> list[CryptoAsset]:
        """Assets with their newest facts, by id."""
        ...

    async def save_assets(self, assets: Iterable[CryptoAsset], known_at_ns: int, source: str) -> Written:
        """Create or update; full_name, max_supply and market_cap become dated facts with their source."""
        ...

    async def search_assets(self, text: str, exchange: str | None = None, limit: int = 20) -> list[CryptoAsset]:
        """By symbol or name, case folded, best match first."""
        ...


class KlineStore(Protocol):
    """Klines of all intervals."""

    async def upsert(self, klines: Sequence[Kline], known_at_ns: int) -> Written:
        """Precedence venue > trades > derived (import ranks as venue, but never replaces it); a final row is not replaced by a forming one.
        Every version that is replaced, or that differs and loses, is appended to the revisions."""
        ...

    async def read(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, limit: int | None = None
    ) -> list[Kline]:
        """Oldest first. With `limit`: the first from `start_ns`, or, without a start, the newest before `end_ns`."""
        ...

    async def bounds(self, instrument: str, interval: Interval) -> tuple[int, int] | None:
        """First and last open of the final rows, or None."""
        ...

    async def missing(self, instrument: str, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Holes among the final rows in [start_ns, end_ns): list of [open_ns, end_ns)."""
        ...


class LateMinute(msgspec.Struct, frozen=True):
    """A minute that got a trade after it was over. `mark_ns`: when that was found."""

    instrument: str
    stream: TradeStream
    open_ns: int
    mark_ns: int


class KlineFrames(Protocol):
    """Klines as columns, for those who compute with many."""

    async def klines(self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None) -> pl.DataFrame:
        """Oldest first: timestamp (ns, UTC), open, high, low, close, volume, turnover, trades, final, source."""
        ...


class KlineChanges(Protocol):
    """What tells that a copy of klines is still true. Ask before you read."""

    async def versions(self, instrument: str, interval: Interval, months_ns: Sequence[int]) -> list[str | None]:
        """What each calendar month's klines are now: another text after anything touched a row of it, never an earlier one again. None
        where that cannot be told."""
        ...

    async def series(self, of: Sequence[tuple[str, Interval]]) -> list[str]:
        """What all klines of each instrument and interval are now, in one question; as `versions`, and always told."""
        ...


class ColumnCache(Protocol):
    """Copies of months of klines. Never the only place of anything; never wrong about what it holds."""

    def get(self, instrument: str, interval: Interval, month_ns: int, version: str) -> pl.DataFrame | None:
        """The copy of that version, or None."""
        ...

    def put(self, instrument: str, interval: Interval, month_ns: int, version: str, frame: pl.DataFrame) -> None:
        """Keep it, if there is room."""
        ...


class TradeStore(Protocol):
    """Trades, deduplicated by (instrument, stream, venue id, millisecond): exchanges tell one trade's time more and less exactly."""

    async def append(self, trades: Sequence[Trade], known_at_ns: int) -> Written:
        """Store; those known already are left as they are."""
        ...

    async def read(
        self,
        instrument: str,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int | None = None,
        stream: TradeStream | None = None,
    ) -> list[Trade]:
        """By (event time, id), oldest first. With `limit`: the first from `start_ns`, or, without a start, the newest."""
        ...

    async def last(self, instrument: str, stream: TradeStream) -> Trade | None:
        """The stored trade with the newest (event time, id)."""
        ...

    async def late(self, exchange: str, limit: int, after: LateMinute | None = None) -> Sequence[LateMinute]:
        """Minutes of an exchange that got a trade more than 5 s after they were over: by instrument, stream and time; `after` one."""
        ...

    async def remade(self, done: Sequence[LateMinute]) -> None:
        """Their bars are made; a minute that has been marked anew since stays."""
        ...


class FactStore(Protocol):
    """Funding, mark prices, book snapshots, gaps."""

    async def save_funding(self, rows: Sequence[Funding], known_at_ns: int) -> Written: ...

    async def read_funding(self, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> list[Funding]: ...

    async def save_mark(self, rows: Sequence[MarkPrice], known_at_ns: int) -> Written: ...

    async def read_mark(
        self, instrument: str, start_ns: int | None = None, end_ns: int | None = None, limit: int | None = None
    ) -> list[MarkPrice]: ...

    async def save_books(self, books: Sequence[BookSnapshot], known_at_ns: int) -> None:
        """A book with the same instrument, time and update id is stored once."""
        ...

    async def read_books(self, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> list[BookSnapshot]: ...

    async def save_gaps(self, gaps: Sequence[Gap], known_at_ns: int) -> None:
        """A gap with the same instrument, channel, interval, start and first id is one row; filling it updates `filled_from` and `end_ns`,
        and so does a part of it that was filled."""
        ...

    async def read_gaps(self, instrument: str | None = None, open_only: bool = False) -> list[Gap]: ...


class BookLogStore(Protocol):
    """Books in full: segments that follow one another."""

    async def save(self, segments: Sequence[BookSegment], known_at_ns: int) -> None:
        """A segment with the same instrument and start is stored once."""
        ...

    async def segment_at(self, instrument: str, at_ns: int) -> BookSegment | None:
        """The one that answers for that instant; None where none was logged."""
        ...

    async def segments(self, instrument: str, start_ns: int, end_ns: int) -> Sequence[BookSegment]:
        """Those that touch [start_ns, end_ns), by start."""
        ...


class Recording(Protocol):
    """What a recorder of a shared feed stores: events, and up to where the feed is stored with them. All of it, or nothing."""

    async def record(self, events: Sequence[Event], known_at_ns: int, positions: Sequence[FeedPosition] = ()) -> None:
        """Trades, final and forming klines, funding, marks, samples of books and gaps, each as its noun's store does it; of a shard's
        positions the last one stays."""
        ...

    async def positions(self) -> list[FeedPosition]:
        """By shard; none for a shard of which nothing is stored."""
        ...


class CoverageStore(Protocol):
    """What is complete, missing, filled and revised. Ranges are [start_ns, end_ns); None: from the first row, to the last.

    now_ns: what has not happened by then is neither missing nor unknown; None: all of the range has.
    """

    async def klines(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, now_ns: int | None = None
    ) -> Coverage:
        """The bars of an interval. Within two ends that are asked for, each that is not there is missing, even where there is none."""
        ...

    async def stream(
        self, instrument: str, stream: str, start_ns: int | None = None, end_ns: int | None = None, now_ns: int | None = None
    ) -> Coverage:
        """`trade`, `agg`, `funding`, `mark` or `book`. What lies beyond all that is known, up to the ends asked for, is unknown."""
        ...

    async def differences(
        self, instrument: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None, limit: int = 100
    ) -> list[Difference]:
        """Bars whose prices or volume were told otherwise by another source or at another time, oldest first."""
        ...


class VersionStore(Protocol):
    """What was known when. A version counts from the moment that we had it on (`known_at`)."""

    async def read_as_of(
        self,
        instrument: str,
        interval: Interval,
        as_of_ns: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int | None = None,
    ) -> list[Kline]:
        """The final klines that KlineStore.read would have answered at that moment; a bar of which nothing was known then is left out."""
        ...

    async def history(self, instrument: str, interval: Interval, open_ns: int) -> BarHistory:
        """Every final version of one bar, and the gaps of klines and trades that touched it."""
        ...


class ChecksumStore(Protocol):
    """Checksums of stored chunks (an instrument's month, day or year of a table). `tell` hears of the report so far, chunk by chunk."""

    async def verify(
        self, instruments: Sequence[str] | None = None, nouns: Sequence[str] | None = None, tell: Callable[[CheckReport], None] = ...
    ) -> CheckReport:
        """Compare every signed chunk with its rows, and name the first wrong row of each that differs; and of what is not signed every
        packed chunk with what was packed."""
        ...

    async def sign(
        self,
        instruments: Sequence[str] | None = None,
        nouns: Sequence[str] | None = None,
        settled_ns: int = ...,
        tell: Callable[[CheckReport], None] = ...,
    ) -> CheckReport:
        """Sign the chunks that ended `settled_ns` ago and have no checksum, and those that writes through the store have touched since,
        once what was signed of them is found as it was. One that is wrong is reported, and keeps its checksum. Reads nothing else."""
        ...


class Due(msgspec.Struct, frozen=True):
    """A day of an instrument whose longer klines are to be made again. `mark_ns`: when that was found."""

    instrument: str
    day_ns: int
    mark_ns: int


class DueStore(Protocol):
    """Days whose minutes came late or were corrected: the store marks them as it writes."""

    async def list(self, limit: int) -> Sequence[Due]:
        """Up to so many, by instrument and day."""
        ...

    async def clear(self, done: Sequence[Due]) -> None:
        """These were rolled; a day that has been marked anew since stays."""
        ...


class Store(Protocol):
    """The database: its nouns, and its life."""

    instruments: InstrumentStore
    klines: KlineStore
    frames: KlineFrames
    changes: KlineChanges
    trades: TradeStore
    facts: FactStore
    coverage: CoverageStore
    versions: VersionStore
    checksums: ChecksumStore
    book_log: BookLogStore
    due: DueStore
    recording: Recording

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        ...

    async def close(self) -> None: ...


class BookView(Protocol):
    """A live book as readers see it."""

    instrument: str
    is_valid: bool
    last_id: int
    event_ns: int
    recv_ns: int

    def top(self, depth: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """(bids, asks), best first, at most `depth` a side."""
        ...

    def whole(self) -> BookSnapshot:
        """All that is known of it."""
        ...


class LiveState(Protocol):
    """The newest of everything, for those who ask instead of listening. Bounded: the last 1,500 final klines of each instrument
    and interval."""

    def apply(self, event: Event) -> None:
        """Take an event in."""
        ...

    def book(self, instrument: str) -> BookView | None: ...

    def ticker(self, instrument: str) -> Ticker | None: ...

    def last_trade(self, instrument: str) -> Trade | None: ...

    def klines(self, instrument: str, interval: Interval, limit: int) -> list[Kline]:
        """Newest `limit`, oldest first, the forming one last; only an unbroken run that ends now."""
        ...

    def forming(self, instrument: str, interval: Interval) -> Kline | None: ...


# ── Leases ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class LeaseState(msgspec.Struct, frozen=True):
    """A lease as the database sees it now. `left_s`: for how long it still holds, by the database's clock; 0 or less: for nobody."""

    name: str
    holder: str
    token: int
    left_s: float


class Fence(Protocol):
    """A lease as those use it who publish or store under it."""

    token: int  # the epoch of what is published; the greatest one is followed
    is_lost: bool  # another holds it: what waits is thrown away, not handed on

    def may_publish(self) -> bool:
        """Ask right before every send. False for a moment after the process stood still; then what waits is kept, and asked for again."""
        ...


class Lease(Protocol):
    """Who may do what only one may: names with a holder, an end, and a fencing token that rises with every holder of a name.

    Ends are judged by one clock, the store's. Tokens of different names can be compared, too: a later one is greater, to the ms.
    Every method raises StoreUnavailable where the store does not answer in time; nobody's lease changes then.
    """

    async def acquire(self, name: str, holder: str, ttl_s: float) -> int | None:
        """The token, where nobody holds it now; None where somebody does, be it the same holder."""
        ...

    async def renew(self, held: Mapping[str, int], holder: str, ttl_s: float) -> set[str]:
        """Of these names (with their tokens) those that are still the holder's: they hold for `ttl_s` from now. One that ran out and that
        nobody took meanwhile is still the holder's."""
        ...

    async def release(self, name: str, holder: str, token: int) -> bool:
        """Let it go, at once. False where it was not the holder's any more."""
        ...

    async def states(self, prefix: str = "") -> list[LeaseState]:
        """Every lease whose name begins so, by name."""
        ...

    async def sweep(self, prefix: str) -> None:
        """Forget those whose name begins so and that ran out an hour ago: names that do not come again."""
        ...

    async def close(self) -> None: ...


# ── Feed ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

# What happens when a reader's bound is reached: raise Overflow in the reader · hand the oldest to `spill` · drop the oldest and count ·
# keep only the newest event per (type, instrument, interval).
WhenFull = Literal["fail", "spill", "drop", "conflate"]


class Reader(Protocol):
    """One listener's own bounded queue."""

    dropped: int

    async def receive(self) -> list[Event]:
        """All events that wait, at least one. Raises Overflow (rule `fail`)."""
        ...

    def pending(self) -> int:
        """How many wait now."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Feed(Protocol):
    """One event in, every reader out."""

    def publish(self, event: Event) -> None:
        """Hand to all readers. Never waits."""
        ...

    def subscribe(
        self,
        name: str,
        *,
        bound: int,
        when_full: WhenFull,
        kinds: tuple[type, ...] = (),
        spill: Callable[[list[Event]], None] | None = None,
    ) -> Reader:
        """A new reader of the given event types (all when empty), from now on."""
        ...


class SpoolBreak(msgspec.Struct, frozen=True):
    """A damaged part of a spool: the newest events of each stream before it, and the oldest after it."""

    before: list[Event]
    after: list[Event]
    size_bytes: int


class Spool(Protocol):
    """A bounded queue of events in a file, that survives the process. `breaks`: what was damaged when it was opened."""

    breaks: list[SpoolBreak]

    def append(self, events: Sequence[Event]) -> int:
        """Store what fits; returns how many did."""
        ...

    def take(self, most: int) -> list[Event]:
        """The oldest up to `most`, without removing them."""
        ...

    def drop(self, count: int) -> None:
        """Remove the oldest `count`: they are stored elsewhere now."""
        ...

    def __len__(self) -> int: ...

    def close(self) -> None: ...
