"""What a venue can do, as data: one source for the code, the docs and `zvt-crypto venues`.

Each venue states every feature for each of its markets in its `capabilities.py`. What is claimed there is proved by the row of the
same name in the conformance suite; a claim without such a row fails the build.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from zvt_crypto.domain.time import INTERVALS

Market = Literal["spot", "perp"]
# native: the venue's own · derived: made by us from something finer, and marked so · missing: not to be had.
How = Literal["native", "derived", "missing"]

REST_FEATURES = (
    "instruments",  # everything listed, with tick, lot and status
    "server_time",
    "ticker",  # the rolling 24 hours
    "book",  # the order book now
    "trades.newest",  # the newest trades
    "trades.since",  # trades from a time on
    "trades.by_id",  # trades from an id on
    "funding",  # settled funding, history
    "mark",  # mark and index price now
    "mark.history",  # mark and index price of the past, by minutes
    *(f"klines.{interval}" for interval in INTERVALS),
)
STREAM_FEATURES = (
    "stream.trades",
    "stream.book",
    "stream.ticker",
    "stream.quote",  # best bid and ask
    "stream.mark",
    *(f"stream.klines.{interval}" for interval in INTERVALS),
)
FEATURES = (*REST_FEATURES, *STREAM_FEATURES)


class Claim(msgspec.Struct, frozen=True):
    """How a feature is to be had, and what a user should know about it (one sentence, or nothing).

    newest: of the past, only so many of the newest rows can be had.
    """

    how: How
    note: str = ""
    newest: int | None = None


Capabilities = Mapping[Market, Mapping[str, Claim]]


def native(note: str = "", *, newest: int | None = None) -> Claim:
    """The venue's own."""
    return Claim("native", note, newest)


def derived(note: str) -> Claim:
    """Made by us; `note` says from what."""
    return Claim("derived", note)


def missing(note: str) -> Claim:
    """Not to be had; `note` says why."""
    return Claim("missing", note)


def claims(default: Claim, **named: Claim) -> dict[str, Claim]:
    """Every feature as `default`, but those named: `trades__by_id` is `trades.by_id`, `klines__1w` is `klines.1w`."""
    given = {name.replace("__", "."): claim for name, claim in named.items()}
    unknown = set(given) - set(FEATURES)
    assert not unknown, f"no such features: {sorted(unknown)}"
    return {feature: given.get(feature, default) for feature in FEATURES}
