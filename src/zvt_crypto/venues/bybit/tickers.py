"""Tickers of one instrument, added up from changes: a field that a message does not name has not changed."""

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.market import MarkPrice, Ticker
from zvt_crypto.venues.bybit.wire import TickerWire
from zvt_crypto.venues.parsed import Drift, Parsed

_DAY = ("lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h", "volume24h", "turnover24h", "bid1Price", "ask1Price")
_MARK = ("markPrice", "indexPrice", "fundingRate", "nextFundingTime")


class TickerState:
    """What is known of `native` since the last whole message. Gives the events that it was made for, when something of theirs changed."""

    def __init__(self, native: str, instrument: str, gives_ticker: bool, gives_mark: bool) -> None:
        self.native = native
        self._instrument = instrument
        self._gives_ticker, self._gives_mark = gives_ticker, gives_mark
        self._known = TickerWire(native)

    def take(self, news: TickerWire, event_ns: int, recv_ns: int) -> Sequence[Parsed]:
        """The events of a message. Raises Malformed for a day whose high is below its low."""
        has_day, has_mark = self._merge(news, _DAY), self._merge(news, _MARK)
        made: list[Parsed] = []
        if has_day and self._gives_ticker:
            made.append(ticker_of(self._known, self._instrument, event_ns, recv_ns))
        if has_mark and self._gives_mark:
            made.append(mark_of(self._known, self._instrument, event_ns, recv_ns))
        return made

    def _merge(self, news: TickerWire, names: tuple[str, ...]) -> bool:
        changed = False
        for name in names:
            value = getattr(news, name)
            if value is not None:
                setattr(self._known, name, value)
                changed = True
        return changed


def ticker_of(row: TickerWire, instrument: str, event_ns: int, recv_ns: int) -> Ticker | Drift:
    """The rolling 24 hours; Drift where nothing traded yet. An empty text, and a price of zero, is no number."""
    price = row.lastPrice or None
    if price is None:
        return Drift("ticker without a price", row.symbol)
    opened, high, low = row.prevPrice24h or None, row.highPrice24h or None, row.lowPrice24h or None
    if high is not None and low is not None and high < low:
        raise Malformed(f"bybit ticker of {row.symbol}: high {high} below low {low}")
    volume = None if row.volume24h == "" else row.volume24h
    turnover = None if row.turnover24h == "" else row.turnover24h
    quotes = (row.bid1Price or None, row.ask1Price or None)
    return Ticker(instrument, price, volume, turnover, opened, high, low, *quotes, event_ns, recv_ns)


def mark_of(row: TickerWire, instrument: str, event_ns: int, recv_ns: int) -> MarkPrice | Drift:
    """Mark and index price. Dated contracts have no funding: an empty rate, and a next time of zero."""
    price = row.markPrice or None
    if price is None:
        return Drift("no mark price", row.symbol)
    rate = row.fundingRate if isinstance(row.fundingRate, float) else None
    following = row.nextFundingTime * 1_000_000 if row.nextFundingTime else None
    return MarkPrice(instrument, event_ns, price, row.indexPrice or None, rate, following, recv_ns)
