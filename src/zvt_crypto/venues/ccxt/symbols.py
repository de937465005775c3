"""ccxt's markets → our instruments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instrument, TradingStatus
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.venues.parsed import Drift

# ccxt's precisionMode: `precision` holds decimals, steps, or (3) significant digits, which are no step.
_DECIMALS, _TICK_SIZE = 2, 4


def instruments_of(exchange: str, markets: Iterable[Mapping[str, Any]], precision_mode: int) -> tuple[list[Instrument], list[Drift]]:
    """Spot, swaps and dated contracts; options and the like are left out. What cannot be read comes back as drift."""
    made: list[Instrument] = []
    drift: list[Drift] = []
    for market in markets:
        try:
            one = _instrument(exchange, market, precision_mode)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            drift.append(Drift("market that cannot be read", f"{market.get('symbol')}: {error}"))
            continue
        if one is not None:
            made.append(one)
    return made, drift


def _instrument(exchange: str, market: Mapping[str, Any], precision_mode: int) -> Instrument | None:
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    common: dict[str, Any] = {
        "id": "",
        "exchange": exchange,
        "native_symbol": str(market["id"]),
        "base_asset": str(market["base"]),
        "quote_asset": str(market["quote"]),
        "status": TradingStatus.SUSPENDED if market.get("active") is False else TradingStatus.ACTIVE,
        "tick": _step(precision.get("price"), precision_mode),
        "lot": _step(precision.get("amount"), precision_mode),
        "min_trade_amount": _amount((limits.get("amount") or {}).get("min")),
        "min_notional": _amount((limits.get("cost") or {}).get("min")),
    }
    if market.get("spot"):
        return CryptoPair(**common)
    if not market.get("swap") and not market.get("future"):
        return None
    size = _amount(market.get("contractSize")) or Decimal(1)
    contract = {"underlying_asset": common["base_asset"], "settlement_currency": str(market["settle"]), "contract_size": size}
    if contract["settlement_currency"] != common["base_asset"]:  # linear: quantities are told in base, and so are their steps
        common |= {name: common[name] and common[name] * size for name in ("lot", "min_trade_amount")}
    if market.get("swap"):
        return CryptoPerp(**common, **contract)
    return CryptoFuture(**common, **contract, expiry_ns=int(market["expiry"]) * NS_PER_MS)


def _step(value: object, precision_mode: int) -> Decimal | None:
    if value is None:
        return None
    if precision_mode == _TICK_SIZE:
        return _amount(value)
    return Decimal((0, (1,), -int(str(value)))) if precision_mode == _DECIMALS else None


def _amount(value: object) -> Decimal | None:
    """A positive number, from its shortest text; None for none."""
    if value is None:
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and amount > 0 else None
