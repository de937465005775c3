"""What worlds and dialects say to each other: instruments, trades, bars, books, and a world's contract.

Prices and sizes are whole numbers of 1e-8 (`e8`), turnovers of 1e-16 (`e16`), so that every sum is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

import msgspec

from zvt_crypto.domain.errors import shown

Market = Literal["spot", "usdm", "coinm"]
E8 = 100_000_000
_MOST_DIGITS = 20  # before the point: a day's volume of the cheapest coin has 15


class Listing(msgspec.Struct, frozen=True):
    """An instrument as the exchange lists it. `usdm`: a perpetual, settled in its quote; `coinm`: an inverse one, settled in its base.

    contract_e8: the quote of one contract of an inverse one, whose sizes are contracts; 0 of all others, whose sizes are base.
    unit_e8: the base of one contract of a linear one that was recorded in contracts; 0 where its sizes are told as base, or unknown.
    """

    market: Market
    symbol: str
    base: str
    quote: str
    tick_e8: int
    lot_e8: int
    min_notional_e8: int
    listed_ns: int
    contract_e8: int = 0
    unit_e8: int = 0

    def worth(self, price: int, size: int) -> int:
        """A trade's turnover, in 1e-16 of what it is settled in: the quote, or the base of an inverse contract."""
        return size * self.contract_e8 * E8 // price if self.contract_e8 else price * size

    @property
    def price_decimals(self) -> int:
        """Digits after the point of a price."""
        return decimals_of(self.tick_e8)

    @property
    def size_decimals(self) -> int:
        """Digits after the point of a size."""
        return decimals_of(self.lot_e8)


class Trade(NamedTuple):
    """One trade of the `trade` id space."""

    id: int
    price: int
    size: int
    time_ns: int
    buyer_is_maker: bool


class Agg(NamedTuple):
    """Trades of one taker order at one price: the `aggTrade` id space."""

    id: int
    price: int
    size: int
    first_id: int
    last_id: int
    time_ns: int
    buyer_is_maker: bool


class Bar(NamedTuple):
    """A kline. Ids are -1 where nothing traded."""

    open_ns: int
    open: int
    high: int
    low: int
    close: int
    size: int
    turnover: int
    trades: int
    taker_size: int
    taker_turnover: int
    first_id: int
    last_id: int

    def at_prices(self, open_: int, high: int, low: int, close: int) -> Bar:
        """The same minute of another price, without volume."""
        return Bar(self.open_ns, open_, high, low, close, 0, 0, 0, 0, 0, -1, -1)


class BookImage(NamedTuple):
    """A book at an instant, best first: levels are (price, size)."""

    last_id: int
    event_ns: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Day(NamedTuple):
    """The rolling 24 hours, and the best quote now."""

    bar: Bar
    last: Trade | None
    previous_close: int
    bid: tuple[int, int]
    ask: tuple[int, int]
    open_ns: int
    close_ns: int


class Mark(NamedTuple):
    """A perpetual's mark and index price, and its next funding; `rate_e8` is a fraction in 1e-8."""

    mark: int
    index_price: int
    rate_e8: int
    next_funding_ns: int
    event_ns: int


class Resting(NamedTuple):
    """What lists of tickers show of an instrument that does not move by itself: its listing price and no volume, or what it last told."""

    day: Day
    mark: Mark
    best: BookImage


class FundingRow(NamedTuple):
    """One settled funding."""

    time_ns: int
    rate_e8: int
    mark: int


class Depth(NamedTuple):
    """A diff: levels that changed, (price, size), size 0 where the level went. Ids: first and last change, last of the diff before."""

    first_id: int
    last_id: int
    previous_id: int
    event_ns: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Quote(NamedTuple):
    """The best bid and ask, (price, size)."""

    last_id: int
    event_ns: int
    bid: tuple[int, int]
    ask: tuple[int, int]


class BarEvent(NamedTuple):
    """A bar as it forms, or its closing (`is_final`)."""

    interval: str
    bar: Bar
    is_final: bool
    event_ns: int


class Recorded(NamedTuple):
    """A frame as a real exchange sent it: the payload, and the whole of it where it came in an envelope."""

    raw: bytes
    enveloped: bytes | None


Fact = Trade | Agg | Depth | Quote | BarEvent | BookImage | Day | Mark | Recorded


class Emission(NamedTuple):
    """An event on its way to subscribers of the world's canonical `stream`."""

    market: Market
    symbol: str
    stream: str
    fact: Fact


