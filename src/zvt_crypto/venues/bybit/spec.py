"""What Bybit publishes: hosts, limits, names of topics and intervals. Literal, so that a reader can hold it against the docs."""

from __future__ import annotations

from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.limits import UNTOLD_SHARE
from zvt_crypto.venues.arguments import check_depth

EXCHANGE = "bybit"
# Bybit's word for its markets: each has a socket of its own, and topics of the same names on it.
Category = Literal["spot", "linear", "inverse"]
CATEGORIES: tuple[Category, ...] = ("spot", "linear", "inverse")


class BybitHosts(msgspec.Struct, frozen=True, kw_only=True):
    """Base URLs, without a slash at the end. The defaults are the real exchange; accounts of some countries have hosts of their own."""

    rest: str = "https://api.bybit.com"
    ws: str = "wss://stream.bybit.com"

    @classmethod
    def local(cls, rest_url: str, ws_url: str) -> BybitHosts:
        """Another place, as the emulator serves it."""
        return cls(rest=rest_url.rstrip("/"), ws=ws_url.rstrip("/"))

    def socket(self, category: Category) -> str:
        """Where a category's public topics are."""
        return f"{self.ws}/v5/public/{category}"


class BybitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may be chosen. `book_levels` is the depth of streamed books: 50 levels come every 20 ms, 200 every 100, 1000 every 200."""

    markets: tuple[Category, ...] = CATEGORIES
    book_levels: int = 200

    def __post_init__(self) -> None:
        if not self.markets or not set(self.markets) <= set(CATEGORIES):
            raise BadConfig(f"bybit markets {self.markets!r}: known are {', '.join(CATEGORIES)}")
        if self.book_levels not in BOOK_LEVELS:
            raise BadConfig(f"bybit book_levels {self.book_levels} is not one of {', '.join(map(str, BOOK_LEVELS))}")


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

# All categories have one host, one clock and one budget.
MARKET = "v5"
KLINES_MOST = 1000
FUNDING_MOST = 200
INSTRUMENTS_MOST = 1000
INSTRUMENT_PAGES_MOST = 50  # the largest category has some 700
BOOK_MOST = 1000
# The newest that can be asked for; there is no way further back.
TRADES_MOST: dict[Category, int] = {"spot": 60, "linear": 1000, "inverse": 1000}
# What is listed besides what trades now, which is all that comes unasked. Spot has no other status.
STATUSES: dict[Category, tuple[str, ...]] = {
    "spot": ("Trading",),
    "linear": ("Trading", "PreLaunch", "Delivering"),
    "inverse": ("Trading", "PreLaunch", "Delivering"),
}
# No kline is older: the first contract was listed in November 2018, spot opened in July 2021.
FIRST_MS: dict[Category, int] = {"spot": 1_625_097_600_000, "linear": 1_541_030_400_000, "inverse": 1_541_030_400_000}
# The newest kline counts as closed once the venue's clock is this far past its close: the answer may come from a node that lags a little.
FINAL_GRACE_NS = 1_000_000_000

INTERVAL_NAMES: dict[Interval, str] = {
    Interval.MIN_1: "1",
    Interval.MIN_5: "5",
    Interval.MIN_15: "15",
    Interval.MIN_30: "30",
    Interval.HOUR_1: "60",
    Interval.HOUR_4: "240",
    Interval.DAY_1: "D",
    Interval.WEEK_1: "W",
    Interval.MONTH_1: "M",
}


def book_limit(depth: int) -> int:
    """The levels to ask for. Raises OutOfRange."""
    return check_depth(depth, BOOK_MOST)


# ── Limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────

IP_BUCKET = "bybit.ip.requests"
CONNECT_BUCKET = "bybit.connects"
# bucket → (limit, window in ms, wherever it begins). Beyond 600 requests in 5 s the venue shuts an address out for ten minutes; no header
# says how much is left, and what follows too many connections is not documented: half of both is planned with.
PUBLISHED: dict[str, tuple[int, int]] = {IP_BUCKET: (600, 5_000), CONNECT_BUCKET: (500, 300_000)}
LIMITS: dict[str, tuple[int, int]] = {bucket: (int(most * UNTOLD_SHARE), window_ms) for bucket, (most, window_ms) in PUBLISHED.items()}
LIMIT_RESET_HEADER = "x-bapi-limit-reset-timestamp"

# ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────

BOOK_LEVELS = (50, 200, 1000)
QUOTE_LEVEL = 1
PING_S = 20.0  # what the venue recommends; it ends a connection without any after ten minutes
# All topics of a connection written as one JSON array may have 21,000 characters.
ARGS_CHARS_MOST = 20_000
# Topics a connection: some 300 books at 10 updates a second are what one process reads with ease.
TOPICS_MOST = 300
# Topics a subscribe message: spot refuses more than 10; the others state no limit.
SUBSCRIBE_MOST: dict[Category, int] = {"spot": 10, "linear": 100, "inverse": 100}
MESSAGES_PER_S = 10.0  # nothing is published for public sockets


def topic_name(native: str, channel: str, interval: Interval | None, book_levels: int) -> str:
    """`kline.1.BTCUSDT`. Mark price and ticker are one topic."""
    if channel == "kline":
        assert interval is not None
        return f"kline.{INTERVAL_NAMES[interval]}.{native}"
    if channel == "depth":
        return f"orderbook.{book_levels}.{native}"
    if channel == "quote":
        return f"orderbook.{QUOTE_LEVEL}.{native}"
    return f"{'publicTrade' if channel == 'trade' else 'tickers'}.{native}"
