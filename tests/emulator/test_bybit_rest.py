"""Bybit's REST: what each path answers, against the market's own truth, and what is refused and how."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bybit_kit import START_MS, BybitDesk, bybit_desk
from emulator_kit import MINUTE_MS, START_NS

from zvt_crypto.emulator.bybit.wire import trade_id
from zvt_crypto.emulator.market import READY_SYMBOLS

MARKETS = {"spot": "spot", "linear": "usdm"}
BOTH = pytest.mark.parametrize("category", MARKETS)


@pytest.fixture
def desk() -> BybitDesk:
    return bybit_desk(events_per_s=4.0)


def listing(desk: BybitDesk, category: str, symbol: str = "BTCUSDT") -> Any:
    return desk.world.listings(MARKETS[category])[symbol]


def test_time_is_the_exchanges(desk: BybitDesk) -> None:
    assert desk.get("time") == {"timeSecond": str(START_NS // 10**9), "timeNano": str(START_NS)}


def test_instruments_of_a_category_are_told_with_their_steps(desk: BybitDesk) -> None:
    spot = desk.get("instruments-info", "category=spot")
    assert [row["symbol"] for row in spot["list"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert spot["list"][0]["lotSizeFilter"]["basePrecision"] == "0.00001"
    (row,) = desk.get("instruments-info", "category=linear&symbol=BTCUSDT")["list"]
    assert (row["contractType"], row["settleCoin"], row["priceFilter"]["tickSize"]) == ("LinearPerpetual", "USDT", "0.1")
    assert (row["lotSizeFilter"]["qtyStep"], row["fundingInterval"]) == ("0.001", 480)
    assert desk.get("instruments-info", "category=option")["list"] == []
    assert desk.get("instruments-info", "category=linear&status=Delivering")["list"] == []
    assert [row["symbol"] for row in desk.get("instruments-info", "category=linear&baseCoin=ETH")["list"]] == ["ETHUSDT"]


def test_contracts_come_in_pages_and_pairs_at_once(desk: BybitDesk) -> None:
    first = desk.get("instruments-info", "category=linear&limit=1")
    second = desk.get("instruments-info", f"category=linear&limit=1&cursor={first['nextPageCursor']}")
    assert [page["list"][0]["symbol"] for page in (first, second)] == ["BTCUSDT", "ETHUSDT"]
    assert second["nextPageCursor"] == ""
    assert "nextPageCursor" not in desk.get("instruments-info", "category=spot&limit=1")


@BOTH
@pytest.mark.parametrize(("name", "interval"), [("1", "1m"), ("60", "1h"), ("D", "1d"), ("W", "1w"), ("M", "1M")])
def test_klines_are_the_markets_newest_first(desk: BybitDesk, category: str, name: str, interval: str) -> None:
    rows = desk.get("kline", f"category={category}&symbol=BTCUSDT&interval={name}&limit=30")["list"]
    truth = desk.world.bars(listing(desk, category), interval, None, None, 30)
    assert [(int(row[0]), *map(float, row[1:6])) for row in reversed(rows)] == [
        (bar.open_ns // 10**6, *(value / 1e8 for value in bar[1:6])) for bar in truth
    ]
    assert [float(row[6]) for row in reversed(rows)] == [pytest.approx(bar.turnover / 1e16, rel=1e-12, abs=1e-8) for bar in truth]


def test_of_a_long_range_the_end_comes_and_of_a_start_alone_the_beginning(desk: BybitDesk) -> None:
    start = START_MS - 500 * MINUTE_MS
    asked = f"category=spot&symbol=BTCUSDT&interval=1&start={start}"
    assert int(desk.get("kline", f"{asked}&limit=10")["list"][-1][0]) == start
    rows = desk.get("kline", f"{asked}&end={START_MS - MINUTE_MS}&limit=10")["list"]
    assert (int(rows[0][0]), len(rows)) == (START_MS - MINUTE_MS, 10)
    assert len(desk.get("kline", f"{asked}&end={start + 2 * MINUTE_MS}")["list"]) == 3
    assert len(desk.get("kline", "category=spot&symbol=BTCUSDT&interval=1&limit=5000")["list"]) == 1000


def test_mark_and_index_klines_are_contracts_alone(desk: BybitDesk) -> None:
    since = START_MS - 10 * MINUTE_MS
    for path, kind in (("mark-price-kline", "mark"), ("index-price-kline", "index")):
        rows = desk.get(path, f"category=linear&symbol=BTCUSDT&interval=1&start={since}&end={START_MS}")["list"]
        truth = desk.world.mark_bars(listing(desk, "linear"), kind, "1m", since * 10**6, None, 100)
        assert [(int(row[0]), float(row[4])) for row in reversed(rows)] == [(bar.open_ns // 10**6, bar.close / 1e8) for bar in truth]
        assert len(desk.get(path, f"category=linear&symbol=BTCUSDT&interval=1&start={since}&limit=3")["list"]) == 3
        assert desk.refused(path, "category=spot&symbol=BTCUSDT&interval=1") == (10001, "Category is invalid")


@BOTH
def test_books_and_trades_are_the_markets(desk: BybitDesk, category: str) -> None:
    book = desk.get("orderbook", f"category={category}&symbol=BTCUSDT&limit=50")
    image = desk.world.book(listing(desk, category), 50)
    for key, side in (("b", image.bids), ("a", image.asks)):
        assert [[float(price), float(size)] for price, size in book[key]] == [[price / 1e8, size / 1e8] for price, size in side]
    assert len(desk.get("orderbook", f"category={category}&symbol=BTCUSDT")["b"]) == (1 if category == "spot" else 25)
    rows = desk.get("recent-trade", f"category={category}&symbol=BTCUSDT&limit=2000")["list"]
    one = listing(desk, category)
    truth = desk.world.trades(one, None, 60 if category == "spot" else 1000)
    assert [row["execId"] for row in reversed(rows)] == [trade_id(one, trade.id) for trade in truth]
    assert {row["side"] for row in rows} == {"Buy", "Sell"}


def test_ids_of_contracts_have_no_order_and_those_of_pairs_have() -> None:
    one, other = (bybit_desk().world.listings(market)["BTCUSDT"] for market in ("spot", "usdm"))
    assert int(trade_id(one, 8)) == int(trade_id(one, 7)) + 1
    ids = [trade_id(other, number) for number in range(1000)]
    assert len(set(ids)) == 1000
    assert ids != sorted(ids)
    assert {len(one) for one in ids} == {36}


def test_tickers_tell_the_day_and_of_contracts_mark_and_funding(desk: BybitDesk) -> None:
    assert [row["symbol"] for row in desk.get("tickers", "category=spot")["list"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    (spot,) = desk.get("tickers", "category=spot&symbol=BTCUSDT")["list"]
    day = desk.world.day(listing(desk, "spot"))
    assert (float(spot["lastPrice"]), float(spot["volume24h"])) == (day.bar.close / 1e8, day.bar.size / 1e8)
    assert float(spot["bid1Price"]) < float(spot["ask1Price"])
    assert "markPrice" not in spot
    (linear,) = desk.get("tickers", "category=linear&symbol=BTCUSDT")["list"]
    mark = desk.world.mark(listing(desk, "linear"))
    assert (float(linear["markPrice"]), int(linear["nextFundingTime"])) == (mark.mark / 1e8, mark.next_funding_ns // 10**6)


def test_funding_is_told_backwards_from_an_end(desk: BybitDesk) -> None:
    rows = desk.get("funding/history", "category=linear&symbol=BTCUSDT&limit=4")["list"]
    truth = desk.world.funding(listing(desk, "linear"), None, None, 4)
    assert [(int(row["fundingRateTimestamp"]), float(row["fundingRate"])) for row in reversed(rows)] == [
        (row.time_ns // 10**6, row.rate_e8 / 1e8) for row in truth
    ]
    end = int(rows[1]["fundingRateTimestamp"])
    older = desk.get("funding/history", f"category=linear&symbol=BTCUSDT&startTime={end}&endTime={end}")["list"]
    assert [int(row["fundingRateTimestamp"]) for row in older] == [end]
    assert desk.refused("funding/history", f"category=linear&symbol=BTCUSDT&startTime={end}")[0] == 10001
    assert desk.refused("funding/history", "category=spot&symbol=BTCUSDT")[1] == "Category is invalid"


@pytest.mark.parametrize(
    ("path", "query", "text"),
    [
        ("kline", "symbol=BTCUSDT&interval=1", "Category is invalid"),
        ("kline", "category=spot&interval=1", "params error: symbol can not be empty"),
        ("kline", "category=spot&symbol=NOPE&interval=1", "Not supported symbols"),
        ("kline", "category=option&symbol=BTCUSDT&interval=1", "Not supported symbols"),
        ("kline", "category=spot&symbol=BTCUSDT&interval=7", "Invalid period!"),
        ("kline", "category=spot&symbol=BTCUSDT&interval=1&limit=0", "params error: limit invalid"),
        ("kline", "category=spot&symbol=BTCUSDT&interval=1&limit=many", "params error: limit invalid"),
        ("kline", "category=spot&symbol=BTCUSDT&interval=1&start=2&end=1", "params error: start is after end"),
    ],
)
def test_a_wrong_request_is_refused_with_a_code_and_http_200(desk: BybitDesk, path: str, query: str, text: str) -> None:
    assert desk.refused(path, query) == (10001, text)


def test_what_is_private_or_nowhere_is_told_as_such(desk: BybitDesk) -> None:
    status, body = desk.http("/v5/order/realtime", "category=spot")
    assert (status, body["retCode"]) == (401, 10003)
    assert [desk.http(path)[0] for path in ("/v5/market/nothing", "/", "/v5/market/")] == [404] * 3
    assert desk.http("/v5/market/time", method="POST")[0] == 404


def test_too_many_requests_shut_an_address_out(desk: BybitDesk) -> None:
    desk.dialect.scale_limits(0.005)
    assert [desk.http("/v5/market/time")[0] for _ in range(4)] == [200, 200, 200, 403]
    desk.wait(60)
    assert desk.http("/v5/market/time")[0] == 403
    desk.wait(600)
    assert desk.http("/v5/market/time")[0] == 200


def test_a_planned_error_is_answered_instead(desk: BybitDesk) -> None:
    desk.dialect.faults.http(503, 1)
    assert [desk.http("/v5/market/time")[0] for _ in range(2)] == [503, 200]


def test_the_status_counts_what_happened(desk: BybitDesk) -> None:
    desk.get("time")
    status, _, body = desk.dialect.handle_http("GET", "/emulator/status", "", {}, desk.now_ns)
    told = json.loads(body)
    assert (status, told["mode"], told["requests"], told["sessions"], told["now_ns"]) == (200, "market", 1, 0, START_NS)


def test_inverse_contracts_count_in_dollars_and_turn_over_in_base() -> None:
    desk = bybit_desk(events_per_s=4.0, symbols=READY_SYMBOLS)
    one = desk.world.listings("coinm")["BTCUSD"]
    (row,) = desk.get("instruments-info", "category=inverse")["list"]
    assert (row["symbol"], row["contractType"], row["settleCoin"]) == ("BTCUSD", "InversePerpetual", "BTC")
    rows = desk.get("kline", "category=inverse&symbol=BTCUSD&interval=1&limit=20")["list"]
    truth = desk.world.bars(one, "1m", None, None, 20)
    assert [float(row[5]) for row in reversed(rows)] == [bar.size / 1e6 for bar in truth]
    assert [float(row[6]) for row in reversed(rows)] == [pytest.approx(bar.turnover / 1e16, abs=1e-8) for bar in truth]
    trades = desk.get("recent-trade", "category=inverse&symbol=BTCUSD&limit=5")["list"]
    assert [float(row["size"]) for row in reversed(trades)] == [trade.size / 1e6 for trade in desk.world.trades(one, None, 5)]
    assert "BTCUSD" not in {row["symbol"] for row in desk.get("instruments-info", "category=linear")["list"]}
