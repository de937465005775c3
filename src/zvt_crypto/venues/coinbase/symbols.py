"""Coinbase's products → our instruments. Contracts are counted in base: a lot of one contract of 0.01 BTC is a lot of 0.01."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadInput, BadTime, Malformed, shown
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instrument, TradingStatus
from zvt_crypto.domain.money import parse_step
from zvt_crypto.venues.coinbase.moment import MomentReader
from zvt_crypto.venues.coinbase.product import Product, product_of
from zvt_crypto.venues.coinbase.spec import EXCHANGE, PRODUCT_TYPE, Market
from zvt_crypto.venues.coinbase.wire import FutureRest, ProductRest, ProductsRest
from zvt_crypto.venues.decode import BROKEN, decode
from zvt_crypto.venues.parsed import Drift

# Contracts have no status: what may be done with them is told by the flags alone.
STATUS: dict[str, TradingStatus] = {
    "online": TradingStatus.ACTIVE,
    "": TradingStatus.ACTIVE,
    "internal": TradingStatus.PENDING,
    "offline": TradingStatus.SUSPENDED,
    "delisted": TradingStatus.DELISTED,
}
_CRYPTO = ("", "FUTURES_ASSET_TYPE_CRYPTO")
_OTHERS = ("FUTURES_ASSET_TYPE_COMMODITY",)
# What tells neither that a contract expires nor that it does not: its funding and its expiry do.
_EXPIRY = ("", "UNKNOWN_CONTRACT_EXPIRY_TYPE", "EXPIRING", "PERPETUAL")


class Listing(msgspec.Struct, frozen=True):
    """One page of a market's products. The instruments have no ids yet: `assign_ids` gives them, over both markets.

    `aliases`: product → the product whose book it shares (BTC-USDC → BTC-USD). `count`: how many rows the page had.
    """

    instruments: list[Instrument]
    aliases: dict[str, str]
    drift: list[Drift]
    count: int
    has_next: bool


def parse_products(body: bytes, market: Market) -> Listing:
    """Everything listed, in the venue's order. Raises Malformed; one product that cannot be read is drift and costs only itself."""
    answer = decode(ProductsRest, body, f"coinbase {market} products")
    decoder = msgspec.json.Decoder(ProductRest, strict=False)
    instruments: list[Instrument] = []
    aliases: dict[str, str] = {}
    drift: list[Drift] = []
    for raw in answer.products:
        try:
            row = decoder.decode(raw)
            made = _instrument(row, market, drift)
        except (*BROKEN, BadInput) as error:
            drift.append(Drift("product that cannot be read", f"{shown(bytes(raw)[:60].decode(errors='replace'))}: {error}"))
            continue
        if made is not None:
            instruments.append(made)
            if row.alias:
                aliases[row.product_id] = row.alias
    if answer.products and not instruments and market == "spot":
        raise Malformed(f"coinbase spot products: none of {len(answer.products)} can be read")
    has_next = answer.pagination is not None and answer.pagination.has_next
    return Listing(instruments, aliases, drift, len(answer.products), has_next)


def market_of(instrument: Instrument) -> Market:
    """Which of the two markets trades it."""
    return "spot" if isinstance(instrument, CryptoPair) else "future"


def products_of(instruments: Iterable[Instrument], aliases: Mapping[str, str]) -> dict[str, Product]:
    """Product id as frames name it → product. Frames name a pair by the product whose book it shares, or by its own id."""
    made: dict[str, Product] = {}
    for instrument in instruments:
        native = instrument.native_symbol
        made[native] = made[aliases.get(native, native)] = product_of(instrument)
    return made


def family_of(instrument: Instrument) -> str:
    """`BTC-USD` for BTC-USD and BTC-USDC: frames of one connection could not tell them apart."""
    native = instrument.native_symbol
    return native.removesuffix("C") if isinstance(instrument, CryptoPair) and native.endswith("-USDC") else native


