"""A seeded synthetic market: what a spot and USD-M exchange would say if a crowd of arithmetic traded on it.

Klines, trades and depth agree because all come from the same matching books. Same seed and start, same bytes, however often it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import gcd
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from zvt_crypto.emulator.bars import INTERVALS, flat, floor_open
from zvt_crypto.emulator.instrument import FUNDING_NS, MarketInstrument, Room
from zvt_crypto.emulator.listings import Listings
from zvt_crypto.emulator.model import (
    Agg,
    Bar,
    BarEvent,
    BookImage,
    Day,
    Emission,
    FundingRow,
    Listing,
    Mark,
    Market,
    Resting,
    Trade,
    read_e8,
)
from zvt_crypto.sim.chance import generator
from zvt_crypto.sim.crowd import Temper
from zvt_crypto.sim.matching import Side

_WARM_NS = 5 * NS_PER_MINUTE  # the crowd trades this long before anybody looks, so that the books have a shape
# Of a market that lists more than these, an instrument trades only while somebody watches it; what it did before, or between two
# questions, is made up for when it is asked, to the same trades. One costs 12 ms to begin, and 40 us for each second of trading.
_AWAKE_MOST = 50
_MOST_DAYS = 3_000
SLICE_ORDERS = 5_000  # a tenth of a second's work
_LISTED_RATE = 10_000  # of funding, before the first trade: one basis point
# What happens first when times are equal: a minute ends before the trade that opens the next one.
_MINUTE, _STREAM, _ORDER = 0, 1, 2


_PARTIAL_LEVELS = ("1", "5", "10", "20", "50")


def _beat_ms(speed: str, usual_ms: int) -> int:
    """`100ms` → 100; without a speed the usual one; 0 for what is none."""
    if not speed:
        return usual_ms
    digits = speed.removesuffix("ms")
    return int(digits) if speed != digits and digits.isascii() and digits.isdigit() and 10 <= int(digits[:5]) <= 10_000 else 0


class Symbol(msgspec.Struct, frozen=True):
    """What a synthetic instrument is like. Decimals as strings; `lots` is the typical size of an order; `contract` the quote of a
    contract of an inverse one."""

    market: Market
    base: str
    quote: str
    price: str
    tick: str
    lot: str
    lots: float
    min_notional: str = "5"
    volatility: float = 6e-5
    contract: str = ""

    @property
    def name(self) -> str:
        """The exchange's symbol."""
        return self.base + self.quote


DEFAULT_SYMBOLS = (
    Symbol("spot", "BTC", "USDT", "60000", "0.01", "0.00001", 1500),
    Symbol("spot", "ETH", "USDT", "2500", "0.01", "0.0001", 4000),
    Symbol("spot", "SOL", "USDT", "150", "0.01", "0.001", 6000, volatility=9e-5),
    Symbol("usdm", "BTC", "USDT", "60010", "0.1", "0.001", 20, "100"),
    Symbol("usdm", "ETH", "USDT", "2500.5", "0.01", "0.001", 400, "20"),
)
# Settled in BTC, counted in contracts of 100 USD. Exchanges that have no such thing do not list it.
INVERSE = Symbol("coinm", "BTC", "USD", "60005", "0.1", "1", 12, "1", contract="100")
READY_SYMBOLS = (*DEFAULT_SYMBOLS, INVERSE)


def symbol_for(market: Market, base: str, quote: str = "USDT") -> Symbol:
    """A plausible instrument of any name: the ready-made one where there is one, else priced by a draw on its name.

    Raises BadInput for an inverse one that is not quoted in USD.
    """
    for known in READY_SYMBOLS:
        if (known.market, known.base, known.quote) == (market, base, quote):
            return known
    price = round(10 ** generator("price", base, quote).uniform(0, 3), 2)
    if market == "coinm":
        if quote != "USD":
            raise BadInput(f"an inverse contract is quoted in USD, not in {shown(quote)}")
        return Symbol(market, base, quote, f"{price:.2f}", "0.0001", "1", 12, "1", volatility=1e-4, contract="10")
    return Symbol(market, base, quote, f"{price:.2f}", "0.0001", "0.1", max(1.0, 8_000 / price), volatility=1e-4)


