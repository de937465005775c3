"""Bybit's public topics: out of which of the world's streams they come, and what they push."""

from __future__ import annotations

from typing import NamedTuple

from zvt_crypto.emulator.bybit.capture import DEPTH, channel_of
from zvt_crypto.emulator.bybit.rest import INTERVALS, MARKETS
from zvt_crypto.emulator.model import Listing, World

# levels → milliseconds between two pushes
BOOKS = {1: 10, 50: 20, 200: 100, 1000: 200}
_ARCHIVED = 500  # levels that contracts had until 2025, and their archives have still
_TICKER_MS = {"spot": 50, "usdm": 100, "coinm": 100}


class Topic(NamedTuple):
    """A topic of an instrument, and the world's stream it comes from ("": none was recorded). `detail`: a book's levels, or a kline's
    interval by Bybit's name."""

    name: str
    kind: str
    detail: str
    listing: Listing
    stream: str


def topic_of(world: World, category: str, name: str) -> Topic | None:
    """What a topic's name means on a category's socket; None where there is no such thing."""
    kind, _, rest = name.partition(".")
    detail, _, symbol = rest.rpartition(".")
    listing = world.listings(MARKETS[category]).get(symbol) if category in MARKETS else None
    if listing is None:
        return None
    if world.mode == "replay":
        return _recorded(world, listing, Topic(name, kind, detail, listing, ""))
    base = symbol.lower()
    stream = ""
    if kind == "publicTrade" and not detail:
        stream = f"{base}@trade"
    elif kind == "kline" and detail in INTERVALS:
        stream = f"{base}@kline_{INTERVALS[detail]}@1000ms"
    elif kind == "tickers" and not detail:
        stream = f"{base}@ticker@{_TICKER_MS[listing.market]}ms"
    elif kind == "orderbook" and detail.isdigit() and int(detail) in BOOKS:
        stream = f"{base}@depth@{BOOKS[int(detail)]}ms"
    canonical = world.canonical(listing.market, stream) if stream else None
    return None if canonical is None else Topic(name, kind, detail, listing, canonical)


def _recorded(world: World, listing: Listing, topic: Topic) -> Topic | None:
    """A topic of a recording. A book of so many levels comes from that of another depth where its own was not recorded."""
    channel = channel_of(topic.kind, topic.detail)
    if not channel or (topic.kind == "orderbook" and int(topic.detail) not in (*BOOKS, _ARCHIVED)):
        return None
    others = [f"{DEPTH}{levels}" for levels in (200, 1000, _ARCHIVED, 50)] if channel.startswith(DEPTH) else []
    names = (f"{listing.symbol.lower()}@{one}" for one in (channel, *others))
    found = (known for name in names if (known := world.canonical(listing.market, name)) is not None)
    return topic._replace(stream=next(found, ""))
