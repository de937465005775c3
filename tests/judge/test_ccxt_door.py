"""The door through ccxt gives the same as a connector of our own, where the exchange is the same: OKX's dialect on real sockets."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import pytest
from judge_kit import START_NS, Bench, BenchClock, Silent, bench

from zvt_crypto.domain.errors import BadInput, GeoBlocked, Malformed, Refused, Throttled, UnknownSymbol, Unreachable, Unsupported
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp
from zvt_crypto.domain.market import BookSnapshot, BookStale, Kline, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval
from zvt_crypto.emulator.market import READY_SYMBOLS
from zvt_crypto.emulator.okx.dialect import OkxDialect
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.ccxt import CcxtConnector
from zvt_crypto.venues.ccxt.library import asked, make_client
from zvt_crypto.venues.ccxt.rows import book, kline, ticker, trade
from zvt_crypto.venues.ccxt.symbols import instruments_of
from zvt_crypto.venues.http import NetTransport
from zvt_crypto.venues.okx import OkxConnector, OkxHosts

PAIR, PERP, INVERSE = "cryptopair_okx_btcusdt", "cryptoperp_okx_btcusdt", "cryptoperp_okx_btcusd"


class Two:
    """The door and our own connector, at one emulated exchange."""

    def __init__(self, held: Bench, door: CcxtConnector, ours: OkxConnector) -> None:
        self.held, self.door, self.ours = held, door, ours

    async def both(self, call: Any) -> tuple[Any, Any]:
        return await self.held.until(call(self.door)), await self.held.until(call(self.ours))


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    async with bench(OkxDialect, symbols=READY_SYMBOLS) as (held, rest_url, ws_url):
        clock, transport = BenchClock(held), NetTransport()
        urls = {"api": {"rest": rest_url, "ws": f"{ws_url}/ws/v5"}}
        door = CcxtConnector("okx", clock, Silent(), config={"urls": urls, "enableRateLimit": False})  # type: ignore[arg-type]
        budget = LimitBudget(clock, Silent())  # type: ignore[arg-type]
        ours = OkxConnector(transport, clock, budget, Silent(), hosts=OkxHosts.local(rest_url, ws_url))  # type: ignore[arg-type]
        try:
            await held.until(door.fetch_instruments())
            await held.until(ours.fetch_instruments())
            yield Two(held, door, ours)
        finally:
            await door.close()
            await transport.close()


async def test_lists_the_same_instruments_with_the_same_ids_and_steps(two: Two) -> None:
    door, ours = ({i.id: i for i in c.instruments} for c in (two.door, two.ours))
    assert set(door) == set(ours)
    for name, one in door.items():
        assert (one.native_symbol, one.tick, one.lot, type(one)) == (
            ours[name].native_symbol,
            ours[name].tick,
            ours[name].lot,
            type(ours[name]),
        )
    assert isinstance(door[PAIR], CryptoPair)
    assert isinstance(door[PERP], CryptoPerp)


@pytest.mark.parametrize("symbol", [PAIR, PERP, INVERSE])
async def test_gives_the_same_klines_trades_and_books(two: Two, symbol: str) -> None:
    since = START_NS - 700 * NS_PER_MINUTE
    door, ours = await two.both(lambda c: c.fetch_kdata(symbol, "1m", since=since, until=START_NS - 5 * NS_PER_MINUTE))

    def values(k: Kline) -> tuple[Any, ...]:
        return (k.open_ns, k.open, k.high, k.low, k.close, k.final)

    assert [values(k) for k in door] == [values(k) for k in ours]
    assert len(door) == 695
    door, ours = await two.both(lambda c: c.fetch_trades(symbol, limit=50))
    known = {t.trade_id: t for t in ours}
    same = [(t, known[t.trade_id]) for t in door if t.trade_id in known]
    assert len(same) > 30
    assert all((a.price, a.quantity, a.side, a.event_ns) == (b.price, b.quantity, b.side, b.event_ns) for a, b in same)
    door, ours = await two.both(lambda c: c.get_order_book(symbol, 5))
    assert (len(door.bids), len(door.asks)) == (5, 5)
    assert {price for price, _ in door.bids} & {price for price, _ in ours.bids}
    door, ours = await two.both(lambda c: c.fetch_ticker(symbol))
    assert door.price == pytest.approx(ours.price, rel=0.01)


async def test_perpetuals_have_funding_and_a_mark(two: Two) -> None:
    door, ours = await two.both(lambda c: c.fetch_funding(PERP))
    assert {(f.event_ns, f.rate) for f in door} <= {(f.event_ns, f.rate) for f in ours}
    assert door
    with pytest.raises(Unsupported, match=PAIR):
        await two.door.fetch_funding(PAIR)
    with pytest.raises(Unsupported, match="history of mark prices"):
        await two.door.fetch_mark_kdata(PERP)


async def test_streams_trades_books_tickers_and_klines_that_close_once_rest_says_so(two: Two) -> None:
    wanted = [
        Subscription(PAIR, "trade"),
        Subscription(PAIR, "depth"),
        Subscription(PAIR, "ticker"),
        Subscription(PAIR, "kline", Interval.MIN_1),
    ]
    (route,) = two.door.routes(wanted)
    stream = await two.door.open_stream(route)
    heard: list[Any] = []

    async def listen() -> None:
        while sum(isinstance(e, Kline) and e.final for e in heard) < 1 or {type(e) for e in heard} < {Trade, BookSnapshot, Ticker, Kline}:
            heard.extend(await stream.receive())

    await two.held.until(listen())
    await stream.close()
    trades = [e for e in heard if isinstance(e, Trade)]
    known = await two.held.until(two.ours.fetch_trades(PAIR, limit=500))
    assert {t.trade_id for t in trades} & {t.trade_id for t in known}
    (closed,) = [e for e in heard if isinstance(e, Kline) and e.final][:1]
    (told,) = await two.held.until(two.ours.fetch_kdata(PAIR, "1m", since=closed.open_ns, limit=1))
    assert (closed.open, closed.high, closed.low, closed.close) == (told.open, told.high, told.low, told.close)


async def test_a_cut_is_a_disconnect_after_a_stale_book(two: Two) -> None:
    stream = await two.door.open_stream([Subscription(PAIR, "depth")])
    await two.held.until(stream.receive())
    await two.held.server.stop()
    heard: list[Any] = []

    async def listen() -> None:
        while True:
            heard.extend(await stream.receive())

    with pytest.raises(Exception, match="okx") as ended:
        await two.held.until(listen())
    assert isinstance(ended.value, (Unreachable, Refused)) or type(ended.value).__name__ == "Disconnected"
    assert isinstance(heard[-1], BookStale)
    await stream.close()


async def test_wrong_calls_are_named(two: Two) -> None:
    for call, error in (
        (two.door.fetch_kdata("NOPE", "1m"), UnknownSymbol),
        (two.door.fetch_trades(PAIR, from_id=5), Unsupported),
        (two.door.fetch_trades(PAIR, stream="agg"), BadInput),
        (two.door.get_order_book(PAIR, 0), BadInput),
    ):
        with pytest.raises(error):
            await call
    for one, error in (
        (Subscription(PAIR, "kline"), BadInput),
        (Subscription(PAIR, "mark"), Unsupported),
        (Subscription("cryptopair_okx_nope", "trade"), UnknownSymbol),
    ):
        with pytest.raises(error):
            two.door.routes([one])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (ccxt.RateLimitExceeded("slow"), Throttled),
        (ccxt.DDoSProtection("slow"), Throttled),
        (ccxt.ExchangeNotAvailable("HTTP 451 restricted location"), GeoBlocked),
        (ccxt.RequestTimeout("late"), Unreachable),
        (ccxt.OnMaintenance("down"), Unreachable),
        (ccxt.BadResponse("<html>"), Malformed),
        (ccxt.BadSymbol("what"), Refused),
        (ccxt.NotSupported("no"), Unsupported),
        (KeyError("result"), Malformed),
    ],
)
async def test_errors_of_ccxt_have_the_fate_of_ours(theirs: Exception, ours: type[Exception]) -> None:
    async def fail() -> None:
        raise theirs

    with pytest.raises(ours, match="kraken book"):
        await asked("kraken", "book", fail())


def test_an_exchange_that_ccxt_does_not_know_or_no_ccxt_at_all_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsupported, match="mtgox"):
        make_client("mtgox")
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    with pytest.raises(Unsupported, match="pip install"):
        make_client("kraken")


def test_rows_that_cannot_be_are_refused() -> None:
    good = {"id": "1", "side": "buy", "timestamp": 1, "price": 2.0, "amount": 3.0}
    assert trade("i", good, 0.01).quantity == 0.03
    for wrong in ({"id": None}, {"side": None}, {"price": "NaN"}, {"amount": -1}, {"timestamp": None}):
        with pytest.raises(Malformed):
            trade("i", good | wrong, 1.0)
    with pytest.raises(Malformed, match="crossed"):
        book("i", {"bids": [[2, 1]], "asks": [[1, 1]]}, 1.0, 1, 1)
    with pytest.raises(Malformed, match="level"):
        book("i", {"bids": [[-2, 1]], "asks": []}, 1.0, 1, 1)
    for row in ([60_000, 2, 1, 1, 1, 1], [60_001, 1, 1, 1, 1, 1], [60_000, 1, 1, 1, 1, -1]):
        with pytest.raises(Malformed):
            kline("i", Interval.MIN_1, row, final=True)
    with pytest.raises(Malformed):
        ticker("i", {"last": None}, 1)


def test_steps_of_every_precision_mode() -> None:
    market = {"id": "XBTUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True, "precision": {"price": 1, "amount": 8}}
    ((one,), _) = instruments_of("kraken", [market], 2)
    assert (str(one.tick), str(one.lot)) == ("0.1", "1E-8")
    ((none,), _) = instruments_of("kraken", [market], 3)
    assert none.tick is None
    _, drift = instruments_of("kraken", [{"symbol": "X"}], 4)
    assert drift[0].what == "market that cannot be read"
    assert instruments_of("kraken", [market | {"spot": False, "option": True}], 4) == ([], [])
