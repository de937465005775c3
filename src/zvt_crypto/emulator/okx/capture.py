"""Recordings of OKX: which frame is of which channel, which answer of which request."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from zvt_crypto.emulator.frames import Frame, Line, RestAnswer
from zvt_crypto.emulator.model import Market
from zvt_crypto.emulator.okx.names import BARS

# channel → its name among the channels that all exchanges have
_COMMON = {
    "books": "depth",
    "books5": "depth5",
    "bbo-tbt": "bookTicker",
    "trades": "aggTrade",
    "trades-all": "trade",
    "tickers": "ticker",
    "mark-price": "markPrice",
}


_INDEX = "index-tickers"


class _Arg(msgspec.Struct):
    channel: str = ""
    instId: str = ""  # noqa: N815 - the wire's name


class _Head(msgspec.Struct):
    arg: _Arg = msgspec.field(default_factory=_Arg)
    event: str = ""


_HEADS = msgspec.json.Decoder(_Head)


def market_of(inst_id: str) -> Market:
    """Spot names have two parts; contracts have more."""
    return "spot" if inst_id.count("-") == 1 else "usdm"


def common_name(channel: str) -> str:
    """`books` → `depth`, `candle1Dutc` → `kline_1d`; a channel that is OKX's alone keeps its name."""
    bars = BARS.get(channel.removeprefix("candle")) if channel.startswith("candle") else None
    return f"kline_{bars.interval}" if bars is not None and bars.east_ns == 0 else _COMMON.get(channel, channel)


class OkxPlacer:
    """frames.Placer."""

    def __init__(self, lines: Sequence[Line]) -> None:
        """Every line tells for itself."""

    def frame(self, line: Line) -> Frame | None:
        """Placer.frame: acknowledgements and errors are none."""
        head = _HEADS.decode(line.payload)
        channel, name = head.arg.channel, head.arg.instId
        if head.event or not channel or not name:
            return None
        name = f"{name}-SWAP" if channel == _INDEX else name  # an index is no instrument: whoever reads it is its perpetual
        return Frame(line.recv_ns, market_of(name), name, f"{name.lower()}@{common_name(channel)}", line.payload, False)

    def answer(self, line: Line, at: int, symbols: set[tuple[Market, str]]) -> RestAnswer | None:
        """Placer.answer: `public/instruments SPOT` is about no symbol."""
        if not line.url:
            return None
        parts, asked = urlsplit(line.url), parse_qs(urlsplit(line.url).query)
        name, kind = asked.get("instId", [""])[0], asked.get("instType", [""])[0]
        path = parts.path.partition("/api/v5/")[2] + (f" {kind}" if kind and not name and "uly" not in asked else "")
        return RestAnswer(at, market_of(name) if name else "spot" if kind == "SPOT" else "usdm", path, name, line.payload)
