"""OKX's REST, fact by fact: envelopes, order, paging, errors, limits."""

from __future__ import annotations

import json

import pytest
from emulator_kit import START_NS
from okx_kit import START_MS, OkxDesk, okx_desk

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS


@pytest.fixture
def desk() -> OkxDesk:
    return okx_desk()


def test_time_is_a_string_in_a_list(desk: OkxDesk) -> None:
    assert desk.get("public/time") == [{"ts": str(START_MS)}]


def test_instruments_of_a_type_and_of_one_name(desk: OkxDesk) -> None:
    assert [row["instId"] for row in desk.get("public/instruments", "instType=SPOT")] == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    (swap,) = desk.get("public/instruments", "instType=SWAP&instId=BTC-USDT-SWAP")
    wanted = {
        "baseCcy": "",
        "settleCcy": "USDT",
        "ctVal": "0.01",
        "ctMult": "1",
        "ctType": "linear",
        "tickSz": "0.1",
        "lotSz": "0.1",
        "state": "live",
    }
    assert {key: swap[key] for key in wanted} == wanted
    assert isinstance(swap["instIdCode"], int)
    assert desk.get("public/instruments", "instType=FUTURES") == []
    assert desk.get("public/instruments", "instType=OPTION&uly=BTC-USD") == []


def test_spot_has_empty_strings_where_only_swaps_have_values(desk: OkxDesk) -> None:
    (spot,) = desk.get("public/instruments", "instType=SPOT&instId=BTC-USDT")
    assert {spot[key] for key in ("ctVal", "ctMult", "ctType", "settleCcy", "uly", "expTime")} == {""}
    assert (spot["baseCcy"], spot["quoteCcy"], spot["tickSz"], spot["lotSz"]) == ("BTC", "USDT", "0.01", "0.00001")


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("market/candles", "", (400, "50014")),
        ("market/candles", "instId=NOPE-USDT", (200, "51001")),
        ("market/candles", "instId=BTC-USDT&bar=1min", (400, "51000")),
        ("market/candles", "instId=BTC-USDT&bar=1s", (400, "51000")),
        ("market/candles", "instId=BTC-USDT&limit=301", (400, "51000")),
        ("market/candles", "instId=BTC-USDT&limit=0", (400, "51000")),
        ("market/candles", "instId=BTC-USDT&after=x", (400, "51000")),
        ("market/index-candles", "instId=BTC-USDT-SWAP", (200, "51001")),
        ("market/mark-price-candles", "instId=BTC-USDT-SWAP&limit=101", (400, "51000")),
        ("market/mark-price-candles", "instId=BTC-USDT-SWAP&bar=1D", (400, "51000")),
        ("market/trades", "instId=BTC-USDT&limit=501", (400, "51000")),
        ("market/history-trades", "instId=BTC-USDT&type=3", (400, "51000")),
        ("market/books", "instId=BTC-USDT&sz=401", (400, "51000")),
        ("market/books-full", "instId=BTC-USDT&sz=5001", (400, "51000")),
        ("market/tickers", "instType=STOCK", (400, "51000")),
        ("market/tickers", "", (400, "50014")),
        ("market/index-tickers", "", (400, "50015")),
        ("public/instruments", "instType=OPTION", (400, "50015")),
        ("public/instruments", "instType=SPOT&instId=BTC-USDT-SWAP", (200, "51001")),
        ("public/funding-rate", "instId=BTC-USDT", (200, "51001")),
        ("public/mark-price", "", (400, "50014")),
        ("account/balance", "", (401, "50103")),
        ("market/nope", "", (404, "404")),
    ],
)
def test_a_bad_request_is_answered_with_its_code(desk: OkxDesk, path: str, query: str, expected: tuple[int, str]) -> None:
    assert desk.refused(path, query) == expected


def test_only_get_is_served(desk: OkxDesk) -> None:
    assert desk.http("market/ticker", "instId=BTC-USDT", "POST")[1]["code"] == "50115"
    assert desk.dialect.handle_http("GET", "/nope", "", {}, desk.now_ns)[0] == 404


