"""exchangeInfo → our instruments. Ticks and lots come from the filters: the venue's precision fields are not steps."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instrument, Instruments, TradingStatus
from zvt_crypto.domain.money import parse_step
from zvt_crypto.venues.binance.parse import to_ns
from zvt_crypto.venues.binance.spec import BUCKETS, EXCHANGE, Market
from zvt_crypto.venues.binance.wire import ExchangeInfoRest, FilterRest, SymbolRest
from zvt_crypto.venues.decode import BROKEN, decode
from zvt_crypto.venues.parsed import Drift

SPOT_STATUS: dict[str, TradingStatus] = {
    "PRE_TRADING": TradingStatus.PENDING,
    "TRADING": TradingStatus.ACTIVE,
    "POST_TRADING": TradingStatus.SUSPENDED,
    "END_OF_DAY": TradingStatus.SUSPENDED,
    "HALT": TradingStatus.SUSPENDED,
    "AUCTION_MATCH": TradingStatus.SUSPENDED,
    "BREAK": TradingStatus.SUSPENDED,
    "CANCEL_ONLY": TradingStatus.CANCEL_ONLY,
}
USDM_STATUS: dict[str, TradingStatus] = {
    "PENDING_TRADING": TradingStatus.PENDING,
    "TRADING": TradingStatus.ACTIVE,
    "PRE_DELIVERING": TradingStatus.SETTLING,
    "DELIVERING": TradingStatus.SETTLING,
    "DELIVERED": TradingStatus.DELISTED,
    "PRE_SETTLE": TradingStatus.SETTLING,
    "SETTLING": TradingStatus.SETTLING,
    "CLOSE": TradingStatus.DELISTED,
}
PERPETUAL = frozenset({"PERPETUAL", "PERPETUAL DELIVERING", "PERPETUAL_DELIVERING"})
DATED = frozenset(
    {
        "CURRENT_MONTH",
        "NEXT_MONTH",
        "CURRENT_QUARTER",
        "NEXT_QUARTER",
        "CURRENT_QUARTER DELIVERING",
        "NEXT_QUARTER DELIVERING",
    }
)
_INTERVAL_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


class Listing(msgspec.Struct, frozen=True):
    """One market's exchangeInfo. The instruments have no ids yet: `assign_ids` gives them, over both markets."""

    instruments: list[Instrument]
    limits: list[tuple[str, int, int]]  # bucket, limit, window in ms
    drift: list[Drift]


def parse_exchange_info(body: bytes, market: Market) -> Listing:
    """Everything listed, in the venue's order; nothing, where the market lists nothing. Raises Malformed; one symbol that cannot be
    read is drift and costs only itself."""
    info = decode(ExchangeInfoRest, body, f"binance {market} exchangeInfo")
    decoder = msgspec.json.Decoder(SymbolRest, strict=False)
    instruments: list[Instrument] = []
    drift: list[Drift] = []
    for raw in info.symbols:
        try:
            made = _instrument(decoder.decode(raw), market, drift)
        except (*BROKEN, BadInput) as error:
            drift.append(Drift("symbol that cannot be read", f"{shown(bytes(raw)[:60].decode(errors='replace'))}: {error}"))
            continue
        if made is not None:
            instruments.append(made)
    limits = [
        (BUCKETS[market], limit.limit, _INTERVAL_MS[limit.interval] * limit.intervalNum)
        for limit in info.rateLimits
        if limit.rateLimitType == "REQUEST_WEIGHT" and limit.interval in _INTERVAL_MS
    ]
    return Listing(instruments, limits, drift)


def natives_of(instruments: Instruments, market: Market) -> dict[str, str]:
    """Native symbol → entity id: what a parser of this market needs."""
    if market == "spot":
        return dict(instruments.natives(EXCHANGE, "pair"))
    return {**instruments.natives(EXCHANGE, "future"), **instruments.natives(EXCHANGE, "perp")}


def market_of(instrument: Instrument) -> Market:
    """Which of the two markets trades it."""
    return "spot" if isinstance(instrument, CryptoPair) else "usdm"


def _instrument(row: SymbolRest, market: Market, drift: list[Drift]) -> Instrument | None:
    code = row.status or row.contractStatus or ""
    status = (SPOT_STATUS if market == "spot" else USDM_STATUS).get(code, TradingStatus.UNKNOWN)
    if status is TradingStatus.UNKNOWN:
        drift.append(Drift("status", f"{row.symbol} {code}"))
    shared: dict[str, Any] = {
        "id": "",
        "exchange": EXCHANGE,
        "native_symbol": row.symbol,
        "base_asset": row.baseAsset,
        "quote_asset": row.quoteAsset,
        "status": status,
        **_steps(row.filters),
    }
    if market == "spot":
        return CryptoPair(**shared)
    shared["listed_ns"] = to_ns(row.onboardDate) if row.onboardDate else None
    contract = {**shared, "underlying_asset": row.baseAsset, "settlement_currency": row.marginAsset or row.quoteAsset}
    if row.contractType in PERPETUAL:
        return CryptoPerp(**contract)
    if row.contractType in DATED and row.deliveryDate:
        return CryptoFuture(**contract, expiry_ns=to_ns(row.deliveryDate))
    drift.append(Drift("contract type", f"{row.symbol} {row.contractType}"))
    return None


def _steps(filters: Iterable[FilterRest]) -> dict[str, Decimal | None]:
    steps: dict[str, Decimal | None] = {}
    for found in filters:
        if found.filterType == "PRICE_FILTER" and found.tickSize is not None:
            steps["tick"] = parse_step(found.tickSize, "tickSize")
        elif found.filterType == "LOT_SIZE":
            if found.stepSize is not None:
                steps["lot"] = parse_step(found.stepSize, "stepSize")
            if found.minQty is not None:
                steps["min_trade_amount"] = parse_step(found.minQty, "minQty")
        elif found.filterType in ("MIN_NOTIONAL", "NOTIONAL"):
            least = found.minNotional if found.minNotional is not None else found.notional
            if least is not None:
                steps["min_notional"] = parse_step(least, "minNotional")
    return steps
