"""What follows from a recording of Advanced Trade up to an instant, one product at a time. Sizes stay as on the wire."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MS, parse_time
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import Agg, Bar, BookImage, Day, Mark, Trade, read_e8
from zvt_crypto.emulator.tape import Tape


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
    """reading.SymbolState: the state after the frames applied so far."""

    def __init__(self) -> None:
        self.tape = Tape()
        self.mark: Mark | None = None
        self.is_whole = False
        self._sides: dict[str, dict[int, int]] = {"bid": {}, "offer": {}}
        self._ticker: _Ticker | None = None
        self._ids: dict[str, int] = {}  # of trades whose ids are no numbers

    def apply(self, frame: Frame) -> None:
        """SymbolState.apply."""
        match frame.stream.partition("@")[2]:
            case "depth":
                books = _BOOKS.decode(frame.payload)
                for event in books.events:
                    self._take(event)
                self._at(books.timestamp)
            case "trade":
                trades = _TRADES.decode(frame.payload)
                rows = sorted((self._trade(row) for event in trades.events for row in event.trades), key=lambda row: row.id)
                for row in rows:
                    self.tape.add_trade(row)
                    self.tape.add_agg(Agg(row.id, row.price, row.size, row.id, row.id, row.time_ns, row.buyer_is_maker))
                self._at(trades.timestamp)
            case "ticker":
                tickers = _TICKERS.decode(frame.payload)
                self._ticker = next((row for event in tickers.events for row in event.tickers), self._ticker)
                self._at(tickers.timestamp)

    def _take(self, event: _BookEvent) -> None:
        if event.type == "snapshot":
            self._sides, self.is_whole = {"bid": {}, "offer": {}}, True
        for level in event.updates:
            side, size = self._sides.setdefault(level.side, {}), read_e8(level.new_quantity)
            if size:
                side[read_e8(level.price_level)] = size
            else:
                side.pop(read_e8(level.price_level), None)

    def _trade(self, row: _Trade) -> Trade:
        known = int(row.trade_id) if row.trade_id.isdecimal() else self._ids.setdefault(row.trade_id, len(self._ids) + 1)
        return Trade(known, read_e8(row.price), read_e8(row.size), parse_time(row.time), row.side == "BUY")

    def _at(self, text: str) -> None:
        self.tape.event_ms = max(self.tape.event_ms, parse_time(text) // NS_PER_MS)

    def arrive(self, answer: RestAnswer) -> None:
        """SymbolState.arrive: snapshots come in the stream."""

    def book(self, applied: int, limit: int) -> BookImage:
        """SymbolState.book; its id is 0 before the first snapshot."""
        bids, asks = sorted(self._sides["bid"].items(), reverse=True), sorted(self._sides["offer"].items())
        return BookImage(applied + 1 if self.is_whole else 0, self.tape.event_ms * NS_PER_MS, bids[:limit], asks[:limit])

    def day(self) -> Day | None:
        """SymbolState.day: the newest recorded ticker, else what the trades show."""
        ticker = self._ticker
        if ticker is None:
            return self.tape.day(self.book(0, 1))
        last, low, high, size = (read_e8(text) for text in (ticker.price, ticker.low_24_h, ticker.high_24_h, ticker.volume_24_h))
        opened = round(last / (1 + float(ticker.price_percent_chg_24_h or 0) / 100))
        end_ns = self.tape.event_ms * NS_PER_MS
        bar = Bar(end_ns - NS_PER_DAY, opened, high, low, last, size, 0, 0, 0, 0, -1, -1)
        bid = (read_e8(ticker.best_bid), read_e8(ticker.best_bid_quantity))
        ask = (read_e8(ticker.best_ask), read_e8(ticker.best_ask_quantity))
        return Day(bar, self.tape.trades[-1] if self.tape.trades else None, opened, bid, ask, bar.open_ns, end_ns)
