"""What follows from a recording of Bybit up to an instant, one symbol at a time. Sizes stay as on the wire."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MS
from zvt_crypto.emulator.bybit.wire import ID_BITS
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import E8, Bar, BookImage, Day, Listing, Mark, Trade, read_e8
from zvt_crypto.emulator.tape import Tape


class _Book(msgspec.Struct):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int


class _Books(msgspec.Struct):
    type: str
    ts: int
    data: _Book


class _Trade(msgspec.Struct):
    i: str
    T: int
    p: str
    v: str
    S: str
    BT: bool = False


class _Trades(msgspec.Struct):
    ts: int
    data: list[_Trade]


class _Kline(msgspec.Struct):
    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str


class _Klines(msgspec.Struct):
    ts: int
    data: list[_Kline]


class _Ticker(msgspec.Struct):
    """Fields that a message does not name are as before."""

    ts: int
    data: dict[str, str | None]


_BOOKS = msgspec.json.Decoder(_Books)
_DECODE: dict[str, msgspec.json.Decoder[Any]] = {
    "trade": msgspec.json.Decoder(_Trades),
    "kline_1m": msgspec.json.Decoder(_Klines),
    "ticker": msgspec.json.Decoder(_Ticker),
}


class RecordedSymbol:
    """reading.SymbolState. Of several books of different depth, `channel` is the one that REST tells; the others are passed over."""

    def __init__(self, channel: str, listing: Listing) -> None:
        self.tape = Tape(listing.worth)
        self.mark: Mark | None = None
        self._channel = channel
        self._update = 0  # `u` of the book; 0: no snapshot has come
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._ticker: dict[str, str] = {}
        self._seen: set[int] = set()

    def apply(self, frame: Frame) -> None:
        """SymbolState.apply."""
        kind = frame.stream.partition("@")[2]
        decoder = _BOOKS if kind == self._channel else _DECODE.get(kind)
        if decoder is None:
            return
        message = decoder.decode(frame.payload)
        self.tape.event_ms = max(self.tape.event_ms, message.ts)
        match message:
            case _Books():
                self._take(message)
            case _Trades():
                for row in message.data:
                    self._trade(row)
            case _Klines():
                for kline in message.data:
                    self.tape.say(_bar(kline))
            case _Ticker():
                self._ticker |= {name: text for name, text in message.data.items() if text}
                self._tell_mark(message.ts)

    def _take(self, message: _Books) -> None:
        if message.type == "snapshot":
            self._bids, self._asks = {}, {}
        elif not self._update:
            return  # changes of a book that nobody knows
        self._update = message.data.u
        for side, rows in ((self._bids, message.data.b), (self._asks, message.data.a)):
            for price, size in rows:
                if amount := read_e8(size):
                    side[read_e8(price)] = amount
                else:
                    side.pop(read_e8(price), None)

    def _trade(self, row: _Trade) -> None:
        """Block trades are agreed upon outside of the book, and count in no kline."""
        known = _number(row.i)
        if row.BT or known is None or known in self._seen:
            return
        self._seen.add(known)
        number = len(self._seen) << ID_BITS | known
        self.tape.add_trade(Trade(number, read_e8(row.p), read_e8(row.v), row.T * NS_PER_MS, row.S == "Sell"))

    def _tell_mark(self, ts: int) -> None:
        told = self._ticker
        if "markPrice" in told:
            due_ns = int(told.get("nextFundingTime", "0")) * NS_PER_MS
            mark, rate = read_e8(told["markPrice"]), read_e8(told.get("fundingRate", "0"))
            self.mark = Mark(mark, read_e8(told.get("indexPrice", told["markPrice"])), rate, due_ns, ts * NS_PER_MS)

    def arrive(self, answer: RestAnswer) -> None:
        """SymbolState.arrive: snapshots come in the stream."""

    def book(self, applied: int, limit: int) -> BookImage:
        """SymbolState.book; its id is `u`."""
        bids, asks = sorted(self._bids.items(), reverse=True)[:limit], sorted(self._asks.items())[:limit]
        return BookImage(self._update, self.tape.event_ms * NS_PER_MS, bids, asks)

    def day(self) -> Day | None:
        """SymbolState.day: the ticker as far as it was told, else what the trades show."""
        told, image = self._ticker, self.book(0, 1)
        if "lastPrice" not in told:
            return self.tape.day(image)
        last = read_e8(told["lastPrice"])
        opened, high, low = (read_e8(told.get(name, told["lastPrice"])) for name in ("prevPrice24h", "highPrice24h", "lowPrice24h"))
        size, turnover = read_e8(told.get("volume24h", "0")), read_e8(told.get("turnover24h", "0")) * E8
        end_ns = self.tape.event_ms * NS_PER_MS
        bar = Bar(end_ns - NS_PER_DAY, opened, high, low, last, size, turnover, 0, 0, 0, -1, -1)
        (bid, ask) = (side[0] if side else (0, 0) for side in (image.bids, image.asks))
        if "bid1Price" in told:
            bid = read_e8(told["bid1Price"]), read_e8(told.get("bid1Size", "0"))
        if "ask1Price" in told:
            ask = read_e8(told["ask1Price"]), read_e8(told.get("ask1Size", "0"))
        return Day(bar, self.tape.trades[-1] if self.tape.trades else None, opened, bid, ask, bar.open_ns, end_ns)


def _number(text: str) -> int | None:
    """An id as a number: digits on spot, a UUID on contracts; None for anything else."""
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        return UUID(text).int
    except ValueError:
        return None


def _bar(row: _Kline) -> Bar:
    opened, high, low, close, size = (read_e8(text) for text in (row.open, row.high, row.low, row.close, row.volume))
    return Bar(row.start * NS_PER_MS, opened, high, low, close, size, read_e8(row.turnover) * E8, 0, 0, 0, -1, -1)
