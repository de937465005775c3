"""A venue by REST: one call in, its body out, the budget kept, refusals given their fate, and the venue's clock estimated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import Banned, GeoBlocked, Throttled, Unreachable, VenueError
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.ports import HISTORY_PRIORITY, Clock, Observer, Priority, RateBudget, Response, Transport
from zvt_crypto.venues.fields import FieldLog, FieldWatch, Kind

T = TypeVar("T")
# A reading of the venue's clock is believed this long.
FRESH_NS = NS_PER_S // 2  # a reading of the venue's clock by which klines are called final
CLOCK_AGE_NS = 300 * 1_000_000_000
# A page of many is asked for this often, and a throttle sat out this long: losing page 400 must not lose the 399 before.
PAGE_TRIES = 3
PAGE_PATIENCE_MS = 90_000


class Call(msgspec.Struct, frozen=True):
    """One GET: `target` is path and query, `bucket` and `weight` what it costs. `market` is the venue's own division of hosts."""

    market: str
    target: str
    bucket: str
    weight: int = 1


class ClockSample(msgspec.Struct, frozen=True):
    """What one question for the venue's time told. `offset_ns`: theirs minus ours, give or take half of `round_trip_ns`."""

    offset_ns: int
    round_trip_ns: int
    at_ns: int


class RestManners(msgspec.Struct, frozen=True):
    """What a venue's REST is like.

    hosts: market → base URL. fallbacks: market → base URL that serves it where the first host refuses our region.
    limits: bucket → (most, window_ms), until the venue states others. slides: whether they hold for any stretch of that length.
    judge: (call, response, our clock in ms) → the error that the answer is, None where it is an answer. HTTP status or body may decide.
    believe: (call, response) → (bucket, used) as the venue counts, None where it does not say.
    closes: call → the buckets that are closed as well where the venue bans us.
    time: market → the call for the venue's clock, and how its body is read (ns).
    kind_of: call → the kind of its answer and the names that are known of it, None where nothing is.
    """

    exchange: str
    hosts: Mapping[str, str]
    limits: Mapping[str, tuple[int, int]]
    judge: Callable[[Call, Response, int], VenueError | None]
    time: Callable[[str], tuple[Call, Callable[[bytes], int]]]
    slides: bool = False
    fallbacks: Mapping[str, str] = {}
    believe: Callable[[Call, Response], tuple[str, int] | None] = lambda _call, _response: None
    closes: Callable[[Call], tuple[str, ...]] = lambda _call: ()
    kind_of: Callable[[Call], Kind | None] = lambda _call: None


