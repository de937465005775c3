"""Live data of one exchange: its connections, and everything that makes their events whole, onto the feed.

Start and recovery are one path: what is stored says where to go on, and the venue's REST gives what came since.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from zvt_crypto.domain.errors import BadInput, GeoBlocked, StoreUnavailable, Throttled, VenueError
from zvt_crypto.domain.events import MarketEvent, StreamStatus, TradesDoubted
from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.market import Gap, Kline, MarkPrice, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_S, Interval, count_opens, floor_ns, next_ns
from zvt_crypto.ports import HISTORY_PRIORITY, Clock, ExchangeConnector, Feed, Observer, Store, Subscription
from zvt_crypto.services.backoff import Backoff
from zvt_crypto.services.continuity import DenseTrades
from zvt_crypto.services.funding import MOST_NS, FundingPoll
from zvt_crypto.services.klineflow import KlineFlow
from zvt_crypto.services.looseflow import LooseTradeFlow
from zvt_crypto.services.markflow import MarkFlow
from zvt_crypto.services.minutecheck import MinuteCheck, streams_minutes, unchecked_since_ns
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.overlap import KNOWN_NS, LooseTrades
from zvt_crypto.services.route import Route
from zvt_crypto.services.tables import DescribeAssets, Tables, plain_assets
from zvt_crypto.services.tradeflow import TradeFlow

# What to subscribe to: the subscriptions, or a function that makes them once the connector's instruments are known.
Subscriptions = Sequence[Subscription] | Callable[[ExchangeConnector], Sequence[Subscription]]


_ENDED_LOST = "ended while the connection was lost"
_LOOK_AGAIN_S = 10.0  # between two looks at the listing that were not due
_LOOK_MOST_S = 5.0
_LEAST_BARS = 10  # of the newest stored klines, however long they are, looked at for holes when we start


class _Part(Protocol):
    async def run(self) -> None: ...


class _Flow(Protocol):
    @property
    def is_busy(self) -> bool: ...


class Ingest:
    """`run` is the whole of it; a supervisor may call it again after it failed. Subscriptions may name instruments in any way.

    Raises UnknownSymbol and Unsupported from `run` for subscriptions that the exchange does not have.
    """

    def __init__(
        self,
        connector: ExchangeConnector,
        subscriptions: Subscriptions,
        feed: Feed,
        store: Store,
        clock: Clock,
        observer: Observer,
        options: IngestOptions | None = None,
        *,
        rng: random.Random | None = None,
        describe: DescribeAssets = plain_assets,
    ) -> None:
        self.connector = connector
        self.routes: list[Route] = []
        self.ready = asyncio.Event()  # set once instruments are known and connections are being opened
        self.subscriptions: tuple[Subscription, ...] = ()
        self._wanted = subscriptions
        self._feed = feed
        self._store = store
        self._clock = clock
        self._observer = observer
        self._options = options or IngestOptions()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._looking = asyncio.Lock()
        self._looked_ns = 0
        self._tables = Tables(connector, store, clock, observer, describe)
        self._trades: dict[tuple[str, TradeStream], TradeFlow | LooseTradeFlow] = {}
        self._klines: dict[tuple[str, Interval], KlineFlow] = {}
        self._funding: dict[str, FundingPoll] = {}
        self._marks: dict[str, MarkFlow] = {}

    async def run(self) -> None:
        """Until cancelled, or until something fails that a new start must mend. Sets ports.HISTORY_PRIORITY for its task."""
        HISTORY_PRIORITY.set("live")  # what is missed here goes before what a backfill wants
        await self._load_tables()
        venue_ns = await self._venue_time()
        for subscription in self.subscriptions:
            await self._make_flow(subscription, venue_ns)
        checks = await self._minute_checks(venue_ns)
        self.routes = [self._route(number, part) for number, part in enumerate(self.connector.routes(self.subscriptions), 1)]
        try:
            async with asyncio.TaskGroup() as group:
                parts: list[_Part] = [*self._trades.values(), *self._klines.values(), *self._funding.values(), *self._marks.values()]
                parts += [*checks, *self.routes]
                for part in parts:
                    group.create_task(part.run())
                group.create_task(self._refresh())
                self.ready.set()
        finally:
            self.ready.clear()

    @property
    def is_busy(self) -> bool:
        """Whether something that was received waits, or something that was missed is being asked for."""
        flows: list[_Flow] = [*self._trades.values(), *self._klines.values(), *self._marks.values()]
        return any(flow.is_busy for flow in flows)

    def release(self, reason: str) -> None:
        """Once `run` has ended for good: trades that waited are published, what may be missing before them is flagged. So is all since
        the last trade of a connection that is lost and has not come back; of a recording it is the end."""
        for flow in self._trades.values():
            flow.release(reason)
        if self._options.of_recording is not None:
            return
        now_ns = self._clock.now_ns()
        for subscription in [s for route in self.routes if route.is_lost for s in route.subscriptions]:
            if subscription.channel in ("trade", "agg"):
                self._trades[subscription.instrument, _stream_of(subscription)].leave_open(now_ns, _ENDED_LOST)

    # ── route.Sink ────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, event: MarketEvent) -> None:
        """An event of a connection: trades, klines and mark prices through their flows, all else straight onto the feed."""
        if isinstance(event, Trade):
            trades = self._trades.get((event.instrument, event.stream))
            if trades is not None:
                trades.on_trade(event)
                return
        elif isinstance(event, Kline):
            klines = self._klines.get((event.instrument, event.interval))
            if klines is not None:
                klines.on_kline(event)
                return
        elif isinstance(event, MarkPrice):
            marks = self._marks.get(event.instrument)
            if marks is not None:
                marks.on_mark(event)
                return
        elif isinstance(event, TradesDoubted):
            doubted = self._trades.get((event.instrument, event.stream))
            if doubted is not None:
                doubted.on_connected()
            return
        self._feed.publish(event)

    def connected(self, subscriptions: Sequence[Subscription]) -> None:
        """A connection begins: each flow looks for what came before."""
        for subscription in subscriptions:
            if subscription.channel in ("trade", "agg"):
                self._trades[subscription.instrument, _stream_of(subscription)].on_connected()
            elif subscription.channel == "kline" and subscription.interval is not None:
                self._klines[subscription.instrument, subscription.interval].on_connected()

    async def look_at_listing(self) -> None:
        """As route.Sink says; not more often than every ten seconds, and not longer than the connections can wait."""
        async with self._looking:
            if self._clock.now_ns() - self._looked_ns >= _LOOK_AGAIN_S * NS_PER_S:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_MOST_S):
                        await self._look()

    # ── making ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _load_tables(self) -> None:
        """Until there is a table that knows what is wanted. A geo-block is told, and looked at again slowly.

        Raises BadInput (UnknownSymbol) only on the venue's own word: a stored table may lack what the venue lists.
        """
        backoff = Backoff(self._rng, first_s=1.0, most_s=60.0)
        while True:
            try:
                await self._tables.load()
                self.subscriptions = self._resolved()
            except BadInput:
                if self._tables.missed is None:
                    raise
                failure = self._tables.missed
            except VenueError as error:
                failure = error
            else:
                if backoff.failures:
                    self._tell("live", "")
                return
            self._tell("geo_blocked" if isinstance(failure, GeoBlocked) else "lost", str(failure))
            wait_s = backoff.next_s()
            if isinstance(failure, GeoBlocked):
                wait_s = self._options.geo_recheck_s
            elif isinstance(failure, Throttled):
                wait_s = max(failure.wait_ms / 1_000, wait_s)
            await self._clock.sleep(wait_s)

    def _resolved(self) -> tuple[Subscription, ...]:
        wanted = self._wanted(self.connector) if callable(self._wanted) else self._wanted
        table, exchange = self.connector.instruments, self.connector.exchange
        made = {Subscription(table.resolve(s.instrument, exchange).id, s.channel, s.interval): None for s in wanted}
        return tuple(made)

    async def _venue_time(self) -> int:
        """The venue's clock: a recording that is replayed has its own time. Ours, where it does not answer."""
        try:
            return await self.connector.fetch_server_time()
        except VenueError:
            return self._clock.now_ns()

    async def _make_flow(self, subscription: Subscription, venue_ns: int) -> None:
        """Flows are kept when `run` is called again: they know more than the store does."""
        name = subscription.instrument
        if subscription.channel in ("trade", "agg"):
            stream = _stream_of(subscription)
            if (name, stream) not in self._trades:
                self._trades[name, stream] = await self._trade_flow(name, stream, venue_ns)
        elif subscription.channel == "kline":
            interval = subscription.interval
            assert interval is not None, "a kline subscription names its interval"
            if (name, interval) not in self._klines:
                self._klines[name, interval] = await self._kline_flow(name, interval, venue_ns)
        elif (
            subscription.channel == "mark"
            and name not in self._funding
            and not isinstance(self.connector.instruments.get(name), CryptoPair)
        ):
            poll_s, last_ns = self._options.funding_poll_s, await self._last_funding(name, venue_ns)
            self._funding[name] = FundingPoll(self.connector, name, self._feed, self._clock, self._observer, poll_s, last_ns)
            stored = await self._store.facts.read_mark(name, limit=1)
            shared = (self._feed.publish, self._clock, self._observer, self._options, self._rng)
            self._marks[name] = MarkFlow(self.connector, name, *shared, stored[-1].event_ns if stored else None)

    async def _minute_checks(self, venue_ns: int) -> list[MinuteCheck]:
        """None where the minutes are streamed, and none of a recording, whose minutes are those of its trades."""
        options = self._options
        if options.of_recording is not None:
            return []
        most_ns = int(options.max_catch_up_s * NS_PER_S)
        since_ns = {
            name: await unchecked_since_ns(self._store, name, venue_ns, most_ns)
            for name, _ in self._trades
            if not streams_minutes(self.connector, name)
        }
        shared = (self._feed.publish, self._clock, self._observer, options, self._rng)
        return [MinuteCheck(self.connector, since_ns, *shared)] if since_ns else []

    async def _last_funding(self, name: str, venue_ns: int) -> int | None:
        """When the newest stored settlement was."""
        read = self._store.facts.read_funding
        stored = await read(name, venue_ns - MOST_NS) or await read(name)
        return stored[-1].event_ns if stored else None

    async def _trade_flow(self, name: str, stream: TradeStream, venue_ns: int) -> TradeFlow | LooseTradeFlow:
        options = self._options
        last = await self._store.trades.last(name, stream)
        start_ns = options.trades_since_ns
        oldest_ns = venue_ns - int(options.max_catch_up_s * NS_PER_S)
        continuity = self.connector.trade_continuity(name, stream)
        is_dense = continuity == "dense"
        if continuity == "opaque" and options.of_recording == "begin":
            start_ns = None  # nothing can be asked for that would show more than the first live trade does
        if last is not None and last.event_ns < oldest_ns:
            reason = f"not followed for more than {options.max_catch_up_s:.0f} s"
            first_id = int(last.trade_id) + 1 if is_dense else None
            self._feed.publish(Gap(name, stream, last.event_ns, oldest_ns, first_id, None, reason, None, venue_ns))
            last, start_ns = None, oldest_ns
        elif last is not None:
            start_ns = None
        since_ns = venue_ns if options.of_recording is None else None  # a recording's clock may be past its first trade by any time
        shared = (self._feed.publish, self._clock, self._observer, options, self._rng)
        if is_dense:
            dense = DenseTrades(name, stream, last=last, waits_for_start=start_ns is not None, since_ns=since_ns)
            return TradeFlow(self.connector, dense, *shared, start_ns)
        return LooseTradeFlow(self.connector, await self._loose_trades(name, stream, last, start_ns, since_ns), *shared)

    async def _loose_trades(
        self, name: str, stream: TradeStream, last: Trade | None, start_ns: int | None, since_ns: int | None
    ) -> LooseTrades:
        known = await self._store.trades.read(name, last.event_ns - KNOWN_NS, stream=stream) if last is not None else []
        ordered = self.connector.trade_continuity(name, stream) == "increasing"
        return LooseTrades(name, stream, ordered=ordered, last=last, known=known, start_ns=start_ns, since_ns=since_ns)

    async def _kline_flow(self, name: str, interval: Interval, venue_ns: int) -> KlineFlow:
        options = self._options
        bounds = await self._store.klines.bounds(name, interval)
        known: list[int] = []
        if bounds is not None:
            done_ns, known = await self._stored_klines(name, interval, bounds)
            missing = count_opens(interval, done_ns, venue_ns)
            if missing > options.max_klines:
                reason = f"not followed for {missing} klines: backfill fetches them"
                end_ns = floor_ns(interval, venue_ns)
                self._feed.publish(Gap(name, "kline", done_ns, end_ns, None, None, reason, None, venue_ns, interval=interval))
                done_ns, known = end_ns, []
            start_ns: int | None = done_ns
        else:  # we may have ended before the first one closed: the kline that held the last stored trade is the oldest to ask for
            last = await self._store.trades.last(name, self.connector.trade_stream(name))
            start_ns = floor_ns(interval, last.event_ns) if last is not None else None
        shared = (self._feed.publish, self._clock, self._observer, options, self._rng)
        return KlineFlow(self.connector, name, interval, *shared, start_ns, known)

    async def _stored_klines(self, name: str, interval: Interval, bounds: tuple[int, int]) -> tuple[int, list[int]]:
        """Up to where the stored ones are whole, and the opens of those beyond: finals may have been stored past a hole that nobody
        filled before we ended. Older holes than live data catches up with stand as open gaps."""
        after_ns = next_ns(interval, bounds[1])
        back_ns = max(int(self._options.max_catch_up_s * NS_PER_S), _LEAST_BARS * (after_ns - bounds[1]))
        from_ns = max(bounds[0], floor_ns(interval, after_ns - back_ns))
        holes = await self._store.klines.missing(name, interval, from_ns, after_ns)
        if not holes:
            return after_ns, []
        known, at_ns = [], holes[0][1]
        for start_ns, end_ns in [*holes[1:], (after_ns, after_ns)]:
            while at_ns < start_ns:
                known.append(at_ns)
                at_ns = next_ns(interval, at_ns)
            at_ns = end_ns
        return holes[0][0], known

    def _route(self, number: int, part: Sequence[Subscription]) -> Route:
        name = f"{self.connector.exchange} {number}"
        return Route(name, self.connector, part, self, self._feed.publish, self._clock, self._observer, self._options, self._rng)

    async def _refresh(self) -> None:
        """The instrument table, now and then. A venue that does not answer keeps the old one."""
        while True:
            await self._clock.sleep(self._options.refresh_s)
            async with self._looking:
                await self._look()

    async def _look(self) -> None:
        self._looked_ns = self._clock.now_ns()
        try:
            await self._tables.refresh()
        except (VenueError, StoreUnavailable) as error:
            self._observer.note("warning", "instruments_not_refreshed", exchange=self.connector.exchange, reason=str(error))
        for route in self.routes:
            route.follow_listed()

    def _tell(self, state: str, reason: str) -> None:
        now_ns = self._clock.now_ns()
        name = f"{self.connector.exchange} tables"
        self._feed.publish(StreamStatus(self.connector.exchange, name, state, reason, now_ns, now_ns))  # type: ignore[arg-type]
        self._observer.note("info" if state == "live" else "warning", "stream", stream=name, state=state, reason=reason)


def _stream_of(subscription: Subscription) -> TradeStream:
    return "agg" if subscription.channel == "agg" else "trade"
