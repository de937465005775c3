"""Instruments as people write them: made from words, checked before they are stored, changed field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import (
    CryptoPair,
    CryptoPerp,
    Instrument,
    Instruments,
    TradingStatus,
    assign_ids,
    check_exchange,
    kind_of,
    natural_id,
)
from zvt_crypto.domain.money import MAX_STEP, MIN_STEP, parse_step
from zvt_crypto.domain.time import to_rfc3339

STEPS = ("tick", "lot", "min_trade_amount", "min_notional", "contract_size")
FIXED = ("id", "exchange", "native_symbol", "base_asset", "quote_asset", "underlying_asset", "settlement_currency")
MEASURED = ("funding_rate",)  # what is shown of it is the newest row of another table
CODES = ("base_asset", "quote_asset", "underlying_asset", "settlement_currency")
# Letters and digits of any script (Binance lists a Chinese pair), and what exchanges put between them.
_NATIVE = re.compile(r"[^\W_][\w./:\-]{0,63}")
_CODE = re.compile(r"[^\W_][\w.\-]{0,31}")


def make_listing(
    native_symbol: str,
    exchange: str,
    base: str,
    quote: str,
    *,
    perp: bool,
    settle: str | None,
    steps: Mapping[str, str | None],
    listed_ns: int | None = None,
) -> Instrument:
    """A pair or perpetual from words, its id still to be given. Raises BadInput, naming the value."""
    if settle is not None and not perp:
        raise BadInput(f"settlement currency {shown(settle)}: a pair has none; it is a perpetual's (--perp)")
    facts: dict[str, Any] = {
        "id": "",
        "exchange": exchange,
        "native_symbol": native_symbol,
        "base_asset": base.upper(),
        "quote_asset": quote.upper(),
        "listed_ns": listed_ns,
        **{name: _positive_step(text, name) for name, text in steps.items() if text is not None},
    }
    if not perp:
        return check_listing(CryptoPair(**facts))
    return check_listing(CryptoPerp(**facts, underlying_asset=base.upper(), settlement_currency=(settle or quote).upper()))


def check_listing(listing: Instrument) -> Instrument:
    """The same with its exchange in lower case. Raises BadInput for a name or step that cannot be one, and UnknownExchange."""
    if not _NATIVE.fullmatch(listing.native_symbol):
        raise BadInput(
            f"native symbol {shown(listing.native_symbol)} is not a symbol: letters and digits, and . / : _ - within, at most 64"
        )
    for field in CODES:
        if hasattr(listing, field):
            check_code(getattr(listing, field), field.replace("_", " "))
    if listing.base_asset.upper() == listing.quote_asset.upper():
        raise BadInput(f"base and quote are the same: {shown(listing.base_asset)}")
    for field in STEPS:
        step = getattr(listing, field, None)
        if step is not None and not (isinstance(step, Decimal) and step.is_finite() and MIN_STEP <= step <= MAX_STEP):
            raise BadInput(f"{field} {shown(step)} is not a positive Decimal from {MIN_STEP} to {MAX_STEP}")
    return msgspec.structs.replace(listing, exchange=check_exchange(listing.exchange))


def check_life(entity_id: str, listed_ns: int | None, delisted_ns: int | None) -> None:
    """Raises BadInput for what ended before it began."""
    if listed_ns is not None and delisted_ns is not None and delisted_ns < listed_ns:
        raise BadInput(f"{entity_id or 'it'} cannot be delisted at {to_rfc3339(delisted_ns)}: it is listed since {to_rfc3339(listed_ns)}")


def check_code(code: str, name: str = "asset") -> None:
    """Raises BadInput for what cannot be the code of an asset."""
    if not _CODE.fullmatch(code):
        raise BadInput(f"{name} {shown(code)} is not an asset's code: letters and digits, and . _ - within, at most 32")


def with_id(listing: Instrument, known: Instruments, now_ns: int) -> Instrument:
    """A new listing with the id that the rule gives it: where another instrument has it, `_{native symbol}` is appended. One of the same
    name that is delisted is another instrument, however lately.

    Raises BadInput when it is known already, when a living instrument has its native symbol, or when it brings another id.
    """
    (made,) = assign_ids([listing], known, now_ns, relisted_after_ns=-1)
    if made.id in known:
        raise BadInput(f"{made.id} is known already: update it instead")
    holder = known.find_native(listing.exchange, kind_of(listing), listing.native_symbol)
    if holder is not None and holder.status is not TradingStatus.DELISTED:
        raise BadInput(f"native symbol {shown(listing.native_symbol)} belongs to {holder.id}, which is not delisted")
    if listing.id not in ("", made.id, natural_id(listing)):
        raise BadInput(f"id {shown(listing.id)} does not fit: exchange, base and quote make it {made.id}; leave the id empty")
    return made


def changed(before: Instrument, changes: Mapping[str, object]) -> Instrument:
    """With other values; None clears one that may be unknown. Raises BadInput for a field that is none, that names the instrument or is
    not kept with it, and for a time of delisting of what is not delisted."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(before)}
    values: dict[str, Any] = {}
    for field, value in changes.items():
        if field not in kinds or field in FIXED:
            raise BadInput(f"{shown(field)} is no field of {before.id} that can change")
        if field in MEASURED:
            raise BadInput(
                f"{field} {shown(value)}: it is the newest settled funding of {before.id}, and comes from backfill and live data"
            )
        values[field] = _value(field, value, kinds[field])
    if not values:
        raise BadInput(f"nothing to change of {before.id}: say what, for example a status")
    after = check_listing(msgspec.structs.replace(before, **values))
    if "listed_ns" in values or "delisted_ns" in values:
        check_life(after.id, after.listed_ns, after.delisted_ns)
    if after.status is TradingStatus.DELISTED or after.delisted_ns is None:
        return after
    if values.get("delisted_ns") is not None:
        raise BadInput(f"delisted_ns {after.delisted_ns} of {before.id}, which is {after.status}: delist it, with that time")
    return msgspec.structs.replace(after, delisted_ns=None) if before.status is TradingStatus.DELISTED else after


def _value(field: str, value: object, kind: Any) -> object:
    if field == "status":
        return _status(value)
    if field in STEPS and value is not None:
        return _positive_step(str(value), field)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"{field} {shown(value)}: {str(error)[:1].lower()}{str(error)[1:]}") from None


def _positive_step(text: str, name: str) -> Decimal:
    try:
        step = parse_step(text, name)
    except BadInput:
        step = None
    if step is None:
        raise BadInput(f"{name} {shown(text)} is not a positive number from {MIN_STEP} to {MAX_STEP}; leave it out where there is none")
    return step


def _status(value: object) -> TradingStatus:
    try:
        return TradingStatus(str(value))
    except ValueError:
        raise BadInput(f"status {shown(value)} is none of {', '.join(TradingStatus)}") from None
