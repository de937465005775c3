"""What Coinbase publishes: hosts, paths, limits, names of its two public APIs. Literal, so that a reader can hold it against the docs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.domain.time import FIXED_NS, NS_PER_DAY, NS_PER_S, Interval

EXCHANGE = "coinbase"
# What is traded: pairs, and contracts (perpetuals and dated ones).
Market = Literal["spot", "future"]
MARKETS: tuple[Market, ...] = ("spot", "future")
PRODUCT_TYPE: dict[Market, str] = {"spot": "SPOT", "future": "FUTURE"}
# Two APIs with hosts and budgets of their own. Exchange is asked for one thing only: trades by id.
Api = Literal["advanced", "exchange"]


class CoinbaseHosts(msgspec.Struct, frozen=True, kw_only=True):
    """Base URLs, without a slash at the end. The defaults are the real exchange."""

    advanced_rest: str = "https://api.coinbase.com"
    exchange_rest: str = "https://api.exchange.coinbase.com"
    advanced_ws: str = "wss://advanced-trade-ws.coinbase.com"

    @classmethod
    def local(cls, rest_url: str, ws_url: str) -> CoinbaseHosts:
        """Everything on one pair of ports, as the emulator serves it: the paths of the two APIs differ."""
        rest = rest_url.rstrip("/")
        return cls(advanced_rest=rest, exchange_rest=rest, advanced_ws=ws_url.rstrip("/"))


class CoinbaseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may be chosen. `books_a_socket`: a lost message spoils every book of its connection, so few share one."""

    markets: tuple[Market, ...] = MARKETS
    books_a_socket: Annotated[int, msgspec.Meta(ge=1, le=30)] = 4

    def __post_init__(self) -> None:
        if not self.markets or not set(self.markets) <= set(MARKETS):
            raise BadConfig(f"coinbase markets {self.markets!r}: known are {', '.join(MARKETS)}")
        if not 1 <= self.books_a_socket <= PRODUCTS_MOST:
            raise BadConfig(f"coinbase books_a_socket {self.books_a_socket} is not 1 to {PRODUCTS_MOST}")


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

PREFIX = "/api/v3/brokerage"
# 350 by the SDK, 300 by older text: 300 is right for both. Exchange refuses more.
CANDLES_MOST = 300
TRADES_MOST = 1000
BOOK_MOST = 1000
# What is native; 4h comes from hours (the venue's FOUR_HOUR is in few sources), weeks and months from days (it has none).
GRANULARITY: dict[Interval, str] = {
    Interval.MIN_1: "ONE_MINUTE",
    Interval.MIN_5: "FIVE_MINUTE",
    Interval.MIN_15: "FIFTEEN_MINUTE",
    Interval.MIN_30: "THIRTY_MINUTE",
    Interval.HOUR_1: "ONE_HOUR",
    Interval.DAY_1: "ONE_DAY",
}
DERIVED_FROM: dict[Interval, Interval] = {
    Interval.HOUR_4: Interval.HOUR_1,
    Interval.WEEK_1: Interval.DAY_1,
    Interval.MONTH_1: Interval.DAY_1,
}
# No candle is older: the exchange opened in January 2015.
FIRST_NS = 1_417_392_000 * NS_PER_S  # 2014-12-01

# The newest row may be closed by the clock and still be wrong: public answers may be a second old, and candles are gathered after the
# trades. A row is final when the venue's clock is GRACE past its close; one that is younger than SETTLED only if a second reading,
# PAUSE later, says the same.
FINAL_GRACE_NS = 2 * NS_PER_S
SETTLED_NS = 15 * NS_PER_S
REREAD_PAUSE_S = 1.0
# Opens without trades that are looked past, on either side, for the candles that prove them: a page. A longer silence stays a hole.
SILENCE_MOST = CANDLES_MOST


def step_ns(interval: Interval) -> int:
    """The length of a native interval; none is a month."""
    return FIXED_NS[interval]


def day_of(at_ns: int) -> int:
    """The midnight before."""
    return at_ns // NS_PER_DAY * NS_PER_DAY


# ── Limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────

BUCKETS: dict[Api, str] = {"advanced": "coinbase.advanced.requests", "exchange": "coinbase.exchange.requests"}
CONNECT_BUCKET = "coinbase.ws.connects"
MESSAGE_BUCKET = "coinbase.ws.messages"
REQUESTS_PER_S = 10  # public, per address, on both APIs
# bucket → (limit, window in ms). Sources differ for sockets (8 or 750 connections a second): 8 is right for all.
LIMITS: dict[str, tuple[int, int]] = {
    BUCKETS["advanced"]: (REQUESTS_PER_S, 1_000),
    BUCKETS["exchange"]: (REQUESTS_PER_S, 1_000),
    CONNECT_BUCKET: (8, 1_000),
    MESSAGE_BUCKET: (8, 1_000),
}
REMAINING_HEADER = "x-ratelimit-remaining"

# ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────

# Products a connection whose books are not followed.
PRODUCTS_MOST = 30
# The venue takes 8 messages a second from an address, all connections together: those of a connection, five at most, are taken from the
# budget before it is opened, and go out at once.
MESSAGES_PER_S = 200.0
# How long the first books may take: the largest snapshot is 5 MB, several come on one connection.
SNAPSHOT_S = 20.0
HEARTBEATS = "heartbeats"
# Our channel → the venue's. The best quotes come with the ticker.
CHANNELS: dict[str, str] = {"trade": "market_trades", "depth": "level2", "ticker": "ticker", "quote": "ticker", "kline": "candles"}
STREAMED_INTERVAL = Interval.MIN_5
# What the messages of a channel are called where that is not the channel's own name.
L2_DATA = "l2_data"
