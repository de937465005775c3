"""Recordings of Bybit: which frame is of which topic, which answer of which request.

Spot and contracts have the same topics, so the address of a connection tells them apart. Where a recording has none, its frames do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from zvt_crypto.emulator.bybit.rest import INTERVALS
from zvt_crypto.emulator.frames import Frame, Line, RestAnswer
from zvt_crypto.emulator.model import Market

INSTRUMENTS = "instruments-info"
DEPTH = "depth"  # a topic of `orderbook.200` is the channel `depth200`
_CATEGORIES: dict[str, Market] = {"spot": "spot", "linear": "usdm", "inverse": "coinm"}
_INVERSE = re.compile(r"USD([FGHJKMNQUVXZ]\d\d)?$")  # BTCUSD, BTCUSDZ26
_SIGNS = (b'"L":"', b'"markPrice":"', b'"topic":"orderbook.500.')  # a trade's direction, a mark price, a book that spot never had


class _Head(msgspec.Struct):
    topic: str = ""


_HEADS = msgspec.json.Decoder(_Head)


def channel_of(kind: str, detail: str) -> str:
    """A topic's name among the channels that all exchanges have: `orderbook`, `200` → `depth200`; "" for what is not played."""
    if kind == "orderbook" and detail.isdigit():
        return "bookTicker" if detail == "1" else f"{DEPTH}{detail}"
    if kind == "kline" and detail in INTERVALS:
        return f"kline_{INTERVALS[detail]}"
    return {"publicTrade": "trade", "tickers": "ticker"}.get(kind, "") if not detail else ""


class BybitPlacer:
    """frames.Placer."""

    def __init__(self, lines: Sequence[Line]) -> None:
        unnamed = (line.payload for line in lines if not line.address and not line.url)
        self._fallback: Market = "usdm" if any(sign in payload for payload in unnamed for sign in _SIGNS) else "spot"

    def frame(self, line: Line) -> Frame | None:
        """Placer.frame: acknowledgements and pongs are none."""
        kind, _, rest = _HEADS.decode(line.payload).topic.partition(".")
        detail, _, symbol = rest.rpartition(".")
        channel = channel_of(kind, detail)
        if not channel or not symbol:
            return None
        market = _CATEGORIES.get(line.address.rpartition("/")[2]) or self._fallback
        if market == "usdm" and not line.address and _INVERSE.search(symbol):
            market = "coinm"
        return Frame(line.recv_ns, market, symbol, f"{symbol.lower()}@{channel}", line.payload, False)

    def answer(self, line: Line, at: int, symbols: set[tuple[Market, str]]) -> RestAnswer | None:
        """Placer.answer: of the listings only, `instruments-info spot`; one of several pages is one answer."""
        parts = urlsplit(line.url)
        if parts.path.rpartition("/")[2] != INSTRUMENTS:
            return None
        category = parse_qs(parts.query).get("category", [""])[0]
        return RestAnswer(at, _CATEGORIES.get(category, "usdm"), f"{INSTRUMENTS} {category}", "", line.payload)
