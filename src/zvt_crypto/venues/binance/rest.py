"""Binance by REST: one call in, its body out, the budget kept, refusals given their fate, and the venue's clock estimated."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.errors import Banned, GeoBlocked, Throttled, Unreachable
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.ports import Clock, Observer, Priority, RateBudget, Response, Transport
from zvt_crypto.venues.binance import request, spec
from zvt_crypto.venues.binance.faults import fate
from zvt_crypto.venues.binance.parse import parse_time
from zvt_crypto.venues.binance.request import Call
from zvt_crypto.venues.binance.spec import BinanceHosts, Market


class ClockSample(msgspec.Struct, frozen=True):
    """What one question for the venue's time told. `offset_ns`: theirs minus ours, give or take half of `round_trip_ns`."""

    offset_ns: int
    round_trip_ns: int
    at_ns: int


class RestCaller:
    """Sends calls. The state: which spot host serves us, and the two markets' clocks."""

    def __init__(self, transport: Transport, clock: Clock, budget: RateBudget, observer: Observer, hosts: BinanceHosts) -> None:
        self._transport, self._clock, self._budget, self._observer = transport, clock, budget, observer
        self._hosts = hosts
        self._base: dict[Market, str] = {"spot": hosts.spot_rest, "usdm": hosts.usdm_rest}
        self._samples: dict[Market, ClockSample] = {}
        for bucket, (limit, window_ms) in spec.LIMITS.items():
            budget.set_limit(bucket, limit, window_ms)

    async def read(self, call: Call, priority: Priority) -> bytes:
        """The body of the answer. Raises Refused, GeoBlocked, Throttled, Banned or Unreachable.

        A spot call that this region is refused goes to the public data host instead, from then on: that serves all of them.
        """
        try:
            return await self._read(call, priority)
        except GeoBlocked as blocked:
            if call.market != "spot" or self._base["spot"] == self._hosts.data_rest:
                raise
            self._base["spot"] = self._hosts.data_rest
            self._observer.note("warning", "geo_blocked_fallback", exchange=spec.EXCHANGE, host=self._hosts.data_rest, reason=str(blocked))
            return await self._read(call, priority)

    async def read_page(self, call: Call, priority: Priority = "backfill") -> bytes:
        """As `read`, for one page of many: what is lost is asked for again, short waits are sat out, and the pages before are kept."""
        for left in reversed(range(spec.PAGE_TRIES)):
            try:
                return await self.read(call, priority)
            except Banned:
                raise
            except Throttled as error:
                if not left or error.wait_ms > spec.PAGE_PATIENCE_MS:
                    raise
                await self._clock.sleep(error.wait_ms / 1000)
            except Unreachable:
                if not left:
                    raise
                await self._clock.sleep(1.0 * (spec.PAGE_TRIES - left))
        raise AssertionError("the last try returned or raised")

    async def ask_time(self, market: Market) -> int:
        """The venue's clock, ns, as it answers. Keeps the sample where it is sharper than the one held, or that one is old."""
        asked_ns = self._clock.now_ns()
        theirs_ns = parse_time(await self.read(request.time(market), "live"))
        answered_ns = self._clock.now_ns()
        made = ClockSample(theirs_ns - (asked_ns + answered_ns) // 2, answered_ns - asked_ns, answered_ns)
        held = self._samples.get(market)
        if held is None or made.round_trip_ns <= held.round_trip_ns or answered_ns - held.at_ns > spec.CLOCK_AGE_NS:
            self._samples[market] = made
            self._observer.gauge("venue_clock_offset_seconds", made.offset_ns / 1e9, exchange=spec.EXCHANGE, market=market)
        return theirs_ns

    async def server_ns(self, market: Market) -> int:
        """The venue's clock now, at the earliest: the estimate minus its uncertainty. Asks where the last sample is too old."""
        held = self._samples.get(market)
        if held is None or self._clock.now_ns() - held.at_ns > spec.CLOCK_AGE_NS:
            await self.ask_time(market)
            held = self._samples[market]
        return self._clock.now_ns() + held.offset_ns - held.round_trip_ns // 2

    def guess_server_ns(self, market: Market) -> int:
        """The venue's clock now as far as known, without asking."""
        held = self._samples.get(market)
        return self._clock.now_ns() + (held.offset_ns if held is not None else 0)

    async def _read(self, call: Call, priority: Priority) -> bytes:
        await self._budget.acquire(call.bucket, call.weight, priority)
        sent_ns = self._clock.now_ns()
        response = await self._transport.request("GET", self._base[call.market] + call.target)
        self._believe(call.market, response, sent_ns)
        if response.status == 200:
            return response.body
        what = call.target.partition("?")[0]
        error = fate(call.market, response.status, response.headers, response.body, what, self._clock.now_ns() // NS_PER_MS)
        self._observer.count("venue_errors", exchange=spec.EXCHANGE, market=call.market, code=error.code)
        if isinstance(error, Throttled):
            self._budget.penalise(call.bucket, error.wait_ms)
            if isinstance(error, Banned):
                self._budget.penalise(spec.CONNECT_BUCKETS[call.market], error.wait_ms)
        raise error

    def _believe(self, market: Market, response: Response, sent_ns: int) -> None:
        """Take the venue's own count; not when a window ended on the way, since the number may be the old window's."""
        used = response.headers.get(spec.USED_WEIGHT_HEADER, "")
        window_ns = spec.USED_WEIGHT_WINDOW_MS * NS_PER_MS
        if used.isascii() and used.isdigit() and len(used) < 10 and sent_ns // window_ns == self._clock.now_ns() // window_ns:
            self._budget.believe(spec.BUCKETS[market], int(used))
