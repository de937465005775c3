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
# What a message with a whole book has, of every exchange; and what came to OKX's in 2023.
_WHOLE, _OKX_ID = b'"snapshot"', b'"prevSeqId"'


class Held(NamedTuple):
    """One thing to follow. `native` is the exchange's own symbol, `kinds` what it may be the symbol of, `interval` of klines only."""

    exchange: str
    native: str
    kinds: tuple[Kind, ...]
    channel: str
    interval: Interval | None


class Books(NamedTuple):
    """How often a recording changes the book of a symbol. `is_chained`: messages tell what they follow; else none can be applied."""

    native: str
    kinds: tuple[Kind, ...]
    changes: int
    is_chained: bool


def books_of(capture: Capture) -> tuple[Books, ...]:
    """Of each symbol that has books which a connector can follow. Whole books are no changes."""
    found: dict[tuple[str, str], list[bytes]] = {}
    followed = {(c.market, c.symbol, c.name) for c in capture.channels() if "depth" in _names(capture.exchange, c)}
    for frame in capture.frames:
        if (frame.market, frame.symbol, frame.stream.partition("@")[2]) in followed:
            found.setdefault((frame.market, frame.symbol), []).append(frame.payload)
    made = []
    for (market, symbol), payloads in found.items():
        changes = [payload for payload in payloads if _WHOLE not in payload]
        is_chained = capture.exchange != "okx" or any(_OKX_ID in payload for payload in changes)
        made.append(Books(symbol, _kinds(market), len(changes), is_chained))
    return tuple(made)


def subscriptions_of(capture: Capture) -> tuple[Held, ...]:
    """Everything that a connector of the capture's exchange can follow of it, each once, in the order of symbols."""
    made: dict[Held, None] = {}
    for channel in capture.channels():
        kinds = _kinds(channel.market)
        interval = _interval(channel.name)
        names = ("kline",) if interval is not None else _names(capture.exchange, channel)
        made.update(dict.fromkeys(Held(capture.exchange, channel.symbol, kinds, name, interval) for name in names))
    return tuple(made)


def _kinds(market: str) -> tuple[Kind, ...]:
    return ("pair",) if market == "spot" else _CONTRACTS


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