def test_candles_come_newest_first_and_the_open_one_says_so(desk: OkxDesk) -> None:
    desk.wait(30)
    rows = desk.get("market/candles", "instId=BTC-USDT&limit=3")
    assert [int(row[0]) for row in rows] == [START_MS, START_MS - MINUTE_MS, START_MS - 2 * MINUTE_MS]
    assert [row[8] for row in rows] == ["0", "1", "1"]


def test_a_swaps_volume_is_in_contracts_in_coins_and_in_quote(desk: OkxDesk) -> None:
    rows = desk.get("market/candles", "instId=BTC-USDT-SWAP&limit=50")
    assert all(float(vol) * 0.01 == pytest.approx(float(coins)) for *_, vol, coins, _, _ in rows)
    spot = desk.get("market/candles", "instId=BTC-USDT&limit=50")
    assert all(row[6] == row[7] for row in spot)
    assert any(float(row[6]) > 1000 * float(row[5]) for row in spot)


def test_after_is_older_and_before_is_newer_and_neither_is_inclusive(desk: OkxDesk) -> None:
    at = START_MS - 10 * MINUTE_MS
    older = desk.get("market/candles", f"instId=BTC-USDT&after={at}&limit=2")
    assert [int(row[0]) for row in older] == [at - MINUTE_MS, at - 2 * MINUTE_MS]
    newer = desk.get("market/candles", f"instId=BTC-USDT&before={at}&limit=300")
    assert [int(row[0]) for row in newer] == [START_MS - n * MINUTE_MS for n in range(10)]
    both = desk.get("market/candles", f"instId=BTC-USDT&before={at}&after={at + 4 * MINUTE_MS}")
    assert [int(row[0]) for row in both] == [at + n * MINUTE_MS for n in (3, 2, 1)]


def test_before_alone_gives_the_newest_rows_not_the_next_ones(desk: OkxDesk) -> None:
    rows = desk.get("market/candles", f"instId=BTC-USDT&before={START_MS - 100 * MINUTE_MS}&limit=5")
    assert [int(row[0]) for row in rows] == [START_MS - n * MINUTE_MS for n in range(5)]


def test_recent_candles_end_after_1440_rows_and_older_ones_are_history(desk: OkxDesk) -> None:
    last = START_MS - 1439 * MINUTE_MS
    assert [int(row[0]) for row in desk.get("market/candles", f"instId=BTC-USDT&after={last + 2 * MINUTE_MS}")] == [last + MINUTE_MS, last]
    assert desk.get("market/candles", f"instId=BTC-USDT&after={last}") == []
    assert len(desk.get("market/history-candles", f"instId=BTC-USDT&after={last}")) == 100


def test_history_serves_seconds(desk: OkxDesk) -> None:
    desk.wait(60)
    rows = desk.get("market/history-candles", f"instId=BTC-USDT&bar=1s&after={START_MS + 50_000}&limit=3")
    assert [int(row[0]) for row in rows] == [START_MS + 49_000, START_MS + 48_000, START_MS + 47_000]


def test_a_day_opens_in_the_east_unless_it_says_utc(desk: OkxDesk) -> None:
    utc = [int(row[0]) for row in desk.get("market/candles", "instId=BTC-USDT&bar=1Dutc&limit=3")]
    east = [int(row[0]) for row in desk.get("market/candles", "instId=BTC-USDT&bar=1D&limit=3")]
    assert utc == [START_MS, START_MS - DAY_MS, START_MS - 2 * DAY_MS]
    assert [at % DAY_MS for at in east] == [16 * 60 * MINUTE_MS] * 3


