"""OKX's frames → events. The time of receipt is an argument, and what is strange comes back as data (`Drift`).

A frame begins with what it is about (`arg`). One letter of it tells trades and books, which most frames are: these are decoded once, by
types so narrow (channel, symbol, one row) that what they let through is ours. Of others those bytes, seen once, tell the decoder and the
instrument by one look-up. A frame that is not written as the venue writes it (other spacing, other order) takes a slower way to the same
result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from zvt_crypto.domain.errors import Malformed, shown
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import FIXED_NS, NS_PER_MS, Interval, is_aligned
from zvt_crypto.venues.decode import BROKEN, excerpt
from zvt_crypto.venues.okx import wire
from zvt_crypto.venues.okx.faults import SOCKET_BROKEN, SOCKET_RESTART
from zvt_crypto.venues.okx.spec import INTERVAL_OF
from zvt_crypto.venues.okx.units import Traded
from zvt_crypto.venues.parsed import Broken, Drift, Parsed, Reply, Shutdown

Found = Sequence[Parsed]
_Decode = Callable[[bytes], Any]
_Read = Callable[[bytes, int], Found]
# `{"arg":{"channel":"candle1Dutc","instId":"BTC-USD-SWAP"}`: the end of a head lies within this many bytes.
_HEAD_MOST = 160
_KNOWN_MOST = 20_000
_ARG = b'{"arg":{"channel":"'
# The channel's second letter, which no other channel of ours has: trades-all, books.
_LETTER_AT, _TRADES, _BOOKS = len(_ARG) + 1, ord("r"), ord("o")
# What may be raised over a frame that is not an ordinary one: shorter than its letter, or not decoded.
_ODD = (LookupError, *BROKEN)
_ACTIONS = frozenset({"snapshot", "update"})
# Answers that need nothing: how many connections there are, who logged in, what we no longer want.
_QUIET = frozenset({"channel-conn-count", "unsubscribe", "login"})


class BooksEnvelope(msgspec.Struct, gc=False):
    """A frame of `books`."""

    data: list[wire.BooksWire]
    action: str = ""


class _Channel(msgspec.Struct, frozen=True):
    """How the frames of a channel are read: the decoder of all of it, and what makes the reader of one instrument."""

    decode: _Decode
    bind: Callable[[_Decode, Traded], _Read]


class FrameParser:
    """Frames of one connection. `traded` is the venue's symbol → what it is; `recv_ns` is stamped into every event.

    The state: the newest funding and index price of each contract, which the venue sends apart from its mark price.
    """

    def __init__(self, traded: Mapping[str, Traded]) -> None:
        self._traded = traded
        self._funding: dict[str, tuple[float | None, int | None]] = {}
        self._index: dict[str, float] = {}
        self._known: dict[bytes, _Read] = {}
        self._loose = msgspec.json.Decoder(wire.LooseWire, strict=False)
        candle = _decoder(wire.CandleWire)
        self._channels: dict[str, _Channel] = {
            "trades-all": _Channel(_decoder(wire.TradeWire), _trades),
            "books": _Channel(msgspec.json.Decoder(BooksEnvelope, strict=False).decode, _books),
            "bbo-tbt": _Channel(_decoder(wire.QuoteWire), _quotes),
            "tickers": _Channel(_decoder(wire.TickerWire), _each(make_ticker)),
            "mark-price": _Channel(_decoder(wire.MarkWire), self._marks),
            "funding-rate": _Channel(_decoder(wire.FundingRateWire), self._fundings),
            **{f"candle{bar}": _Channel(candle, _candles(interval)) for bar, interval in INTERVAL_OF.items()},
        }
        self._index_decode = _decoder(wire.IndexWire)
        self._trade = _narrow_decoder("trades-all", tuple[_ordinary_trade(traded)], traded)  # type: ignore[misc]
        self._book = _narrow_decoder("books", tuple[wire.BooksWire], traded)

    def parse(self, payload: bytes, recv_ns: int) -> Found:
        """What a frame holds. Raises Malformed."""
        try:
            letter = payload[_LETTER_AT]
            if letter == _TRADES:
                decode = self._trade  # an attribute that is called at once is looked up more slowly
                frame = decode(payload)
                native = frame.arg.instId
                of = self._traded[native]
                (w,) = frame.data
                if w.instId is native:  # both were looked up, in one table
                    price, size = w.px, w.sz
                    quantity = size if of.is_spot else of.base(size, price)
                    return (Trade(of.id, "trade", str(w.tradeId), price, quantity, w.side, w.ts * 1_000_000, recv_ns),)
            elif letter == _BOOKS:
                decode = self._book
                frame = decode(payload)
                (book,), of = frame.data, self._traded[frame.arg.instId]
                if frame.action == "update" and of.is_spot and book.seqId is not None:
                    # As `_book`, without the calls.
                    bids = [(level.price, level.size) for level in book.bids]
                    asks = [(level.price, level.size) for level in book.asks]
                    at_ns, number = book.ts * 1_000_000, book.seqId
                    return (BookDelta(of.id, number, number, book.prevSeqId, bids, asks, at_ns, recv_ns),)
                return _book(frame.action, book, of, recv_ns)
        except _ODD:
            pass  # looked at more closely
        return self._by_head(payload, recv_ns)

    def _by_head(self, payload: bytes, recv_ns: int) -> Found:
        try:
            known = self._known.get(payload.partition(b"}")[0])
            return known(payload, recv_ns) if known is not None else self._first_time(payload, recv_ns)
        except BROKEN as error:
            raise Malformed(f"okx frame {excerpt(payload)}: {error}") from None

    def doubted(self, payload: bytes) -> Sequence[str] | None:
        """Whose book (entity ids) a frame that cannot be read may have changed; None: anybody's."""
        channel, native = _head_of(payload)
        if not channel or (channel == "books" and native not in self._traded):
            return None
        return (self._traded[native].id,) if channel == "books" else ()

    def _first_time(self, payload: bytes, recv_ns: int) -> Found:
        """A frame whose head was not seen before: find its kind, and remember the head."""
        if payload == b"pong":
            return ()
        loose = self._loose.decode(payload)
        if loose.event is not None:
            return _answer(loose)
        if loose.arg is None:
            return (Drift("frame", excerpt(payload)),)
        found = self._reader(loose.arg)
        if isinstance(found, Drift):
            return (found,)
        if payload.startswith(_ARG) and _head_of(payload) == (loose.arg.channel, loose.arg.instId) and len(self._known) < _KNOWN_MOST:
            self._known[payload.partition(b"}")[0]] = found
        return found(payload, recv_ns)

    def _reader(self, arg: wire.ArgWire) -> _Read | Drift:
        if arg.channel == "index-tickers":  # named by the underlying, which is no instrument of ours
            return self._indexes(arg.instId)
        channel, traded = self._channels.get(arg.channel), self._traded.get(arg.instId)
        if channel is None:
            return Drift("channel", arg.channel)
        if traded is None:
            return Drift("symbol", arg.instId)
        return channel.bind(channel.decode, traded)

    def _marks(self, decode: _Decode, of: Traded) -> _Read:
        def read(payload: bytes, recv_ns: int) -> Found:
            rate, at_ns = self._funding.get(of.id, (None, None))
            index = self._index.get(of.index)
            return [MarkPrice(of.id, w.ts * NS_PER_MS, w.markPx, index, rate, at_ns, recv_ns) for w in decode(payload).data]

        return read

    def _fundings(self, decode: _Decode, of: Traded) -> _Read:
        def read(payload: bytes, _recv_ns: int) -> Found:
            for w in decode(payload).data:
                self._funding[of.id] = next_funding(w)
            return ()

        return read

    def _indexes(self, underlying: str) -> _Read:
        def read(payload: bytes, _recv_ns: int) -> Found:
            for w in self._index_decode(payload).data:
                self._index[underlying] = w.idxPx
            return ()

        return read


