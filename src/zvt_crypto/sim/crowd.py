"""A crowd that trades: seeded order flow with trends, spreads and bursts, against a matching book.

A hidden fair price walks with a changing drift. Makers quote around it, takers hit whatever stands on the wrong side of it,
and each trade makes the next one likelier for a while (bursts).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from zvt_crypto.sim.chance import Chance
from zvt_crypto.sim.matching import Fill, MatchingBook, Side

_NS = 1_000_000_000
_BOOK_DEPTH = 60  # levels a side that the crowd starts with
_MOST_RESTING = 800  # orders; beyond it makers cancel instead of adding
_FADES = 0.97  # what an event leaves of a burst's excitement
_EXCITES = 0.012  # what a trade adds: at about one trade an event the mean rate is that of the temper
_REGIME_S = 120.0  # mean time between changes of trend and of pace
_PACE_SPREAD = 0.25  # log-normal: a regime is a burst or a lull, but a liquid market stays liquid
_THIN = 50  # levels below which a side is filled up before anything else
_APART = 40  # ticks over which fresh levels of a thin side spread


class Temper(NamedTuple):
    """How one market behaves. Rates are per second, volatility per square root of a second, sizes in lots."""

    events_per_s: float
    volatility: float = 6e-5
    trend: float = 2e-7
    typical_lots: float = 100.0
    quote_width: float = 1.5e-4


class Crowd:
    """Order flow for one book. `next_ns` says when it acts next; `act` does it; `temper` may be exchanged."""

    def __init__(self, book: MatchingBook, chance: Chance, temper: Temper, price_ticks: int, start_ns: int) -> None:
        self.book = book
        self.fair = float(price_ticks)
        self._chance = chance
        self.temper = temper
        self._drift = 0.0
        self._pace = 1.0
        self._regime_ends_ns = start_ns
        self._excitement = 0.0
        self._now_ns = start_ns
        self._resting: list[int] = []
        self.next_ns = start_ns
        self._fill_book()
        self._schedule()

    def act(self) -> list[Fill]:
        """What somebody does at `next_ns`; the fills that come of it. Moves `next_ns` on."""
        self._walk(self.next_ns)
        fills = self._choose()
        if fills:
            self._excitement += _EXCITES * len(fills)
        self._schedule()
        return fills

    def _fill_book(self) -> None:
        for level in range(_BOOK_DEPTH):
            for side in ("buy", "sell"):
                self._quote("buy" if side == "buy" else "sell", reach=0.2 + level / 6, further=level)

    def _schedule(self) -> None:
        mean_s = 1.0 / (self.temper.events_per_s * (0.6 + self._excitement) * self._pace)
        self.next_ns += max(1, int(self._chance.exponential(mean_s) * _NS))

    def _walk(self, at_ns: int) -> None:
        seconds = (at_ns - self._now_ns) / _NS
        self._now_ns = at_ns
        if at_ns >= self._regime_ends_ns:
            self._drift = self.temper.trend * self._chance.normal()
            self._pace = math.exp(_PACE_SPREAD * self._chance.normal() - _PACE_SPREAD**2 / 2)
            self._regime_ends_ns = at_ns + int(self._chance.exponential(_REGIME_S) * _NS)
        self._excitement *= _FADES
        shock = self.temper.volatility * math.sqrt(seconds) * self._chance.normal()
        self.fair = max(200.0, self.fair * math.exp(self._drift * seconds + shock))

    def _choose(self) -> list[Fill]:
        thin = self._thin_side()
        if thin is not None:
            return self._quote(thin, reach=self._chance.exponential(1.0), further=self._chance.below(_APART))
        stale = self._stale_side()
        draw = self._chance.unit()
        if stale is not None and draw < 0.5:
            return self._sweep(stale)
        if draw < 0.15:
            return self._take("buy" if self._chance.unit() < 0.5 else "sell")
        if draw < 0.45 and len(self._resting) > _BOOK_DEPTH:
            return self._withdraw()
        side: Side = "buy" if self._chance.unit() < 0.5 else "sell"
        return self._quote(side, reach=self._chance.exponential(1.0))

    def _thin_side(self) -> Side | None:
        """The side with fewer levels, if it has too few."""
        bids, asks = self.book.levels("buy"), self.book.levels("sell")
        if min(bids, asks) >= _THIN:
            return None
        return "buy" if bids <= asks else "sell"

    def _stale_side(self) -> Side | None:
        """Which side of the book the fair price has run over: that of the taker who profits."""
        ask, bid = self.book.best("sell"), self.book.best("buy")
        if ask is not None and ask < self.fair:
            return "buy"
        if bid is not None and bid > self.fair:
            return "sell"
        return None

    def _sweep(self, side: Side) -> list[Fill]:
        """A limit order at the fair price: takes what is mispriced, and rests with what is left."""
        order_id, fills = self.book.limit(side, max(1, int(self.fair)), self._lots() * 2)
        self._remember(order_id)
        return fills

    def _take(self, side: Side) -> list[Fill]:
        return self.book.market(side, self._lots())[1]

    def _withdraw(self) -> list[Fill]:
        """Cancel one resting order; those that were filled meanwhile are forgotten on the way."""
        while self._resting:
            index = self._chance.below(len(self._resting))
            self._resting[index], self._resting[-1] = self._resting[-1], self._resting[index]
            if self.book.cancel(self._resting.pop()):
                break
        return []

    def _quote(self, side: Side, reach: float, further: int = 0) -> list[Fill]:
        if len(self._resting) >= _MOST_RESTING:
            return self._withdraw()
        away = max(1, int(self.fair * self.temper.quote_width * reach)) + further
        price = int(self.fair) - away if side == "buy" else int(self.fair) + 1 + away
        order_id, fills = self.book.limit(side, max(1, price), self._lots())
        self._remember(order_id)
        return fills

    def _remember(self, order_id: int) -> None:
        if self.book.quantity_of(order_id):
            self._resting.append(order_id)

    def _lots(self) -> int:
        """Log-normal sizes: many small, a few large."""
        return 1 + min(int(self.temper.typical_lots * 50), int(self.temper.typical_lots * math.exp(0.9 * self._chance.normal())))
