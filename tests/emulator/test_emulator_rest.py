"""Binance's REST, fact by fact, against the synthetic market."""

from __future__ import annotations

from itertools import pairwise

import pytest
from emulator_kit import MINUTE_MS, START_MS, Desk, market_desk


@pytest.fixture(scope="module")
def desk() -> Desk:
    return market_desk(weights={"spot": 10**9, "usdm": 10**9})


def test_time_is_the_given_clock(desk: Desk) -> None:
    assert desk.get("/api/v3/time") == {"serverTime": START_MS}
    assert desk.get("/fapi/v1/time") == {"serverTime": START_MS}
    assert desk.get("/api/v3/ping") == {}


def test_exchange_info_lists_the_symbols_with_their_filters(desk: Desk) -> None:
    info = desk.get("/api/v3/exchangeInfo")
    assert [one["symbol"] for one in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    btc = info["symbols"][0]
    filters = {one["filterType"]: one for one in btc["filters"]}
    assert (btc["baseAsset"], btc["quoteAsset"], btc["status"]) == ("BTC", "USDT", "TRADING")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 10**9} in info["rateLimits"]


def test_exchange_info_of_one_symbol_holds_one(desk: Desk) -> None:
    assert len(desk.get("/api/v3/exchangeInfo", "symbol=ETHUSDT")["symbols"]) == 1
    assert len(desk.get("/api/v3/exchangeInfo", "symbols=%5B%22BTCUSDT%22,%22SOLUSDT%22%5D")["symbols"]) == 2


def test_usdm_lists_perpetuals_with_tick_digits(desk: Desk) -> None:
    btc = desk.get("/fapi/v1/exchangeInfo")["symbols"][0]
    filters = {one["filterType"]: one for one in btc["filters"]}
    assert (btc["contractType"], btc["marginAsset"], btc["pair"]) == ("PERPETUAL", "USDT", "BTCUSDT")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["MIN_NOTIONAL"]["notional"] == "100"


def test_numbers_have_eight_decimals_on_spot_and_tick_decimals_on_usdm(desk: Desk) -> None:
    spot = desk.get("/api/v3/depth", "symbol=BTCUSDT&limit=5")
    usdm = desk.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=5")
    assert all(len(text.partition(".")[2]) == 8 for row in spot["bids"] for text in row)
    assert all((len(p.partition(".")[2]), len(q.partition(".")[2])) == (1, 3) for p, q in usdm["bids"])
    assert list(spot) == ["lastUpdateId", "bids", "asks"]
    assert list(usdm) == ["lastUpdateId", "E", "T", "bids", "asks"]


def test_a_book_is_sorted_uncrossed_and_as_deep_as_asked(desk: Desk) -> None:
    book = desk.get("/api/v3/depth", "symbol=SOLUSDT&limit=20")
    bids, asks = [float(p) for p, _ in book["bids"]], [float(p) for p, _ in book["asks"]]
    assert len(bids) == len(asks) == 20
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]


def test_klines_include_the_open_candle(desk: Desk) -> None:
    rows = desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=2")
    assert [row[0] for row in rows] == [START_MS - MINUTE_MS, START_MS]
    assert [row[6] for row in rows] == [START_MS - 1, START_MS + MINUTE_MS - 1]
    assert all(len(row) == 12 for row in rows)


def test_klines_without_times_are_the_newest_500(desk: Desk) -> None:
    rows = desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m")
    assert len(rows) == 500
    assert rows[-1][0] == START_MS


def test_klines_from_a_start_are_the_oldest_from_there(desk: Desk) -> None:
    start = START_MS - 100 * MINUTE_MS
    rows = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={start}&limit=3")
    assert [row[0] for row in rows] == [start, start + MINUTE_MS, start + 2 * MINUTE_MS]


def test_a_start_between_opens_begins_at_the_next_open(desk: Desk) -> None:
    rows = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={START_MS - 90_000}&limit=1")
    assert rows[0][0] == START_MS - MINUTE_MS


def test_klines_up_to_an_end_are_the_newest_before_it(desk: Desk) -> None:
    end = START_MS - 10 * MINUTE_MS
    rows = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&endTime={end}&limit=2")
    assert [row[0] for row in rows] == [end - MINUTE_MS, end]


def test_klines_between_two_times_start_at_the_first(desk: Desk) -> None:
    start = START_MS - 10 * MINUTE_MS
    rows = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={start}&endTime={start + 5 * MINUTE_MS - 1}")
    assert [row[0] for row in rows] == [start + n * MINUTE_MS for n in range(5)]


def test_klines_before_the_listing_are_none(desk: Desk) -> None:
    assert desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&startTime=0&endTime=1000000") == []
    oldest = desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&startTime=0&limit=1")
    assert oldest[0][0] == START_MS - 5 * MINUTE_MS - 3 * 1440 * MINUTE_MS


