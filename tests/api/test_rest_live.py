"""GET /ticker and /orderbook over HTTP: live first, the exchange where nothing is live, never a stale book."""

from __future__ import annotations

import pytest

from api.api_parts import BTC, NOW, Api
from zvt_crypto.domain.errors import GeoBlocked, Throttled, Unreachable
from zvt_crypto.domain.market import BookSnapshot, BookStale, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S

BOOK = BookSnapshot(
    BTC.id, 50310425861, [(100.5, 1.0), (100.0, 2.0), (99.5, 3.0)], [(101.0, 0.5), (102.0, 1.5)], NOW - 20 * NS_PER_MS, NOW - 12 * NS_PER_MS
)
TICKER = Ticker(BTC.id, 61709.99, 25310.12345, None, 57200.0, 62745.14, 56986.0, None, 61710.0, NOW - 100 * NS_PER_MS, NOW - 50 * NS_PER_MS)


async def test_a_live_book_is_served_with_its_age_best_levels_first(api: Api) -> None:
    api.live.apply(BOOK)
    assert await api.get("/orderbook", symbol=BTC.id, depth="2") == (
        200,
        {
            "bids": [["100.50", "1.00000"], ["100.00", "2.00000"]],
            "asks": [["101.00", "0.50000"], ["102.00", "1.50000"]],
            "timestamp": "2024-08-09T00:01:15.079Z",
            "symbol": BTC.id,
            "stale": False,
            "age_ms": 12,
            "update_id": 50310425861,
        },
    )


async def test_a_stale_book_is_refused_even_where_the_exchange_could_be_asked(api: Api) -> None:
    api.live.apply(BOOK)
    api.live.apply(BookStale(BTC.id, "a gap", NOW))
    async with api.http.get(f"{api.url}/api/v1/crypto/orderbook", params={"symbol": BTC.id}) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"], answer.headers["retry-after"]) == (503, "stale", "1")
        assert answer.content_type == "application/problem+json"
    assert "100.5" not in str(problem)
    assert api.connector.asked == 0


async def test_a_book_that_nobody_keeps_is_asked_of_the_exchange_once_for_a_second(api: Api) -> None:
    api.connector.book = BOOK
    for _ in range(3):
        status, answer = await api.get("/orderbook", symbol=BTC.id)
        assert (status, len(answer["bids"]), answer["stale"]) == (200, 3, False)
    assert api.connector.asked == 1
    api.clock.ns += NS_PER_S
    await api.get("/orderbook", symbol=BTC.id)
    assert api.connector.asked == 2


@pytest.mark.parametrize("depth", ["0", "1001", "-1", "twenty"])
async def test_a_depth_out_of_bounds_is_named(api: Api, depth: str) -> None:
    status, problem = await api.get("/orderbook", symbol=BTC.id, depth=depth)
    assert (status, problem["code"]) == (422, "out_of_range")
    assert f"'{depth}'" in problem["detail"]


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"),
    [
        (Unreachable("no answer"), 503, "venue_unreachable", None),
        (Throttled("slow down", 2_500), 503, "venue_throttled", "3"),
        (GeoBlocked("binance does not serve this region"), 502, "venue_geo_blocked", None),
    ],
)
async def test_what_the_exchange_does_to_us_is_told_apart(api: Api, error: Exception, status: int, code: str, retry: str | None) -> None:
    api.connector.book = error  # type: ignore[assignment]
    async with api.http.get(f"{api.url}/api/v1/crypto/orderbook", params={"symbol": BTC.id}) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"], answer.headers.get("retry-after")) == (status, code, retry)
        assert str(error) == problem["detail"]


async def test_a_live_ticker_has_the_keys_of_the_contract(api: Api) -> None:
    api.live.apply(TICKER)
    assert await api.get("/ticker", symbol=BTC.id) == (
        200,
        {
            "symbol": BTC.id,
            "price": "61709.99",
            "volume": "25310.12345",
            "timestamp": "2024-08-09T00:01:14.999Z",
            "turnover": None,
            "open": "57200.00",
            "high": "62745.14",
            "low": "56986.00",
            "bid": None,
            "ask": "61710.00",
            "stale": False,
        },
    )
    assert api.connector.asked == 0


async def test_a_trade_newer_than_the_ticker_gives_the_price(api: Api) -> None:
    api.live.apply(TICKER)
    api.live.apply(Trade(BTC.id, "trade", "7", 61800.0, 0.1, "buy", NOW, NOW))
    _, answer = await api.get("/ticker", symbol=BTC.id)
    assert (answer["price"], answer["volume"], answer["timestamp"]) == ("61800.00", "25310.12345", "2024-08-09T00:01:15.099Z")


async def test_an_old_ticker_is_asked_anew_and_called_stale_where_that_fails(api: Api) -> None:
    api.live.apply(TICKER)
    api.clock.ns += 11 * NS_PER_S
    api.connector.ticker = Unreachable("no answer")
    _, answer = await api.get("/ticker", symbol=BTC.id)
    assert (answer["price"], answer["stale"]) == ("61709.99", True)
    fresh = Ticker(BTC.id, 7.0, None, None, None, None, None, None, None, api.clock.ns, api.clock.ns)
    api.connector.ticker = fresh
    _, answer = await api.get("/ticker", symbol=BTC.id)
    assert (answer["price"], answer["stale"]) == ("7.00", False)


async def test_with_only_a_trade_the_volume_is_unknown_and_not_zero(api: Api) -> None:
    api.live.apply(Trade(BTC.id, "trade", "7", 61800.0, 0.1, "buy", NOW, NOW))
    api.connector.ticker = Unreachable("no answer")
    _, answer = await api.get("/ticker", symbol=BTC.id)
    assert (answer["price"], answer["volume"]) == ("61800.00", None)


async def test_with_nothing_at_all_the_exchanges_own_trouble_is_told(api: Api) -> None:
    api.connector.ticker = Unreachable("no answer")
    status, problem = await api.get("/ticker", symbol=BTC.id)
    assert (status, problem["code"]) == (503, "venue_unreachable")
