"""Inverse contracts: whatever an exchange counts in, quantities are base and turnover is quote, in klines, trades, books and tickers."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.venues.conftest import SYMBOLS, Notes
from conformance.venues.desk_bybit import BybitDesk
from conformance.venues.desk_okx import OkxDesk
from zvt_crypto.domain.instrument import CryptoPerp
from zvt_crypto.domain.market import BestQuote, BookSnapshot, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.market import INVERSE
from zvt_crypto.engine.bars import klines_from_trades
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription

DESKS: dict[str, Any] = {"bybit": BybitDesk, "okx": OkxDesk}
CONTRACT = float(INVERSE.contract)  # dollars
AT_VENUE = pytest.mark.parametrize("exchange", DESKS)


def run(exchange: str, scenario: Any) -> Any:
    async def whole() -> Any:
        desk = DESKS[exchange](7, (*SYMBOLS, INVERSE), Notes())
        await desk.connector.fetch_instruments()
        try:
            return await scenario(desk, f"cryptoperp_{exchange}_btcusd", desk.world.listings("coinm")["BTCUSD"])
        finally:
            await desk.close()

    return virtual.run(whole())


def base(price_e8: int, contracts_e8: int) -> float:
    """Contracts at a price → base."""
    return contracts_e8 * CONTRACT / price_e8


@AT_VENUE
def test_the_contract_is_listed_with_its_size_and_the_venues_own_lot(exchange: str) -> None:
    async def scenario(desk: Any, symbol: str, listing: Any) -> Any:
        return desk.connector.instruments.get(symbol)

    listed = run(exchange, scenario)
    assert isinstance(listed, CryptoPerp)
    assert (listed.is_inverse, listed.settlement_currency, listed.quote_asset) == (True, "BTC", "USD")
    # Contracts of 100 dollars, or of one: the lot counts the venue's own.
    assert (listed.contract_size, listed.lot) == (1 if exchange == "bybit" else CONTRACT, 1)


@AT_VENUE
def test_trades_are_in_base(exchange: str) -> None:
    async def scenario(desk: Any, symbol: str, listing: Any) -> Any:
        await desk.clock.sleep(60)
        return await desk.connector.fetch_trades(symbol, limit=100), desk.world.trades(listing, None, 100)

    trades, truth = run(exchange, scenario)
    assert [(t.price, t.quantity) for t in trades] == [(t.price / 1e8, pytest.approx(base(t.price, t.size), rel=1e-12)) for t in truth]
    assert len(trades) == 100


@AT_VENUE
def test_klines_hold_base_and_quote_and_agree_with_the_trades(exchange: str) -> None:
    async def scenario(desk: Any, symbol: str, listing: Any) -> Any:
        await desk.clock.sleep(180)
        since = desk.clock.now_ns() - 20 * NS_PER_MINUTE
        klines = [k for k in await desk.connector.fetch_kdata(symbol, "1m", since) if k.final]
        trades = await desk.connector.fetch_trades(symbol, limit=1_000)
        hours = await desk.connector.fetch_kdata(symbol, "1h", limit=3)
        return klines, desk.world.bars(listing, "1m", klines[0].open_ns, klines[-1].open_ns, 20), trades, hours

    klines, truth, trades, hours = run(exchange, scenario)
    assert [(k.open, k.close) for k in klines] == [(bar.open / 1e8, bar.close / 1e8) for bar in truth]
    assert [k.turnover for k in klines] == [bar.size / 1e8 * CONTRACT for bar in truth]
    assert [k.volume for k in klines] == [pytest.approx(bar.turnover / 1e16, abs=1e-8) for bar in truth]
    assert all(k.turnover / k.volume == pytest.approx(k.close, rel=0.02) for k in (*klines, *hours))
    built = {bar.open_ns: bar for bar in klines_from_trades(trades, continuity="opaque") if bar.final}
    shared = [(built[k.open_ns], k) for k in klines if k.open_ns in built]
    assert len(shared) > 1
    assert [one.volume for one, _ in shared] == [pytest.approx(k.volume, abs=1e-6) for _, k in shared]
    assert [one.turnover for one, _ in shared] == [pytest.approx(k.turnover, rel=1e-4) for _, k in shared]


@AT_VENUE
def test_books_and_tickers_are_in_base(exchange: str) -> None:
    async def scenario(desk: Any, symbol: str, listing: Any) -> Any:
        await desk.clock.sleep(30)
        book = await desk.connector.get_order_book(symbol, 20)
        image, day = desk.world.book(listing, 20), desk.world.day(listing)
        return book, image, await desk.connector.fetch_ticker(symbol), day, await desk.connector.fetch_mark(symbol)

    book, image, ticker, day, mark = run(exchange, scenario)
    for seen, true in ((book.bids, image.bids), (book.asks, image.asks)):
        assert list(seen) == [(price / 1e8, pytest.approx(base(price, size), rel=1e-12)) for price, size in true]
    assert (ticker.volume, ticker.turnover) == (
        pytest.approx(day.bar.turnover / 1e16, rel=1e-3),
        pytest.approx(day.bar.size / 1e6, rel=1e-3),
    )
    assert mark.mark_price == pytest.approx(ticker.price, rel=0.01)


@AT_VENUE
def test_streams_are_in_base(exchange: str) -> None:
    async def scenario(desk: Any, symbol: str, listing: Any) -> Any:
        heard: list[Any] = []
        compared = 0
        wanted = [Subscription(symbol, channel) for channel in ("trade", "depth", "ticker", "quote", "mark")]
        book = Book(symbol)
        for route in desk.connector.routes([*wanted, Subscription(symbol, "kline", Interval("1m"))]):
            stream = await desk.connector.open_stream(route)
            end_ns = desk.clock.now_ns() + 30 * 10**9
            while desk.clock.now_ns() < end_ns:
                for event in await stream.receive():
                    heard.append(event)
                    if type(event).__name__.startswith("Book"):
                        book.apply_event(event)
                image = desk.world.book(listing, 5)
                bids, _ = book.top(5)
                if [level[0] for level in bids] == [price / 1e8 for price, _ in image.bids]:
                    compared += [level[1] for level in bids] == [pytest.approx(base(*level), rel=1e-12) for level in image.bids]
            await stream.close()
        return heard, compared, {t.price: t for t in desk.world.trades(listing, None, 5_000)}, symbol

    heard, compared, _, symbol = run(exchange, scenario)
    assert {type(event) for event in heard} >= {Trade, BookSnapshot, Ticker, BestQuote, MarkPrice, Kline}
    assert {event.instrument for event in heard} == {symbol}
    assert compared > 10
    sizes = [(event.price, event.quantity) for event in heard if isinstance(event, Trade)]
    sizes += [(event.bid, event.bid_quantity) for event in heard if isinstance(event, BestQuote) and event.bid]
    dollars = [price * size / CONTRACT for price, size in sizes]
    assert dollars == [pytest.approx(round(count), abs=1e-6) for count in dollars], "whole contracts each"
    assert len(dollars) > 20
    klines = [event for event in heard if isinstance(event, Kline) and event.volume]
    assert all(k.turnover / k.volume == pytest.approx(k.close, rel=0.02) for k in klines)
    assert klines