@pytest.mark.parametrize("interval", ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"])
def test_every_interval_opens_on_its_calendar(desk: Desk, interval: str) -> None:
    rows = desk.get("/api/v3/klines", f"symbol=ETHUSDT&interval={interval}&limit=3")
    opens = {"1w": 1_735_516_800_000, "1M": START_MS, "3d": 1_735_603_200_000}  # Monday 30 December, 1 January; day 20088 = 3 * 6696
    assert rows[-1][0] == opens.get(interval, START_MS)


def test_spot_cuts_a_limit_that_is_too_large_and_usdm_refuses_it(desk: Desk) -> None:
    assert len(desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=5000")) == 1000
    assert desk.refused("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=1501") == (400, -1130)
    assert len(desk.get("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=1500")) == 1500


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/api/v3/klines", "symbol=NOPE&interval=1m", -1121),
        ("/api/v3/depth", "symbol=btcusdt", -1121),
        ("/api/v3/depth", "symbol=BTC%20USDT", -1100),
        ("/api/v3/depth", "", -1102),
        ("/api/v3/klines", "symbol=BTCUSDT", -1102),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=7m", -1120),
        ("/fapi/v1/klines", "symbol=BTCUSDT&interval=1s", -1120),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=abc", -1100),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=0", -1130),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=1m&startTime=-1", -1100),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=1d&timeZone=8", -1130),
        ("/fapi/v1/depth", "symbol=BTCUSDT&limit=7", -4021),
        ("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&startTime=2&endTime=1", -1023),
        ("/fapi/v1/aggTrades", "symbol=BTCUSDT&startTime=0&endTime=3700000", -1127),
        ("/fapi/v1/indexPriceKlines", "symbol=BTCUSDT&interval=1m", -1102),
        ("/fapi/v1/markPriceKlines", "pair=BTCUSDT&interval=1m", -1102),
        ("/api/v3/ticker/24hr", "symbols=%5B%22NOPE%22%5D", -1121),
    ],
)
def test_a_wrong_parameter_has_binances_code(desk: Desk, path: str, query: str, code: int) -> None:
    assert desk.refused(path, query) == (400, code)


def test_an_unknown_path_is_a_html_page_and_a_post_is_refused(desk: Desk) -> None:
    status, headers, body = desk.http("/api/v9/ping")
    assert (status, headers["Content-Type"]) == (404, "text/html")
    assert body.startswith(b"<html>")
    assert desk.http("/api/v3/ping", method="POST")[0] == 405


def test_trades_are_contiguous_by_id_from_the_past_into_the_present(desk: Desk) -> None:
    newest = desk.get("/api/v3/trades", "symbol=BTCUSDT&limit=1")[0]["id"]
    first = newest - 1500
    rows = desk.get("/api/v3/historicalTrades", f"symbol=BTCUSDT&fromId={first}&limit=1000")
    rows += desk.get("/api/v3/historicalTrades", f"symbol=BTCUSDT&fromId={first + 1000}&limit=1000")
    assert [row["id"] for row in rows] == list(range(first, newest + 1))
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert all(float(row["quoteQty"]) == pytest.approx(float(row["price"]) * float(row["qty"])) for row in rows)


def test_agg_trades_by_time_lie_within_it_and_page_by_id(desk: Desk) -> None:
    start, end = START_MS - 30 * MINUTE_MS, START_MS - 20 * MINUTE_MS
    rows = desk.get("/api/v3/aggTrades", f"symbol=BTCUSDT&startTime={start}&endTime={end}")
    assert rows
    assert all(start <= row["T"] <= end for row in rows)
    following = desk.get("/api/v3/aggTrades", f"symbol=BTCUSDT&fromId={rows[-1]['a'] + 1}&limit=1")
    assert following[0]["T"] > end
    before = desk.get("/api/v3/aggTrades", f"symbol=BTCUSDT&fromId={rows[0]['a'] - 1}&limit=1")
    assert before[0]["T"] < start


def test_agg_trades_hold_every_trade_once(desk: Desk) -> None:
    rows = desk.get("/fapi/v1/aggTrades", "symbol=BTCUSDT&limit=1000")
    assert all(after["f"] == before["l"] + 1 for before, after in pairwise(rows))
    assert all(after["a"] == before["a"] + 1 for before, after in pairwise(rows))
    assert rows[0]["nq"] == rows[0]["q"]


