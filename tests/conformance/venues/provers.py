"""A row a feature: how what a venue claims is proved on its emulator. `PROVERS` holds every feature of venues.capability."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from zvt_crypto.domain.errors import Unsupported
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import INTERVALS, NS_PER_MINUTE, NS_PER_S, Interval, floor_ns, next_ns
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.capability import Claim

Prover = Callable[[Any, str, Claim], Awaitable[None]]
# How long a stream may take until it says something of a kind: forming klines come at most every minute.
PATIENCE_S = 75.0


async def _instruments(desk: Any, symbol: str, claim: Claim) -> None:
    kind = CryptoPair if symbol.startswith("cryptopair") else CryptoPerp
    listed = [one for one in await desk.connector.fetch_instruments() if isinstance(one, kind)]
    assert symbol in {one.id for one in listed}
    assert all(one.tick > 0 and one.lot > 0 and one.native_symbol for one in listed)


async def _server_time(desk: Any, symbol: str, claim: Claim) -> None:
    assert abs(await desk.connector.fetch_server_time() - desk.clock.now_ns()) < NS_PER_S


async def _ticker(desk: Any, symbol: str, claim: Claim) -> None:
    ticker = await desk.connector.fetch_ticker(symbol)
    assert ticker.instrument == symbol
    assert ticker.price > 0
    assert ticker.volume > 0


async def _book(desk: Any, symbol: str, claim: Claim) -> None:
    book = await desk.connector.get_order_book(symbol, depth=5)
    assert (len(book.bids), len(book.asks)) == (5, 5)
    assert book.bids[0][0] < book.asks[0][0]


async def _newest_trades(desk: Any, symbol: str, claim: Claim) -> None:
    trades = await desk.connector.fetch_trades(symbol, limit=20)
    assert 0 < len(trades) <= 20
    assert [t.event_ns for t in trades] == sorted(t.event_ns for t in trades)
    assert desk.clock.now_ns() - trades[-1].event_ns < NS_PER_MINUTE


async def _trades_since(desk: Any, symbol: str, claim: Claim) -> None:
    since = desk.clock.now_ns() - 30 * NS_PER_MINUTE
    trades = await desk.connector.fetch_trades(symbol, since)
    if claim.newest is None:
        assert trades[0].event_ns - since < 5 * NS_PER_MINUTE, "the beginning is there"
    else:
        assert 0 < len(trades) <= claim.newest
        assert desk.clock.now_ns() - trades[-1].event_ns < NS_PER_MINUTE
    assert all(t.event_ns >= since for t in trades)
    assert len({t.trade_id for t in trades}) == len(trades)


async def _trades_by_id(desk: Any, symbol: str, claim: Claim) -> None:
    last = int((await desk.connector.fetch_trades(symbol, limit=1))[-1].trade_id)
    trades = await desk.connector.fetch_trades(symbol, from_id=last - 150, to_id=last - 20)
    assert [int(t.trade_id) for t in trades] == list(range(last - 150, last - 19))


async def _funding(desk: Any, symbol: str, claim: Claim) -> None:
    rows = await desk.connector.fetch_funding(symbol)
    assert rows == sorted(rows, key=lambda row: row.event_ns)
    assert len(rows) > 2


async def _mark(desk: Any, symbol: str, claim: Claim) -> None:
    mark = await desk.connector.fetch_mark(symbol)
    assert mark.mark_price > 0


async def _mark_history(desk: Any, symbol: str, claim: Claim) -> None:
    since = desk.clock.now_ns() - 40 * NS_PER_MINUTE
    rows = await desk.connector.fetch_mark_kdata(symbol, since=since)
    assert 38 <= len(rows) <= 41
    assert all(row.mark_price > 0 for row in rows)


def _klines(interval: Interval) -> Prover:
    async def prove(desk: Any, symbol: str, claim: Claim) -> None:
        rows = await desk.connector.fetch_kdata(symbol, interval, limit=3)
        assert rows
        assert {row.source for row in rows} == {"venue" if claim.how == "native" else "derived"}
        now_ns = desk.clock.now_ns()
        assert all(row.open_ns == floor_ns(interval, row.open_ns) for row in rows)
        assert not any(row.final and next_ns(interval, row.open_ns) > now_ns for row in rows)

    return prove


def _stream(channel: str, kinds: tuple[type, ...], interval: Interval | None = None) -> Prover:
    async def prove(desk: Any, symbol: str, claim: Claim) -> None:
        name = desk.connector.trade_stream(symbol) if channel == "trade" else channel
        stream = await desk.connector.open_stream([Subscription(symbol, name, interval)])
        until_ns = desk.clock.now_ns() + int(PATIENCE_S * NS_PER_S)
        heard: set[type] = set()
        try:
            while not set(kinds) <= heard and desk.clock.now_ns() < until_ns:
                heard |= {type(event) for event in await stream.receive() if event.instrument == symbol}
        finally:
            await stream.close()
        assert set(kinds) <= heard

    return prove


PROVERS: dict[str, Prover] = {
    "instruments": _instruments,
    "server_time": _server_time,
    "ticker": _ticker,
    "book": _book,
    "trades.newest": _newest_trades,
    "trades.since": _trades_since,
    "trades.by_id": _trades_by_id,
    "funding": _funding,
    "mark": _mark,
    "mark.history": _mark_history,
    **{f"klines.{interval}": _klines(interval) for interval in INTERVALS},
    "stream.trades": _stream("trade", (Trade,)),
    "stream.book": _stream("depth", (BookSnapshot, BookDelta)),
    "stream.ticker": _stream("ticker", (Ticker,)),
    "stream.quote": _stream("quote", (BestQuote,)),
    "stream.mark": _stream("mark", (MarkPrice,)),
    **{f"stream.klines.{interval}": _stream("kline", (Kline,), interval) for interval in INTERVALS},
}


async def refuses(desk: Any, feature: str, symbol: str, claim: Claim) -> None:
    """What a venue says it cannot do, its connector refuses as Unsupported, before anything is asked of the venue."""
    if feature.startswith("stream.klines."):
        with pytest.raises(Unsupported):
            desk.connector.routes([Subscription(symbol, "kline", Interval(feature.removeprefix("stream.klines.")))])
        return
    if feature.startswith("stream."):
        with pytest.raises(Unsupported):
            desk.connector.routes([Subscription(symbol, {"book": "depth", "trades": "trade"}.get(feature[7:], feature[7:]))])
        return
    if feature == "trades.by_id":
        with pytest.raises(Unsupported):
            await desk.connector.fetch_trades(symbol, from_id=1, to_id=2)
        return
    with pytest.raises(Unsupported):
        await PROVERS[feature](desk, symbol, claim)