def next_funding(row: wire.FundingRateWire) -> tuple[float | None, int | None]:
    """(rate, when it is paid)."""
    return (row.fundingRate if isinstance(row.fundingRate, float) else None), (row.fundingTime * NS_PER_MS if row.fundingTime else None)


def make_trade(of: Traded, row: wire.TradeWire, recv_ns: int) -> Trade | Drift:
    """A single trade; the venue's side is the taker's. Raises Malformed for a row of another instrument."""
    side = row.side
    if row.instId and row.instId != of.native:
        raise Malformed(f"okx: a message of {of.native} tells of {shown(row.instId)}")
    if side != "buy" and side != "sell":
        return Drift("side", side)
    return Trade(of.id, "trade", str(row.tradeId), row.px, of.base(row.sz, row.px), side, row.ts * NS_PER_MS, recv_ns)  # type: ignore[arg-type]


def make_kline(of: Traded, interval: Interval, row: wire.CandleWire, recv_ns: int) -> Kline | Drift:
    """A kline, final where the venue confirms it. The venue tells no time but the open: that of receipt stands in.

    Raises Malformed for prices that contradict one another.
    """
    open_ns, low, high = row.ts * NS_PER_MS, row.low, row.high
    if not (low <= row.open <= high and low <= row.close <= high):
        raise Malformed(f"okx kline {interval} of {of.id} at {row.ts}: open {row.open} high {high} low {low} close {row.close}")
    if row.confirm != "0" and row.confirm != "1":
        return Drift("confirm", row.confirm)
    if not is_aligned(interval, open_ns):
        return Drift("kline off the grid", f"{of.id} {interval} {row.ts}")
    volume = row.vol if of.is_spot else row.volCcy
    if row.vol > 0 and volume == 0:
        return Drift("kline without a base volume", f"{of.id} {interval} {row.ts}")
    turnover = row.volCcyQuote if isinstance(row.volCcyQuote, float) else None
    if turnover == 0 and volume > 0:
        turnover = None  # rows of before the field was there
    prices = (row.open, high, low, row.close)
    return Kline(of.id, interval, open_ns, *prices, volume, turnover, None, row.confirm == "1", "venue", recv_ns, recv_ns)