def test_the_ticker_is_the_last_1440_minutes(desk: Desk) -> None:
    ticker = desk.get("/api/v3/ticker/24hr", "symbol=SOLUSDT")
    first = START_MS - 1439 * MINUTE_MS
    rows = desk.get("/api/v3/klines", f"symbol=SOLUSDT&interval=1m&startTime={first}&limit=1000")
    rows += desk.get("/api/v3/klines", f"symbol=SOLUSDT&interval=1m&startTime={rows[-1][0] + MINUTE_MS}&limit=1000")
    assert len(rows) == 1440
    assert float(ticker["volume"]) == pytest.approx(sum(float(row[5]) for row in rows))
    assert ticker["count"] == sum(row[8] for row in rows)
    assert ticker["highPrice"] == max((row[2] for row in rows), key=float)
    assert ticker["lastPrice"] == rows[-1][4]


def test_tickers_of_all_symbols_are_a_list(desk: Desk) -> None:
    assert len(desk.get("/api/v3/ticker/24hr")) == 3
    assert [one["symbol"] for one in desk.get("/fapi/v1/ticker/price")] == ["BTCUSDT", "ETHUSDT"]
    assert (
        desk.get("/api/v3/ticker/bookTicker", "symbol=BTCUSDT")["bidPrice"]
        == desk.get("/api/v3/depth", "symbol=BTCUSDT&limit=1")["bids"][0][0]
    )


def test_funding_is_settled_every_eight_hours_oldest_first(desk: Desk) -> None:
    rows = desk.get("/fapi/v1/fundingRate", "symbol=BTCUSDT&limit=4")
    assert [row["fundingTime"] for row in rows] == [START_MS - n * 8 * 3_600_000 for n in (3, 2, 1, 0)]
    again = desk.get("/fapi/v1/fundingRate", f"symbol=BTCUSDT&startTime={START_MS - 16 * 3_600_000}&limit=1")
    assert again == [rows[1]]


def test_premium_index_names_the_next_settlement(desk: Desk) -> None:
    row = desk.get("/fapi/v1/premiumIndex", "symbol=ETHUSDT")
    assert row["nextFundingTime"] == START_MS + 8 * 3_600_000
    assert float(row["indexPrice"]) < float(row["markPrice"])
    assert len(desk.get("/fapi/v1/premiumIndex")) == 2
    assert desk.get("/fapi/v1/fundingInfo") == []


def test_mark_and_index_klines_have_no_volume(desk: Desk) -> None:
    mark = desk.get("/fapi/v1/markPriceKlines", "symbol=BTCUSDT&interval=1m&limit=2")
    index = desk.get("/fapi/v1/indexPriceKlines", "pair=BTCUSDT&interval=1m&limit=2")
    assert [row[0] for row in mark] == [row[0] for row in index] == [START_MS - MINUTE_MS, START_MS]
    assert mark[0][5] == "0"


# ── Weights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/api/v3/exchangeInfo", "", 20),
        ("/api/v3/depth", "symbol=BTCUSDT", 5),
        ("/api/v3/depth", "symbol=BTCUSDT&limit=1000", 50),
        ("/api/v3/depth", "symbol=BTCUSDT&limit=5000", 250),
        ("/api/v3/klines", "symbol=BTCUSDT&interval=1m", 2),
        ("/api/v3/trades", "symbol=BTCUSDT", 25),
        ("/api/v3/aggTrades", "symbol=BTCUSDT", 4),
        ("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", 20),
        ("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=99", 1),
        ("/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=1500", 10),
        ("/fapi/v1/premiumIndex", "", 10),
    ],
)
def test_a_request_weighs_what_the_document_says(path: str, query: str, weight: int) -> None:
    _, headers, _ = market_desk(events_per_s=0.1).http(path, query)
    assert headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_over_the_limit_comes_429_and_the_next_minute_is_free_again() -> None:
    desk = market_desk(events_per_s=0.1, weights={"spot": 40})
    assert desk.http("/api/v3/exchangeInfo")[0] == 200
    assert desk.http("/api/v3/exchangeInfo")[0] == 200
    desk.wait(15)
    status, headers, body = desk.http("/api/v3/ping")
    assert (status, headers["Retry-After"]) == (429, "45")
    assert b'"code":-1003' in body
    desk.wait(45)
    assert desk.http("/api/v3/ping")[0] == 200


def test_who_ignores_429_is_banned_with_418_until_the_named_time() -> None:
    desk = market_desk(events_per_s=0.1, weights={"spot": 1})
    statuses = [desk.http("/api/v3/ping")[0] for _ in range(13)]
    assert statuses == [200] + [429] * 10 + [418] * 2
    desk.wait(60)
    status, headers, body = desk.http("/api/v3/ping")
    assert (status, headers["Retry-After"]) == (418, "60")
    assert str(START_MS + 120_000).encode() in body
    assert desk.http("/fapi/v1/ping")[0] == 200
    desk.wait(60)
    assert desk.http("/api/v3/ping")[0] == 200
