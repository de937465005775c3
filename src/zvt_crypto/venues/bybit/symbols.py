"""instruments-info → our instruments, and which category each belongs to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instrument, Instruments, Kind, TradingStatus
from zvt_crypto.domain.money import parse_step
from zvt_crypto.venues.bybit import wire
from zvt_crypto.venues.bybit.spec import EXCHANGE, Category
from zvt_crypto.venues.decode import BROKEN, decode
from zvt_crypto.venues.parsed import Drift

STATUS: dict[str, TradingStatus] = {
    "PreLaunch": TradingStatus.PENDING,
    "Trading": TradingStatus.ACTIVE,
    "Settling": TradingStatus.SETTLING,
    "Delivering": TradingStatus.SETTLING,
    "Closed": TradingStatus.DELISTED,
}
PERPETUAL = frozenset({"LinearPerpetual", "InversePerpetual"})
DATED = frozenset({"LinearFutures", "InverseFutures"})


class Listing(msgspec.Struct, frozen=True):
    """One page of a category's instruments, which have no ids yet, and what asks for the next page: nothing at the end."""

    instruments: list[Instrument]
    cursor: str | None
    drift: list[Drift]


def parse_instruments(body: bytes, category: Category) -> Listing:
    """The rows in the venue's order. Raises Malformed; one row that cannot be read is drift and costs only itself."""
    result = decode(wire.Answer[wire.Rows[msgspec.Raw]], body, f"bybit {category} instruments-info").result
    decoder = msgspec.json.Decoder(wire.InstrumentRest, strict=False)
    instruments: list[Instrument] = []
    drift: list[Drift] = []
    for raw in result.rows:
        try:
            made = _instrument(decoder.decode(raw), category, drift)
        except (*BROKEN, BadInput) as error:
            drift.append(Drift("instrument that cannot be read", f"{shown(bytes(raw)[:60].decode(errors='replace'))}: {error}"))
            continue
        if made is not None:
            instruments.append(made)
    return Listing(instruments, result.nextPageCursor or None, drift)


def category_of(instrument: Instrument) -> Category:
    """Which of the categories trades it."""
    if isinstance(instrument, CryptoPair):
        return "spot"
    return "inverse" if instrument.is_inverse else "linear"


def natives_of(instruments: Instruments, category: Category) -> dict[str, str]:
    """Native symbol → entity id: what a parser of this category needs. Spot and linear have the same symbols."""
    kinds: tuple[Kind, ...] = ("pair",) if category == "spot" else ("future", "perp")
    made: dict[str, str] = {}
    for kind in kinds:
        for native, entity_id in instruments.natives(EXCHANGE, kind).items():
            instrument = instruments.get(entity_id)
            if instrument is not None and category_of(instrument) == category:
                made[native] = entity_id
    return made


def _instrument(row: wire.InstrumentRest, category: Category, drift: list[Drift]) -> Instrument | None:
    status = STATUS.get(row.status, TradingStatus.UNKNOWN)
    if status is TradingStatus.UNKNOWN:
        drift.append(Drift("status", f"{row.symbol} {row.status}"))
    ends_ns = row.deliveryTime * 1_000_000 if row.deliveryTime else None
    shared: dict[str, Any] = {
        "id": "",
        "exchange": EXCHANGE,
        "native_symbol": row.symbol,
        "base_asset": row.baseCoin,
        "quote_asset": row.quoteCoin,
        "status": status,
        "listed_ns": row.launchTime * 1_000_000 if row.launchTime else None,
        "delisted_ns": ends_ns if status is TradingStatus.DELISTED else None,
        "tick": parse_step(row.priceFilter.tickSize, "tickSize"),
        **_lots(row.lotSizeFilter),
    }
    made = CryptoPair(**shared) if category == "spot" else _contract(row, shared, ends_ns)
    if made is None:
        drift.append(Drift("contract type", f"{row.symbol} {row.contractType}"))
    elif category_of(made) != category:
        drift.append(Drift("category", f"{row.symbol} settles in {row.settleCoin} and stands among the {category} ones"))
        return None
    return made


def _contract(row: wire.InstrumentRest, shared: dict[str, Any], ends_ns: int | None) -> Instrument | None:
    # One contract is one of the base (linear), or one of the quote (inverse): sizes are amounts already.
    terms: dict[str, Any] = {
        "underlying_asset": row.baseCoin,
        "settlement_currency": row.settleCoin or row.quoteCoin,
        "contract_size": Decimal(1),
    }
    if row.contractType in PERPETUAL:
        return CryptoPerp(**shared, **terms)
    if row.contractType in DATED and ends_ns is not None:
        return CryptoFuture(**shared, **terms, expiry_ns=ends_ns)
    return None


def _lots(rules: wire.LotFilter) -> dict[str, Decimal | None]:
    """Step, smallest quantity and smallest value. Spot's minOrderQty is not checked by the venue any more: only its value counts."""
    named = {
        "lot": rules.qtyStep if rules.qtyStep is not None else rules.basePrecision,
        "min_trade_amount": rules.minOrderQty if rules.qtyStep is not None else None,
        "min_notional": rules.minNotionalValue if rules.minNotionalValue is not None else rules.minOrderAmt,
    }
    return {name: None if text is None else parse_step(text, name) for name, text in named.items()}