class RestCaller:
    """Sends calls. The state: which host serves us, and the markets' clocks."""

    def __init__(self, transport: Transport, clock: Clock, budget: RateBudget, observer: Observer, manners: RestManners) -> None:
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
        self._manners = manners
        self._fields = FieldWatch(FieldLog(manners.exchange, observer))
        self._base = dict(manners.hosts)
        self._samples: dict[str, ClockSample] = {}
        self._readings: dict[str, tuple[int, int]] = {}  # market → (the venue's clock, ours when it answered)
        for bucket, (limit, window_ms) in manners.limits.items():
            budget.set_limit(bucket, limit, window_ms, slides=manners.slides)

    async def read(self, call: Call, priority: Priority) -> bytes:
        """The body of the answer. Raises Refused, GeoBlocked, Throttled, Banned or Unreachable.

        A call that this region is refused goes to the market's fallback host instead, from then on.
        """
        return (await self.respond(call, priority)).body

    async def respond(self, call: Call, priority: Priority) -> Response:
        """As `read`, for venues that write into headers: a page's cursor, for example."""
        try:
            return await self._respond(call, priority)
        except GeoBlocked as blocked:
            host = self._manners.fallbacks.get(call.market)
            if host is None or self._base[call.market] == host:
                raise
            self._base[call.market] = host
            self._observer.note("warning", "geo_blocked_fallback", exchange=self._manners.exchange, host=host, reason=str(blocked))
            return await self._respond(call, priority)

    async def read_page(self, call: Call, priority: Priority | None = None) -> bytes:
        """As `read`, for one page of many: what is lost is asked for again, short waits are sat out, and the pages before are kept.

        Without a priority it is that of who asks for the past (ports.HISTORY_PRIORITY).
        """
        return (await self.respond_page(call, priority)).body

    async def respond_page(self, call: Call, priority: Priority | None = None) -> Response:
        """As `read_page`, with the headers."""
        asks = priority or HISTORY_PRIORITY.get()
        return await self._persist(lambda: self.respond(call, asks))

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        for left in reversed(range(PAGE_TRIES)):
            try:
                return await ask()
            except Banned:
                raise
            except Throttled as error:
                if not left or error.wait_ms > PAGE_PATIENCE_MS:
                    raise
                await self._sit_out(error, error.wait_ms / 1000)
            except Unreachable as error:
                if not left:
                    raise
                await self._sit_out(error, 1.0 * (PAGE_TRIES - left))
        raise AssertionError("the last try returned or raised")

    async def _sit_out(self, error: Throttled | Unreachable, wait_s: float) -> None:
        self._observer.note("warning", "venue_waits", exchange=self._manners.exchange, reason=str(error), wait_s=wait_s)
        await self._clock.sleep(wait_s)

    async def ask_time(self, market: str) -> int:
        """The venue's clock, ns, as it answers. Keeps the sample where it is sharper than the one held, or that one is old."""
        call, parse = self._manners.time(market)
        asked_ns = self._clock.now_ns()
        theirs_ns = parse(await self.read(call, "live"))
        answered_ns = self._clock.now_ns()
        self._readings[market] = theirs_ns, answered_ns
        made = ClockSample(theirs_ns - (asked_ns + answered_ns) // 2, answered_ns - asked_ns, answered_ns)
        held = self._samples.get(market)
        if held is None or made.round_trip_ns <= held.round_trip_ns or answered_ns - held.at_ns > CLOCK_AGE_NS:
            self._samples[market] = made
            self._observer.gauge("venue_clock_offset_seconds", made.offset_ns / 1e9, exchange=self._manners.exchange, market=market)
        return theirs_ns

    async def server_ns(self, market: str) -> int:
        """The venue's clock now, at the earliest: the estimate minus its uncertainty. Asks where the last sample is too old."""
        held = self._samples.get(market)
        if held is None or self._clock.now_ns() - held.at_ns > CLOCK_AGE_NS:
            await self._persist(lambda: self.ask_time(market))
            held = self._samples[market]
        return self._clock.now_ns() + held.offset_ns - held.round_trip_ns // 2

    async def read_server_ns(self, market: str) -> int:
        """The venue's clock as it told it a moment ago, and not reckoned on: what is final hangs on it, our clock may be set meanwhile, and
        that of a recording stands still."""
        told = self._readings.get(market)
        if told is None or not 0 <= self._clock.now_ns() - told[1] <= FRESH_NS:
            return await self._persist(lambda: self.ask_time(market))
        return told[0]

    def guess_server_ns(self, market: str) -> int:
        """The venue's clock now as far as known, without asking."""
        held = self._samples.get(market)
        return self._clock.now_ns() + (held.offset_ns if held is not None else 0)

    async def _respond(self, call: Call, priority: Priority) -> Response:
        await self._budget.acquire(call.bucket, call.weight, priority)
        sent_ns = self._clock.now_ns()
        response = await self._transport.request("GET", self._base[call.market] + call.target)
        self._believe(call, response, sent_ns)
        error = self._manners.judge(call, response, self._clock.now_ns() // NS_PER_MS)
        if error is None:
            if (kind := self._manners.kind_of(call)) is not None:
                self._fields.see(kind, response.body, self._clock.now_ns())
            return response
        self._observer.count("venue_errors", exchange=self._manners.exchange, market=call.market, code=error.code)
        if isinstance(error, Throttled):
            self._budget.penalise(call.bucket, error.wait_ms)
            if isinstance(error, Banned):
                for bucket in self._manners.closes(call):
                    self._budget.penalise(bucket, error.wait_ms)
        raise error

    def _believe(self, call: Call, response: Response, sent_ns: int) -> None:
        """Take the venue's own count; not when a window ended on the way, since the number may be the old window's."""
        told = self._manners.believe(call, response)
        if told is None:
            return
        window_ns = self._manners.limits[told[0]][1] * NS_PER_MS
        if sent_ns // window_ns == self._clock.now_ns() // window_ns:
            self._budget.believe(*told)
