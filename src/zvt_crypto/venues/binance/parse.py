"""Binance's bytes → events. Pure: the time of receipt is an argument, and what is strange comes back as data (`Drift`).

A frame is told by a few bytes of its stream name or event type, then decoded once by the typed decoder of its kind. A frame that is not
written as the venue writes it (other spacing, other order) takes a slower way to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from zvt_crypto.domain.errors import Malformed, Refused
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Funding, Kline, MarkPrice, Ticker, Trade, TradeStream
from zvt_crypto.domain.time import FIXED_NS, INTERVALS, NS_PER_MS, Interval, is_aligned, next_ns
from zvt_crypto.venues.binance import wire
from zvt_crypto.venues.binance.spec import Market
from zvt_crypto.venues.decode import BROKEN, decode, excerpt
from zvt_crypto.venues.parsed import Drift, Parsed, Reply, Shutdown

T = TypeVar("T")
# Text → interval, and the length of its grid in ms: 0 for weeks and months, which are not on the grid of their length.
_INTERVAL_OF: dict[str, tuple[Interval, int]] = {
    str(interval): (interval, FIXED_NS[interval] // NS_PER_MS if interval not in (Interval.WEEK_1, Interval.MONTH_1) else 0)
    for interval in INTERVALS
}
# Epoch numbers from here on are microseconds: as milliseconds this would be the year 5138.
_MICROSECONDS_FROM = 100_000_000_000_000
# `{"stream":"btcusdt@trade","data":{`: within this many bytes stand only the stream's name and what always follows it, so that a head
# seen once tells the decoder by one look-up. A longer symbol leaves the kind outside, and is searched for each time.
_HEAD = 33
_KNOWN_MOST = 10_000


def to_ns(moment: int) -> int:
    """A venue's time in ns, its unit told by its size."""
    return moment * 1_000_000 if moment < _MICROSECONDS_FROM else moment * 1_000