def make_ticker(of: Traded, row: wire.TickerWire, recv_ns: int) -> Ticker | Drift:
    """The rolling 24 hours. Of linear contracts the venue does not tell the turnover."""
    if not row.last:
        return Drift("ticker without a price", of.id)
    contracts, in_currency = _number(row.vol24h), _number(row.volCcy24h)
    if of.is_spot:
        volume, turnover = contracts, in_currency
    else:
        volume, turnover = in_currency, (contracts * of.value if of.is_inverse and contracts is not None else None)
    day = (row.open24h or None, row.high24h or None, row.low24h or None)
    return Ticker(of.id, row.last, volume, turnover, *day, row.bidPx or None, row.askPx or None, row.ts * NS_PER_MS, recv_ns)


def _number(value: float | str | None) -> float | None:
    return value if isinstance(value, float) else None


def _trades(decode: _Decode, of: Traded) -> _Read:
    return lambda payload, recv_ns: tuple([make_trade(of, w, recv_ns) for w in decode(payload).data])


def _books(decode: _Decode, of: Traded) -> _Read:
    def read(payload: bytes, recv_ns: int) -> Found:
        frame = decode(payload)
        if not frame.data and frame.action not in _ACTIONS:
            return (Drift("action", frame.action),)
        return tuple(event for w in frame.data for event in _book(frame.action, w, of, recv_ns))

    return read


def _book(action: str, w: wire.BooksWire, of: Traded, recv_ns: int) -> Found:
    levels, number = of.levels, w.seqId
    if number is None:  # before 2023 the time orders messages; it does not chain them
        number = w.ts
    if action == "update":
        return (BookDelta(of.id, number, number, w.prevSeqId, levels(w.bids), levels(w.asks), w.ts * 1_000_000, recv_ns),)
    if action == "snapshot":
        return (BookSnapshot(of.id, number, levels(w.bids), levels(w.asks), w.ts * 1_000_000, recv_ns),)
    return (Drift("action", action),)


def _quotes(decode: _Decode, of: Traded) -> _Read:
    def read(payload: bytes, recv_ns: int) -> Found:
        made = []
        for w in decode(payload).data:
            bid = of.levels(w.bids)[0] if w.bids else (0.0, 0.0)  # a side without orders
            ask = of.levels(w.asks)[0] if w.asks else (0.0, 0.0)
            made.append(BestQuote(of.id, w.seqId, *bid, *ask, w.ts * NS_PER_MS, recv_ns))
        return made

    return read


