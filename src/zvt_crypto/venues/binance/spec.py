"""What Binance publishes: hosts, paths, weights, limits, stream names. Literal, so that a reader can hold it against the docs."""

from __future__ import annotations

from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.domain.market import TradeStream
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.limits import UNTOLD_SHARE
from zvt_crypto.venues.arguments import check_depth

EXCHANGE = "binance"
Market = Literal["spot", "usdm"]
MARKETS: tuple[Market, ...] = ("spot", "usdm")


class BinanceHosts(msgspec.Struct, frozen=True, kw_only=True):
    """Base URLs, without a slash at the end. The defaults are the real exchange."""

    spot_rest: str = "https://api.binance.com"
    spot_ws: str = "wss://stream.binance.com:9443"
    # Public market data only; reachable from regions where the hosts above answer 451.
    data_rest: str = "https://data-api.binance.vision"
    data_ws: str = "wss://data-stream.binance.vision"
    usdm_rest: str = "https://fapi.binance.com"
    # The legacy roots were retired on 2026-04-23: they accept, acknowledge and stay silent.
    usdm_public_ws: str = "wss://fstream.binance.com/public"
    usdm_market_ws: str = "wss://fstream.binance.com/market"

    @classmethod
    def local(cls, rest_url: str, ws_url: str) -> BinanceHosts:
        """Everything on one pair of ports, as the emulator serves it."""
        rest, ws = rest_url.rstrip("/"), ws_url.rstrip("/")
        return cls(
            spot_rest=rest,
            spot_ws=ws,
            data_rest=rest,
            data_ws=ws,
            usdm_rest=rest,
            usdm_public_ws=f"{ws}/public",
            usdm_market_ws=f"{ws}/market",
        )


class BinanceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may be chosen. `depth_speed_ms` is the pace of book updates; 0 (as fast as possible) exists on USD-M only.
    `snapshot_depth` is the levels a side that a book starts from: 5000 costs five times the weight of 1000 on spot."""

    spot_trade_stream: TradeStream = "trade"
    usdm_trade_stream: TradeStream = "agg"  # Binance documents no trade stream there any more; captures may hold one
    depth_speed_ms: int = 100
    snapshot_depth: int = 1000
    markets: tuple[Market, ...] = MARKETS

    def __post_init__(self) -> None:
        if not self.markets or not set(self.markets) <= set(MARKETS):
            raise BadConfig(f"binance markets {self.markets!r}: known are {', '.join(MARKETS)}")
        if self.depth_speed_ms not in {0, 100, 250, 500, 1000}:
            raise BadConfig(f"binance depth_speed_ms {self.depth_speed_ms} is not 0, 100, 250, 500 or 1000")


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

PREFIX: dict[Market, str] = {"spot": "/api/v3", "usdm": "/fapi/v1"}

# Rows a request.
KLINES_MOST: dict[Market, int] = {"spot": 1000, "usdm": 1500}
TRADES_MOST = 1000
FUNDING_MOST = 1000
# Ids that one depth update may span: 33,399 in the widest recorded (USD-M, where the updates of all symbols share them).
DEPTH_IDS_MOST = 10_000_000
# start to end of one aggTrades request must stay below an hour on USD-M.
USDM_AGG_WINDOW_MS = 3_600_000 - 1

WEIGHTS: dict[Market, dict[str, int]] = {
    "spot": {"time": 1, "exchangeInfo": 20, "trades": 25, "historicalTrades": 25, "aggTrades": 4, "klines": 2, "ticker/24hr": 2},
    "usdm": {
        "time": 1,
        "exchangeInfo": 1,
        "trades": 5,
        "historicalTrades": 200,
        "aggTrades": 20,
        "ticker/24hr": 1,
        "premiumIndex": 1,
        "fundingRate": 1,  # of a bucket of its own, shared with fundingInfo
    },
}
# (limit up to, weight); on USD-M only the listed limits exist.
DEPTH_WEIGHTS: dict[Market, tuple[tuple[int, int], ...]] = {
    "spot": ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    "usdm": ((5, 2), (10, 2), (20, 2), (50, 2), (100, 5), (500, 10), (1000, 20)),
}
USDM_KLINE_WEIGHTS: tuple[tuple[int, int], ...] = ((99, 1), (499, 2), (1000, 5), (1500, 10))


def depth_limit(market: Market, depth: int) -> int:
    """The smallest limit of a depth request that holds `depth` levels a side. Raises OutOfRange."""
    most = DEPTH_WEIGHTS[market][-1][0]
    check_depth(depth, most)
    if market == "spot":
        return depth
    return next(limit for limit, _ in DEPTH_WEIGHTS[market] if limit >= depth)


def depth_weight(market: Market, limit: int) -> int:
    """What a depth request costs."""
    return next(weight for up_to, weight in DEPTH_WEIGHTS[market] if limit <= up_to)


def klines_weight(market: Market, limit: int) -> int:
    """What a klines, markPriceKlines or indexPriceKlines request costs."""
    if market == "spot":
        return WEIGHTS["spot"]["klines"]
    return next(weight for up_to, weight in USDM_KLINE_WEIGHTS if limit <= up_to)


# ── Limits (the starting values; exchangeInfo states the real ones) ───────────────────────────────────────────────────

BUCKETS: dict[Market, str] = {"spot": "binance.spot.weight", "usdm": "binance.usdm.weight"}
FUNDING_BUCKET = "binance.usdm.funding"
CONNECT_BUCKETS: dict[Market, str] = {"spot": "binance.spot.connects", "usdm": "binance.usdm.connects"}
# bucket → (limit, window in ms)
LIMITS: dict[str, tuple[int, int]] = {
    "binance.spot.weight": (6000, 60_000),
    "binance.usdm.weight": (2400, 60_000),
    FUNDING_BUCKET: (500, 300_000),
    # Published are 300. Nothing says how many are left, and what follows one too many is not documented: half is planned with.
    "binance.spot.connects": (int(300 * UNTOLD_SHARE), 300_000),
    "binance.usdm.connects": (int(300 * UNTOLD_SHARE), 300_000),
}
# The newest kline counts as closed once the venue's clock is this far past its close: REST nodes lag a little behind the matching engine.
FINAL_GRACE_NS = 1_000_000_000
USED_WEIGHT_HEADER = "x-mbx-used-weight-1m"
# The first USD-M contracts were listed in September 2019.
USDM_FIRST_MS = 1_567_900_800_000

# ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────

Route = Literal["spot", "usdm_public", "usdm_market"]
# The docs allow 1024 a connection on both; on USD-M 200 is what other clients found to be reliable.
STREAMS_MOST: dict[Route, int] = {"spot": 1024, "usdm_public": 200, "usdm_market": 200}
# Up to this many go into the URL; more are subscribed by message, so that no URL grows beyond some 4 kB.
URL_STREAMS_MOST = 100
SUBSCRIBE_MOST = 100  # streams a SUBSCRIBE message
# Messages a second to the venue, pongs included: it cuts the connection beyond 5 (spot) and 10 (USD-M).
MESSAGES_PER_S: dict[Route, int] = {"spot": 4, "usdm_public": 8, "usdm_market": 8}

# Where each channel's stream lives on USD-M; spot has one place for all.
USDM_ROUTES: dict[str, Route] = {
    "quote": "usdm_public",
    "depth": "usdm_public",
    "trade": "usdm_market",
    "agg": "usdm_market",
    "kline": "usdm_market",
    "ticker": "usdm_market",
    "mark": "usdm_market",
}
# Speed → suffix of the depth stream. The empty suffix is the venue's default pace.
DEPTH_SUFFIX: dict[Market, dict[int, str]] = {
    "spot": {100: "@100ms", 1000: ""},
    "usdm": {0: "@0ms", 100: "@100ms", 250: "", 500: "@500ms"},
}
FIXED_STREAMS: dict[str, str] = {"trade": "trade", "agg": "aggTrade", "ticker": "ticker", "quote": "bookTicker", "mark": "markPrice@1s"}


def stream_name(market: Market, native: str, channel: str, interval: Interval | None, depth_speed_ms: int) -> str:
    """`btcusdt@kline_1m`. A symbol outside ASCII stays as it is: the venue lowers the letters it can."""
    symbol = native.lower()
    if channel == "kline":
        return f"{symbol}@kline_{interval}"
    if channel == "depth":
        return f"{symbol}@depth{DEPTH_SUFFIX[market].get(depth_speed_ms, '@100ms')}"
    return f"{symbol}@{FIXED_STREAMS[channel]}"
