"""Bybit's frames → events. Pure: the time of receipt is an argument, and what is strange comes back as data (`Drift`).

The topic is the first text of most frames; one look-up leads from its bytes to the decoder of its kind, bound to the instrument. A frame
that is not written as the venue writes it (other spacing, other order) takes a slower way to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, Side, Trade
from zvt_crypto.domain.time import FIXED_NS, Interval, is_aligned
from zvt_crypto.venues.bybit import wire
from zvt_crypto.venues.bybit.quotes import QuoteState
from zvt_crypto.venues.bybit.spec import INTERVAL_NAMES, QUOTE_LEVEL, Category
from zvt_crypto.venues.bybit.tickers import TickerState
from zvt_crypto.venues.decode import BROKEN, excerpt
from zvt_crypto.venues.parsed import Drift, Parsed, Reply

Route = Callable[[bytes, int], Sequence[Parsed]]
SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
_INTERVALS = {name: interval for interval, name in INTERVAL_NAMES.items()}
# A topic begins after one of these; klines have the second. No topic is longer than 100 letters.
_TOPIC, _TYPED, _TOPIC_MOST = b'{"topic":"', b'{"type":"snapshot","topic":"', 100
_TOPIC_AT = len(_TOPIC)


class FrameParser:
    """Frames of one connection to one category. `natives` is the venue's symbol → entity id.

    tickers, marks: whose `tickers` topic gives which of the two events; None: all. Contracts' tickers come as changes, which are added
    up here. `lost` names the symbols whose changes came without a beginning: they need their topic subscribed anew.
    """

    def __init__(
        self,
        category: Category,
        natives: Mapping[str, str],
        *,
        tickers: Collection[str] | None = None,
        marks: Collection[str] | None = None,
    ) -> None:
        self.lost: list[str] = []
        self._category = category
        self._natives = natives
        self._tickers, self._marks = tickers, marks
        self._states: dict[str, TickerState] = {}
        self._routes: dict[bytes, Route] = {}
        self._loose = msgspec.json.Decoder(wire.LooseWire, strict=False).decode
        self._trades = msgspec.json.Decoder(wire.TradesFrame, strict=False).decode
        self._books = msgspec.json.Decoder(wire.BookFrame, strict=False).decode
        self._klines = msgspec.json.Decoder(wire.KlineFrame, strict=False).decode
        self._ticks = msgspec.json.Decoder(wire.TickerFrame, strict=False).decode

    def parse(self, payload: bytes, recv_ns: int) -> Sequence[Parsed]:
        """What a frame holds, in the venue's order. Raises Malformed."""
        try:
            route = self._routes.get(payload[_TOPIC_AT : payload.find(b'"', _TOPIC_AT)])
            if route is not None:
                return route(payload, recv_ns)
            route = self._routes.get(topic_of(payload))
            return route(payload, recv_ns) if route is not None else self._first_time(payload, recv_ns)
        except BROKEN as error:
            raise Malformed(f"bybit {self._category} frame {excerpt(payload)}: {error}") from None

    def _first_time(self, payload: bytes, recv_ns: int) -> Sequence[Parsed]:
        loose = self._loose(payload)
        if loose.topic is None:
            return _answer(loose)
        route = self._route(loose.topic)
        if isinstance(route, Drift):
            return (route,)
        self._routes[loose.topic.encode()] = route  # bounded: symbols that are listed, times the kinds that we know
        return route(payload, recv_ns)

    def _route(self, topic: str) -> Route | Drift:
        kind, _, rest = topic.partition(".")
        detail, _, native = rest.rpartition(".") if kind in ("orderbook", "kline") else ("", "", rest)
        instrument = self._natives.get(native)
        if instrument is None:
            return Drift("symbol", native) if kind in ("orderbook", "kline", "publicTrade", "tickers") else Drift("topic", topic)
        if kind == "publicTrade":
            return self._trade_route(native, instrument)
        if kind == "tickers":
            return self._ticker_route(native, instrument)
        if kind == "kline":
            interval = _INTERVALS.get(detail)
            return Drift("interval", detail) if interval is None else self._kline_route(native, instrument, interval, detail)
        if kind == "orderbook" and detail.isdecimal():
            level = int(detail)
            return self._quote_route(native, instrument) if level == QUOTE_LEVEL else self._book_route(native, instrument)
        return Drift("topic", topic)

    def _trade_route(self, native: str, instrument: str) -> Route:
        decode, sides = self._trades, SIDES

        def read(payload: bytes, recv_ns: int) -> Sequence[Parsed]:
            rows = decode(payload).data
            if len(rows) == 1:  # as nearly all are
                (row,) = rows
                side = sides.get(row.S)
                if side is not None and row.s == native and not row.BT:
                    return (Trade(instrument, "trade", row.i, row.p, row.v, side, row.T * 1_000_000, recv_ns),)
            made: list[Parsed] = []
            for row in rows:
                side = sides.get(row.S)
                if side is None or row.BT or row.s != native:
                    made.append(self._odd_trade(row, native))
                else:
                    made.append(Trade(instrument, "trade", row.i, row.p, row.v, side, row.T * 1_000_000, recv_ns))
            return made

        return read

    def _odd_trade(self, row: wire.TradeWire, native: str) -> Drift:
        if row.s != native:
            raise self._mismatch(row.s, native)
        return Drift("block trade", native) if row.BT else Drift("side", row.S)

    def _kline_route(self, native: str, instrument: str, interval: Interval, name: str) -> Route:
        decode = self._klines
        grid_ms = FIXED_NS[interval] // 1_000_000 if interval not in (Interval.WEEK_1, Interval.MONTH_1) else 0

        def read(payload: bytes, recv_ns: int) -> Sequence[Parsed]:
            frame = decode(payload)
            event_ns = frame.ts * 1_000_000
            made: list[Parsed] = []
            for row in frame.data:
                start, opened, high, low, close = row.start, row.open, row.high, row.low, row.close
                open_ns = start * 1_000_000
                aligned = start % grid_ms == 0 if grid_ms else is_aligned(interval, open_ns)
                if not (aligned and row.interval == name and low <= opened <= high and low <= close <= high):
                    told = f"{row.interval} at {start}: open {opened} high {high} low {low} close {close}"
                    raise Malformed(f"bybit {self._category} kline {name} of {native}: {told}")
                values = (opened, high, low, close, row.volume, row.turnover)
                made.append(Kline(instrument, interval, open_ns, *values, None, row.confirm, "venue", event_ns, recv_ns))
            return made

        return read

    def _book_route(self, native: str, instrument: str) -> Route:
        decode = self._books

        def read(payload: bytes, recv_ns: int) -> Sequence[Parsed]:
            frame = decode(payload)
            data = frame.data
            if data.s != native:
                raise self._mismatch(data.s, native)
            update, event_ns = data.u, (frame.cts or frame.ts) * 1_000_000
            if frame.type == "delta" and update != 1:
                return (BookDelta(instrument, update, update, None, data.b, data.a, event_ns, recv_ns),)
            if frame.type == "snapshot" or update == 1:  # the venue began to count anew
                data.b.sort(reverse=True)
                data.a.sort()
                return (BookSnapshot(instrument, update, data.b, data.a, event_ns, recv_ns),)
            return (Drift("book message", frame.type),)

        return read

    def _quote_route(self, native: str, instrument: str) -> Route:
        decode, state = self._books, QuoteState()

        def read(payload: bytes, recv_ns: int) -> Sequence[Parsed]:
            frame = decode(payload)
            if frame.data.s != native:
                raise self._mismatch(frame.data.s, native)
            if frame.type == "snapshot" or frame.data.u == 1:
                state.replace(frame.data)
            elif frame.type != "delta":
                return (Drift("book message", frame.type),)
            elif not state.change(frame.data):
                return (Drift("quote change without a beginning", native),)
            return (BestQuote(instrument, frame.data.u, *state.quotes, (frame.cts or frame.ts) * 1_000_000, recv_ns),)

        return read

    def _ticker_route(self, native: str, instrument: str) -> Route:
        decode = self._ticks

        def read(payload: bytes, recv_ns: int) -> Sequence[Parsed]:
            try:
                frame = decode(payload)
                state = self._ticker_state(frame, native, instrument)
                return (state,) if isinstance(state, Drift) else state.take(frame.data, frame.ts * 1_000_000, recv_ns)
            except (*BROKEN, Malformed):
                self._states.pop(native, None)  # what this one would have changed is not known any more
                raise

        return read

    def _ticker_state(self, frame: wire.TickerFrame, native: str, instrument: str) -> TickerState | Drift:
        """What the message adds to: nothing yet, or what is known."""
        if frame.data.symbol != native:
            raise self._mismatch(frame.data.symbol, native)
        if frame.type == "snapshot":
            gives_mark = self._category != "spot" and (self._marks is None or native in self._marks)
            state = TickerState(native, instrument, self._tickers is None or native in self._tickers, gives_mark)
            self._states[native] = state
            return state
        if frame.type != "delta":
            return Drift("ticker message", frame.type)
        if (held := self._states.get(native)) is None:
            self.lost.append(native)
            return Drift("ticker change without a beginning", native)
        return held

    def doubt_tickers(self) -> None:
        """A frame that could not be read may have changed any of them."""
        self._states.clear()

    def _mismatch(self, found: str, native: str) -> Malformed:
        return Malformed(f"bybit {self._category}: a message of {native} tells of {found}")


def topic_of(payload: bytes) -> bytes:
    """The topic of a frame that is written as the venue writes it, otherwise nothing."""
    start = len(_TOPIC) if payload.startswith(_TOPIC) else len(_TYPED) if payload.startswith(_TYPED) else 0
    return payload[start : max(start, payload.find(b'"', start, start + _TOPIC_MOST))] if start else b""


def _answer(loose: wire.LooseWire) -> Sequence[Parsed]:
    if loose.op in ("ping", "pong") and loose.success is not False:
        return ()
    number = loose.req_id or loose.reqId or None
    if loose.success is False or loose.retCode:
        code = f"{loose.retCode}: " if loose.retCode else ""
        return (Reply(number, f"{loose.op or 'request'} {code}{loose.ret_msg or loose.retMsg or 'without a reason'}"),)
    if loose.op == "subscribe":
        return (Reply(number, None),)
    return () if loose.op is not None else (Drift("frame", "without a topic"),)
