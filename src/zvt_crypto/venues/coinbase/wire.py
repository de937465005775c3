"""Coinbase's messages, field by field, with the range of every number: what lies outside is refused while it is decoded.

Numbers come as decimal strings (floats here, `strict=False`), times as RFC 3339 with up to nine digits (texts here, read by `moment`).
Fields that we do not read are left out: unknown ones are ignored, missing ones raise. Ids come as texts by one API, as integers by the
other.
"""

# ruff: noqa: N815 -- the names are the venue's own
from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

# NaN fails every comparison, so bounds on both sides refuse it, and the infinities too. The dearest product stands at some 1e5, the
# widest quantity (PEPE, SHIB) at some 1e13.
Price = Annotated[float, Meta(gt=0, lt=1e15)]
PriceOrZero = Annotated[float, Meta(ge=0, lt=1e15)]
Quantity = Annotated[float, Meta(gt=0, lt=1e18)]
Amount = Annotated[float, Meta(ge=0, lt=1e18)]
Percent = Annotated[float, Meta(gt=-100, lt=1e9)]
# Unix seconds up to 2200.
Seconds = Annotated[int, Meta(ge=0, lt=7_258_118_400)]
Moment = Annotated[str, Meta(max_length=64)]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
ProductId = Annotated[str, Meta(min_length=1, max_length=64)]
TradeIdText = Annotated[str, Meta(min_length=1, max_length=64)]
TradeId = Annotated[int, Meta(ge=0, le=2**63 - 1)] | TradeIdText
# An empty text where there is none.
MaybePrice = PriceOrZero | Literal[""] | None


# ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class TradeWire(msgspec.Struct, gc=False):
    """A row of market_trades; by REST too. `side` is the maker's."""

    product_id: ProductId
    trade_id: TradeId
    price: Price
    size: Quantity
    time: Moment
    side: str


class TradesEvent(msgspec.Struct, gc=False):
    """`snapshot` (the newest hundred) or `update`; newest first."""

    trades: list[TradeWire]
    type: str = ""


class TradesWire(msgspec.Struct, gc=False):
    """market_trades."""

    sequence_num: Sequence
    events: list[TradesEvent]


class LevelWire(msgspec.Struct, gc=False):
    """A level's new quantity; zero, in any form, removes it. The sides are `bid` and `offer`."""

    side: str
    event_time: Moment
    price_level: Price
    new_quantity: Amount


class BookEvent(msgspec.Struct, gc=False):
    """`snapshot` (the whole book) or `update`, of one product."""

    type: str
    product_id: ProductId
    updates: list[LevelWire]


class BookWire(msgspec.Struct, gc=False):
    """l2_data, which is what the channel level2 sends."""

    timestamp: Moment
    sequence_num: Sequence
    events: list[BookEvent]


class TickerRow(msgspec.Struct, gc=False):
    """A product's ticker. Quotes are missing in ticker_batch; volumes are of 24 hours, in contracts where there are contracts."""

    product_id: ProductId
    price: PriceOrZero
    volume_24_h: Amount
    low_24_h: MaybePrice = None
    high_24_h: MaybePrice = None
    price_percent_chg_24_h: Percent | Literal[""] | None = None
    best_bid: MaybePrice = None
    best_bid_quantity: Amount | Literal[""] | None = None
    best_ask: MaybePrice = None
    best_ask_quantity: Amount | Literal[""] | None = None


class TickerEvent(msgspec.Struct, gc=False):
    """Tickers of some products."""

    tickers: list[TickerRow]
    type: str = ""


class TickerWire(msgspec.Struct, gc=False):
    """ticker."""

    timestamp: Moment
    sequence_num: Sequence
    events: list[TickerEvent]


class CandleRow(msgspec.Struct, gc=False):
    """A candle of five minutes. Nothing tells whether it is closed."""

    product_id: ProductId
    start: Seconds
    low: Price
    high: Price
    open: Price
    close: Price
    volume: Amount


class CandlesEvent(msgspec.Struct, gc=False):
    """`snapshot` (the last hundred of a product) or `update`."""

    candles: list[CandleRow]
    type: str = ""


class CandlesWire(msgspec.Struct, gc=False):
    """candles."""

    timestamp: Moment
    sequence_num: Sequence
    events: list[CandlesEvent]


