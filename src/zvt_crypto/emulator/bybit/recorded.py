"""What follows from a recording of Bybit up to an instant, one symbol at a time. Sizes stay as on the wire."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MS
from zvt_crypto.emulator.bybit.wire import ID_BITS
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import E8, Bar, BookImage, Day, Listing, Mark, Trade, change_side, read_e8
from zvt_crypto.emulator.tape import Level, Tape, checked_id


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


# Of a ticker: what is told again.
_TOLD = (
    "lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h", "volume24h", "turnover24h", "bid1Price", "bid1Size", "ask1Price",
    "ask1Size", "markPrice", "indexPrice", "fundingRate", "nextFundingTime",
)  # fmt: skip


class RecordedSymbol:
    """reading.SymbolState. Of several books of different depth, `channel` is the one that REST tells; the others are passed over."""

    def __init__(self, channel: str, listing: Listing) -> None:
        self.tape = Tape(listing.worth, most_ids=None)
        self.mark: Mark | None = None
        self._channel = channel
        self._update = 0  # `u` of the book; 0: no snapshot has come
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._ticker: dict[str, int] = {}
        self._seen: set[int] = set()

    def apply(self, frame: Frame) -> None:
        """SymbolState.apply."""
        kind = frame.stream.partition("@")[2]
        decoder = _BOOKS if kind == self._channel else _DECODE.get(kind)
        if decoder is None:
            return
        message = decoder.decode(frame.payload)
        match message:
            case _Books():
                self._take(message)
            case _Trades():
                for known, price, size, row in [_traded(row) for row in message.data]:
                    self._trade(known, price, size, row)
            case _Klines():
                for bar in [_bar(kline) for kline in message.data]:
                    self.tape.say(bar)
            case _Ticker():
                self._ticker |= {name: read_e8(text) for name in _TOLD if (text := message.data.get(name))}
                self._tell_mark(message.ts)
        self.tape.hear(message.ts)

    def _take(self, message: _Books) -> None:
        bids, asks, update = _levels(message.data.b), _levels(message.data.a), checked_id(message.data.u)
        if message.type == "snapshot":
            self._bids, self._asks = {}, {}
        elif not self._update:
            return  # changes of a book that nobody knows
        self._update = update
        for side, rows in ((self._bids, bids), (self._asks, asks)):
            change_side(side, rows)

    def _trade(self, known: int | None, price: int, size: int, row: _Trade) -> None:
        """Block trades are agreed upon outside of the book, and count in no kline."""
        if row.BT or known is None or known in self._seen:
            return
        self._seen.add(known)
        number = len(self._seen) << ID_BITS | known
        self.tape.add_trade(Trade(number, price, size, row.T * NS_PER_MS, row.S == "Sell"))

    def _tell_mark(self, ts: int) -> None:
        told = self._ticker
        if "markPrice" in told and self.tape.takes(ts * NS_PER_MS, "ticker"):
            due_ns = told.get("nextFundingTime", 0) // E8 * NS_PER_MS
            mark, rate = told["markPrice"], told.get("fundingRate", 0)
            self.mark = Mark(mark, told.get("indexPrice", mark), rate, due_ns, ts * NS_PER_MS)

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
        last = told["lastPrice"]
        opened, high, low = (told.get(name, last) for name in ("prevPrice24h", "highPrice24h", "lowPrice24h"))
        size, turnover = told.get("volume24h", 0), told.get("turnover24h", 0) * E8
        end_ns = self.tape.event_ms * NS_PER_MS
        bar = Bar(end_ns - NS_PER_DAY, opened, high, low, last, size, turnover, 0, 0, 0, -1, -1)
        (bid, ask) = (side[0] if side else (0, 0) for side in (image.bids, image.asks))
        if "bid1Price" in told:
            bid = told["bid1Price"], told.get("bid1Size", 0)
        if "ask1Price" in told:
            ask = told["ask1Price"], told.get("ask1Size", 0)
        return Day(bar, self.tape.trades[-1] if self.tape.trades else None, opened, bid, ask, bar.open_ns, end_ns)


def _number(text: str) -> int | None:
    """An id as a number: digits on spot, a UUID on contracts; None for anything else. Raises ValueError for too many digits."""
    if text.isascii() and text.isdecimal():
        return checked_id(int(text))
    try:
        return UUID(text).int
    except ValueError:
        return None


def _traded(row: _Trade) -> tuple[int | None, int, int, _Trade]:
    return _number(row.i), read_e8(row.p), read_e8(row.v), row


def _levels(rows: list[tuple[str, str]]) -> list[Level]:
    return [(read_e8(price), read_e8(size)) for price, size in rows]


def _bar(row: _Kline) -> Bar:
    opened, high, low, close, size = (read_e8(text) for text in (row.open, row.high, row.low, row.close, row.volume))
    return Bar(row.start * NS_PER_MS, opened, high, low, close, size, read_e8(row.turnover) * E8, 0, 0, 0, -1, -1)
