"""What is asked of Bybit, to the letter; signatures; settings."""

from __future__ import annotations

import pytest

from zvt_crypto.domain.errors import BadConfig, OutOfRange
from zvt_crypto.domain.time import INTERVALS, Interval
from zvt_crypto.venues.bybit import BybitHosts, BybitOptions, request, spec
from zvt_crypto.venues.bybit.rest import manners
from zvt_crypto.venues.bybit.sign import sign_request, sign_socket

M = "/v5/market"


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (request.time(), f"{M}/time"),
        (request.instruments("spot", "Trading", None), f"{M}/instruments-info?category=spot"),
        (
            request.instruments("linear", "PreLaunch", None),
            f"{M}/instruments-info?category=linear&status=PreLaunch&limit=1000",
        ),
        (
            request.instruments("linear", "Trading", "first%3DA%26last%3DB"),  # as it came: encoding it once more asks for another page
            f"{M}/instruments-info?category=linear&status=Trading&limit=1000&cursor=first%3DA%26last%3DB",
        ),
        (
            request.klines("linear", "BTCUSDT", Interval.MONTH_1, 5, 9, 200),
            f"{M}/kline?category=linear&symbol=BTCUSDT&interval=M&start=5&end=9&limit=200",
        ),
        (
            request.klines("spot", "BTCUSDT", Interval.MIN_1, None, None, 1),
            f"{M}/kline?category=spot&symbol=BTCUSDT&interval=1&limit=1",
        ),
        (
            request.mark_klines("inverse", "BTCUSD", Interval.MIN_1, 5, 9),
            f"{M}/mark-price-kline?category=inverse&symbol=BTCUSD&interval=1&start=5&end=9&limit=1000",
        ),
        (
            request.index_klines("linear", "BTCUSDT-25DEC26", Interval.MIN_1, 5, 9),
            f"{M}/index-price-kline?category=linear&symbol=BTCUSDT-25DEC26&interval=1&start=5&end=9&limit=1000",
        ),
        (request.trades("spot", "BTCUSDT", 60), f"{M}/recent-trade?category=spot&symbol=BTCUSDT&limit=60"),
        (request.book("linear", "BTCUSDT", 20), f"{M}/orderbook?category=linear&symbol=BTCUSDT&limit=20"),
        (request.ticker("linear", "BTCUSDT"), f"{M}/tickers?category=linear&symbol=BTCUSDT"),
        (request.funding("linear", "BTCUSDT", 9), f"{M}/funding/history?category=linear&symbol=BTCUSDT&endTime=9&limit=200"),
    ],
)
def test_calls(call, target):
    assert (call.target, call.bucket, call.weight) == (target, "bybit.ip.requests", 1)


def test_every_interval_has_the_venues_name():
    assert [spec.INTERVAL_NAMES[interval] for interval in INTERVALS] == ["1", "5", "15", "30", "60", "240", "D", "W", "M"]


def test_topics():
    names = [spec.topic_name("BTCUSDT", channel, None, 200) for channel in ("trade", "depth", "quote", "ticker", "mark")]
    assert names == ["publicTrade.BTCUSDT", "orderbook.200.BTCUSDT", "orderbook.1.BTCUSDT", "tickers.BTCUSDT", "tickers.BTCUSDT"]
    assert spec.topic_name("BTCUSDT", "kline", Interval.WEEK_1, 200) == "kline.W.BTCUSDT"


def test_the_limit_of_an_address_holds_for_any_five_seconds():
    assert spec.PUBLISHED[spec.IP_BUCKET] == (600, 5_000)
    assert manners(spec.BybitHosts()).slides


def test_half_is_planned_of_limits_whose_excess_shuts_out_and_that_nothing_reports():
    assert spec.LIMITS == {spec.IP_BUCKET: (300, 5_000), spec.CONNECT_BUCKET: (250, 300_000)}


@pytest.mark.parametrize("depth", [0, -1, 1_001])
def test_depths_beyond_the_venues_are_named(depth):
    with pytest.raises(OutOfRange, match=str(depth)):
        spec.book_limit(depth)


@pytest.mark.parametrize(
    ("wrong", "named"), [({"markets": ()}, "known are"), ({"markets": ("option",)}, "option"), ({"book_levels": 500}, "500")]
)
def test_options_out_of_range_are_named(wrong, named):
    with pytest.raises(BadConfig, match=named):
        BybitOptions(**wrong)


def test_hosts():
    assert BybitHosts().socket("linear") == "wss://stream.bybit.com/v5/public/linear"
    assert BybitHosts.local("http://h:1/", "ws://h:2/").socket("spot") == "ws://h:2/v5/public/spot"


def test_signatures_of_requests_and_of_the_socket():
    """Vectors computed apart from this code, with a key and secret that are nobody's."""
    key, secret, at = "demo-key-0001", "demo-secret-0001", 1_700_000_000_000
    query = "category=linear&symbol=BTCUSDT"
    assert sign_request(secret, at, key, 5_000, query) == "62f665a996cf35d1c99bfb7261e70c19f730a2d20d0dccc7954e5696178cbdd5"
    body = (
        '{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.001","price":"20000",'
        '"timeInForce":"GTC","orderLinkId":"t-1"}'
    )
    assert sign_request(secret, at, key, 5_000, body) == "0ad671a34069e8407c970c8f10387469baf12ff60299baaac97cb127598dc732"
    assert sign_socket(secret, at + 1_000) == "bb194fb4e37678ea437774b679c513349a4eeaa22e7098b7fcfba54625a37aa0"