class World(Protocol):
    """Where a dialect's facts come from."""

    mode: Literal["market", "replay"]

    def poll(self, now_ns: int, room: int) -> list[Emission]:
        """What has happened up to `now_ns` on the watched streams, in order. `room` is how many more frames the slowest
        reader takes: only a world that runs as fast as it is read looks at it."""
        ...

    def next_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to do next, None: not before somebody subscribes."""
        ...

    def canonical(self, market: Market, stream: str) -> str | None:
        """The name under which events of a requested stream are emitted; None if it never emits any."""
        ...

    def watch(self, market: Market, stream: str, now_ns: int) -> None:
        """Somebody listens to a canonical stream now."""
        ...

    def unwatch(self, market: Market, stream: str) -> None:
        """Nobody listens to it any more."""
        ...

    def server_ns(self, now_ns: int) -> int:
        """The exchange's clock."""
        ...

    def listings(self, market: Market) -> dict[str, Listing]:
        """By symbol."""
        ...

    def recorded(self, market: Market, path: str) -> bytes | None:
        """The recorded answer to a request that has no derived form that is better."""
        ...

    def book(self, listing: Listing, limit: int) -> BookImage:
        """The book now."""
        ...

    def trades(self, listing: Listing, from_id: int | None, limit: int) -> list[Trade]:
        """From an id, or the newest; oldest first."""
        ...

    def aggs(self, listing: Listing, from_id: int | None, start_ns: int | None, end_ns: int | None, limit: int) -> list[Agg]:
        """From an id, or by time ([start, end], both inclusive); without either the newest; oldest first."""
        ...

    def bars(self, listing: Listing, interval: str, start_ns: int | None, end_ns: int | None, limit: int) -> list[Bar]:
        """Opens in [start, end], both inclusive: the first from `start`, without one the newest; the open candle included; oldest first."""
        ...

    def day(self, listing: Listing) -> Day | None:
        """The last 24 hours; None where nothing is known yet."""
        ...

    def mark(self, listing: Listing) -> Mark | None:
        """Mark, index and funding now."""
        ...

    def resting(self, listing: Listing) -> Resting | None:
        """What a list shows of an instrument that does not move before somebody asks for it alone; None: it moves by itself."""
        ...

    def mark_bars(
        self, listing: Listing, kind: Literal["mark", "index"], interval: str, start_ns: int | None, end_ns: int | None, limit: int
    ) -> list[Bar]:
        """Klines of the mark or index price: sizes and trades are 0."""
        ...

    def funding(self, listing: Listing, start_ns: int | None, end_ns: int | None, limit: int) -> list[FundingRow]:
        """Settled funding in [start, end]; without a start the newest; oldest first."""
        ...

    def status(self) -> dict[str, object]:
        """mode, frames, frames_total, done, and what else a human wants to know."""
        ...

    def save(self) -> None:
        """Write down what has to survive the process."""
        ...


def change_side(side: dict[int, int], rows: Iterable[tuple[int, int]]) -> None:
    """Take news of one side of a book in: price and size, a size of 0 takes the level away."""
    for price, size in rows:
        if size:
            side[price] = size
        else:
            side.pop(price, None)


def decimals_of(step_e8: int) -> int:
    """Digits after the point that a step in 1e-8 needs: 1_000_000 (0.01) → 2."""
    digits = 8
    while digits and step_e8 % 10 == 0:
        step_e8 //= 10
        digits -= 1
    return digits


def text_e8(value: int, decimals: int = 8) -> str:
    """A number of 1e-8 with so many digits, or as many as it needs: 6_000_012_000_000 → 60000.12000000. A book may hold prices that are
    finer than the tick of today."""
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), E8)
    if decimals < 8 and rest % 10 ** (8 - decimals):
        decimals = decimals_of(rest)
    return f"{sign}{whole}.{rest:08d}"[: decimals - 8 or None] if decimals else f"{sign}{whole}"


def text_e16(value: int, decimals: int = 8) -> str:
    """A number of 1e-16 with fixed digits (at most 8), cut."""
    step = 10 ** (8 - decimals)
    return text_e8(value // E8 // step * step, decimals)


def read_e8(text: str) -> int:
    """`0.00100000` → 100_000. Digits beyond the eighth are cut. Raises ValueError for what is no decimal number below 1e20."""
    whole, _, fraction = text.partition(".")
    if len(whole) > _MOST_DIGITS:
        raise ValueError(f"{shown(text, 40)} has {len(whole)} digits before the point")
    sign = -1 if whole.startswith("-") else 1
    try:
        return sign * (abs(int(whole or "0")) * E8 + int(fraction[:8].ljust(8, "0")))
    except ValueError:
        raise ValueError(f"{shown(text, 40)} is no decimal number") from None