class FrameParser:
    """Frames of one market. `natives` is the venue's symbol → entity id; `recv_ns` is stamped into every event."""

    def __init__(self, market: Market, natives: Mapping[str, str]) -> None:
        self._market = market
        self._natives = natives
        trade = self._trade if market == "spot" else self._usdm_trade
        trade_wire: Any = wire.TradeWire if market == "spot" else wire.UsdmTradeWire
        kinds: tuple[tuple[Any, Callable[[Any, int], Parsed], tuple[bytes, ...], str], ...] = (
            # wire struct, converter, first six bytes of the stream's kind, event type
            (trade_wire, trade, (b'trade"',), "trade"),
            (wire.AggTradeWire, self._agg, (b"aggTra",), "aggTrade"),
            (wire.KlineWire, self._kline, (b"kline_",), "kline"),
            (wire.DepthWire, self._depth, (b"depth@", b'depth"'), "depthUpdate"),
            (wire.QuoteWire, self._quote, (b"bookTi",), "bookTicker"),
            (wire.TickerWire, self._ticker, (b"ticker",), "24hrTicker"),
            (wire.MarkWire, self._mark, (b"markPr",), "markPriceUpdate"),
        )
        self._combined: dict[bytes, tuple[Callable[[bytes], Any], Callable[[Any, int], Parsed]]] = {}
        self._raw: dict[str, tuple[Callable[[bytes], Any], Callable[[Any, int], Parsed]]] = {}
        for struct, convert, keys, event in kinds:
            envelope = msgspec.defstruct("Envelope", [("data", struct)], gc=False)
            for key in keys:
                self._combined[key] = (msgspec.json.Decoder(envelope, strict=False).decode, convert)
            self._raw[event] = (msgspec.json.Decoder(struct, strict=False).decode, convert)
        self._known: dict[bytes, tuple[Callable[[bytes], Any], Callable[[Any, int], Parsed]]] = {}
        self._loose = msgspec.json.Decoder(wire.LooseWire, strict=False)

    def parse(self, payload: bytes, recv_ns: int) -> Parsed:
        """The event of a frame. Raises Malformed."""
        try:
            known = self._known.get(payload[:_HEAD])
            if known is not None:
                return known[1](known[0](payload).data, recv_ns)
            return self._first_time(payload, recv_ns)
        except BROKEN as error:
            raise Malformed(f"binance {self._market} frame {excerpt(payload)}: {error}") from None

    def _first_time(self, payload: bytes, recv_ns: int) -> Parsed:
        """A frame whose head was not seen before: find its kind, and remember the head where it holds the kind whole."""
        if payload.startswith(b'{"stream":"'):
            at = payload.find(b"@", 11, 96) + 1
            found = self._combined.get(payload[at : at + 6])
            if found is not None:
                if at + 6 <= _HEAD and len(self._known) < _KNOWN_MOST:
                    self._known[payload[:_HEAD]] = found
                return found[1](found[0](payload).data, recv_ns)
        elif payload.startswith(b'{"e":"'):
            raw = self._raw.get(payload[6 : payload.find(b'"', 6, 40)].decode())
            if raw is not None:
                return raw[1](raw[0](payload), recv_ns)
        return self._slowly(payload, recv_ns)

    def _slowly(self, payload: bytes, recv_ns: int) -> Parsed:
        loose = self._loose.decode(payload)
        if loose.stream is not None:
            body = bytes(loose.data)
            inner = self._loose.decode(body)
            return self._event(inner.e or loose.stream.partition("@")[2], body, recv_ns)
        if loose.error is not None:
            return Reply(loose.id, f"{loose.error.code}: {loose.error.msg}")
        if loose.code is not None:
            return Reply(loose.id, f"{loose.code}: {loose.msg or ''}")
        if loose.id is not None or loose.result:
            return Reply(loose.id, None)
        # Spot's raw bookTicker has no event type.
        return self._event(loose.e or ("bookTicker" if b'"B":' in payload else "without a type"), payload, recv_ns)

    def _event(self, kind: str, body: bytes, recv_ns: int) -> Parsed:
        if kind == "serverShutdown":
            return Shutdown()
        raw = self._raw.get(kind)
        if raw is None:
            return Drift("event", kind)
        return raw[1](raw[0](body), recv_ns)

    def _trade(self, w: wire.TradeWire | wire.UsdmTradeWire, recv_ns: int) -> Parsed:
        instrument = self._natives.get(w.s)
        if instrument is None:
            return Drift("symbol", w.s)
        at = w.T
        at_ns = at * 1_000_000 if at < _MICROSECONDS_FROM else at * 1_000  # as to_ns, without the call
        return Trade(instrument, "trade", str(w.t), w.p, w.q, "sell" if w.m else "buy", at_ns, recv_ns)

    def _usdm_trade(self, w: wire.UsdmTradeWire, recv_ns: int) -> Parsed:
        if w.X != "MARKET":
            return Drift("trade of kind", w.X)
        if w.p == 0 or w.q == 0:
            raise Malformed(f"binance usdm trade {w.t} of {w.s}: price {w.p}, quantity {w.q}")
        return self._trade(w, recv_ns) if w.st == 1 else Drift("market", w.s)

    def _agg(self, w: wire.AggTradeWire, recv_ns: int) -> Parsed:
        instrument = self._natives.get(w.s)
        if instrument is None or w.st != 1:
            return Drift("symbol" if w.st == 1 else "market", w.s)
        return Trade(instrument, "agg", str(w.a), w.p, w.q, "sell" if w.m else "buy", to_ns(w.T), recv_ns)

    def _kline(self, w: wire.KlineWire, recv_ns: int) -> Parsed:
        k = w.k
        instrument = self._natives.get(w.s)
        if instrument is None or w.st != 1:
            return Drift("symbol" if w.st == 1 else "market", w.s)
        known = _INTERVAL_OF.get(k.i)
        if known is None:
            return Drift("interval", k.i)
        interval, grid_ms = known
        at, sent, opened, high, low, close = k.t, w.E, k.o, k.h, k.l, k.c
        # As to_ns, without the calls: klines and trades are what most frames are.
        open_ns = at * 1_000_000 if at < _MICROSECONDS_FROM else at * 1_000
        event_ns = sent * 1_000_000 if sent < _MICROSECONDS_FROM else sent * 1_000
        aligned = at % grid_ms == 0 if grid_ms and at < _MICROSECONDS_FROM else is_aligned(interval, open_ns)
        if not (aligned and low <= opened <= high and low <= close <= high):
            raise Malformed(f"binance {self._market} kline {k.i} of {w.s} at {at}: open {opened} high {high} low {low} close {close}")
        return Kline(instrument, interval, open_ns, opened, high, low, close, k.v, k.q, k.n, k.x, "venue", event_ns, recv_ns)

    def _depth(self, w: wire.DepthWire, recv_ns: int) -> Parsed:
        instrument = self._natives.get(w.s)
        if instrument is None or w.st != 1:
            return Drift("symbol" if w.st == 1 else "market", w.s)
        if w.u < w.U:
            raise Malformed(f"binance {self._market} depth of {w.s}: first id {w.U} above last id {w.u}")
        return BookDelta(instrument, w.U, w.u, w.pu, w.b, w.a, to_ns(w.T or w.E), recv_ns)

    def _quote(self, w: wire.QuoteWire, recv_ns: int) -> Parsed:
        instrument = self._natives.get(w.s)
        if instrument is None or w.st != 1:
            return Drift("symbol" if w.st == 1 else "market", w.s)
        return BestQuote(instrument, w.u, w.b, w.B, w.a, w.A, to_ns(w.T), recv_ns)

    def _ticker(self, w: wire.TickerWire, recv_ns: int) -> Parsed:
        instrument = self._natives.get(w.s)
        if instrument is None or w.st != 1:
            return Drift("symbol" if w.st == 1 else "market", w.s)
        if w.c == 0:
            return Drift("ticker without a price", w.s)
        day = (w.o or None, w.h or None, w.l or None)
        return Ticker(instrument, w.c, w.v, w.q, *day, w.b or None, w.a or None, to_ns(w.E), recv_ns)

    def _mark(self, w: wire.MarkWire, recv_ns: int) -> Parsed:
        instrument = self._natives.get(w.s)
        if instrument is None or w.st != 1:
            return Drift("symbol" if w.st == 1 else "market", w.s)
        rate = w.r if isinstance(w.r, float) else None
        return MarkPrice(instrument, to_ns(w.E), w.p, w.i or None, rate, to_ns(w.T) if w.T else None, recv_ns)


def depth_symbol(payload: bytes) -> str | None:
    """Whose depth a frame that we cannot read seems to be (native symbol), "" where it may be anybody's, None where it is not depth."""
    end = payload.find(b'"', 11, 140)
    if not payload.startswith(b'{"stream":"') or end < 0:
        return ""
    symbol, _, kind = payload[11:end].partition(b"@")
    if not kind.startswith(b"depth"):
        return None
    return symbol.decode(errors="replace").upper()


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


def parse_depth(body: bytes, instrument: str, event_ns: int, recv_ns: int) -> BookSnapshot:
    """`depth`. The venue gives no time on spot: `event_ns` is then ours."""
    row = decode(wire.DepthRest, body, f"binance depth of {instrument}")
    at_ns = to_ns(row.T) if row.T is not None else event_ns
    bids = sorted(row.bids, key=lambda level: -level[0])
    return BookSnapshot(instrument, row.lastUpdateId, bids, sorted(row.asks), at_ns, recv_ns)


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
