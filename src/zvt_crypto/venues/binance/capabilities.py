"""What Binance can do."""

from __future__ import annotations

from zvt_crypto.venues.capability import Capabilities, claims, missing, native

_NO_PERP = missing("a pair has no mark price and no funding")
_AGG = native("aggregated trades: one row is what one order took at one price, and all that the public side serves")

CAPABILITIES: Capabilities = {
    "spot": claims(native(), funding=_NO_PERP, mark=_NO_PERP, mark__history=_NO_PERP, stream__mark=_NO_PERP),
    "perp": claims(native(), trades__newest=_AGG, trades__since=_AGG, trades__by_id=_AGG, stream__trades=_AGG),
}
