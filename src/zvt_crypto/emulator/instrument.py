"""One instrument of the synthetic market: its matching book, its crowd, its past, and what follows from them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Literal

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from zvt_crypto.emulator.bars import BarPages, add_trade, bars_of, flat, floor_open, join
from zvt_crypto.emulator.model import Agg, Bar, BookImage, Day, Depth, FundingRow, Listing, Mark, Quote, Trade
from zvt_crypto.sim.chance import Chance, generator
from zvt_crypto.sim.crowd import Crowd, Temper
from zvt_crypto.sim.matching import Fill, MatchingBook, Side
from zvt_crypto.sim.past import DAY_NS, MINUTES, DayTrades, Ints, Past, Shelf

FUNDING_NS = 8 * 3600 * NS_PER_S
FIRST_TRADE_ID = 1_000_000_000  # of the live market; the past counts down from it
FIRST_AGG_ID = 700_000_000
FIRST_UPDATE_ID = 10_000_000_000
_USDM_ID_STEP = 7  # USD-M shares its update ids among all symbols: one symbol's jump
_PAST_TRADES = 12  # a minute: the past is told in fewer, larger trades than the present
_WARM_RATE = 4.0  # orders a second while nobody looks: a busy market, too, starts at once
_SHARED_AMONG = 50  # instruments that may hold as much as they want; more of them share what these would
_KEPT_TRADES = 200_000
_KEPT_TRADES_ALL = 2_500_000  # of a longer listing, about a gigabyte
_KEPT_MINUTES = 600_000  # more than a year
_KEPT_MINUTES_ALL = 6_000_000  # of a longer listing, about two
_KEPT_MINUTES_LEAST = 3_000  # two days: the ticker sums one
_KEPT_TRADES_LEAST = 1_200  # a page of any exchange, and the tenth that goes at once
_PAST_DAYS = 120  # days of past trades, 0.6 MB each
_PAST_DAYS_BARS = 500  # days of past minutes, 0.6 MB each
_PAST_WALKS = 60  # 0.7 MB each at 60 days


class Room:
    """What the instruments of one market may hold together; `symbols` is how many there are."""

    def __init__(self, symbols: int) -> None:
        many = symbols > _SHARED_AMONG
        self.trades = max(_KEPT_TRADES_LEAST, _KEPT_TRADES_ALL // symbols) if many else _KEPT_TRADES
        self.minutes = max(_KEPT_MINUTES_LEAST, _KEPT_MINUTES_ALL // symbols) if many else _KEPT_MINUTES
        self.past_trades: Shelf[DayTrades] = Shelf(_PAST_DAYS)
        self.past_minutes: Shelf[list[Bar]] = Shelf(_PAST_DAYS_BARS)
        self.walks: Shelf[Ints] = Shelf(_PAST_WALKS)


class MarketInstrument:
    """State of one listing. `act` lets the crowd move; `close_minute` ends a bar. Time only moves through these two."""

    def __init__(self, listing: Listing, seed: object, live_ns: int, price_e8: int, temper: Temper, history_days: int, room: Room) -> None:
        self.listing = listing
        self.live_ns = live_ns
        self.now_ns = live_ns
        self._seed = (seed, listing.market, listing.symbol)
        ticks = price_e8 // listing.tick_e8
        self.matching = MatchingBook(first_trade_id=FIRST_TRADE_ID)
        self.crowd = Crowd(self.matching, Chance(generator(*self._seed, "crowd")), _calm(temper), ticks, live_ns)
        self._temper = temper
        self.past = Past(
            lambda day: generator(*self._seed, "past", day),
            days=history_days,
            end_ns=live_ns,
            end_price=ticks,
            end_id=FIRST_TRADE_ID,
            typical_lots=temper.typical_lots * max(1.0, temper.events_per_s * 60 / _PAST_TRADES),  # volumes join, too
            trades_per_minute=_PAST_TRADES,
            shelf=room.past_trades,
            walks=room.walks,
        )
        self._room = room
        self._step = 1 if listing.market == "spot" else _USDM_ID_STEP
        self.update_id = FIRST_UPDATE_ID
        self.trades_kept: list[Trade] = []
        self.aggs_kept: list[Agg] = []
        self._next_agg_id = FIRST_AGG_ID
        self._minutes: list[Bar] = []
        self.minute = flat(live_ns, ticks * listing.tick_e8)
        self._closed_day: tuple[int, int, Bar | None] = (0, 0, None)  # forming open, close before, the closed minutes as one
        self.pages = BarPages(self.minutes, self._seconds, lambda: (self.past.first_ns if history_days else live_ns, self.now_ns))
        self._take_changes()

    # ── Time moves ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """The crowd has warmed up: from now on it trades at its own rate."""
        self.crowd.temper = self._temper

    def act(self, *, with_quote: bool) -> tuple[list[Trade], list[Agg], list[tuple[Side, int, int]], Quote | None]:
        """The crowd's next action: trades, aggregates, (side, price, update id) of levels touched, and, if asked for, the quote
        where it changed."""
        self.now_ns = self.crowd.next_ns
        before = self._best() if with_quote else None
        fills = self.crowd.act()
        trades, aggs = self._book_fills(fills)
        touched = self._take_changes()
        after = self._best() if with_quote else None
        changed = after is not None and after != before and after[0][1] and after[1][1]
        return trades, aggs, touched, Quote(self.update_id, self.now_ns, *after) if after and changed else None

    def close_minute(self, at_ns: int) -> Bar:
        """End the minute that closes at `at_ns`, and open the next at the carried price."""
        self.now_ns = at_ns
        closed = self.minute
        self._minutes.append(closed)
        if len(self._minutes) > self._room.minutes:
            del self._minutes[: self._room.minutes // 10]
        self.minute = flat(at_ns, closed.close)
        return closed

    def revise_minute(self) -> Bar:
        """The newest closed minute with one lot more at its close."""
        bar = self._minutes[-1] if self._minutes else self.minute
        lot = self.listing.lot_e8
        revised = bar._replace(size=bar.size + lot, turnover=bar.turnover + self.listing.worth(bar.close, lot), trades=bar.trades + 1)
        if self._minutes:
            self._minutes[-1] = revised
            self._closed_day = (0, 0, None)
            self.pages.forget()
        return revised

    def _book_fills(self, fills: list[Fill]) -> tuple[list[Trade], list[Agg]]:
        tick, lot = self.listing.tick_e8, self.listing.lot_e8
        at_ns = self.now_ns // NS_PER_MS * NS_PER_MS
        trades = [Trade(f.trade_id, f.price * tick, f.quantity * lot, at_ns, f.taker_side == "sell") for f in fills]
        aggs: list[Agg] = []
        for trade in trades:
            self.minute = add_trade(self.minute, trade, self.listing.worth)
            if aggs and aggs[-1].price == trade.price:
                aggs[-1] = aggs[-1]._replace(size=aggs[-1].size + trade.size, last_id=trade.id)
            else:
                aggs.append(Agg(self._next_agg_id, trade.price, trade.size, trade.id, trade.id, at_ns, trade.buyer_is_maker))
                self._next_agg_id += 1
        self.trades_kept += trades
        self.aggs_kept += aggs
        if len(self.trades_kept) > self._room.trades:
            del self.trades_kept[: self._room.trades // 10]
            del self.aggs_kept[: bisect_left(self.aggs_kept, self.trades_kept[0].id, key=lambda agg: agg.first_id)]
        return trades, aggs

    def _take_changes(self) -> list[tuple[Side, int, int]]:
        touched: list[tuple[Side, int, int]] = []
        for side, price in self.matching.changes:
            self.update_id += self._step
            touched.append((side, price, self.update_id))
        self.matching.changes.clear()
        return touched

    # ── What can be asked ─────────────────────────────────────────────────────────────────────────────────────────────

    def _best(self) -> tuple[tuple[int, int], tuple[int, int]]:
        bid, ask = self.matching.top("buy", 1), self.matching.top("sell", 1)
        return self._level(bid[0]) if bid else (0, 0), self._level(ask[0]) if ask else (0, 0)

    def _level(self, level: tuple[int, int]) -> tuple[int, int]:
        return level[0] * self.listing.tick_e8, level[1] * self.listing.lot_e8

    def book(self, limit: int) -> BookImage:
        """The best `limit` levels a side, and the id of the newest change."""
        bids = [self._level(level) for level in self.matching.top("buy", limit)]
        asks = [self._level(level) for level in self.matching.top("sell", limit)]
        return BookImage(self.update_id, self.now_ns, bids, asks)

    def diff(self, touched: dict[tuple[Side, int], None], first_id: int, last_id: int, previous_id: int, at_ns: int) -> Depth:
        """What the touched levels hold now."""
        sides: dict[Side, list[tuple[int, int]]] = {"buy": [], "sell": []}
        for side, price in touched:
            sides[side].append(self._level((price, self.matching.size_at(side, price))))
        return Depth(first_id, last_id, previous_id, at_ns, sorted(sides["buy"], reverse=True), sorted(sides["sell"]))

    def minutes(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Minutes that open in [start, end), from the past, the live market, and the forming one."""
        rows: list[Bar] = []
        day_start = max(start_ns, self.past.first_ns)
        while day_start < min(end_ns, self.live_ns):
            index = self.past.day_of_time(day_start)
            bars = self._past_day(index)
            day_open = self.past.first_ns + index * DAY_NS
            rows += bars[max(0, -(-(start_ns - day_open) // NS_PER_MINUTE)) : max(0, -(-(end_ns - day_open) // NS_PER_MINUTE))]
            day_start = day_open + DAY_NS
        if self._minutes and start_ns < self.minute.open_ns:
            first_ns = self._minutes[0].open_ns
            low = max(0, -(-(start_ns - first_ns) // NS_PER_MINUTE))
            rows += self._minutes[low : max(0, -(-(end_ns - first_ns) // NS_PER_MINUTE))]
        if start_ns <= self.minute.open_ns < end_ns:
            rows.append(self.minute)
        return rows

    def trades(self, from_id: int | None, limit: int) -> list[Trade]:
        """From an id, or the newest."""
        end_id = self.trades_kept[-1].id + 1 if self.trades_kept else FIRST_TRADE_ID
        first = max(self.past.first_id, end_id - limit if from_id is None else from_id)
        rows: list[Trade] = []
        while first < FIRST_TRADE_ID and len(rows) < limit:
            day = self.past.day(self.past.day_of_id(first))
            rows += self._past_trades(day, first - day.first_id, first - day.first_id + limit - len(rows))
            first = day.first_id + self.past.per_day
        if self.trades_kept and len(rows) < limit:
            low = max(0, first - self.trades_kept[0].id)
            rows += self.trades_kept[low : low + limit - len(rows)]
        return rows

    def aggs(self, from_id: int | None, start_ns: int | None, end_ns: int | None, limit: int) -> list[Agg]:
        """From an id, or by time (both ends inclusive); in the past, every trade is an aggregate of its own."""
        if from_id is None and (start_ns is not None or end_ns is not None):
            return self._aggs_by_time(start_ns, end_ns, limit)
        end_id = self._next_agg_id
        first = max(FIRST_AGG_ID - (FIRST_TRADE_ID - self.past.first_id), end_id - limit if from_id is None else from_id)
        rows: list[Agg] = []
        if first < FIRST_AGG_ID:
            old = self.trades(first - FIRST_AGG_ID + FIRST_TRADE_ID, min(limit, FIRST_AGG_ID - first))
            rows = [_lone(trade) for trade in old]
            first = FIRST_AGG_ID
        if self.aggs_kept and len(rows) < limit:
            low = max(0, first - self.aggs_kept[0].id)
            rows += self.aggs_kept[low : low + limit - len(rows)]
        return rows

    def _aggs_by_time(self, start_ns: int | None, end_ns: int | None, limit: int) -> list[Agg]:
        low = self._agg_at(start_ns) if start_ns is not None else None
        high = self._agg_at(end_ns + 1) if end_ns is not None else self._next_agg_id
        if low is None:
            low = high - limit
        return self.aggs(low, None, None, min(limit, high - low)) if high > low else []

    def _agg_at(self, at_ns: int) -> int:
        """The id of the first aggregate at or after a time."""
        if at_ns >= self.live_ns:
            index = bisect_left(self.aggs_kept, at_ns, key=lambda agg: agg.time_ns)
            return self.aggs_kept[0].id + index if self.aggs_kept else FIRST_AGG_ID
        if at_ns < self.past.first_ns:
            return FIRST_AGG_ID - (FIRST_TRADE_ID - self.past.first_id)
        day = self.past.day(self.past.day_of_time(at_ns))
        return FIRST_AGG_ID - FIRST_TRADE_ID + day.first_id + int(day.time_ns.searchsorted(at_ns))

    def day(self) -> Day:
        """The last 1,440 minutes up to now."""
        forming = self.minute
        if self._closed_day[0] != forming.open_ns:
            open_ns = forming.open_ns - NS_PER_DAY + NS_PER_MINUTE
            rows = self.minutes(open_ns - NS_PER_MINUTE, forming.open_ns)
            self._closed_day = (forming.open_ns, rows[0].close if rows else forming.open, join(open_ns, rows[1:]))
        _, before, closed = self._closed_day
        bar = join(forming.open_ns, [closed, forming] if closed is not None else [forming])
        assert bar is not None, "the forming minute is always there"
        last = self.trades(None, 1)
        bid, ask = self._best()
        return Day(bar, last[-1] if last else None, before, bid, ask, self.now_ns - NS_PER_DAY, self.now_ns)

    # ── Perpetuals ────────────────────────────────────────────────────────────────────────────────────────────────────

    def mark(self, at_ns: int) -> Mark:
        """Mark and index follow the last price at a fixed small distance; the rate is that of the coming settlement."""
        next_ns = (at_ns // FUNDING_NS + 1) * FUNDING_NS
        price = self.minute.close
        return Mark(_priced("mark", price), _priced("index", price), self.funding_rate(next_ns), next_ns, at_ns)

    def mark_bars(self, kind: Literal["mark", "index"], interval: str, start_ns: int | None, end_ns: int | None, limit: int) -> list[Bar]:
        """Klines of the mark or index price."""
        return [bar.at_prices(*(_priced(kind, price) for price in bar[1:5])) for bar in self.pages.page(interval, start_ns, end_ns, limit)]

    def funding_rate(self, at_ns: int) -> int:
        """The rate settled at a time, in 1e-8: around one basis point, sometimes negative."""
        draw = generator(*self._seed, "funding", at_ns // FUNDING_NS).standard_normal()
        return 10_000 + round(6_000 * float(draw))

    def funding(self, start_ns: int | None, end_ns: int | None, limit: int) -> list[FundingRow]:
        """Settlements in [start, end]."""
        first = -(-max(self.past.first_ns, start_ns or 0) // FUNDING_NS)
        last = min(self.now_ns, self.now_ns if end_ns is None else end_ns) // FUNDING_NS
        times = list(range(first, last + 1))
        times = times[:limit] if start_ns is not None else times[-limit:]
        rows = []
        for at_ns in (index * FUNDING_NS for index in times):
            minute = self.minutes(at_ns, at_ns + 1)
            rows.append(FundingRow(at_ns, self.funding_rate(at_ns), _priced("mark", minute[0].open) if minute else 0))
        return rows

    # ── The past ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _past_day(self, index: int) -> list[Bar]:
        return self._room.past_minutes.get((self.past, index), lambda: _minutes_of(self.past.day(index), self.listing))

    def _past_trades(self, day: DayTrades, low: int, high: int) -> list[Trade]:
        tick, lot = self.listing.tick_e8, self.listing.lot_e8
        columns = (day.price[low:high].tolist(), day.lots[low:high].tolist(), day.time_ns[low:high].tolist())
        makers = day.buyer_is_maker[low:high].tolist()
        return [
            Trade(day.first_id + low + i, price * tick, lots * lot, at_ns, maker)
            for i, (price, lots, at_ns, maker) in enumerate(zip(*columns, makers, strict=True))
        ]

    def _seconds(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Second bars of [start, end), from the trades."""
        end_ns = min(end_ns, self.now_ns + 1)
        low = self._agg_at(start_ns)
        before = self.aggs(low - 1, None, None, 1)
        rows: list[Agg] = []
        while (page := self.aggs(low + len(rows), None, None, 1000)) and page[0].time_ns < end_ns:
            rows += page
        trades = self.trades(rows[0].first_id, rows[-1].last_id - rows[0].first_id + 1) if rows else []
        within = trades[: bisect_right(trades, end_ns - 1, key=lambda trade: trade.time_ns)]
        return bars_of(within, "1s", before[0].price if before else None, floor_open("1s", start_ns), end_ns, self.listing.worth)


def _calm(temper: Temper) -> Temper:
    return temper._replace(events_per_s=min(temper.events_per_s, _WARM_RATE))


def _lone(trade: Trade) -> Agg:
    agg_id = trade.id - FIRST_TRADE_ID + FIRST_AGG_ID
    return Agg(agg_id, trade.price, trade.size, trade.id, trade.id, trade.time_ns, trade.buyer_is_maker)


def _priced(kind: Literal["mark", "index"], price: int) -> int:
    """A basis point below the last price, and two."""
    return price * (9_999 if kind == "mark" else 9_998) // 10_000


def _minutes_of(day: DayTrades, listing: Listing) -> list[Bar]:
    tick, lot = listing.tick_e8, listing.lot_e8
    price, lots, starts = day.price.tolist(), day.lots.tolist(), day.starts.tolist()
    makers = day.buyer_is_maker.tolist()
    bars: list[Bar] = []
    for minute in range(MINUTES):
        low, high = starts[minute], starts[minute + 1]
        open_ns = day.open_ns + minute * NS_PER_MINUTE
        if low == high:
            bars.append(flat(open_ns, bars[-1].close))
            continue
        prices, sizes = price[low:high], lots[low:high]
        if listing.contract_e8:
            values, scale = [listing.worth(p * tick, s * lot) for p, s in zip(prices, sizes, strict=True)], 1
        else:  # the same, in fewer steps
            values, scale = [p * s for p, s in zip(prices, sizes, strict=True)], tick * lot
        taken = [i for i in range(high - low) if not makers[low + i]]
        bars.append(
            Bar(
                open_ns,
                prices[0] * tick,
                max(prices) * tick,
                min(prices) * tick,
                prices[-1] * tick,
                sum(sizes) * lot,
                sum(values) * scale,
                high - low,
                sum(sizes[i] for i in taken) * lot,
                sum(values[i] for i in taken) * scale,
                day.first_id + low,
                day.first_id + high - 1,
            )
        )
    return bars
