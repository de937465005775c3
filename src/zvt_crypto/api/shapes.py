"""Every JSON object that leaves the API, with its exact keys. Decimals are strings, times RFC 3339 UTC with milliseconds."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = tuple[str, str]


class KdataRow(msgspec.Struct, frozen=True):
    """One kline. `timestamp` is its open; `final` false while it forms; `turnover` and `trades` null where the source tells none."""

    timestamp: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str | None
    trades: int | None
    final: bool
    source: Literal["venue", "trades", "derived", "import"]


class Kdata(msgspec.Struct, frozen=True):
    """Klines, oldest first. `next`: give it as `start` for the rows that follow; absent when there are none."""

    data: list[KdataRow]
    count: int
    next: str | msgspec.UnsetType = msgspec.UNSET


class TradeRow(msgspec.Struct, frozen=True):
    """One trade; `side` is the taker's."""

    trade_id: str
    price: str
    quantity: str
    side: Literal["buy", "sell"]
    timestamp: str


class DepthData(msgspec.Struct, frozen=True):
    """Levels as [price, size], best first. In a delta a size of "0" removes the level."""

    bids: list[Level]
    asks: list[Level]
    timestamp: str | None  # None: no book was ever seen


class OrderBook(msgspec.Struct, frozen=True):
    """A valid book. `age_ms`: since the newest update that it holds reached us. `update_id` is the venue's."""

    bids: list[Level]
    asks: list[Level]
    timestamp: str
    symbol: str
    stale: bool
    age_ms: int | None
    update_id: int


class TickerRow(msgspec.Struct, frozen=True):
    """The newest price, and the rolling 24 hours where the venue tells them. `stale`: nothing newer came for a while."""

    symbol: str
    price: str
    volume: str | None
    timestamp: str
    turnover: str | None
    open: str | None
    high: str | None
    low: str | None
    bid: str | None
    ask: str | None
    stale: bool


class Exchanges(msgspec.Struct, frozen=True):
    """Ids of the exchanges that this deployment serves."""

    exchanges: list[str]


class PairRow(msgspec.Struct, frozen=True):
    """An instrument: a spot pair, a perpetual (`perp`) or a dated contract (`future`). The last five are null for spot pairs."""

    id: str
    symbol: str
    kind: Literal["pair", "perp", "future"]
    exchange: str
    base_asset: str
    quote_asset: str
    status: str
    min_trade_amount: str | None
    min_notional: str | None
    price_precision: int | None
    quantity_precision: int | None
    tick: str | None
    lot: str | None
    ccxt_symbol: str
    listed: str | None
    underlying_asset: str | None
    settlement_currency: str | None
    contract_size: str | None
    funding_rate: str | None
    expiry: str | None


class Pairs(msgspec.Struct, frozen=True):
    """Instruments by id. `next`: give it as `cursor` for the following page; absent on the last."""

    pairs: list[PairRow]
    count: int
    next: str | msgspec.UnsetType = msgspec.UNSET


class AssetRow(msgspec.Struct, frozen=True):
    """A currency on an exchange. `market_cap` (USD) and `max_supply` are the newest sourced facts, or null: never invented."""

    id: str
    symbol: str
    full_name: str | None
    market_cap: str | None
    max_supply: str | None
    exchange: str


class Assets(msgspec.Struct, frozen=True):
    """Assets by id. `next`: give it as `cursor` for the following page; absent on the last."""

    assets: list[AssetRow]
    count: int
    next: str | msgspec.UnsetType = msgspec.UNSET


class FoundAsset(msgspec.Struct, frozen=True):
    """An asset that answers to the search, once, however many exchanges list it: `exchanges` and `ids` say where.

    `id` and `exchange` are the first of them.
    """

    id: str
    symbol: str
    full_name: str | None
    market_cap: str | None
    max_supply: str | None
    exchange: str
    exchanges: list[str]
    ids: list[str]


class FoundAssets(msgspec.Struct, frozen=True):
    """Search results, best match first."""

    results: list[FoundAsset]
    count: int


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457. `code` is stable within v1; `detail` names the value that was wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    correlation_id: str | msgspec.UnsetType = msgspec.UNSET


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"]
    version: str
    uptime_ms: int
    timestamp: str
