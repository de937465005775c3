"""Binance's bytes → events. Pure: the time of receipt is an argument, and what is strange comes back as data (`Drift`).

A frame is decoded once, by types so narrow (event type, known symbol, known interval, our market) that what they let through is ours.
Only a frame that they refuse is looked at again, loosely, to say what it is: an answer to us, something new, or broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar, Union

import msgspec

from zvt_crypto.domain.errors import Malformed, Refused
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Funding, Kline, MarkPrice, Ticker, Trade, TradeStream
from zvt_crypto.domain.time import INTERVALS, NS_PER_MS, NS_PER_US, Interval, is_aligned, next_ns
from zvt_crypto.venues.binance import spec, wire
from zvt_crypto.venues.binance.spec import Market
from zvt_crypto.venues.decode import BROKEN, decode, excerpt, pairs
from zvt_crypto.venues.parsed import Drift, Parsed, Reply, Shutdown

T = TypeVar("T")
_MINUTE = Interval.MIN_1
_IDS_MOST = spec.DEPTH_IDS_MOST
# What may be raised over a frame that is not an ordinary one: not decoded, or of no symbol where none is known.
_ODD = (KeyError, *BROKEN)
_MILLISECONDS_UNTIL, _MICROSECONDS_FROM = wire.MILLISECONDS_UNTIL, wire.MICROSECONDS_FROM


def to_ns(moment: int) -> int:
    """A venue's time in ns, its unit told by its size. Raises Malformed for what is neither."""
    if moment < _MILLISECONDS_UNTIL:
        return moment * 1_000_000
    if moment < _MICROSECONDS_FROM:
        raise Malformed(f"binance time {moment} is beyond 2200 in milliseconds, and before 1973 in microseconds")
    return moment * 1_000


class _Narrowed(Protocol):
    """A frame that is ours."""

    def event(self, natives: Mapping[str, str], recv_ns: int) -> Parsed: ...


class _Envelope(Protocol):
    """A frame of a combined stream."""

    data: _Narrowed


