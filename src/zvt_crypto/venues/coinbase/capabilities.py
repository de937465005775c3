"""What Coinbase can do."""

from __future__ import annotations

from zvt_crypto.venues.capability import Capabilities, Claim, claims, derived, missing, native

_ROWS = native("no turnover and no number of trades; an interval without trades between others is a flat row of source `derived`")
_HOURS = derived("made of its hours, which the venue has everywhere")
_DAYS = derived("made of its days: the venue has nothing longer")
_FORMING = native("as they form only: the venue never says that one is closed, so a final one comes by REST")
_MINUTES = derived("made of trades, and replaced by the venue's own, by REST, some three minutes after the close")
_FROM_TRADES = derived("made of trades: the venue streams five minutes only")
_NO_PERP = missing("a pair has no mark price and no funding")
_NO_MARK = missing("Advanced Trade tells an index price and a settlement price, and no mark price")
_NO_FUNDING = missing("Advanced Trade tells the rate of now, as a field of the product, and none of the past")

_KLINES: dict[str, Claim] = {
    **{f"klines__{interval}": _ROWS for interval in ("1m", "5m", "15m", "30m", "1h", "1d")},
    "klines__4h": _HOURS,
    "klines__1w": _DAYS,
    "klines__1M": _DAYS,
    "stream__klines__1m": _MINUTES,
    "stream__klines__5m": _FORMING,
    **{f"stream__klines__{interval}": _FROM_TRADES for interval in ("15m", "30m", "1h", "4h", "1d", "1w", "1M")},
}

CAPABILITIES: Capabilities = {
    "spot": claims(
        native(),
        **_KLINES,
        funding=_NO_PERP,
        mark=_NO_PERP,
        mark__history=_NO_PERP,
        stream__mark=_NO_PERP,
    ),
    "perp": claims(
        native(),
        **_KLINES,
        trades__since=native("as far back as the venue answers, which it does not document"),
        trades__by_id=missing("the venue serves trades of contracts by time only"),
        funding=_NO_FUNDING,
        mark=_NO_MARK,
        mark__history=_NO_MARK,
        stream__mark=_NO_MARK,
    ),
}
