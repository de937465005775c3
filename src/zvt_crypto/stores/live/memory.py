"""Live state in this process's memory."""

from __future__ import annotations

from typing import TypeVar

from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Kline, Ticker, Trade
from zvt_crypto.domain.plausible import is_newer
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.book import Book
from zvt_crypto.stores.live.bars import RecentBars

Timed = TypeVar("Timed", Trade, Ticker)


class MemoryLiveState:
    """ports.LiveState. Grows with the instruments that events name, and by nothing else: 1,500 final bars each interval, one book,
    one ticker, one trade an instrument."""

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}
        self._tickers: dict[str, Ticker] = {}
        self._trades: dict[str, Trade] = {}
        self._bars: dict[tuple[str, Interval], RecentBars] = {}

    def apply(self, event: Event) -> None:
        """Take an event in. Tickers and trades that are older than the one held are ignored, as `is_newer` says."""
        match event:
            case Trade():
                _keep_newest(self._trades, event)
            case BookDelta() | BookSnapshot() | BookStale():
                book = self._books.get(event.instrument)
                if book is None:
                    book = self._books[event.instrument] = Book(event.instrument)
                book.apply_event(event)
            case Kline():
                key = (event.instrument, event.interval)
                bars = self._bars.get(key)
                if bars is None:
                    bars = self._bars[key] = RecentBars(event.interval)
                bars.apply(event)
            case Ticker():
                _keep_newest(self._tickers, event)
            case _:
                pass  # quotes, marks, funding, gaps and states of connections have no newest value here

    def book(self, instrument: str) -> Book | None:
        """The book, valid or not; None where no event named it."""
        return self._books.get(instrument)

    def ticker(self, instrument: str) -> Ticker | None:
        """The newest ticker."""
        return self._tickers.get(instrument)

    def last_trade(self, instrument: str) -> Trade | None:
        """The newest trade of either stream."""
        return self._trades.get(instrument)

    def klines(self, instrument: str, interval: Interval, limit: int) -> list[Kline]:
        """As ports.LiveState says."""
        bars = self._bars.get((instrument, interval))
        return [] if bars is None else bars.newest(limit)

    def forming(self, instrument: str, interval: Interval) -> Kline | None:
        """The bar that is not final yet."""
        bars = self._bars.get((instrument, interval))
        return None if bars is None else bars.forming()


def _keep_newest(held: dict[str, Timed], event: Timed) -> None:
    now = held.get(event.instrument)
    if now is None or is_newer(event, now):
        held[event.instrument] = event