class FrameParser:
    """Frames of one market. `natives` is the venue's symbol → entity id; `recv_ns` is stamped into every event."""

    def __init__(self, market: Market, natives: Mapping[str, str]) -> None:
        self._market = market
        self._natives = natives
        kinds: tuple[tuple[Any, Callable[[Any, Mapping[str, str], int], Parsed]], ...] = (
            (wire.TradeWire, _trade) if market == "spot" else (wire.UsdmTradeWire, _usdm_trade),
            (wire.AggTradeWire, _agg),
            (wire.KlineWire, _kline),
            (wire.DepthWire, _depth),
            (wire.QuoteWire, _quote),
            (wire.TickerWire, _ticker),
            (wire.MarkWire, _mark),
        )
        # A Literal is looked up while decoding and gives the string of `natives` itself, whose hash is known already.
        symbol: Any = Literal[tuple(natives) or ("",)]
        narrowed = {
            kind: msgspec.defstruct(kind.__name__, [("s", symbol)], bases=(kind,), namespace={"event": event}, gc=False)
            for kind, event in kinds
        }
        ours: Any = Union[tuple(narrowed.values())]  # noqa: UP007 -- made of a tuple
        self._known = {kind.__struct_config__.tag for kind in narrowed}
        self._decode: Callable[[bytes], _Envelope] = _decoder(_enveloped(ours))
        self._decode_bare: Callable[[bytes], _Narrowed] = _decoder(ours)
        rows: Any = [("b", wire.LongLevels), ("a", wire.LongLevels)]
        self._decode_long_depth = _decoder(msgspec.defstruct("LongDepth", rows, bases=(narrowed[wire.DepthWire],), gc=False))
        # Spot's bookTicker has no event type. It alone ends in a text, and until one came no frame is tested for being one.
        self._decode_quote: Callable[[bytes], _Envelope] = _decoder(_enveloped(narrowed[wire.QuoteWire]))
        self._decode_bare_quote: Callable[[bytes], _Narrowed] = _decoder(narrowed[wire.QuoteWire])
        self._untyped_quotes = False
        self._decode_loose = _decoder(wire.LooseWire)
        self._decode_micro_kline = _decoder(wire.MicroKlineWire)
        self._decode_odd = _decoder(wire.OddWire)

    def parse(self, payload: bytes, recv_ns: int) -> Parsed:
        """The event of a frame. Raises Malformed."""
        try:
            if self._untyped_quotes and payload.endswith(b'"}}'):
                return self._decode_quote(payload).data.event(self._natives, recv_ns)
            decode = self._decode  # an attribute that is called at once is looked up more slowly
            return decode(payload).data.event(self._natives, recv_ns)
        except _ODD:
            return self._again(payload, recv_ns)

    def _again(self, payload: bytes, recv_ns: int) -> Parsed:
        """A frame that is none of the ordinary ones: control, drift, without an envelope, or broken."""
        try:
            loose = self._decode_loose(payload)
            if loose.stream is not None:
                body = bytes(loose.data)
                return self._event(self._decode_loose(body).e or loose.stream.partition("@")[2], body, recv_ns)
            if loose.error is not None:
                return Reply(loose.id, f"{loose.error.code}: {loose.error.msg}")
            if loose.code is not None:
                return Reply(loose.id, f"{loose.code}: {loose.msg or ''}")
            if loose.id is not None or loose.result:
                return Reply(loose.id, None)
            return self._event(loose.e or ("bookTicker" if b'"B":' in payload else "without a type"), payload, recv_ns)
        except BROKEN as error:
            raise Malformed(f"binance {self._market} frame {excerpt(payload)}: {error}") from None

    def _event(self, kind: str, body: bytes, recv_ns: int) -> Parsed:
        """The event in a body without its envelope, or what about it is not ours."""
        if kind == "serverShutdown":
            return Shutdown()
        if kind not in self._known:
            return Drift("event", kind)
        odd = self._decode_odd(body)
        if odd.st != 1:
            return Drift("market", odd.s)
        if odd.s not in self._natives:
            return Drift("symbol", odd.s)
        if odd.k is not None:
            if odd.k.i not in INTERVALS:
                return Drift("interval", odd.k.i)
            if odd.k.t >= _MICROSECONDS_FROM:
                return _kline(self._decode_micro_kline(body), self._natives, recv_ns, NS_PER_US)
        if kind == "bookTicker":
            self._untyped_quotes = self._market == "spot"
            return self._decode_bare_quote(body).event(self._natives, recv_ns)
        if kind == "depthUpdate":  # perhaps with rows longer than they were, which `fields` tells
            depth = self._decode_long_depth(body)
            depth.b, depth.a = pairs(depth.b), pairs(depth.a)
            return _depth(depth, self._natives, recv_ns)
        return self._decode_bare(body).event(self._natives, recv_ns)


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode


def _enveloped(kind: Any) -> Any:
    """A frame of a combined stream around `kind`; the stream's name is not read, since the event tells all that it does."""
    return msgspec.defstruct("Envelope", [("data", kind)], gc=False)


# ── What a narrowed frame becomes: its method `event` ──


