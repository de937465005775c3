"""What follows from a recording of Coinbase up to an instant, one product at a time. Sizes stay as on the wire."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MS, parse_time
from zvt_crypto.emulator.coinbase.feed_recorded import Levels, read_book, read_match, read_ticker
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import Agg, Bar, BookImage, Day, Mark, Trade, change_side, read_e8
from zvt_crypto.emulator.tape import Tape, checked_id


class _Level(msgspec.Struct, gc=False):
    side: str
    price_level: str
    new_quantity: str


class _BookEvent(msgspec.Struct):
    type: str
    updates: list[_Level]


class _Books(msgspec.Struct):
    timestamp: str
    events: list[_BookEvent]


class _Trade(msgspec.Struct):
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class _TradesEvent(msgspec.Struct):
    trades: list[_Trade]


class _Trades(msgspec.Struct):
    timestamp: str
    events: list[_TradesEvent]


class _Ticker(msgspec.Struct):
    price: str
    volume_24_h: str
    low_24_h: str
    high_24_h: str
    price_percent_chg_24_h: str = "0"
    best_bid: str = "0"
    best_bid_quantity: str = "0"
    best_ask: str = "0"
    best_ask_quantity: str = "0"


class _TickersEvent(msgspec.Struct):
    tickers: list[_Ticker]


class _Tickers(msgspec.Struct):
    timestamp: str
    events: list[_TickersEvent]


_BOOKS, _TRADES, _TICKERS = msgspec.json.Decoder(_Books), msgspec.json.Decoder(_Trades), msgspec.json.Decoder(_Tickers)


class RecordedProduct:
    """reading.SymbolState: the state after the frames applied so far. `books`: the channel that its book is taken from."""

    def __init__(self, books: str) -> None:
        self._books = books
        self.tape = Tape()
        self.mark: Mark | None = None
        self.is_whole = False
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._ticker: Day | None = None
        self._ids: dict[str, int] = {}  # of trades whose ids are no numbers

    def apply(self, frame: Frame) -> None:
        """SymbolState.apply."""
        match frame.stream.partition("@")[2]:
            case "feed_depth" if self._books == "feed_depth":
                book = read_book(frame.payload)
                self._change(book.bids, book.asks, is_whole=book.is_whole)
                self._at_ns(book.at_ns)
            case "feed_trade":
                self._add(read_match(frame.payload))
            case "feed_ticker":
                day = read_ticker(frame.payload)
                if day.close_ns == 0 or self.tape.takes(day.close_ns, "ticker"):  # old ones tell no time
                    self._ticker = day
                self._at_ns(day.close_ns)
            case "depth":
                books = _BOOKS.decode(frame.payload)
                at_ns = parse_time(books.timestamp)
                for is_whole, bids, asks in [_read(event) for event in books.events]:
                    self._change(bids, asks, is_whole=is_whole)
                self._at_ns(at_ns)
            case "trade":
                trades = _TRADES.decode(frame.payload)
                at_ns = parse_time(trades.timestamp)
                rows = sorted((self._trade(row) for event in trades.events for row in event.trades), key=lambda row: row.id)
                for row in rows:
                    self._add(row)
                self._at_ns(at_ns)
            case "ticker":
                tickers = _TICKERS.decode(frame.payload)
                self._at_ns(parse_time(tickers.timestamp))
                told = next((row for event in tickers.events for row in event.tickers), None)
                self._ticker = self._ticker if told is None else _day(told, self.tape.event_ms * NS_PER_MS)

    def _change(self, bids: Levels, asks: Levels, *, is_whole: bool) -> None:
        if is_whole:
            self._bids, self._asks, self.is_whole = {}, {}, True
        for side, rows in ((self._bids, bids), (self._asks, asks)):
            change_side(side, rows)

    def _add(self, row: Trade) -> None:
        self.tape.add_trade(row)
        self.tape.add_agg(Agg(row.id, row.price, row.size, row.id, row.id, row.time_ns, row.buyer_is_maker))
        self._at_ns(row.time_ns)

    def _trade(self, row: _Trade) -> Trade:
        price, size, at_ns = read_e8(row.price), read_e8(row.size), parse_time(row.time)
        is_number = row.trade_id.isdecimal()
        known = checked_id(int(row.trade_id)) if is_number else self._ids.setdefault(row.trade_id, len(self._ids) + 1)
        return Trade(known, price, size, at_ns, row.side == "BUY")

    def _at_ns(self, at_ns: int) -> None:
        self.tape.hear(at_ns // NS_PER_MS)

    def arrive(self, answer: RestAnswer) -> None:
        """SymbolState.arrive: snapshots come in the stream."""

    def book(self, applied: int, limit: int) -> BookImage:
        """SymbolState.book; its id is 0 before the first snapshot."""
        bids, asks = sorted(self._bids.items(), reverse=True), sorted(self._asks.items())
        return BookImage(applied + 1 if self.is_whole else 0, self.tape.event_ms * NS_PER_MS, bids[:limit], asks[:limit])

    def day(self) -> Day | None:
        """SymbolState.day: the newest recorded ticker, else what the trades show."""
        if self._ticker is None:
            return self.tape.day(self.book(0, 1))
        return self._ticker._replace(last=self.tape.trades[-1] if self.tape.trades else None)


def _read(event: _BookEvent) -> tuple[bool, Levels, Levels]:
    sides: dict[str, Levels] = {}
    for level in event.updates:
        sides.setdefault(level.side, []).append((read_e8(level.price_level), read_e8(level.new_quantity)))
    return event.type == "snapshot", sides.get("bid", []), sides.get("offer", [])


def _day(ticker: _Ticker, end_ns: int) -> Day:
    last, low, high, size = (read_e8(text) for text in (ticker.price, ticker.low_24_h, ticker.high_24_h, ticker.volume_24_h))
    opened = round(last / (1 + float(ticker.price_percent_chg_24_h or 0) / 100))
    bar = Bar(end_ns - NS_PER_DAY, opened, high, low, last, size, 0, 0, 0, 0, -1, -1)
    bid = (read_e8(ticker.best_bid), read_e8(ticker.best_bid_quantity))
    ask = (read_e8(ticker.best_ask), read_e8(ticker.best_ask_quantity))
    return Day(bar, None, opened, bid, ask, bar.open_ns, end_ns)
