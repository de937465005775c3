"""What follows from a recording of OKX up to an instant, one instrument at a time. Sizes are the listing's."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import E8, Agg, Bar, BookImage, Day, Listing, Mark, Trade, change_side, read_e8
from zvt_crypto.emulator.tape import Tape, checked_id

_Level = tuple[str, str, str, str]


class _Book(msgspec.Struct):
    asks: list[_Level]
    bids: list[_Level]
    ts: str = "0"
    seqId: int | None = None  # noqa: N815 - the wire's name; recordings before 2023 have none


class _Books(msgspec.Struct):
    data: list[_Book]
    action: str = ""


class _Trade(msgspec.Struct):
    tradeId: str  # noqa: N815 - the wire's names
    px: str
    sz: str
    side: str
    ts: str
    count: str = "1"


class _Trades(msgspec.Struct):
    data: list[_Trade]


class _Ticker(msgspec.Struct):
    last: str
    open24h: str
    high24h: str
    low24h: str
    vol24h: str
    volCcy24h: str  # noqa: N815
    bidPx: str  # noqa: N815 - the wire's names
    bidSz: str  # noqa: N815
    askPx: str  # noqa: N815
    askSz: str  # noqa: N815
    ts: str


class _Tickers(msgspec.Struct):
    data: list[_Ticker]


class _MarkPrice(msgspec.Struct):
    markPx: str  # noqa: N815 - the wire's name
    ts: str


class _Marks(msgspec.Struct):
    data: list[_MarkPrice]


class _Candles(msgspec.Struct):
    data: list[list[str]]


_DECODE = {
    kind: msgspec.json.Decoder(shape)
    for kind, shape in {
        "depth": _Books, "aggTrade": _Trades, "trade": _Trades, "ticker": _Tickers, "markPrice": _Marks, "kline_1m": _Candles,
    }.items()
}  # fmt: skip


class RecordedInstrument:
    """reading.SymbolState: the state after the frames applied so far."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self.tape = Tape(listing.worth)
        self.mark: Mark | None = None
        self.seq_id = 0  # of the book; 0: no snapshot has come
        self.is_whole = False
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._day: Day | None = None

    def apply(self, frame: Frame) -> None:
        """SymbolState.apply."""
        kind = frame.stream.partition("@")[2]
        if kind not in _DECODE:
            return
        message = _DECODE[kind].decode(frame.payload)
        if isinstance(message, _Books):
            for book in message.data:
                self._take(book, message.action)
        elif isinstance(message, _Candles):
            for bar in [_bar(row, self._listing) for row in message.data]:
                self.tape.say(bar)
        else:
            for one in message.data:
                self._tell(one, kind)

    def _take(self, book: _Book, action: str) -> None:
        bids, asks = ([(read_e8(price), self._size(size)) for price, size, *_ in rows] for rows in (book.bids, book.asks))
        seq_id, at_ms = self.seq_id + 1 if book.seqId is None else checked_id(book.seqId), int(book.ts)
        if action == "snapshot":
            self._bids, self._asks, self.is_whole = {}, {}, True
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            change_side(side, levels)
        self.seq_id = seq_id
        self.tape.hear(at_ms)

    def _size(self, text: str) -> int:
        """A size on the wire as the listing counts."""
        unit = self._listing.unit_e8
        return read_e8(text) * unit // E8 if unit else read_e8(text)

    def _tell(self, one: _Trade | _Ticker | _MarkPrice, kind: str) -> None:
        if isinstance(one, _Trade):
            last, sell, at_ns = checked_id(int(one.tradeId)), one.side == "sell", int(one.ts) * NS_PER_MS
            price, size = read_e8(one.px), self._size(one.sz)
            if kind == "aggTrade":
                self.tape.add_agg(Agg(last, price, size, checked_id(last - int(one.count) + 1), last, at_ns, sell))
            if kind == "trade" or one.count == "1":
                self.tape.add_trade(Trade(last, price, size, at_ns, sell))
        elif isinstance(one, _Ticker):
            day = self._day_of(one)
            self._day = day if self.tape.takes(day.close_ns, "ticker") else self._day
        else:
            mark = read_e8(one.markPx)
            told = Mark(mark, mark, 0, 0, int(one.ts) * NS_PER_MS)
            self.mark = told if self.tape.takes(told.event_ns, "mark price") else self.mark
        self.tape.hear(int(one.ts))

    def arrive(self, answer: RestAnswer) -> None:
        """SymbolState.arrive: snapshots come in the stream."""

    def book(self, applied: int, limit: int) -> BookImage:
        """SymbolState.book."""
        bids, asks = sorted(self._bids.items(), reverse=True)[:limit], sorted(self._asks.items())[:limit]
        return BookImage(self.seq_id if self.is_whole else 0, self.tape.event_ms * NS_PER_MS, bids, asks)

    def day(self) -> Day | None:
        """SymbolState.day: the newest recorded ticker, else what the trades show."""
        if self._day is None:
            return self.tape.day(self.book(0, 1))
        return self._day._replace(last=self.tape.trades[-1] if self.tape.trades else None)

    def _day_of(self, ticker: _Ticker) -> Day:
        end_ns = int(ticker.ts) * NS_PER_MS
        opened, high, low, last = (read_e8(text) for text in (ticker.open24h, ticker.high24h, ticker.low24h, ticker.last))
        bar = Bar(end_ns - 86_400 * 10**9, opened, high, low, last, self._size(ticker.vol24h), self._turnover(ticker), 0, 0, 0, -1, -1)
        bid, ask = (read_e8(ticker.bidPx), self._size(ticker.bidSz)), (read_e8(ticker.askPx), self._size(ticker.askSz))
        return Day(bar, None, opened, bid, ask, bar.open_ns, end_ns)

    def _turnover(self, ticker: _Ticker) -> int:
        """Told on spot (quote) and of inverse contracts (base); of linear ones it is not."""
        is_linear = self._listing.market != "spot" and not self._listing.contract_e8
        return 0 if is_linear else read_e8(ticker.volCcy24h or "0") * E8


def _bar(row: list[str], listing: Listing) -> Bar:
    """A candle: on spot base, quote, quote; of contracts contracts, base, quote."""
    at_ns = int(row[0]) * NS_PER_MS
    opened, high, low, close, size, second = (read_e8(text) for text in row[1:7])
    turnover = read_e8(row[7]) * E8 if len(row) > 7 else 0
    if listing.contract_e8:
        turnover = second * E8
    elif listing.unit_e8:
        size = second
    return Bar(at_ns, opened, high, low, close, size, turnover, 0, 0, 0, -1, -1)
