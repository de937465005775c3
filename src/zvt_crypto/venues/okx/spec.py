"""What OKX publishes: hosts, paths, limits, channel names. Literal, so that a reader can hold it against the docs."""

from __future__ import annotations

from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.domain.time import Interval

EXCHANGE = "okx"
Market = Literal["spot", "swap", "futures"]
MARKETS: tuple[Market, ...] = ("spot", "swap", "futures")
INST_TYPES: dict[Market, str] = {"spot": "SPOT", "swap": "SWAP", "futures": "FUTURES"}
# All markets share one REST host, and so one clock.
REST_MARKET = "v5"


class OkxHosts(msgspec.Struct, frozen=True, kw_only=True):
    """Base URLs, without a slash at the end; a port, where there is one, is part of them. The defaults are the real exchange.

    Older clients use port 8443 for WebSockets; the usual one serves as well, and 8443 was announced to end in 2026.
    """

    rest: str = "https://www.okx.com"
    ws: str = "wss://ws.okx.com"

    @classmethod
    def local(cls, rest_url: str, ws_url: str) -> OkxHosts:
        """Everything on one pair of ports, as the emulator serves it."""
        return cls(rest=rest_url.rstrip("/"), ws=ws_url.rstrip("/"))


# Customers of these regions are bound to hosts of their own; the public side answers the same on all.
REGIONS: dict[str, OkxHosts] = {
    "global": OkxHosts(),
    "eea": OkxHosts(rest="https://eea.okx.com", ws="wss://wseea.okx.com"),
    "us": OkxHosts(rest="https://us.okx.com", ws="wss://wsus.okx.com"),
}


class OkxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may be chosen."""

    markets: tuple[Market, ...] = MARKETS

    def __post_init__(self) -> None:
        if not self.markets or not set(self.markets) <= set(MARKETS):
            raise BadConfig(f"okx markets {self.markets!r}: known are {', '.join(MARKETS)}")


# ── Klines ────────────────────────────────────────────────────────────────────────────────────────────────────────────

# From a day up the plain names open at 16:00 UTC (midnight in Hong Kong); the `utc` ones are the calendar's.
BARS: dict[Interval, str] = {
    Interval.MIN_1: "1m",
    Interval.MIN_5: "5m",
    Interval.MIN_15: "15m",
    Interval.MIN_30: "30m",
    Interval.HOUR_1: "1H",
    Interval.HOUR_4: "4H",
    Interval.DAY_1: "1Dutc",
    Interval.WEEK_1: "1Wutc",
    Interval.MONTH_1: "1Mutc",
}
INTERVAL_OF: dict[str, Interval] = {bar: interval for interval, bar in BARS.items()}

# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

# Rows a request. Sources disagree whether history-candles gives 100 or 300: 100 is right on both accounts.
CANDLES_MOST = 300
HISTORY_CANDLES_MOST = 100
PRICE_CANDLES_MOST = 100  # mark and index prices, recent and old
TRADES_MOST = 100
FUNDING_MOST = 100
BOOK_MOST, FULL_BOOK_MOST = 400, 5000
# `candles` and its kin reach back this far only; beyond, `history-candles` does. Some rows are kept between, since the minute goes on.
RECENT_CANDLES = 1440
RECENT_CANDLES_SURE = 1400
# Nothing of this venue is older.
FIRST_MS = 1_356_998_400_000

# Path below /api/v5 → (requests, window in ms), for each address; instruments are counted for each type.
PUBLISHED: dict[str, tuple[int, int]] = {
    "public/time": (10, 2_000),
    "public/instruments": (20, 2_000),
    "market/candles": (40, 2_000),
    "market/history-candles": (20, 2_000),
    "market/mark-price-candles": (20, 2_000),
    "market/history-mark-price-candles": (10, 2_000),
    "market/index-candles": (20, 2_000),
    "market/history-index-candles": (10, 2_000),
    "market/history-trades": (20, 2_000),
    "market/books": (40, 2_000),
    "market/books-full": (10, 2_000),
    "market/ticker": (20, 2_000),
    "market/index-tickers": (20, 2_000),
    "public/funding-rate": (10, 2_000),
    "public/funding-rate-history": (10, 2_000),
    "public/mark-price": (10, 2_000),
}
CONNECTS = (3, 1_000)
CONNECT_BUCKET = "okx.connects"


def bucket(path: str) -> str:
    """`okx.market.candles`."""
    return f"{EXCHANGE}.{path.replace('/', '.')}"


# bucket → (limit, window in ms, wherever it begins)
LIMITS: dict[str, tuple[int, int]] = {**{bucket(path): published for path, published in PUBLISHED.items()}, CONNECT_BUCKET: CONNECTS}

# ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────

Route = Literal["public", "business"]
WS_PATHS: dict[Route, str] = {"public": "/ws/v5/public", "business": "/ws/v5/business"}
# Candles moved to `business` in 2023: on `public` they are refused with 60018.
ROUTES: dict[str, Route] = {
    "trade": "business",
    "kline": "business",
    "depth": "public",
    "ticker": "public",
    "quote": "public",
    "mark": "public",
}
# The venue cuts a connection after 30 s without traffic.
PING, PING_S = b"ping", 20.0
# Subscriptions a connection: of ours, so that one cut does not lose everything. Mark prices need three channels each.
SUBSCRIPTIONS_MOST = 150
# Channels a message: an argument is at most 120 bytes, a message 64 kB.
ARGS_MOST = 400
# Operations an hour and connection. Counted without an hour: who comes near it takes a new connection.
OPERATIONS_MOST = 480
MESSAGES_PER_S = 4.0

CHANNELS: dict[str, str] = {"trade": "trades-all", "depth": "books", "ticker": "tickers", "quote": "bbo-tbt", "mark": "mark-price"}


def channel_name(channel: str, interval: Interval | None) -> str:
    """`books`, `candle1Dutc`."""
    return f"candle{BARS[interval]}" if interval is not None else CHANNELS[channel]