def _each(make: Callable[[Traded, Any, int], Parsed]) -> Callable[[_Decode, Traded], _Read]:
    return lambda decode, of: lambda payload, recv_ns: [make(of, w, recv_ns) for w in decode(payload).data]


def _candles(interval: Interval) -> Callable[[_Decode, Traded], _Read]:
    grid_ms = FIXED_NS[interval] // NS_PER_MS if interval not in (Interval.WEEK_1, Interval.MONTH_1) else 0

    def bind(decode: _Decode, of: Traded) -> _Read:
        entity, is_spot = of.id, of.is_spot

        def read(payload: bytes, recv_ns: int) -> Found:
            rows = decode(payload).data
            if len(rows) == 1 and grid_ms:
                # As make_kline, without the calls: a frame holds one candle.
                (w,) = rows
                at, opened, high, low, close, last, turnover = w.ts, w.open, w.high, w.low, w.close, w.confirm, w.volCcyQuote
                volume = w.vol if is_spot else w.volCcy
                sound = low <= opened <= high and low <= close <= high and at % grid_ms == 0 and (last == "0" or last == "1")
                if sound and volume and turnover and type(turnover) is float:
                    at_ns, values = at * 1_000_000, (opened, high, low, close, volume, turnover)
                    return (Kline(entity, interval, at_ns, *values, None, last == "1", "venue", recv_ns, recv_ns),)
            return tuple([make_kline(of, interval, w, recv_ns) for w in rows])

        return read

    return bind


def _decoder(row: type) -> Callable[[bytes], Any]:
    envelope = msgspec.defstruct("Envelope", [("data", list[row])], gc=False)  # type: ignore[valid-type]
    return msgspec.json.Decoder(envelope, strict=False).decode


def _ordinary_trade(natives: Collection[str]) -> type:
    """A trade of a side and of instruments that we know. In the venue's order of fields, which is found the soonest."""
    prices: Any = [("tradeId", wire.Id), ("px", wire.Price), ("sz", wire.Quantity), ("side", Literal["buy", "sell"]), ("ts", wire.Moment)]
    return msgspec.defstruct("OrdinaryTrade", [("instId", _literal(natives)), *prices], gc=False)


def _literal(natives: Collection[str]) -> Any:
    return Literal[tuple(natives) or ("",)]


def _narrow_decoder(channel: str, data: Any, natives: Collection[str]) -> Callable[[bytes], Any]:
    """Of frames of one channel, and of instruments that we know. Literals are looked up while decoding: no texts are made of them."""
    names: Any = [("channel", Literal[channel]), ("instId", _literal(natives))]
    arg: Any = msgspec.defstruct("Arg", names, gc=False)
    envelope = msgspec.defstruct("Envelope", [("arg", arg), ("data", data), ("action", str, "")], gc=False)
    return msgspec.json.Decoder(envelope, strict=False).decode


def _answer(loose: wire.LooseWire) -> Found:
    """A frame that is no data: an answer to us, or an announcement."""
    code = str(loose.code)
    told = f"{code}: {loose.msg or ''}"
    if code in SOCKET_RESTART:
        return (Shutdown(),)
    if code in SOCKET_BROKEN:
        return (Broken(f"the venue ended the connection with {told}"),)
    if loose.event == "subscribe" and loose.arg is not None:
        return (Reply(reply_id(loose.arg.channel, loose.arg.instId), None),)
    if loose.event in {"error", "channel-conn-count-error"}:
        return (Reply(None, told if loose.code is not None else str(loose.event)),)
    return () if loose.event in _QUIET else (Drift("event", f"{loose.event} {loose.code or ''}"),)


def reply_id(channel: str, native: str) -> str:
    """What the answer to a subscription is known by: the venue answers each argument by itself."""
    return f"{channel}:{native}"


def _head_of(payload: bytes) -> tuple[str, str]:
    """(channel, symbol) of a frame that begins as the venue's do; empty where it does not."""
    head, at, rest = payload[:_HEAD_MOST].partition(b"}")
    parts = head.split(b'"')
    if not at or not rest or len(parts) != 11 or (parts[1], parts[3], parts[7]) != (b"arg", b"channel", b"instId"):
        return "", ""
    return parts[5].decode(errors="replace"), parts[9].decode(errors="replace")