class SubscriptionsEvent(msgspec.Struct):
    """Everything that is subscribed now, not only what changed: channel → product ids. What else may stand there is not ours."""

    subscriptions: dict[str, Any]


class SubscriptionsWire(msgspec.Struct):
    """The answer to a subscribe message."""

    sequence_num: Sequence
    events: list[SubscriptionsEvent]


class HeartbeatWire(msgspec.Struct, gc=False):
    """heartbeats. `current_time` is in no standard form and is not read."""

    sequence_num: Sequence


class LooseWire(msgspec.Struct):
    """Whatever else a frame may be: written in another order, an error (which has no channel), a channel that we do not know."""

    channel: str | None = None
    type: str | None = None
    message: str | None = None
    reason: str | None = None
    sequence_num: Sequence | None = None


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class TimeRest(msgspec.Struct):
    """time."""

    epochMillis: Annotated[int, Meta(ge=86_400_000, lt=7_258_118_400_000)]


class CandleRest(msgspec.Struct, gc=False):
    """One row of candles, newest first; in contracts where there are contracts."""

    start: Seconds
    low: Price
    high: Price
    open: Price
    close: Price
    volume: Amount


class CandlesRest(msgspec.Struct):
    """candles."""

    candles: list[CandleRest]


class MarketTradesRest(msgspec.Struct):
    """`ticker`, as the newest trades are called; newest first."""

    trades: list[TradeWire]


class ExchangeTradeRest(msgspec.Struct, gc=False):
    """A row of Exchange's trades, newest first. `side` is the maker's, in lower case."""

    trade_id: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    price: Price
    size: Quantity
    time: Moment
    side: str


class LevelRest(msgspec.Struct, gc=False):
    """A level of product_book."""

    price: Price
    size: Amount


class PricebookRest(msgspec.Struct):
    """The book of a product: no sequence number."""

    product_id: ProductId
    bids: list[LevelRest]
    asks: list[LevelRest]
    time: Moment = ""


class BookRest(msgspec.Struct):
    """product_book."""

    pricebook: PricebookRest


class PerpetualRest(msgspec.Struct):
    """What only perpetuals have. Dated contracts carry it too, empty."""

    funding_rate: str | None = None


class FutureRest(msgspec.Struct):
    """What contracts have beside pairs."""

    contract_root_unit: str
    contract_size: str
    contract_expiry: Moment | None = None
    contract_expiry_type: str = ""
    funding_interval: str | None = None
    funding_rate: str | None = None
    perpetual_details: PerpetualRest | None = None
    non_crypto: bool = False
    futures_asset_type: str = ""


class SessionRest(msgspec.Struct):
    """When a contract is traded."""

    is_session_open: bool = True


class ProductRest(msgspec.Struct):
    """A product. `alias` is the product whose book it shares: USDC pairs are their USD pair under another name."""

    product_id: ProductId
    product_type: str
    base_increment: str
    quote_currency_id: str
    price: MaybePrice = None
    volume_24h: Amount | Literal[""] | None = None
    price_percentage_change_24h: Percent | Literal[""] | None = None
    high_24h: MaybePrice = None
    low_24h: MaybePrice = None
    best_bid_price: MaybePrice = None
    best_ask_price: MaybePrice = None
    base_currency_id: str = ""
    quote_increment: str = ""
    price_increment: str = ""
    base_min_size: str = ""
    quote_min_size: str = ""
    status: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    auction_mode: bool = False
    alias: str = ""
    fcm_trading_session_details: SessionRest | None = None
    future_product_details: FutureRest | None = None


class PaginationRest(msgspec.Struct):
    """Whether a listing goes on."""

    has_next: bool = False


class ProductsRest(msgspec.Struct):
    """products. They are decoded one by one, so that one that we cannot read costs only itself."""

    products: list[msgspec.Raw]
    pagination: PaginationRest | None = None


class ErrorItemRest(msgspec.Struct):
    """One of `errors`."""

    id: str = ""
    message: str = ""


class ErrorRest(msgspec.Struct):
    """The body of a refusal, in any of the three forms that the two APIs have."""

    error: str = ""
    message: str = ""
    error_details: str = ""
    errors: list[ErrorItemRest] = []
