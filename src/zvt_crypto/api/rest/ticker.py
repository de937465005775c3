"""GET /ticker: the newest price of one instrument."""

from __future__ import annotations

from collections.abc import Mapping

from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.fetched import Fetched
from zvt_crypto.api.rest.hot import Answer, find_instrument
from zvt_crypto.api.rows import digits_of, encode, optional_text
from zvt_crypto.api.shapes import TickerRow
from zvt_crypto.domain.errors import NotFound, VenueError
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Ticker, Trade
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.plausible import is_newer
from zvt_crypto.domain.time import NS_PER_S, to_rfc3339

STALE_NS = 10 * NS_PER_S  # the venues send a ticker every second


def ticker_answer(deps: ApiDeps) -> Answer:
    """The endpoint's work: the live ticker; where there is none, or only an old one, the exchange is asked."""
    fetched: Fetched[Ticker] = Fetched(deps.clock)

    async def answer(query: Mapping[str, str]) -> bytes:
        instrument = find_instrument(deps.instruments(), query)
        ticker, trade = deps.live.ticker(instrument.id), deps.live.last_trade(instrument.id)
        if ticker is None or _is_old(ticker, deps.clock.now_ns()):
            ticker = await _ask(deps, fetched, instrument, ticker, trade)
        return encode(ticker_row(instrument, ticker, trade, deps.clock.now_ns()))

    return answer


async def _ask(deps: ApiDeps, fetched: Fetched[Ticker], instrument: Instrument, held: Ticker | None, trade: Trade | None) -> Ticker | None:
    """The exchange's own ticker; if it cannot be had, what we hold, and an error only where we hold nothing."""
    connector = deps.connectors.get(instrument.exchange)
    if connector is not None:
        try:
            return await fetched.get(instrument.id, lambda: connector.fetch_ticker(instrument.id))
        except VenueError:
            if held is None and trade is None:
                raise
    if held is None and trade is None:
        raise NotFound(f"no ticker of {instrument.id}: nothing live, and no connection to {instrument.exchange}")
    return held


def ticker_row(instrument: Instrument, ticker: Ticker | None, trade: Trade | None, now_ns: int) -> TickerRow:
    """The newer of ticker and last trade gives the price; the rolling 24 hours are the ticker's. One of the two must be there."""
    digits = digits_of(instrument)
    newest = ticker if trade is None or (ticker is not None and is_newer(ticker, trade)) else trade
    assert newest is not None
    return TickerRow(
        symbol=instrument.id,
        price=decimal_text(newest.price, digits.price),
        volume=optional_text(ticker.volume, digits.quantity) if ticker else None,
        timestamp=to_rfc3339(newest.event_ns or newest.recv_ns),
        turnover=optional_text(ticker.turnover, digits.price) if ticker else None,
        open=optional_text(ticker.open, digits.price) if ticker else None,
        high=optional_text(ticker.high, digits.price) if ticker else None,
        low=optional_text(ticker.low, digits.price) if ticker else None,
        bid=optional_text(ticker.bid, digits.price) if ticker else None,
        ask=optional_text(ticker.ask, digits.price) if ticker else None,
        stale=_is_old(newest, now_ns),
    )


def _is_old(value: Ticker | Trade, now_ns: int) -> bool:
    """Whether it reached us long ago. Our own clock judges: a replayed recording carries the venue's times of then."""
    return value.recv_ns > 0 and now_ns - value.recv_ns > STALE_NS
