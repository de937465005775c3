"""What Bybit can do. Contracts of the linear and inverse categories count as perpetuals here."""

from __future__ import annotations

from zvt_crypto.venues.capability import Capabilities, claims, missing, native

_NO_PERP = missing("a pair has no mark price and no funding")
_NO_IDS = missing("trade ids have no order (UUIDs on contracts), and none can be asked for")

CAPABILITIES: Capabilities = {
    "spot": claims(
        native(),
        trades__newest=native("the newest 60"),
        trades__since=native("of the newest 60 only: nothing older can be asked for", newest=60),
        trades__by_id=_NO_IDS,
        funding=_NO_PERP,
        mark=_NO_PERP,
        mark__history=_NO_PERP,
        stream__mark=_NO_PERP,
    ),
    "perp": claims(
        native(),
        trades__newest=native("the newest 1000"),
        trades__since=native("of the newest 1000 only: nothing older can be asked for", newest=1000),
        trades__by_id=_NO_IDS,
    ),
}
