"""Recordings of Binance: which frame is of which stream, which answer of which request."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from zvt_crypto.emulator.frames import ENVELOPES, Frame, Line, RestAnswer
from zvt_crypto.emulator.model import Market


class _Bare(msgspec.Struct):
    """What names the stream of a frame without an envelope, and what tells the market."""

    e: str = ""
    s: str = ""
    u: int = 0
    pu: int | None = None
    M: bool | None = None
    X: str | None = None
    k: dict[str, object] | None = None
    lastUpdateId: int = 0  # noqa: N815 - the wire's name


_BARES = msgspec.json.Decoder(_Bare)
_SNAPSHOT = b'{"lastUpdateId"'


class BinancePlacer:
    """frames.Placer."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._fallback = _judge(lines)

    def frame(self, line: Line) -> Frame | None:
        """Placer.frame."""
        return _frame(line, _market_of(line.address) if line.address else self._fallback)

    def answer(self, line: Line, at: int, symbols: set[tuple[Market, str]]) -> RestAnswer | None:
        """Placer.answer; a snapshot without a url counts as one."""
        return _answer(line, at, symbols) if line.url or line.payload.startswith(_SNAPSHOT) else None


def _market_of(url: str) -> Market:
    return "usdm" if "fstream" in url or "fapi" in url else "spot"


def _judge(lines: Sequence[Line]) -> Market:
    """The market of frames that came without an address: USD-M has `pu`, and a time on its quotes."""
    for line in lines:
        if line.address or line.url:
            continue
        envelope = ENVELOPES.decode(line.payload)
        bare = _bare(envelope.data if envelope.stream else line.payload)
        if bare.pu is not None or bare.e == "bookTicker" or bare.X is not None:
            return "usdm"
        if bare.M is not None or bare.e == "depthUpdate" or (not bare.e and bare.u):
            return "spot"
    return "spot"


def _frame(line: Line, market: Market) -> Frame | None:
    envelope = ENVELOPES.decode(line.payload)
    if envelope.stream:
        parts = envelope.stream.split("@")
        if len(parts) < 2:
            return None
        return Frame(line.recv_ns, market, parts[0].upper(), "@".join(parts[:2]), line.payload, True)
    bare = _bare(line.payload)
    channel = _channel(bare)
    return Frame(line.recv_ns, market, bare.s, f"{bare.s.lower()}@{channel}", line.payload, False) if channel and bare.s else None


def _bare(raw: bytes | msgspec.Raw) -> _Bare:
    """What a frame tells of itself: nothing where its fields are of other kinds."""
    try:
        return _BARES.decode(raw)
    except msgspec.ValidationError:
        return _Bare()


def _channel(bare: _Bare) -> str:
    if bare.e == "kline" and bare.k:
        return f"kline_{bare.k.get('i')}"
    known = {"trade": "trade", "aggTrade": "aggTrade", "depthUpdate": "depth", "bookTicker": "bookTicker"}
    more = {"markPriceUpdate": "markPrice", "24hrTicker": "ticker", "24hrMiniTicker": "miniTicker", "forceOrder": "forceOrder"}
    return (known | more).get(bare.e, "bookTicker" if not bare.e and bare.u else "")


def _answer(line: Line, at: int, symbols: set[tuple[Market, str]]) -> RestAnswer | None:
    if line.url:
        parts = urlsplit(line.url)
        symbol = parse_qs(parts.query).get("symbol", [""])[0].upper()
        return RestAnswer(at, _market_of(line.url), parts.path.rpartition("/")[2], symbol, line.payload)
    if len(symbols) != 1:
        return None  # a snapshot without a name among several symbols: nobody knows whose
    market, symbol = next(iter(symbols))
    return RestAnswer(at, market, "depth", symbol, line.payload)