def listing_of(symbol: Symbol, listed_ns: int) -> Listing:
    """The symbol as a world lists it."""
    tick, lot, least = (read_e8(text) for text in (symbol.tick, symbol.lot, symbol.min_notional))
    return Listing(symbol.market, symbol.name, symbol.base, symbol.quote, tick, lot, least, listed_ns, read_e8(symbol.contract))


class _Stream:
    """A watched stream with a rhythm: what has changed since it last spoke, and whether its next beat is set."""

    __slots__ = ("beat_ns", "first_id", "interval", "kind", "last_id", "levels", "name", "pending", "previous_id", "serial", "touched")

    def __init__(self, serial: int, name: str, kind: str, beat_ns: int, interval: str, levels: int, previous_id: int) -> None:
        self.serial = serial
        self.name = name
        self.kind = kind
        self.beat_ns = beat_ns
        self.interval = interval
        self.levels = levels
        self.pending = False
        self.previous_id = previous_id
        self.first_id = 0
        self.last_id = previous_id
        self.touched: dict[tuple[Side, int], None] = {}


class _Lane:
    """An instrument and who watches it. It sleeps until `start` has made it.

    is_timed: the world's agenda moves it; else it stands where it was last asked, and catches up when it is asked again.
    turn: entries of the agenda with another one are void.
    told: its ticker, when that was last asked.
    """

    __slots__ = ("_instrument", "_start", "immediate", "index", "is_gone", "is_timed", "key", "minute_ns", "streams", "told", "turn")

    def __init__(self, listing: Listing, index: int, first_minute_ns: int, start: Callable[[_Lane], MarketInstrument]) -> None:
        self._start = start
        self._instrument: MarketInstrument | None = None
        self.minute_ns = first_minute_ns  # when its forming minute ends
        self.is_timed = False
        self.turn = 0
        self.told: Day | None = None
        self.index = index
        self.key: tuple[Market, str] = (listing.market, listing.symbol)
        self.is_gone = False
        self.immediate: dict[str, str] = {}  # kind → stream
        self.streams: dict[str, _Stream] = {}

    def wake(self) -> MarketInstrument:
        """The instrument; made when it is first asked for."""
        if self._instrument is None:
            self._instrument = self._start(self)
        return self._instrument

    @property
    def price(self) -> int | None:
        """The last one, as far as it has traded; None where it has not been made yet."""
        return None if self._instrument is None else self._instrument.minute.close

    @property
    def instrument(self) -> MarketInstrument:
        """As `wake`."""
        return self._instrument or self.wake()


