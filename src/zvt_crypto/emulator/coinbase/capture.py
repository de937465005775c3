"""Recordings of Coinbase, Advanced Trade and Exchange's feed: which frame is of which channel, which answer of which request.

Heartbeats and acknowledgements are not played: the emulator makes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from zvt_crypto.emulator.coinbase.names import FEED_RECORDED, RECORDED, market_of
from zvt_crypto.emulator.frames import Frame, Line, RestAnswer
from zvt_crypto.emulator.model import Market


class _Named(msgspec.Struct):
    product_id: str = ""


class _Event(msgspec.Struct):
    product_id: str = ""
    trades: list[_Named] = []
    tickers: list[_Named] = []
    candles: list[_Named] = []


class _Head(msgspec.Struct):
    channel: str = ""
    type: str = ""  # on Exchange's feed
    product_id: str = ""
    events: list[_Event] = []


_HEADS = msgspec.json.Decoder(_Head)
_LISTING = "market/products"
_FEED_LISTING = "products"  # Exchange's


class CoinbasePlacer:
    """frames.Placer."""

    def __init__(self, lines: Sequence[Line]) -> None:
        """Every line tells for itself."""

    def frame(self, line: Line) -> Frame | None:
        """Placer.frame: a frame is about the product that it names first."""
        head = _HEADS.decode(line.payload)
        if not head.channel and head.type in FEED_RECORDED and head.product_id:
            name, stream = head.product_id, f"{head.product_id.lower()}@{FEED_RECORDED[head.type]}"
            return Frame(line.recv_ns, market_of(name), name, stream, line.payload, False)
        if head.channel not in RECORDED:
            return None
        rows = [[_Named(event.product_id), *event.trades, *event.tickers, *event.candles] for event in head.events]
        name = next((row.product_id for event in rows for row in event if row.product_id), "")
        if not name:
            return None
        return Frame(line.recv_ns, market_of(name), name, f"{name.lower()}@{RECORDED[head.channel]}", line.payload, False)

    def answer(self, line: Line, at: int, symbols: set[tuple[Market, str]]) -> RestAnswer | None:
        """Placer.answer: of the listings only, `market/products SPOT` and Exchange's `products`, as far as they are whole."""
        parts = urlsplit(line.url)
        if parts.path.strip("/") == _FEED_LISTING:
            return RestAnswer(at, "spot", _FEED_LISTING, "", line.payload)
        if parts.path.rstrip("/").partition("/brokerage/")[2] != _LISTING:
            return None
        kind = parse_qs(parts.query).get("product_type", ["SPOT"])[0]
        return RestAnswer(at, "spot" if kind == "SPOT" else "usdm", f"{_LISTING} {kind}", "", line.payload)