def test_a_day_of_the_east_is_its_24_hours(desk: OkxDesk) -> None:
    row = desk.get("market/candles", "instId=BTC-USDT&bar=1D&limit=2")[1]
    open_ms = int(row[0])
    hours = desk.get("market/candles", f"instId=BTC-USDT&bar=1H&after={open_ms + DAY_MS}&before={open_ms - 1}")
    assert len(hours) == 24
    assert (row[1], row[4]) == (hours[-1][1], hours[0][4])
    assert float(row[2]) == max(float(hour[2]) for hour in hours)
    assert float(row[5]) == pytest.approx(sum(float(hour[5]) for hour in hours))


def test_weeks_and_months_open_on_their_calendar(desk: OkxDesk) -> None:
    week, month, east = (int(desk.get("market/candles", f"instId=BTC-USDT&bar={bar}&limit=1")[0][0]) for bar in ("1Wutc", "1Mutc", "1W"))
    assert (week, month) == (START_MS - 2 * DAY_MS, START_MS)  # Monday 2024-12-30, and the first of January
    assert east == START_MS - 2 * DAY_MS - 8 * 60 * MINUTE_MS


def test_old_trades_by_id_and_by_time(desk: OkxDesk) -> None:
    newest = desk.get("market/history-trades", "instId=BTC-USDT&limit=5")
    ids = [int(row["tradeId"]) for row in newest]
    assert ids == list(range(ids[0], ids[0] - 5, -1))
    assert [int(row["tradeId"]) for row in desk.get("market/history-trades", f"instId=BTC-USDT&after={ids[-1]}&limit=2")] == [
        ids[-1] - 1,
        ids[-1] - 2,
    ]
    assert [int(row["tradeId"]) for row in desk.get("market/history-trades", f"instId=BTC-USDT&before={ids[2]}")] == ids[:2]
    old = START_MS - DAY_MS
    by_time = desk.get("market/history-trades", f"instId=BTC-USDT&type=2&after={old}&limit=3")
    assert max(int(row["ts"]) for row in by_time) < old
    following = desk.get("market/history-trades", f"instId=BTC-USDT&after={int(by_time[0]['tradeId']) + 2}&limit=1")
    assert int(following[0]["ts"]) >= old


def test_there_are_no_trades_before_the_first(desk: OkxDesk) -> None:
    assert desk.get("market/history-trades", "instId=BTC-USDT&type=2&after=1000") == []
    assert desk.get("market/history-trades", "instId=BTC-USDT&after=5") == []


def test_paging_back_by_id_meets_every_trade_once(desk: OkxDesk) -> None:
    ids = [int(row["tradeId"]) for row in desk.get("market/trades", "instId=BTC-USDT&limit=400")]
    seen: list[int] = []
    after = ids[0] + 1
    while len(seen) < 400:
        page = [int(row["tradeId"]) for row in desk.get("market/history-trades", f"instId=BTC-USDT&after={after}")]
        seen += page
        after = page[-1]
    assert seen == ids


def test_a_book_has_one_level_unless_told_and_the_full_one_has_no_zeros(desk: OkxDesk) -> None:
    (book,) = desk.get("market/books", "instId=BTC-USDT-SWAP")
    assert [len(book["asks"]), len(book["bids"])] == [1, 1]
    assert len(book["asks"][0]) == 4
    (full,) = desk.get("market/books-full", "instId=BTC-USDT-SWAP&sz=5000")
    assert full["asks"][0] == [book["asks"][0][0], book["asks"][0][1], "1"]
    assert len(full["asks"]) > 20