class MarketWorld:
    """The synthetic exchange. `events_per_s` is the mean rate of orders of each instrument; `history_days` how much past it has.

    Time moves through `poll` (or `advance`) alone and never goes back. Raises BadInput for settings out of bounds.

    most_orders: how many orders one `advance` lets through at most, so that who serves is never busy for long; the rest come with
    the next ones, and until then it is earlier here. 0: all that are due.
    """

    mode: Literal["market", "replay"] = "market"
    most_orders = 0

    def __init__(
        self,
        seed: int = 1,
        symbols: Sequence[Symbol] = DEFAULT_SYMBOLS,
        *,
        start_ns: int,
        events_per_s: float = 4.0,
        history_days: int = 60,
    ) -> None:
        if not 0.001 <= events_per_s <= 10_000:
            raise BadInput(f"events_per_s {events_per_s} is out of range: 0.001 to 10000")
        if not 1 <= history_days <= _MOST_DAYS:
            raise BadInput(f"history_days {history_days} is out of range: 1 to {_MOST_DAYS}")
        live_ns = start_ns // NS_PER_MINUTE * NS_PER_MINUTE - _WARM_NS
        self._lanes: dict[tuple[Market, str], _Lane] = {}
        self._prices: dict[tuple[Market, str], int] = {}  # at which they were listed
        self._listings = Listings()
        self._heap: list[tuple[int, int, int, int, _Stream | None]] = []
        self._by_index: list[_Lane] = []
        self._out: list[Emission] = []
        self._events = 0
        self._watches = 0
        self._is_behind = False
        self._now_ns = start_ns
        self._seed, self._events_per_s = seed, events_per_s
        self._is_lazy = len(symbols) > _AWAKE_MOST
        self._room = Room(max(len(symbols), _AWAKE_MOST))
        for symbol in symbols:
            self._add(symbol, live_ns, start_ns, history_days)
        if not self._is_lazy:
            for lane in self._by_index:
                self._time(lane)

    def _add(self, symbol: Symbol, live_ns: int, begin_ns: int, history_days: int) -> _Lane:
        listing = listing_of(symbol, live_ns - history_days * 1440 * NS_PER_MINUTE)
        self._listings.add(listing)
        temper = Temper(self._events_per_s, volatility=symbol.volatility, typical_lots=symbol.lots)

        def start(lane: _Lane) -> MarketInstrument:
            made = MarketInstrument(listing, self._seed, live_ns, read_e8(symbol.price), temper, history_days, self._room)
            self._catch_up(lane, made, begin_ns)
            made.begin()
            return made

        lane = _Lane(listing, len(self._by_index), live_ns + NS_PER_MINUTE, start)
        self._prices[lane.key] = read_e8(symbol.price) // listing.tick_e8 * listing.tick_e8
        self._lanes[lane.key] = lane
        self._by_index.append(lane)
        return lane

    def _catch_up(self, lane: _Lane, instrument: MarketInstrument, until_ns: int) -> None:
        """Let an instrument that nobody watches do what it would have done by then."""
        while (at_ns := min(lane.minute_ns, instrument.crowd.next_ns)) <= until_ns:
            if at_ns == lane.minute_ns:
                instrument.close_minute(at_ns)
                lane.minute_ns += NS_PER_MINUTE
            else:
                instrument.act(with_quote=False)
                self._events += 1

    def _present(self, lane: _Lane) -> MarketInstrument:
        """The instrument as it is now."""
        instrument = lane.instrument
        if not lane.is_timed:
            self._catch_up(lane, instrument, self._now_ns)
        return instrument

    def _time(self, lane: _Lane) -> None:
        """From now on time moves the instrument by itself."""
        instrument = self._present(lane)
        if not lane.is_timed:
            lane.is_timed = True
            heappush(self._heap, (instrument.crowd.next_ns, _ORDER, lane.index, lane.turn, None))
            heappush(self._heap, (lane.minute_ns, _MINUTE, lane.index, lane.turn, None))

    def _let_be(self, lane: _Lane) -> None:
        """Of a long listing, who is not watched any more costs nothing until somebody asks."""
        if self._is_lazy and lane.is_timed and not lane.immediate and not lane.streams:
            lane.is_timed = False
            lane.turn += 1

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, now_ns: int, room: int = 0) -> list[Emission]:
        """World.poll; a market does not wait for slow readers."""
        self.advance(now_ns)
        out, self._out = self._out, []
        return out

    def advance(self, now_ns: int) -> None:
        """Let everything happen that is due up to and including `now_ns`, or as much of it as `most_orders` allow."""
        heap, last = self._heap, self._events + self.most_orders
        self._is_behind = False
        while heap and heap[0][0] <= now_ns:
            if self.most_orders and self._events >= last:
                self._is_behind = True
                return
            at_ns, rank, index, serial, stream = heappop(heap)
            lane = self._by_index[index]
            self._now_ns = at_ns
            if lane.is_gone:
                continue
            if stream is not None:
                self._beat(lane, stream, at_ns)
            elif serial != lane.turn:
                continue
            elif rank == _ORDER:
                self._order(lane)
                heappush(heap, (lane.instrument.crowd.next_ns, _ORDER, index, serial, None))
            else:
                self._minute(lane, at_ns)
                heappush(heap, (lane.minute_ns, _MINUTE, index, serial, None))
        self._now_ns = max(self._now_ns, now_ns)

    def next_ns(self, now_ns: int) -> int | None:
        """World.next_ns: streams with a rhythm speak on its grid only, so nothing is due before."""
        grid_ns: int | None = None
        if self._is_behind:
            return self._heap[0][0]
        for lane in self._lanes.values():
            if lane.immediate:
                return self._heap[0][0]
            for stream in lane.streams.values():
                grid_ns = stream.beat_ns if grid_ns is None else min(grid_ns, stream.beat_ns)
        if grid_ns is None:
            return None
        grid_ns = gcd(grid_ns, 50 * NS_PER_MS) if grid_ns < 1000 * NS_PER_MS else 1000 * NS_PER_MS
        return -(-self._heap[0][0] // grid_ns) * grid_ns

    # ── Changes of the listing ────────────────────────────────────────────────────────────────────────────────────────

    def list_symbol(self, symbol: Symbol, at_ns: int | None = None) -> None:
        """List one more instrument, from the minute of `at_ns` (now) on. Raises BadInput where it is listed already."""
        live_ns = (self._now_ns if at_ns is None else at_ns) // NS_PER_MINUTE * NS_PER_MINUTE
        lane = self._add(symbol, live_ns, live_ns, history_days=0)
        if not self._is_lazy:
            self._time(lane)

    def delist(self, market: Market, name: str) -> None:
        """Stop an instrument: it trades no more, and is listed no more. Raises BadInput."""
        self._listings.remove(market, name)
        lane = self._lanes.pop((market, name))
        lane.is_gone = True
        lane.immediate.clear()
        lane.streams.clear()

    def refine_tick(self, market: Market, name: str, by: float) -> None:
        """Let the price step be `by` times finer from now on (2, 5 or 10). Raises BadInput where there is no such step."""
        self._listings.refine(market, name, by)

    def revise_minute(self, market: Market, name: str) -> None:
        """Correct the newest closed minute after the fact, as exchanges do: one lot more at its close, sent once more to who listens."""
        self._listings.get(market, name)
        lane = self._lanes[market, name]
        bar = self._present(lane).revise_minute()
        for stream in lane.streams.values():
            if stream.kind == "kline" and stream.interval == "1m":
                self._emit(lane, stream.name, BarEvent("1m", bar, True, self._now_ns))

    # ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def canonical(self, market: Market, stream: str) -> str | None:
        """World.canonical: depth without a speed has the market's default one."""
        return stream if self._plan(market, stream) else None

    def watch(self, market: Market, stream: str, now_ns: int) -> None:
        """World.watch."""
        self.advance(now_ns)
        plan = self._plan(market, stream)
        if plan is None:
            return
        lane, kind, beat_ns, interval, levels = plan
        self._time(lane)
        update_id = lane.instrument.update_id
        if beat_ns == 0:
            lane.immediate[kind] = stream
            return
        self._watches += 1
        watched = lane.streams[stream] = _Stream(self._watches, stream, kind, beat_ns, interval, levels, update_id)
        if kind == "mark":
            self._schedule(lane, watched, now_ns)

    def unwatch(self, market: Market, stream: str) -> None:
        """World.unwatch."""
        plan = self._plan(market, stream)
        if plan is None:
            return
        lane, kind, beat_ns, _, _ = plan
        if beat_ns == 0:
            lane.immediate.pop(kind, None)
        elif (gone := lane.streams.pop(stream, None)) is not None:
            gone.kind = "gone"  # its beat may still stand in the heap
        self._let_be(lane)

    def _plan(self, market: Market, stream: str) -> tuple[_Lane, str, int, str, int] | None:
        """(lane, kind, beat, interval, levels) of a stream; beat 0 = at once. What an exchange never sends is its dialect's affair."""
        symbol, _, rest = stream.partition("@")
        lane = self._lanes.get((market, symbol.upper()))
        if lane is None or symbol != symbol.lower():
            return None
        name, _, speed = rest.partition("@")
        if name in ("trade", "aggTrade", "bookTicker") and not speed:
            return lane, name, 0, "", 0
        if name.startswith("kline_") and name[6:] in INTERVALS and not (speed and name == "kline_1s"):
            beat_ms = _beat_ms(speed, 1000 if name == "kline_1s" else 2000 if market == "spot" else 250)
            return (lane, "kline", beat_ms * NS_PER_MS, name[6:], 0) if beat_ms else None
        if name.startswith("depth") and name[5:] in ("", *_PARTIAL_LEVELS):
            beat_ms = _beat_ms(speed, 1000 if market == "spot" else 250)
            return (lane, "partial" if name[5:] else "depth", beat_ms * NS_PER_MS, "", int(name[5:] or 0)) if beat_ms else None
        if name in ("ticker", "miniTicker"):
            beat_ms = _beat_ms(speed, 2000 if market != "spot" and name == "ticker" else 1000)
            return (lane, "ticker", beat_ms * NS_PER_MS, "", 0) if beat_ms else None
        if name == "markPrice" and market != "spot" and speed in ("", "1s"):
            return lane, "mark", (1000 if speed else 3000) * NS_PER_MS, "", 0
        return None

    def _schedule(self, lane: _Lane, stream: _Stream, at_ns: int) -> None:
        if not stream.pending:
            stream.pending = True
            beat_ns = (at_ns // stream.beat_ns + 1) * stream.beat_ns
            heappush(self._heap, (beat_ns, _STREAM, lane.index, stream.serial, stream))

    def _emit(self, lane: _Lane, stream: str, fact: Trade | Agg | object) -> None:
        self._out.append(Emission(lane.key[0], lane.key[1], stream, fact))  # type: ignore[arg-type]

    # ── What happens ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _order(self, lane: _Lane) -> None:
        self._events += 1
        trades, aggs, touched, quote = lane.instrument.act(with_quote="bookTicker" in lane.immediate)
        if lane.immediate:
            for kind, facts in (("trade", trades), ("aggTrade", aggs), ("bookTicker", [quote] if quote else [])):
                if facts and (name := lane.immediate.get(kind)) is not None:
                    for fact in facts:
                        self._emit(lane, name, fact)
        for stream in lane.streams.values():
            if stream.kind == "depth" and touched:
                for side, price, update_id in touched:
                    stream.first_id = stream.first_id or update_id
                    stream.touched[side, price] = None
                    stream.last_id = update_id
                self._schedule(lane, stream, lane.instrument.now_ns)
            elif (stream.kind == "partial" and touched) or (stream.kind in ("kline", "ticker") and trades):
                self._schedule(lane, stream, lane.instrument.now_ns)

    def _minute(self, lane: _Lane, at_ns: int) -> None:
        instrument = lane.instrument
        closing = [s for s in lane.streams.values() if s.kind == "kline" and s.interval != "1s" and floor_open(s.interval, at_ns) == at_ns]
        instrument.close_minute(at_ns)
        lane.minute_ns += NS_PER_MINUTE
        for stream in closing:
            bar = instrument.pages.forming(stream.interval, at_ns - 1)
            if bar is not None:
                self._emit(lane, stream.name, BarEvent(stream.interval, bar, True, at_ns))

    def _beat(self, lane: _Lane, stream: _Stream, at_ns: int) -> None:
        stream.pending = False
        instrument = lane.instrument
        instrument.now_ns = max(instrument.now_ns, at_ns)
        if stream.kind == "depth":
            diff = instrument.diff(stream.touched, stream.first_id, stream.last_id, stream.previous_id, at_ns)
            stream.touched, stream.previous_id, stream.first_id = {}, stream.last_id, 0
            self._emit(lane, stream.name, diff)
        elif stream.kind == "partial":
            self._emit(lane, stream.name, instrument.book(stream.levels)._replace(event_ns=at_ns))
        elif stream.kind == "kline":
            self._emit_bar(lane, stream, at_ns)
        elif stream.kind == "ticker":
            self._emit(lane, stream.name, instrument.day())
        elif stream.kind == "mark":
            self._emit(lane, stream.name, instrument.mark(at_ns))
            self._schedule(lane, stream, at_ns)

    def _emit_bar(self, lane: _Lane, stream: _Stream, at_ns: int) -> None:
        """The forming bar. A second's beat falls on its end, so that it is the closed one that goes out."""
        is_second = stream.interval == "1s"
        bar = lane.instrument.pages.forming(stream.interval, at_ns - 1 if is_second else at_ns)
        # At a border the closing frame has gone out already; the fresh bar waits for its first trade.
        if bar is not None and (is_second or bar.trades):
            self._emit(lane, stream.name, BarEvent(stream.interval, bar, is_second, at_ns))

    # ── World: what can be asked ──────────────────────────────────────────────────────────────────────────────────────

    def server_ns(self, now_ns: int) -> int:
        """The given clock."""
        return now_ns

    def listings(self, market: Market) -> dict[str, Listing]:
        """World.listings."""
        return self._listings.of(market)

    def recorded(self, market: Market, path: str) -> bytes | None:
        """Nothing was recorded."""
        return None

    def _of(self, listing: Listing) -> MarketInstrument:
        instrument = self._present(self._lanes[listing.market, listing.symbol])
        instrument.now_ns = max(instrument.now_ns, self._now_ns)
        return instrument

    def book(self, listing: Listing, limit: int) -> BookImage:
        """World.book."""
        return self._of(listing).book(limit)

    def trades(self, listing: Listing, from_id: int | None, limit: int) -> list[Trade]:
        """World.trades."""
        return self._of(listing).trades(from_id, limit)

    def aggs(self, listing: Listing, from_id: int | None, start_ns: int | None, end_ns: int | None, limit: int) -> list[Agg]:
        """World.aggs."""
        return self._of(listing).aggs(from_id, start_ns, end_ns, limit)

    def bars(self, listing: Listing, interval: str, start_ns: int | None, end_ns: int | None, limit: int) -> list[Bar]:
        """World.bars."""
        return self._of(listing).pages.page(interval, start_ns, end_ns, limit)

    def day(self, listing: Listing) -> Day | None:
        """World.day."""
        day = self._lanes[listing.market, listing.symbol].told = self._of(listing).day()
        return day

    def mark(self, listing: Listing) -> Mark | None:
        """World.mark."""
        return self._of(listing).mark(self._now_ns)

    def resting(self, listing: Listing) -> Resting | None:
        """World.resting."""
        key = listing.market, listing.symbol
        lane, now_ns = self._lanes[key], self._now_ns
        if lane.is_timed:
            return None
        day, price = lane.told, lane.price or self._prices[key]
        if day is None:
            day = Day(flat(floor_open("1m", now_ns), price), None, price, (price, 0), (price, 0), now_ns - NS_PER_DAY, now_ns)
        next_funding_ns = (now_ns // FUNDING_NS + 1) * FUNDING_NS
        mark = Mark(day.bar.close, day.bar.close, _LISTED_RATE, next_funding_ns, now_ns)
        return Resting(day, mark, BookImage(0, now_ns, [day.bid], [day.ask]))

    def mark_bars(
        self, listing: Listing, kind: Literal["mark", "index"], interval: str, start_ns: int | None, end_ns: int | None, limit: int
    ) -> list[Bar]:
        """World.mark_bars."""
        return self._of(listing).mark_bars(kind, interval, start_ns, end_ns, limit)

    def funding(self, listing: Listing, start_ns: int | None, end_ns: int | None, limit: int) -> list[FundingRow]:
        """World.funding."""
        return self._of(listing).funding(start_ns, end_ns, limit)

    def status(self) -> dict[str, object]:
        """World.status; a market never ends."""
        return {"mode": "market", "frames": self._events, "frames_total": None, "done": False}

    def save(self) -> None:
        """A market starts anew from its seed."""
