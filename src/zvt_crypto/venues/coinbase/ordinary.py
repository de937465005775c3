"""The frames that come most, as types so narrow that what they let through is ours: trades and book updates of known products.

Texts that are known (channels, products, sides) are looked up while decoding, so that none are made of them. Whatever these types refuse
is no error yet: `wire` has the types that say so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from zvt_crypto.venues.coinbase import spec, wire
from zvt_crypto.venues.coinbase.moment import MICROS

_UpToMicros = Annotated[str, Meta(max_length=MICROS)]


def trades_decoder(products: Collection[str]) -> Callable[[bytes], Any]:
    """Of market_trades, with times in microseconds at most."""
    fields: Any = [
        ("product_id", _known(products)),
        ("trade_id", wire.TradeIdText),
        ("time", _UpToMicros),
        ("side", Literal["BUY", "SELL"]),
    ]
    row: Any = msgspec.defstruct("Trade", fields, bases=(wire.TradeWire,), gc=False)
    event: Any = msgspec.defstruct("Trades", [("type", Literal["update", "snapshot"]), ("trades", list[row])], gc=False)
    return _frames(Literal["market_trades"], tuple[event])


def updates_decoder(products: Collection[str]) -> Callable[[bytes], Any]:
    """Of books: one update, of at least one level."""
    level: Any = msgspec.defstruct("Level", [("side", Literal["bid", "offer"])], bases=(wire.LevelWire,), gc=False)
    levels: Any = Annotated[list[level], Meta(min_length=1)]
    fields: Any = [("type", Literal["update"]), ("product_id", _known(products)), ("updates", levels)]
    event: Any = msgspec.defstruct("Update", fields, gc=False)
    return _frames(Literal[spec.L2_DATA, "level2"], tuple[event], ("timestamp", wire.Moment))


def _known(products: Collection[str]) -> Any:
    return Literal[tuple(products) or ("",)]


def _frames(channel: Any, events: Any, *more: Any) -> Callable[[bytes], Any]:
    names: Any = [("channel", channel), *more, ("sequence_num", wire.Sequence), ("events", events)]
    return msgspec.json.Decoder(msgspec.defstruct("Frame", names, gc=False), strict=False).decode