def _trade(w: wire.TradeWire | wire.UsdmTradeWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    at = w.T
    at_ns = at * 1_000_000 if at < _MILLISECONDS_UNTIL else to_ns(at)  # in milliseconds without the call
    return Trade(natives[w.s], "trade", str(w.t), w.p, w.q, "sell" if w.m else "buy", at_ns, recv_ns)


def _usdm_trade(w: wire.UsdmTradeWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    if w.X != "MARKET":
        return Drift("trade of kind", w.X)
    if w.p == 0 or w.q == 0:
        raise Malformed(f"binance usdm trade {w.t} of {w.s}: price {w.p}, quantity {w.q}")
    return _trade(w, natives, recv_ns)


def _agg(w: wire.AggTradeWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    at = w.T
    at_ns = at * 1_000_000 if at < _MILLISECONDS_UNTIL else to_ns(at)
    return Trade(natives[w.s], "agg", str(w.a), w.p, w.q, "sell" if w.m else "buy", at_ns, recv_ns)


def _kline(w: wire.KlineWire, natives: Mapping[str, str], recv_ns: int, unit_ns: int = NS_PER_MS) -> Parsed:
    k = w.k
    opened, close = k.o, k.c
    high, low = k.h, k.l
    interval, open_ns = k.i, k.t * unit_ns
    # The decoder has seen that it opens on a full minute.
    if not low <= opened <= high >= close >= low or (interval is not _MINUTE and not is_aligned(interval, open_ns)):
        raise Malformed(f"binance kline {interval} of {w.s} at {k.t}: open {opened} high {high} low {low} close {close}")
    return Kline(natives[w.s], interval, open_ns, opened, high, low, close, k.v, k.q, k.n, k.x, "venue", w.E * unit_ns, recv_ns)


def _depth(w: wire.DepthWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    first, last, at = w.U, w.u, w.T or w.E
    if not 0 <= last - first <= _IDS_MOST:
        raise Malformed(f"binance depth of {w.s}: first id {first}, last id {last}: an update spans at most {_IDS_MOST} ids")
    at_ns = at * 1_000_000 if at < _MILLISECONDS_UNTIL else to_ns(at)
    return BookDelta(natives[w.s], first, last, w.pu, w.b, w.a, at_ns, recv_ns)


def _quote(w: wire.QuoteWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    return BestQuote(natives[w.s], w.u, w.b, w.B, w.a, w.A, to_ns(w.T), recv_ns)


def _ticker(w: wire.TickerWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    if w.c == 0:
        return Drift("ticker without a price", w.s)
    day = (w.o or None, w.h or None, w.l or None)
    return Ticker(natives[w.s], w.c, w.v, w.q, *day, w.b or None, w.a or None, to_ns(w.E), recv_ns)


def _mark(w: wire.MarkWire, natives: Mapping[str, str], recv_ns: int) -> Parsed:
    rate = w.r if isinstance(w.r, float) else None
    return MarkPrice(natives[w.s], to_ns(w.E), w.p, w.i or None, rate, to_ns(w.T) if w.T else None, recv_ns)


def depth_symbol(payload: bytes) -> str | None:
    """Whose depth a frame that we cannot read seems to be (native symbol), "" where it may be anybody's, None where it is not depth."""
    end = payload.find(b'"', 11, 140)
    if not payload.startswith(b'{"stream":"') or end < 0:
        return ""
    symbol, _, kind = payload[11:end].partition(b"@")
    if not kind.startswith(b"depth"):
        return None
    return symbol.decode(errors="replace").upper()


def may_be_trade_of(payload: bytes) -> str | None:
    """Whose trade a frame that we cannot read may be (native symbol), "" where it may be anybody's, None where it is none."""
    end = payload.find(b'"', 11, 140)
    if not payload.startswith(b'{"stream":"') or end < 0:
        return ""
    symbol, _, kind = payload[11:end].partition(b"@")
    return symbol.decode(errors="replace").upper() if kind in (b"trade", b"aggTrade") else None


# ── REST ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_time(body: bytes) -> int:
    """`time` → ns."""
    return to_ns(decode(wire.ServerTimeRest, body, "binance time").serverTime)


def parse_klines(body: bytes, instrument: str, interval: Interval, server_ns: int) -> tuple[list[Kline], list[Drift]]:
    """`klines`, oldest first. A row is final where the venue's clock stood past its close when it was asked (`server_ns`).

    A row off the interval's grid (the venue has had some around outages) is left out and comes back as drift.
    """
    klines, drift, before = [], [], 0
    for row in decode(list[wire.KlineRest], body, f"binance klines of {instrument}"):
        open_ns = to_ns(row.open_time)
        if not is_aligned(interval, open_ns):
            drift.append(Drift("kline off the grid", f"{instrument} {interval} {row.open_time}"))
            continue
        sound = row.low <= row.open <= row.high and row.low <= row.close <= row.high
        if open_ns <= before or not sound:
            raise Malformed(f"binance klines of {instrument} {interval}: row {row.open_time} is out of order or has high below low")
        before = open_ns
        final = next_ns(interval, open_ns) <= server_ns
        values = (row.open, row.high, row.low, row.close, row.volume, row.turnover, row.trades)
        klines.append(Kline(instrument, interval, open_ns, *values, final, "venue"))
    return klines, drift


def parse_mark_klines(marks: bytes, indexes: bytes, instrument: str, server_ns: int) -> tuple[list[MarkPrice], int]:
    """`markPriceKlines` and `indexPriceKlines` of 1m → the closed minutes' closes, stamped with the minute's close; and how many rows."""
    index_at = {row.open_time: row.close for row in decode(list[wire.MarkKlineRest], indexes, f"binance index klines of {instrument}")}
    rows = decode(list[wire.MarkKlineRest], marks, f"binance mark klines of {instrument}")
    made = []
    for row in rows:
        close_ns = next_ns(Interval.MIN_1, to_ns(row.open_time))
        if close_ns <= server_ns:
            made.append(MarkPrice(instrument, close_ns, row.close, index_at.get(row.open_time), None, None))
    return made, len(rows)


def parse_trades(body: bytes, instrument: str) -> list[Trade]:
    """`trades` and `historicalTrades`, by id."""
    rows = decode(list[wire.TradeRest], body, f"binance trades of {instrument}")
    made = [_trade_row(instrument, "trade", row.id, row.price, row.qty, row.isBuyerMaker, row.time) for row in rows]
    return sorted(made, key=_id)


def parse_agg_trades(body: bytes, instrument: str) -> list[Trade]:
    """`aggTrades`, by id."""
    rows = decode(list[wire.AggTradeRest], body, f"binance aggTrades of {instrument}")
    return sorted((_trade_row(instrument, "agg", row.a, row.p, row.q, row.m, row.T) for row in rows), key=_id)


def parse_first_ids(body: bytes, instrument: str) -> tuple[int, int] | None:
    """Of the first aggregate of an `aggTrades` answer: its id, and that of the first single trade in it. None for an empty answer."""
    rows = decode(list[wire.AggTradeRest], body, f"binance aggTrades of {instrument}")
    return min(((row.a, row.f) for row in rows), default=None)


def parse_depth(body: bytes, instrument: str, event_ns: int, recv_ns: int, limit: int | None = None) -> BookSnapshot:
    """`depth`. The venue gives no time on spot: `event_ns` is then ours. A side of `limit` levels was cut there."""
    row = decode(wire.DepthRest, body, f"binance depth of {instrument}")
    at_ns = to_ns(row.T) if row.T is not None else event_ns
    bids, asks = sorted(pairs(row.bids), key=lambda level: -level[0]), sorted(pairs(row.asks))
    ends = [side[-1][0] if limit is not None and len(side) >= limit else None for side in (bids, asks)]
    return BookSnapshot(instrument, row.lastUpdateId, bids, asks, at_ns, recv_ns, *ends)


def parse_ticker(body: bytes, instrument: str, recv_ns: int) -> Ticker:
    """`ticker/24hr`. Raises Refused for an instrument that never traded."""
    row = decode(wire.TickerRest, body, f"binance ticker of {instrument}")
    if row.lastPrice == 0:
        raise Refused(f"binance has no last price for {row.symbol}: it did not trade yet")
    day = (row.openPrice or None, row.highPrice or None, row.lowPrice or None)
    quotes = (row.bidPrice or None, row.askPrice or None)
    return Ticker(instrument, row.lastPrice, row.volume, row.quoteVolume, *day, *quotes, to_ns(row.closeTime), recv_ns)


def parse_premium(body: bytes, instrument: str, recv_ns: int) -> MarkPrice:
    """`premiumIndex`."""
    row = decode(wire.PremiumRest, body, f"binance premiumIndex of {instrument}")
    rate = row.lastFundingRate if isinstance(row.lastFundingRate, float) else None
    following = to_ns(row.nextFundingTime) if row.nextFundingTime else None
    return MarkPrice(instrument, to_ns(row.time), row.markPrice, row.indexPrice or None, rate, following, recv_ns)


def parse_funding(body: bytes, instrument: str) -> list[Funding]:
    """`fundingRate`, oldest first."""
    rows = decode(list[wire.FundingRest], body, f"binance fundingRate of {instrument}")
    made = [Funding(instrument, to_ns(r.fundingTime), r.fundingRate, r.markPrice if r.markPrice else None) for r in rows]
    return sorted(made, key=lambda row: row.event_ns)


def _trade_row(instrument: str, stream: TradeStream, trade_id: int, price: float, quantity: float, buyer_made: bool, at: int) -> Trade:
    return Trade(instrument, stream, str(trade_id), price, quantity, "sell" if buyer_made else "buy", to_ns(at))


def _id(trade: Trade) -> int:
    return int(trade.trade_id)
