"""What a client has to follow to hear all of a recording, in words that are the same for every exchange."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from zvt_crypto.domain.instrument import Kind
from zvt_crypto.domain.time import INTERVALS, Interval, parse_interval
from zvt_crypto.emulator.capture import Capture, Channel

# A recorded channel's name → what a connector calls it. Books of a fixed small number of levels are followed by none.
_COMMON: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "trade": ("trade",),
        "depth": ("depth",),
        "bookTicker": ("quote",),
        "ticker": ("ticker",),
        "markPrice": ("mark",),
    }
)
_OWN: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "binance": {"aggTrade": ("agg",)},
        "bybit": {},
        "okx": {"aggTrade": ("trade",)},  # `trades` is told to readers of single trades as far as its rows are single
        "coinbase": {
            "feed_trade": ("trade",),
            "feed_depth": ("depth",),
            "feed_ticker": ("ticker", "quote"),
            "ticker": ("ticker", "quote"),
        },
    }
)
_BOOK_OF_LEVELS = re.compile(r"depth\d+")  # Bybit's, of any depth: told under the name that is asked for
_CONTRACTS: tuple[Kind, ...] = ("perp", "future")


class Held(NamedTuple):
    """One thing to follow. `native` is the exchange's own symbol, `kinds` what it may be the symbol of, `interval` of klines only."""

    exchange: str
    native: str
    kinds: tuple[Kind, ...]
    channel: str
    interval: Interval | None


def subscriptions_of(capture: Capture) -> tuple[Held, ...]:
    """Everything that a connector of the capture's exchange can follow of it, each once, in the order of symbols."""
    made: dict[Held, None] = {}
    for channel in capture.channels():
        kinds: tuple[Kind, ...] = ("pair",) if channel.market == "spot" else _CONTRACTS
        interval = _interval(channel.name)
        names = ("kline",) if interval is not None else _names(capture.exchange, channel)
        made.update(dict.fromkeys(Held(capture.exchange, channel.symbol, kinds, name, interval) for name in names))
    return tuple(made)


def _interval(name: str) -> Interval | None:
    text = name.removeprefix("kline_")
    return parse_interval(text) if text != name and text in INTERVALS else None


def _names(exchange: str, channel: Channel) -> tuple[str, ...]:
    if exchange == "bybit" and _BOOK_OF_LEVELS.fullmatch(channel.name):
        return ("depth",)
    names = _OWN[exchange].get(channel.name) or _COMMON.get(channel.name, ())
    if exchange == "bybit" and channel.name == "ticker" and channel.market != "spot":
        return ("ticker", "mark")  # of contracts one topic tells both
    return tuple(name for name in names if name != "mark" or channel.market != "spot")
