"""Coinbase's REST: both APIs' paths, parameters, pages, refusals and limits."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from coinbase_kit import ADVANCED, START_S, CoinbaseDesk, coinbase_desk
from emulator_kit import START_NS

from zvt_crypto.domain.time import parse_time
from zvt_crypto.emulator.coinbase.limits import Bucket
from zvt_crypto.emulator.coinbase.wire import moment
from zvt_crypto.emulator.market import Symbol

PERP = "BTC-PERP-INTX"


@pytest.fixture(scope="module")
def place() -> CoinbaseDesk:
    desk = coinbase_desk()
    desk.dialect.scale_limits(10_000)
    return desk


def bars(desk: CoinbaseDesk, interval: str, limit: int) -> list[Any]:
    """The world's, newest first, without those in which nothing was traded."""
    listing = desk.world.listings("spot")["BTCUSDT"]
    return [bar for bar in desk.world.bars(listing, interval, None, None, limit)[::-1] if bar.trades]


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [
        (START_NS, "2025-01-01T00:00:00Z"),
        (START_NS + 38_504_360_000, "2025-01-01T00:00:38.50436Z"),
        (START_NS + 1, "2025-01-01T00:00:00.000000001Z"),
    ],
)
def test_a_moment_has_as_many_digits_as_it_needs(at_ns: int, text: str) -> None:
    assert moment(at_ns) == text


def test_all_clocks_are_the_same(place: CoinbaseDesk) -> None:
    iso = "2025-01-01T00:00:00Z"
    assert place.ask("time") == {"iso": iso, "epochSeconds": str(START_S), "epochMillis": str(START_S * 1000)}
    assert place.get("time") == {"iso": iso, "epoch": START_S}
    assert place.get("v2/time") == {"data": {"iso": iso, "epoch": START_S}}


# ── Products ──


def test_products_are_quoted_in_usd_and_usdc(place: CoinbaseDesk) -> None:
    listed = place.ask("market/products")
    pairs = {row["product_id"]: row for row in listed["products"]}
    assert list(pairs) == ["BTC-USD", "BTC-USDC", "ETH-USD", "ETH-USDC", "SOL-USD", "SOL-USDC"]
    assert listed["num_products"] == 6
    btc = pairs["BTC-USD"]
    assert (btc["base_currency_id"], btc["quote_currency_id"], btc["status"]) == ("BTC", "USD", "online")
    assert (btc["base_increment"], btc["price_increment"], btc["quote_min_size"]) == ("0.00001", "0.01", "5")
    assert (btc["alias"], btc["alias_to"]) == ("", ["BTC-USDC"])
    assert (pairs["BTC-USDC"]["alias"], pairs["BTC-USDC"]["alias_to"]) == ("BTC-USD", [])
    assert pairs["BTC-USDC"]["price"] == btc["price"]
    assert float(btc["price"]) == place.world.trades(place.world.listings("spot")["BTCUSDT"], None, 1)[0].price / 1e8
    assert place.ask("market/products/BTC-USD") == btc
    assert [row["id"] for row in place.get("products")] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    assert place.get("products/ETH-USD")["quote_currency"] == "USD"


def test_a_quote_that_is_no_tether_stays(place: CoinbaseDesk) -> None:
    desk = coinbase_desk(symbols=[Symbol("spot", "ETH", "BTC", "0.04", "0.00001", "0.001", 10)])
    assert [row["product_id"] for row in desk.ask("market/products")["products"]] == ["ETH-BTC"]
    assert desk.ask("market/products/ETH-BTC")["alias_to"] == []


def test_a_pair_that_is_listed_in_usdc_itself_is_no_other_name() -> None:
    symbols = [Symbol("spot", "ETH", quote, price, "0.01", "0.001", 10) for quote, price in (("USDT", "2500"), ("USDC", "2600"))]
    rows = {row["product_id"]: row for row in coinbase_desk(symbols=symbols).ask("market/products")["products"]}
    assert {name: (row["alias"], row["alias_to"]) for name, row in rows.items()} == {"ETH-USD": ("", []), "ETH-USDC": ("", [])}
    assert float(rows["ETH-USDC"]["price"]) > float(rows["ETH-USD"]["price"])


