"""What OKX can do."""

from __future__ import annotations

from zvt_crypto.venues.capability import Capabilities, claims, missing, native

_NO_PERP = missing("a pair has no mark price and no funding")
_THREE_MONTHS = native("the venue keeps three months")

CAPABILITIES: Capabilities = {
    "spot": claims(
        native(),
        trades__since=_THREE_MONTHS,
        trades__by_id=_THREE_MONTHS,
        funding=_NO_PERP,
        mark=_NO_PERP,
        mark__history=_NO_PERP,
        stream__mark=_NO_PERP,
    ),
    "perp": claims(
        native(),
        ticker=native("linear contracts tell no turnover"),
        trades__since=_THREE_MONTHS,
        trades__by_id=_THREE_MONTHS,
        funding=_THREE_MONTHS,
    ),
}
