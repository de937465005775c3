"""Bybit's frames → events. Pure: the time of receipt is an argument, and what is strange comes back as data (`Drift`).

A frame of a topic that is expected is decoded once, by a type of its own: the topic is its tag, and its method `event` knows the
instrument. Whatever else comes (topics that nobody expected, answers, what is new or broken) takes a slower way, to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta

from zvt_crypto.domain.errors import Malformed, shown
from zvt_crypto.domain.events import TradesDoubted
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, Side, Trade
from zvt_crypto.domain.time import FIXED_NS, Interval, is_aligned
from zvt_crypto.venues.bybit import wire
from zvt_crypto.venues.bybit.quotes import QuoteState
from zvt_crypto.venues.bybit.spec import INTERVAL_NAMES, QUOTE_LEVEL, Category
from zvt_crypto.venues.bybit.tickers import TickerState
from zvt_crypto.venues.decode import BROKEN, excerpt, pairs
from zvt_crypto.venues.inverse import all_in_base
from zvt_crypto.venues.parsed import Drift, Parsed, Reply

Found = Sequence[Parsed]
SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
_INTERVALS = {name: interval for interval, name in INTERVAL_NAMES.items()}
# A topic begins after one of these; klines have the second. No topic is longer than 100 letters.
_TOPIC, _TYPED, _TOPIC_MOST = b'{"topic":"', b'{"type":"snapshot","topic":"', 100
_Event = Callable[[Any, int], Found]
_FRAMES: dict[str, type] = {
    "publicTrade": wire.TradesFrame,
    "orderbook": wire.BookFrame,
    "kline": wire.KlineFrame,
    "tickers": wire.TickerFrame,
}
# Answers that need nothing.
_QUIET = frozenset({"unsubscribe", "auth"})
_NO_BEGINNING = "ticker change without a beginning"


class _Unexpected(msgspec.Struct, gc=False, tag_field="topic", tag=""):
    """No frame at all. Beside it one type alone is a union too, which wants its tag: a frame without a topic is nobody's."""

    never: Annotated[int, Meta(ge=1, le=0)]


class _Reader(msgspec.Struct, frozen=True):
    """How the frames of a topic are read: their type, what is made of one (received when), and what is done about a broken one."""

    kind: type
    event: _Event
    forget: Callable[[], object]