def test_a_long_listing_tells_listing_prices_and_each_product_its_own() -> None:
    desk = coinbase_desk(symbols=[Symbol("spot", f"C{number}", "EUR", "10", "0.01", "0.1", 100) for number in range(101)])
    rows = desk.ask("market/products")["products"]
    assert (len(rows), {(row["price"], row["volume_24h"]) for row in rows}) == (101, {("10", "0")})
    assert float(desk.ask("market/products/C7-EUR")["price"]) > 0


def test_perpetuals_tell_of_their_funding(place: CoinbaseDesk) -> None:
    listed = place.ask("market/products", "product_type=FUTURE")["products"]
    assert [row["product_id"] for row in listed] == [PERP, "ETH-PERP-INTX"]
    details = listed[0]["future_product_details"]
    mark = place.world.mark(place.world.listings("usdm")["BTCUSDT"])
    assert (details["contract_expiry_type"], details["contract_size"], details["contract_root_unit"]) == ("PERPETUAL", "1", "BTC")
    assert float(details["perpetual_details"]["funding_rate"]) == mark.rate_e8 / 1e8
    assert details["funding_time"] == moment(mark.next_funding_ns)
    assert "future_product_details" not in place.ask("market/products/BTC-USD")


def test_products_come_in_pages_and_by_name(place: CoinbaseDesk) -> None:
    first, second = (place.ask("market/products", f"limit=4&offset={offset}") for offset in (0, 4))
    assert [len(page["products"]) for page in (first, second)] == [4, 2]
    assert (first["pagination"]["has_next"], second["pagination"]["has_next"], second["pagination"]["has_prev"]) == (True, False, True)
    named = place.ask("market/products", "product_ids=SOL-USD&product_ids=ETH-USD")
    assert [row["product_id"] for row in named["products"]] == ["ETH-USD", "SOL-USD"]


# ── Candles ──


