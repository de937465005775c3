"""OKX's instruments → ours. The parts of a contract's name come from its underlying: it has no base and quote of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instrument, TradingStatus
from zvt_crypto.domain.money import parse_step
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.venues.decode import BROKEN, decode
from zvt_crypto.venues.okx.spec import EXCHANGE, Market
from zvt_crypto.venues.okx.wire import InstrumentRest
from zvt_crypto.venues.parsed import Drift

STATUS: dict[str, TradingStatus] = {
    "live": TradingStatus.ACTIVE,
    "suspend": TradingStatus.SUSPENDED,
    "preopen": TradingStatus.PENDING,
    "test": TradingStatus.PENDING,
}


class _Listed(msgspec.Struct):
    data: list[msgspec.Raw]


class Listing(msgspec.Struct, frozen=True):
    """One market's instruments, without ids yet: `relisted` gives them, over all markets."""

    instruments: list[Instrument]
    drift: list[Drift]


def parse_instruments(body: bytes, market: Market) -> Listing:
    """Everything listed, in the venue's order. Raises Malformed; a row that cannot be read is drift and costs only itself."""
    rows = decode(_Listed, body, f"okx {market} instruments").data
    decoder = msgspec.json.Decoder(InstrumentRest, strict=False)
    instruments: list[Instrument] = []
    drift: list[Drift] = []
    for raw in rows:
        try:
            row = decoder.decode(raw)
            instruments.append(_pair(row, drift) if market == "spot" else _contract(row, market, drift))
        except (*BROKEN, BadInput) as error:
            drift.append(Drift("instrument that cannot be read", f"{shown(bytes(raw)[:60].decode(errors='replace'))}: {error}"))
    return Listing(instruments, drift)


def market_of(instrument: Instrument) -> Market:
    """Which of the markets trades it."""
    match instrument:
        case CryptoPair():
            return "spot"
        case CryptoPerp():
            return "swap"
        case CryptoFuture():
            return "futures"


def index_of(instrument: Instrument) -> str:
    """The name of its index: `BTC-USDT`."""
    return f"{instrument.base_asset}-{instrument.quote_asset}"


def _pair(row: InstrumentRest, drift: list[Drift]) -> CryptoPair:
    if not row.baseCcy or not row.quoteCcy:
        raise BadInput(f"{row.instId} has no base or no quote")
    tick, lot, least = _steps(row)
    return CryptoPair(**_shared(row, drift, row.baseCcy, row.quoteCcy), tick=tick, lot=lot, min_trade_amount=least)


def _contract(row: InstrumentRest, market: Market, drift: list[Drift]) -> Instrument:
    base, _, quote = (row.uly or "-".join(row.instId.split("-")[:2])).partition("-")
    if not base or not quote or not row.settleCcy:
        raise BadInput(f"{row.instId} has no underlying or no settlement currency")
    size = _size(row)
    unit = {"linear": base, "inverse": quote}.get(row.ctType)
    if unit != row.ctValCcy or (row.ctType == "inverse") != (row.settleCcy == base):
        raise BadInput(f"{row.instId}: {row.ctType!r} contracts of {row.ctVal} {row.ctValCcy!r} settled in {row.settleCcy!r}")
    tick, lot, least = _steps(row)
    if row.ctType == "linear":  # the venue's steps are contracts: those of an inverse one have no fixed amount of base
        lot, least = _times(lot, size), _times(least, size)
    shared = _shared(row, drift, base, quote) | {"tick": tick, "lot": lot, "min_trade_amount": least}
    contract = {**shared, "underlying_asset": base, "settlement_currency": row.settleCcy, "contract_size": size}
    if market == "swap":
        return CryptoPerp(**contract)
    if not row.expTime:
        raise BadInput(f"{row.instId} does not say when it ends")
    return CryptoFuture(**contract, expiry_ns=row.expTime * NS_PER_MS)


def _shared(row: InstrumentRest, drift: list[Drift], base: str, quote: str) -> dict[str, Any]:
    status = STATUS.get(row.state, TradingStatus.UNKNOWN)
    if status is TradingStatus.UNKNOWN:
        drift.append(Drift("state", f"{row.instId} {row.state}"))
    return {
        "id": "",
        "exchange": EXCHANGE,
        "native_symbol": row.instId,
        "base_asset": base,
        "quote_asset": quote,
        "status": status,
        "listed_ns": row.listTime * NS_PER_MS if row.listTime else None,
    }


def _steps(row: InstrumentRest) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    return parse_step(row.tickSz, "tickSz"), parse_step(row.lotSz, "lotSz"), parse_step(row.minSz, "minSz")


def _size(row: InstrumentRest) -> Decimal:
    """Base (linear) or quote (inverse) of one contract."""
    value, multiplier = parse_step(row.ctVal, "ctVal"), parse_step(row.ctMult or "1", "ctMult")
    if value is None or multiplier is None:
        raise BadInput(f"{row.instId}: a contract of {row.ctVal} times {row.ctMult} is worth nothing")
    return (value * multiplier).normalize()


def _times(step: Decimal | None, size: Decimal) -> Decimal | None:
    return None if step is None else (step * size).normalize()
