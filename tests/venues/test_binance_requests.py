"""What is asked, what it costs, and the rules of Binance's books."""

from __future__ import annotations

import pytest

from zvt_crypto.domain.errors import BadConfig, OutOfRange
from zvt_crypto.domain.market import BookDelta
from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.binance import request
from zvt_crypto.venues.binance.book import CONTINUITY
from zvt_crypto.venues.binance.spec import BinanceHosts, BinanceOptions, depth_limit, depth_weight, klines_weight, stream_name


def test_a_call_names_path_query_and_price():
    call = request.klines("usdm", "BTCUSDT", Interval.MONTH_1, 5, None, 1500)
    assert call.target == "/fapi/v1/klines?symbol=BTCUSDT&interval=1M&startTime=5&limit=1500"
    assert (call.bucket, call.weight) == ("binance.usdm.weight", 10)
    assert request.exchange_info("spot").target == "/api/v3/exchangeInfo"
    assert request.funding("BTCUSDT", 1, 2, 1000).bucket == "binance.usdm.funding"
    assert (
        request.index_klines("BTCUSDT", 1, 2, 9).target
        == "/fapi/v1/indexPriceKlines?pair=BTCUSDT&interval=1m&startTime=1&endTime=2&limit=9"
    )


def test_a_symbol_outside_ascii_is_percent_encoded():
    assert request.ticker("spot", "币USDT").target == "/api/v3/ticker/24hr?symbol=%E5%B8%81USDT"


@pytest.mark.parametrize(("limit", "weight"), [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)])
def test_spot_depth_weights(limit, weight):
    assert depth_limit("spot", limit) == limit
    assert depth_weight("spot", limit) == weight


@pytest.mark.parametrize(
    ("depth", "limit", "weight"), [(1, 5, 2), (20, 20, 2), (21, 50, 2), (51, 100, 5), (500, 500, 10), (1000, 1000, 20)]
)
def test_usdm_takes_only_its_own_depth_limits(depth, limit, weight):
    assert depth_limit("usdm", depth) == limit
    assert depth_weight("usdm", limit) == weight


@pytest.mark.parametrize(("market", "depth"), [("spot", 0), ("spot", 5001), ("usdm", 1001), ("usdm", -1)])
def test_refuses_a_depth_that_the_venue_has_not(market, depth):
    with pytest.raises(OutOfRange, match=str(depth)):
        depth_limit(market, depth)


@pytest.mark.parametrize(("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)])
def test_usdm_klines_weights(limit, weight):
    assert klines_weight("usdm", limit) == weight
    assert klines_weight("spot", limit) == 2


@pytest.mark.parametrize(
    ("market", "channel", "interval", "speed", "name"),
    [
        ("spot", "trade", None, 100, "btcusdt@trade"),
        ("spot", "agg", None, 100, "btcusdt@aggTrade"),
        ("spot", "kline", Interval.MONTH_1, 100, "btcusdt@kline_1M"),
        ("spot", "depth", None, 1000, "btcusdt@depth"),
        ("usdm", "depth", None, 0, "btcusdt@depth@0ms"),
        ("usdm", "quote", None, 100, "btcusdt@bookTicker"),
        ("usdm", "mark", None, 100, "btcusdt@markPrice@1s"),
    ],
)
def test_stream_names(market, channel, interval, speed, name):
    assert stream_name(market, "BTCUSDT", channel, interval, speed) == name


def test_options_refuse_what_does_not_exist():
    with pytest.raises(BadConfig, match="coinm"):
        BinanceOptions(markets=("coinm",))
    with pytest.raises(BadConfig, match="7"):
        BinanceOptions(depth_speed_ms=7)


def test_local_hosts_point_everything_at_the_emulator():
    hosts = BinanceHosts.local("http://127.0.0.1:1/", "ws://127.0.0.1:2")
    assert (hosts.spot_rest, hosts.usdm_rest, hosts.data_rest) == ("http://127.0.0.1:1",) * 3
    assert (hosts.spot_ws, hosts.usdm_public_ws) == ("ws://127.0.0.1:2", "ws://127.0.0.1:2/public")
    assert not any("binance" in value for value in (hosts.spot_ws, hosts.data_ws, hosts.usdm_market_ws))


def delta(first: int, last: int, prev: int | None = None) -> BookDelta:
    return BookDelta("it", first, last, prev, [], [], 0)


@pytest.mark.parametrize(
    ("snapshot", "verdicts"),
    [(161, ["ignore", "apply", "apply"]), (150, ["refetch", "refetch", "refetch"]), (170, ["ignore", "ignore", "ignore"])],
)
def test_spot_first_update_after_a_snapshot(snapshot, verdicts):
    rule = CONTINUITY["spot"]
    buffered = [delta(157, 160), delta(161, 163), delta(164, 164)]
    judged = [rule.first(snapshot, buffered[0]), rule.first(snapshot, buffered[1])]
    judged.append(rule.following(163, buffered[2]) if snapshot == 161 else rule.first(snapshot, buffered[2]))
    assert judged == verdicts


@pytest.mark.parametrize(
    ("update", "verdict"),
    [((166, 170), "gap"), ((165, 165), "apply"), ((164, 164), "ignore"), ((160, 166), "gap"), ((1, 9 * 10**18), "gap")],
)
def test_spot_update_after_164(update, verdict):
    assert CONTINUITY["spot"].following(164, delta(*update)) == verdict


@pytest.mark.parametrize(
    ("update", "verdict"),
    [((480, 499, 470), "ignore"), ((499, 505, 499), "apply"), ((500, 500, 470), "apply"), ((501, 505, 500), "refetch")],
)
def test_usdm_first_update_after_snapshot_500(update, verdict):
    assert CONTINUITY["usdm"].first(500, delta(*update)) == verdict


@pytest.mark.parametrize(
    ("last", "update", "verdict"),
    [
        (505, (512, 520, 505), "apply"),
        (520, (530, 540, 521), "gap"),
        (520, (512, 520, 505), "ignore"),
        (520, (530, 2 * 10**12, 520), "gap"),
    ],
)
def test_usdm_follows_by_pu_alone(last, update, verdict):
    assert CONTINUITY["usdm"].following(last, delta(*update)) == verdict