class FrameParser:
    """Frames of one connection to one category. `natives` is the venue's symbol → entity id.

    tickers, marks: whose `tickers` topic gives which of the two events; None: all. Contracts' tickers come as changes, which are added
    up here. What the connection makes of an answer, and of a symbol whose changes came without a beginning (its topic must be subscribed
    anew), its manners set: `answered` and `lost`. They are asked for these alone, so that nothing stands between a frame and its events.
    """

    def __init__(
        self,
        category: Category,
        natives: Mapping[str, str],
        *,
        tickers: Collection[str] | None = None,
        marks: Collection[str] | None = None,
    ) -> None:
        self.answered: Callable[[Reply], Parsed] = _as_it_is
        self.lost: Callable[[str, int], Found] = _nothing
        self._category = category
        self._natives = natives
        self._tickers, self._marks = tickers, marks
        self._states: dict[str, TickerState] = {}
        self._readers: dict[str, _Reader] = {}
        self._decoders = {kind: _decoder(kind) for kind in _FRAMES.values()} | {wire.BookFrame: _long_books()}
        self._loose = _decoder(wire.LooseWire)
        self._decode = _decoder(_Unexpected)

    def expect(self, topics: Collection[str]) -> None:
        """Make the frames of these topics quick ones. All others are read too."""
        kinds: list[Any] = [_Unexpected]
        rows = _rows_of({topic.rpartition(".")[2] for topic in topics} & self._natives.keys())
        for topic in topics:
            reader = self._reader(topic)
            if isinstance(reader, _Reader):
                kinds.append(
                    msgspec.defstruct(
                        reader.kind.__name__,
                        [("data", rows)] if reader.kind is wire.TradesFrame else [],
                        bases=(reader.kind,),
                        namespace={"event": reader.event},
                        tag_field="topic",
                        tag=topic,
                        gc=False,
                    )
                )
        self._decode = _decoder(Union[tuple(kinds)])  # noqa: UP007 -- made of a tuple

    def parse(self, payload: bytes, recv_ns: int) -> Found:
        """What a frame holds, in the venue's order. Raises Malformed."""
        try:
            decode = self._decode  # an attribute that is called at once is looked up more slowly
            return decode(payload).event(recv_ns)  # type: ignore[no-any-return]
        except BROKEN:
            return self._slowly(payload, recv_ns)

    def _slowly(self, payload: bytes, recv_ns: int) -> Found:
        """A frame that is not expected: of another topic, an answer, something new, or broken."""
        try:
            reader = self._readers.get(topic_of(payload).decode())
            if reader is not None:
                return self._read(reader, payload, recv_ns)
            loose = self._loose(payload)
            if loose.topic is None:
                return tuple(self.answered(one) if isinstance(one, Reply) else one for one in _answer(loose))
            found = self._reader(loose.topic)
            return (found,) if isinstance(found, Drift) else self._read(found, payload, recv_ns)
        except BROKEN as error:
            raise Malformed(f"bybit {self._category} frame {excerpt(payload)}: {error}") from None

    def _read(self, reader: _Reader, payload: bytes, recv_ns: int) -> Found:
        try:
            frame = self._decoders[reader.kind](payload)
        except BROKEN:
            reader.forget()
            raise
        return reader.event(frame, recv_ns)

    def _reader(self, topic: str) -> _Reader | Drift:
        if topic in self._readers:
            return self._readers[topic]
        kind, _, rest = topic.partition(".")
        detail, _, native = rest.rpartition(".") if kind in ("orderbook", "kline") else ("", "", rest)
        instrument = self._natives.get(native)
        if instrument is None:
            return Drift("symbol", native) if kind in ("orderbook", "kline", "publicTrade", "tickers") else Drift("topic", topic)
        forget: Callable[[], object] = _nothing
        if kind == "publicTrade":
            event: Any = self._trades_of(native, instrument)
        elif kind == "tickers":
            event, forget = self._tickers_of(native, instrument), partial(self._states.pop, native, None)
        elif kind == "kline":
            if (interval := _INTERVALS.get(detail)) is None:
                return Drift("interval", detail)
            event = self._klines_of(native, instrument, interval, detail)
        elif kind == "orderbook" and detail.isdecimal():
            event = self._quotes_of(native, instrument) if int(detail) == QUOTE_LEVEL else self._books_of(native, instrument)
        else:
            return Drift("topic", topic)
        if self._category == "inverse":
            event = all_in_base(event)
        # Bounded: symbols that are listed, times the kinds that we know.
        self._readers[topic] = reader = _Reader(_FRAMES[kind], event, forget)
        return reader

    def _trades_of(self, native: str, instrument: str) -> _Event:
        def event(frame: wire.TradesFrame, recv_ns: int) -> Found:
            rows = frame.data
            if len(rows) == 1:  # as nearly all are
                (row,) = rows
                taker: Side | None = "buy" if row.S == "Buy" else "sell" if row.S == "Sell" else None
                if taker is not None and row.s == native and not row.BT:
                    return (Trade(instrument, "trade", row.i, row.p, row.v, taker, row.T * 1_000_000, recv_ns),)
            made: list[Parsed] = []
            for row in rows:
                side = SIDES.get(row.S)
                if side is None or row.BT or row.s != native:
                    made.append(self._odd_trade(row, native))
                    if not row.BT:
                        made.append(TradesDoubted(instrument, "trade", f"side {shown(row.S)}", row.T * 1_000_000, recv_ns))
                else:
                    made.append(Trade(instrument, "trade", row.i, row.p, row.v, side, row.T * 1_000_000, recv_ns))
            return made

        return event

    def _odd_trade(self, row: wire.TradeWire, native: str) -> Drift:
        if row.s != native:
            raise self._mismatch(row.s, native)
        return Drift("block trade", native) if row.BT else Drift("side", row.S)

    def _klines_of(self, native: str, instrument: str, interval: Interval, name: str) -> _Event:
        grid_ms = FIXED_NS[interval] // 1_000_000 if interval not in (Interval.WEEK_1, Interval.MONTH_1) else 0

        def event(frame: wire.KlineFrame, recv_ns: int) -> Found:
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

        return event

    def _books_of(self, native: str, instrument: str) -> _Event:
        def event(frame: wire.BookFrame, recv_ns: int) -> Found:
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

        return event

    def _quotes_of(self, native: str, instrument: str) -> _Event:
        state = QuoteState()

        def event(frame: wire.BookFrame, recv_ns: int) -> Found:
            if frame.data.s != native:
                raise self._mismatch(frame.data.s, native)
            if frame.type == "snapshot" or frame.data.u == 1:
                state.replace(frame.data)
            elif frame.type != "delta":
                return (Drift("book message", frame.type),)
            elif not state.change(frame.data):
                return (Drift("quote change without a beginning", native),)
            return (BestQuote(instrument, frame.data.u, *state.quotes, (frame.cts or frame.ts) * 1_000_000, recv_ns),)

        return event

    def _tickers_of(self, native: str, instrument: str) -> _Event:
        def event(frame: wire.TickerFrame, recv_ns: int) -> Found:
            try:
                state = self._ticker_state(frame, native, instrument)
                if isinstance(state, TickerState):
                    return state.take(frame.data, frame.ts * 1_000_000, recv_ns)
                return (state,) if state.what != _NO_BEGINNING else (state, *self.lost(native, recv_ns))
            except Malformed:
                self._states.pop(native, None)  # what this one would have changed is not known any more
                raise

        return event

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
            return Drift(_NO_BEGINNING, native)
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