def _instrument(row: ProductRest, market: Market, drift: list[Drift]) -> Instrument | None:
    if row.product_type != PRODUCT_TYPE[market]:
        drift.append(Drift("product type", f"{row.product_id} {row.product_type}"))
        return None
    if market == "spot":
        return CryptoPair(**_shared(row, row.base_currency_id, Decimal(1), drift))
    details = row.future_product_details
    if details is None:
        drift.append(Drift("contract without details", row.product_id))
        return None
    if details.non_crypto or details.futures_asset_type in _OTHERS:
        return None  # gold, oil and share indexes are traded there too
    if details.futures_asset_type not in _CRYPTO:
        drift.append(Drift("asset type", f"{row.product_id} {details.futures_asset_type}"))
        return None
    return _contract(row, details, drift)


def _contract(row: ProductRest, details: FutureRest, drift: list[Drift]) -> Instrument:
    size = parse_step(details.contract_size, "contract_size")
    if size is None:
        raise BadInput(f"contract_size {shown(details.contract_size)} of {row.product_id} is no size")
    if details.contract_expiry_type not in _EXPIRY:
        drift.append(Drift("contract type", f"{row.product_id} {details.contract_expiry_type}"))
    shared = {
        **_shared(row, details.contract_root_unit, size, drift),
        "underlying_asset": details.contract_root_unit,
        "settlement_currency": row.quote_currency_id,
        "contract_size": size,
    }
    # The perpetuals of the US venue expire on paper, in 2030: what makes them perpetuals is their funding.
    if details.contract_expiry_type == "PERPETUAL" or details.funding_interval:
        return CryptoPerp(**shared, funding_rate=_rate(details))
    if details.contract_expiry is None:
        raise BadInput(f"{row.product_id} neither expires nor has funding")
    expiry_ns = MomentReader().read(details.contract_expiry)
    if not expiry_ns:
        raise BadTime(f"{row.product_id} expires at {details.contract_expiry}")
    return CryptoFuture(**shared, expiry_ns=expiry_ns)


def _shared(row: ProductRest, base: str, size: Decimal, drift: list[Drift]) -> dict[str, Any]:
    if not base or not row.quote_currency_id:
        raise BadInput(f"product {row.product_id} names no base or no quote")
    lot = parse_step(row.base_increment, "base_increment")
    least = parse_step(row.base_min_size or "0", "base_min_size")
    return {
        "id": "",
        "exchange": EXCHANGE,
        "native_symbol": row.product_id,
        "base_asset": base,
        "quote_asset": row.quote_currency_id,
        "status": _status(row, drift),
        "tick": parse_step(row.price_increment or row.quote_increment or "0", "price_increment"),
        "lot": lot * size if lot is not None else None,
        "min_trade_amount": least * size if least is not None else None,
        "min_notional": parse_step(row.quote_min_size or "0", "quote_min_size"),
    }


def _status(row: ProductRest, drift: list[Drift]) -> TradingStatus:
    status = STATUS.get(row.status, TradingStatus.UNKNOWN)
    if status is TradingStatus.UNKNOWN:
        drift.append(Drift("status", f"{row.product_id} {row.status}"))
    if status is not TradingStatus.ACTIVE:
        return status
    session = row.fcm_trading_session_details
    if row.is_disabled or row.trading_disabled or row.auction_mode or (session is not None and not session.is_session_open):
        return TradingStatus.SUSPENDED
    return TradingStatus.CANCEL_ONLY if row.cancel_only else TradingStatus.ACTIVE


def _rate(details: FutureRest) -> Decimal | None:
    text = details.funding_rate or (details.perpetual_details.funding_rate if details.perpetual_details is not None else None)
    if not text:
        return None
    try:
        rate = Decimal(text)
    except ArithmeticError:
        raise BadInput(f"funding_rate {shown(text)} is not a number") from None
    if not rate.is_finite() or abs(rate) >= 10:
        raise BadInput(f"funding_rate {shown(text)} is no rate")
    return rate