@pytest.mark.parametrize(
    ("name", "interval", "seconds"), [("ONE_MINUTE", "1m", 60), ("FOUR_HOUR", "4h", 14_400), ("ONE_DAY", "1d", 86_400)]
)
def test_candles_of_advanced_are_between_start_and_end_newest_first(place: CoinbaseDesk, name: str, interval: str, seconds: int) -> None:
    query = f"granularity={name}&start={START_S - 100 * seconds}&end={START_S}"
    rows = place.ask("market/products/BTC-USD/candles", query)["candles"]
    truth = bars(place, interval, 101)
    assert [int(row["start"]) for row in rows] == [bar.open_ns // 1_000_000_000 for bar in truth]
    assert [[float(row[key]) for key in ("open", "high", "low", "close", "volume")] for row in rows] == [
        [value / 1e8 for value in bar[1:6]] for bar in truth
    ]
    assert place.ask("market/products/BTC-USDC/candles", f"{query}&limit=3")["candles"] == rows[:3]


def test_candles_of_exchange_are_arrays_and_the_one_that_holds_the_start_comes_too(place: CoinbaseDesk) -> None:
    end = START_S - 600
    rows = place.get("products/BTC-USD/candles", f"granularity=60&start={end - 3_630}&end={end}")
    truth = [bar for bar in bars(place, "1m", 200) if end - 3_660 <= bar.open_ns // 1_000_000_000 <= end]
    assert rows == [
        [bar.open_ns // 1_000_000_000, *(value / 1e8 for value in (bar.low, bar.high, bar.open, bar.close, bar.size))] for bar in truth
    ]
    assert rows[-1][0] < end - 3_630
    iso = place.get("products/BTC-USD/candles", f"granularity=60&start={moment((end - 3_630) * 10**9)}&end={moment(end * 10**9)}")
    assert iso == rows


def test_a_start_without_an_end_is_ignored(place: CoinbaseDesk) -> None:
    newest = place.get("products/BTC-USD/candles", "granularity=60")
    assert place.get("products/BTC-USD/candles", f"granularity=60&start={START_S - 86_400}") == newest
    assert newest == place.get("products/BTC-USD/candles", f"start={START_S - 299 * 60}&end={START_S}")
    assert 280 < len(newest) <= 300


def test_an_interval_without_trades_is_missing() -> None:
    desk = coinbase_desk(events_per_s=0.02)
    desk.wait(3_600)
    now_s = desk.now_ns // 1_000_000_000
    rows = desk.ask("market/products/BTC-USD/candles", f"granularity=ONE_MINUTE&start={START_S}&end={now_s}")["candles"]
    assert 0 < len(rows) < 50
    assert len(desk.get("products/BTC-USD/candles", f"granularity=60&start={START_S}&end={now_s - 600}")) <= len(rows)
    assert all(float(row["volume"]) > 0 for row in rows)


# ── Trades ──


def test_trades_of_exchange_go_back_by_after_to_the_first(place: CoinbaseDesk) -> None:
    pages: list[list[Any]] = []
    query = "limit=400"
    for _ in range(3):
        _, headers, rows = place.http("/products/BTC-USD/trades", query)
        assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(rows[0]["trade_id"]), str(rows[-1]["trade_id"]))
        pages.append(rows)
        query = f"limit=400&after={headers['CB-AFTER']}"
    ids = [row["trade_id"] for page in pages for row in page]
    assert ids == list(range(ids[0], ids[0] - 1_200, -1))
    first = place.world.trades(place.world.listings("spot")["BTCUSDT"], 0, 5)
    oldest = place.get("products/BTC-USD/trades", f"after={first[2].id}")
    assert [row["trade_id"] for row in oldest] == [first[1].id, first[0].id]
    assert place.get("products/BTC-USD/trades", f"after={first[0].id}") == []
    assert place.get("products/BTC-USD/trades", "after=999999999999&limit=1") == pages[0][:1]


def test_before_gives_the_newest_page_above_an_id(place: CoinbaseDesk) -> None:
    newest = place.get("products/BTC-USD/trades", "limit=30")
    above = place.get("products/BTC-USD/trades", f"limit=10&before={newest[20]['trade_id']}")
    assert above == newest[:10]
    assert place.get("products/BTC-USD/trades", f"before={newest[5]['trade_id']}") == newest[:5]


def test_sides_are_the_makers(place: CoinbaseDesk) -> None:
    truth = place.world.trades(place.world.listings("spot")["BTCUSDT"], None, 50)[::-1]
    there = place.get("products/BTC-USD/trades", "limit=50")
    here = place.ask("market/products/BTC-USD/ticker", "limit=50")["trades"]
    assert [row["side"] for row in there] == ["buy" if t.buyer_is_maker else "sell" for t in truth]
    assert [row["side"] for row in here] == [row["side"].upper() for row in there]
    assert [row["trade_id"] for row in here] == [str(row["trade_id"]) for row in there]
    assert {row["product_id"] for row in place.ask("market/products/BTC-USDC/ticker")["trades"]} == {"BTC-USDC"}


def test_trades_of_a_contract_are_read_by_time_and_have_ids_without_order(place: CoinbaseDesk) -> None:
    listing = place.world.listings("usdm")["BTCUSDT"]
    start, end = START_S - 7_200, START_S - 3_600
    truth = [t for t in place.world.trades(listing, None, 5_000) if start * 10**9 <= t.time_ns <= end * 10**9]
    rows: list[Any] = []
    upto = end
    while True:
        page = place.ask(f"market/products/{PERP}/ticker", f"limit=300&start={start}&end={upto}")["trades"]
        known = {row["trade_id"] for row in rows}
        fresh = [row for row in page if row["trade_id"] not in known]
        if not fresh:
            break
        rows += fresh
        upto = parse_time(fresh[-1]["time"]) // 10**9 + 1
    assert [row["time"] for row in rows] == [moment(t.time_ns) for t in reversed(truth)]
    assert len({row["trade_id"] for row in rows}) == len(truth) > 300
    assert not any(row["trade_id"].isdecimal() for row in rows)
    assert place.ask(f"market/products/{PERP}/ticker", "end=1000000000&start=999999999")["trades"] == []


# ── Books and tickers ──


def test_books_are_the_worlds(place: CoinbaseDesk) -> None:
    image = place.world.book(place.world.listings("spot")["BTCUSDT"], 1_000)
    sides = [[[price / 1e8, size / 1e8] for price, size in side] for side in (image.bids, image.asks)]
    whole = place.ask("market/product_book", "product_id=BTC-USD")
    read = [[[float(row["price"]), float(row["size"])] for row in whole["pricebook"][side]] for side in ("bids", "asks")]
    assert read == sides
    bid, ask = sides[0][0][0], sides[1][0][0]
    assert float(whole["mid_market"]) == pytest.approx((bid + ask) / 2)
    assert float(whole["last"]) == place.world.trades(place.world.listings("spot")["BTCUSDT"], None, 1)[0].price / 1e8
    assert float(whole["spread_absolute"]) == pytest.approx(ask - bid)
    assert float(whole["spread_bps"]) == pytest.approx((ask - bid) / (bid + ask) * 20_000)
    few = place.ask("market/product_book", "product_id=BTC-USD&limit=3")["pricebook"]
    assert few["bids"] == whole["pricebook"]["bids"][:3]
    for level, depth in ((1, 1), (2, 1_000)):
        seen = place.get("products/BTC-USD/book", f"level={level}")
        assert [[[float(p), float(s)] for p, s, _ in seen[side]] for side in ("bids", "asks")] == [side[:depth] for side in sides]
        assert seen["sequence"] == image.last_id


def test_a_gathered_book_has_the_same_sums_on_a_wider_grid(place: CoinbaseDesk) -> None:
    whole, wide = (
        place.ask("market/product_book", f"product_id=BTC-USD{more}")["pricebook"] for more in ("", "&aggregation_price_increment=10")
    )
    for side, bound in (("bids", max), ("asks", min)):
        assert all(float(row["price"]) % 10 == 0 for row in wide[side])
        assert sum(float(row["size"]) for row in wide[side]) == pytest.approx(sum(float(row["size"]) for row in whole[side]))
        assert abs(bound(float(row["price"]) for row in wide[side]) - float(whole[side][0]["price"])) < 10
    assert float(wide["bids"][0]["price"]) <= float(whole["bids"][0]["price"])
    assert float(wide["asks"][0]["price"]) >= float(whole["asks"][0]["price"])


def test_tickers_are_the_worlds_day(place: CoinbaseDesk) -> None:
    day = place.world.day(place.world.listings("spot")["BTCUSDT"])
    stats, ticker = place.get("products/BTC-USD/stats"), place.get("products/BTC-USD/ticker")
    assert [float(stats[key]) for key in ("open", "high", "low", "last", "volume")] == [value / 1e8 for value in day.bar[1:6]]
    assert (ticker["trade_id"], float(ticker["bid"]), float(ticker["ask"])) == (day.last.id, day.bid[0] / 1e8, day.ask[0] / 1e8)
    row = place.ask("market/products/BTC-USD")
    assert float(row["price_percentage_change_24h"]) == pytest.approx((day.bar.close / day.bar.open - 1) * 100)
    best = place.ask("market/products/BTC-USD/ticker", "limit=1")
    assert (float(best["best_bid"]), float(best["best_ask"])) == (day.bid[0] / 1e8, day.ask[0] / 1e8)


def test_currencies_of_both_apis(place: CoinbaseDesk) -> None:
    assert {row["id"]: row["details"]["type"] for row in place.get("currencies")} == {
        "BTC": "crypto", "ETH": "crypto", "SOL": "crypto", "USD": "fiat",
    }  # fmt: skip
    assert [row["id"] for row in place.get("v2/currencies")["data"]] == ["USD"]
    assert [row["code"] for row in place.get("v2/currencies/crypto")["data"]] == ["BTC", "ETH", "SOL"]
    assert set(place.get("v2/exchange-rates")["data"]["rates"]) == {"BTC", "ETH", "SOL", "USD"}


# ── Refusals and limits ──


@pytest.mark.parametrize(
    ("path", "query", "status", "name"),
    [
        ("market/products/NOPE-USD", "", 404, "NOT_FOUND"),
        ("market/products/NOPE-USD/candles", "", 404, "NOT_FOUND"),
        ("market/product_book", "", 404, "NOT_FOUND"),
        ("market/nothing", "", 404, "NOT_FOUND"),
        ("market/products", "product_type=OPTION", 400, "INVALID_ARGUMENT"),
        ("market/products", "limit=0", 400, "INVALID_ARGUMENT"),
        ("market/products", "limit=many", 400, "INVALID_ARGUMENT"),
        ("market/products/BTC-USD/candles", "start=1&granularity=ONE_MINUTE", 400, "INVALID_ARGUMENT"),
        ("market/products/BTC-USD/candles", "start=1&end=60&granularity=60", 400, "INVALID_ARGUMENT"),
        ("market/products/BTC-USD/candles", "start=60&end=1&granularity=ONE_DAY", 400, "INVALID_ARGUMENT"),
        ("market/products/BTC-USD/candles", "start=0&end=21060&granularity=ONE_MINUTE", 400, "INVALID_ARGUMENT"),
        ("market/product_book", "product_id=BTC-USD&aggregation_price_increment=0", 400, "INVALID_ARGUMENT"),
        ("market/product_book", "product_id=BTC-USD&aggregation_price_increment=x", 400, "INVALID_ARGUMENT"),
    ],
)
def test_advanced_refuses_by_name(place: CoinbaseDesk, path: str, query: str, status: int, name: str) -> None:
    seen, _, body = place.http(ADVANCED + path, query)
    assert (seen, body["error"]) == (status, name)
    assert body["message"] == body["error_details"] != ""


def test_350_candles_are_served_and_351_are_not(place: CoinbaseDesk) -> None:
    start = START_S - 350 * 60
    assert len(place.ask("market/products/BTC-USD/candles", f"start={start}&end={START_S - 60}&granularity=ONE_MINUTE")["candles"]) > 330
    assert place.http(ADVANCED + "market/products/BTC-USD/candles", f"start={start - 60}&end={START_S}&granularity=ONE_MINUTE")[0] == 400


@pytest.mark.parametrize(
    ("path", "query", "status", "text"),
    [
        ("products/NOPE-USD", "", 404, "NotFound"),
        ("products/BTC-USDC/ticker", "", 404, "NotFound"),
        (f"products/{PERP}/book", "", 404, "NotFound"),
        ("products/BTC-USD/nothing", "", 404, "NotFound"),
        ("nothing", "", 404, "NotFound"),
        ("products/BTC-USD/candles", "granularity=1800", 400, "Unsupported granularity"),
        ("products/BTC-USD/candles", "granularity=x", 400, "Unsupported granularity"),
        ("products/BTC-USD/candles", "start=0&end=18060", 400, "exceeds 300"),
        ("products/BTC-USD/candles", "start=60&end=0", 400, "start must be before end"),
        ("products/BTC-USD/candles", "start=yesterday&end=0", 400, "invalid time"),
        ("products/BTC-USD/trades", "after=5&before=4", 400, "only one"),
        ("products/BTC-USD/trades", "after=five", 400, "invalid after"),
        ("products/BTC-USD/book", "level=3", 401, "authentication"),
        ("products/BTC-USD/book", "level=9", 400, "Invalid level"),
        ("accounts", "", 401, "CB-ACCESS-KEY"),
    ],
)
def test_exchange_refuses_with_a_message(place: CoinbaseDesk, path: str, query: str, status: int, text: str) -> None:
    seen, _, body = place.http(f"/{path}", query)
    assert seen == status
    assert text in body["message"]


def test_what_needs_a_key_and_what_is_no_reading(place: CoinbaseDesk) -> None:
    assert place.http(ADVANCED + "orders", method="POST")[::2] == (401, b"Unauthorized\n")
    assert place.http(ADVANCED + "products/BTC-USD")[0] == 401
    assert place.http(ADVANCED + "market/products", method="POST")[0] == 405
    assert place.http("/products", method="DELETE")[0] == 405
    assert place.http("/orders", method="POST")[0] == 401
    assert place.http("/v2/nothing")[2] == {"errors": [{"id": "not_found", "message": "Not found"}]}


def test_each_api_counts_for_itself_and_advanced_tells_what_remains() -> None:
    desk = coinbase_desk()
    remaining = []
    for _ in range(15):
        status, headers, _ = desk.http(ADVANCED + "time")
        assert status == 200
        remaining.append(int(headers["x-ratelimit-remaining"]))
    assert remaining == list(range(14, -1, -1))
    status, headers, body = desk.http(ADVANCED + "time")
    assert (status, body["errors"][0]["id"]) == (429, "rate_limit_exceeded")
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"], headers["x-ratelimit-reset"]) == ("10", "0", "2")
    assert desk.get("time")["epoch"] == START_S
    for _ in range(14):
        desk.get("time")
    assert desk.http("/time")[::2] == (429, {"message": "Public rate limit exceeded"})
    desk.wait(0.1)
    assert desk.http(ADVANCED + "time")[0] == 200
    assert desk.http(ADVANCED + "time")[0] == 429


def test_limits_may_be_scaled_while_they_count() -> None:
    desk = coinbase_desk()
    desk.dialect.scale_limits(0.2)
    desk.wait(10)
    assert [desk.http("/time")[0] for _ in range(4)] == [200, 200, 200, 429]
    desk.dialect.scale_limits(100)
    desk.wait(1)
    assert {desk.http("/time")[0] for _ in range(100)} == {200}


def test_a_bucket_fills_at_its_rate_and_never_over_its_burst() -> None:
    bucket = Bucket(2, 3)
    assert [bucket.spend(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.spend(500_000_000) for _ in range(2)] == [True, False]
    assert [bucket.spend(100_000_000_000) for _ in range(4)] == [True, True, True, False]


def test_faults_speak_as_coinbase_does(place: CoinbaseDesk) -> None:
    for status, words in ((429, b"rate_limit_exceeded"), (500, b"INTERNAL"), (503, b"UNAVAILABLE"), (504, b"DEADLINE"), (502, b"<html>")):
        place.dialect.faults.http(status)
        seen, _, body = place.dialect.handle_http("GET", "/products", "", {}, place.now_ns)
        assert seen == status
        assert words in body


def test_status_tells_of_the_world(place: CoinbaseDesk) -> None:
    _, _, told = place.http("/emulator/status")
    assert (told["mode"], told["sessions"], told["streams"]) == ("market", 0, 0)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two = (coinbase_desk(seed=3) for _ in range(2))
    for path in (ADVANCED + "market/products", "/products/BTC-USD/book", "/products/BTC-USD/trades"):
        assert one.http(path, "level=2") == two.http(path, "level=2")
    ids = [row["trade_id"] for row in one.get("products/BTC-USD/trades")]
    assert all(a == b + 1 for a, b in pairwise(ids))
    assert json.dumps(ids)