def test_tickers_marks_indexes_and_funding(desk: OkxDesk) -> None:
    assert [row["instId"] for row in desk.get("market/tickers", "instType=SWAP")] == ["BTC-USDT-SWAP", "ETH-USDT-SWAP"]
    (ticker,) = desk.get("market/ticker", "instId=BTC-USDT-SWAP")
    assert float(ticker["vol24h"]) * 0.01 == pytest.approx(float(ticker["volCcy24h"]))
    assert ticker["sodUtc8"] == desk.get("market/candles", "instId=BTC-USDT-SWAP&bar=1D&limit=1")[0][1]
    assert [row["instId"] for row in desk.get("market/index-tickers", "quoteCcy=USDT")] == ["BTC-USDT", "ETH-USDT"]
    assert desk.get("market/index-tickers", "instId=BTC-USDT")[0]["idxPx"] == desk.get("market/index-candles", "instId=BTC-USDT")[0][4]
    assert desk.get("public/mark-price", "instId=BTC-USDT-SWAP") == desk.get("public/mark-price", "instType=SWAP")[:1]
    assert desk.get("public/mark-price", "instType=SPOT") == []
    assert len(desk.get("public/funding-rate", "instId=ANY")) == 2
    (rate,) = desk.get("public/funding-rate", "instId=BTC-USDT-SWAP")
    assert int(rate["fundingTime"]) == START_MS + 8 * 60 * MINUTE_MS


def test_funding_history_pages_back(desk: OkxDesk) -> None:
    rows = desk.get("public/funding-rate-history", "instId=BTC-USDT-SWAP&limit=2")
    assert [int(row["fundingTime"]) for row in rows] == [START_MS, START_MS - 8 * 60 * MINUTE_MS]
    older = desk.get("public/funding-rate-history", f"instId=BTC-USDT-SWAP&after={rows[-1]['fundingTime']}&limit=1")
    assert int(older[0]["fundingTime"]) == START_MS - 16 * 60 * MINUTE_MS
    assert desk.get("public/funding-rate-history", f"instId=BTC-USDT-SWAP&before={rows[0]['fundingTime']}") == []


def test_one_request_too_many_within_two_seconds_is_refused_until_they_are_over(desk: OkxDesk) -> None:
    for _ in range(40):
        desk.get("market/candles", "instId=BTC-USDT&limit=1")
    status, body = desk.http("market/candles", "instId=BTC-USDT&limit=1")
    assert (status, body) == (429, {"msg": "Too Many Requests", "code": "50011"})
    desk.get("market/trades", "instId=BTC-USDT")  # each endpoint counts for itself
    desk.wait(2)
    desk.get("market/candles", "instId=BTC-USDT&limit=1")


def test_instruments_are_counted_for_each_type_and_limits_can_be_changed(desk: OkxDesk) -> None:
    desk.dialect.rates["public/instruments"] = 1
    desk.get("public/instruments", "instType=SPOT")
    desk.get("public/instruments", "instType=SWAP")
    assert desk.refused("public/instruments", "instType=SPOT") == (429, "50011")
    assert okx_desk(rates={"public/time": 0}).refused("public/time") == (429, "50011")


def test_all_limits_can_be_scaled_at_once(desk: OkxDesk) -> None:
    desk.dialect.scale_limits(0.05)
    assert [desk.refused("market/candles", "instId=BTC-USDT") for _ in range(3)] == [(200, "0"), (200, "0"), (429, "50011")]


@pytest.mark.parametrize(("status", "code"), [(429, "50011"), (500, "50026"), (503, "50001"), (504, "50004")])
def test_trouble_is_told_in_okxs_words(desk: OkxDesk, status: int, code: str) -> None:
    desk.dialect.faults.http(status)
    assert desk.refused("public/time") == (status, code)
    desk.get("public/time")


def test_a_firewall_answers_with_a_page(desk: OkxDesk) -> None:
    desk.dialect.faults.http(403)
    status, headers, body = desk.dialect.handle_http("GET", "/api/v5/public/time", "", {}, desk.now_ns)
    assert (status, headers["Content-Type"]) == (403, "text/html")
    assert body.startswith(b"<html>")


def test_status_counts_what_there_is(desk: OkxDesk) -> None:
    desk.get("public/time")
    desk.ask(desk.open(), "subscribe", ("trades", "BTC-USDT"), ("tickers", "BTC-USDT"))
    status = json.loads(desk.dialect.handle_http("GET", "/emulator/status", "", {}, desk.now_ns)[2])
    assert (status["mode"], status["sessions"], status["streams"], status["requests"], status["now_ns"]) == ("market", 1, 2, 1, START_NS)