def _answer(loose: wire.LooseWire) -> Found:
    if loose.op in ("ping", "pong") and loose.success is not False:
        return ()
    number = loose.req_id or loose.reqId or None
    if loose.success is False or loose.retCode:
        code = f"{loose.retCode}: " if loose.retCode else ""
        return (Reply(number, f"{loose.op or 'request'} {code}{loose.ret_msg or loose.retMsg or 'without a reason'}"),)
    if loose.op == "subscribe":
        return (Reply(number, None),)
    return () if loose.op in _QUIET else (Drift("answer", loose.op) if loose.op is not None else Drift("frame", "without a topic"),)


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode


def _long_books() -> Callable[[bytes], Any]:
    """Of books whose rows may be longer than they were, which `fields` tells."""
    rows: Any = [("b", wire.LongLevels), ("a", wire.LongLevels)]
    data: Any = msgspec.defstruct("LongBook", rows, bases=(wire.BookWire,), gc=False)
    read = _decoder(msgspec.defstruct("LongBookFrame", [("data", data)], bases=(wire.BookFrame,), gc=False))

    def decode(payload: bytes) -> Any:
        frame = read(payload)
        frame.data.b, frame.data.a = pairs(frame.data.b), pairs(frame.data.a)
        return frame

    return decode


def _rows_of(natives: Collection[str]) -> Any:
    """Rows of a TradesFrame of symbols and sides that we know: these are looked up while decoding, so that no texts are made of them."""
    symbol: Any = Literal[tuple(sorted(natives)) or ("",)]
    row: Any = msgspec.defstruct("Trade", [("S", Literal[tuple(SIDES)]), ("s", symbol)], bases=(wire.TradeWire,), gc=False)
    return Annotated[list[row], Meta(max_length=wire.TRADES_MOST)]


def _as_it_is(reply: Reply) -> Parsed:
    return reply


def _nothing(*_: object) -> tuple[()]:
    return ()
