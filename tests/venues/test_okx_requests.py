"""What is asked of OKX: targets, limits, signatures, and what is sent on a connection."""

from __future__ import annotations

import json

import pytest

from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.domain.time import INTERVALS, Interval
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.okx import request, spec
from zvt_crypto.venues.okx.manners import OkxManners
from zvt_crypto.venues.okx.rest import manners
from zvt_crypto.venues.okx.sign import sign, sign_login
from zvt_crypto.venues.okx.spec import REGIONS, OkxHosts, OkxOptions
from zvt_crypto.venues.okx.units import traded_of

SECRET = "demo-secret-0001"
BTC, PERP, DATED = "cryptopair_okx_btcusdt", "cryptoperp_okx_btcusdt", "cryptofuture_okx_btcusdt_220930"


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (request.time(), "/api/v5/public/time"),
        (request.instruments("swap"), "/api/v5/public/instruments?instType=SWAP"),
        (request.recent_candles("BTC-USDT", Interval.HOUR_1, 5, 300), "/api/v5/market/candles?instId=BTC-USDT&bar=1H&after=5&limit=300"),
        (
            request.old_candles("BTC-USDT", Interval.MONTH_1, 5, 100),
            "/api/v5/market/history-candles?instId=BTC-USDT&bar=1Mutc&after=5&limit=100",
        ),
        (
            request.recent_prices("mark-price", "BTC-USDT-SWAP", 5, 100),
            "/api/v5/market/mark-price-candles?instId=BTC-USDT-SWAP&bar=1m&after=5&limit=100",
        ),
        (request.old_prices("index", "BTC-USDT", 5, 9), "/api/v5/market/history-index-candles?instId=BTC-USDT&bar=1m&after=5&limit=9"),
        (request.trades_before_id("BTC-USDT", 7, 100), "/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=7&limit=100"),
        (request.trades_before_id("BTC-USDT", None, 1), "/api/v5/market/history-trades?instId=BTC-USDT&type=1&limit=1"),
        (request.trades_before_time("BTC-USDT", 7, 1), "/api/v5/market/history-trades?instId=BTC-USDT&type=2&after=7&limit=1"),
        (request.book("BTC-USDT", 400), "/api/v5/market/books?instId=BTC-USDT&sz=400"),
        (request.book("BTC-USDT", 401), "/api/v5/market/books-full?instId=BTC-USDT&sz=401"),
        (request.ticker("BTC-USDT"), "/api/v5/market/ticker?instId=BTC-USDT"),
        (request.mark("futures", "BTC-USDT-220930"), "/api/v5/public/mark-price?instType=FUTURES&instId=BTC-USDT-220930"),
        (request.index("BTC-USDT"), "/api/v5/market/index-tickers?instId=BTC-USDT"),
        (request.funding_now("BTC-USDT-SWAP"), "/api/v5/public/funding-rate?instId=BTC-USDT-SWAP"),
        (request.funding_history("BTC-USDT-SWAP", None, 100), "/api/v5/public/funding-rate-history?instId=BTC-USDT-SWAP&limit=100"),
    ],
)
def test_targets_and_their_buckets(call, target):
    assert call.target == target
    assert call.bucket in spec.LIMITS
    assert call.bucket.startswith("okx.")


def test_days_and_longer_open_at_utc():
    assert {str(interval): spec.BARS[interval] for interval in INTERVALS} == {
        "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "4h": "4H", "1d": "1Dutc", "1w": "1Wutc", "1M": "1Mutc",
    }  # fmt: skip


def test_the_limits_are_the_published_ones_and_hold_wherever_a_window_begins():
    assert {name: spec.LIMITS[spec.bucket(name)] for name in spec.PUBLISHED} == spec.PUBLISHED
    assert spec.LIMITS[spec.CONNECT_BUCKET] == spec.CONNECTS
    assert manners(spec.OkxHosts()).slides


def test_signatures_are_the_reference_ones():
    at = "2023-11-14T22:13:20.000Z"
    assert sign(SECRET, at, "GET", "/api/v5/account/balance?ccy=USDT") == "tJEe9Lwll7v/fRGOhGIqtB9SrrUpSQ+ZfKDqJbfQmBk="
    body = '{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","px":"20000","sz":"0.001","clOrdId":"t1"}'
    assert sign(SECRET, at, "POST", "/api/v5/trade/order", body) == "GY65OFtV4yRdtb+X0Cf87JZwX1iEQK5KEnhlkHsbmdM="
    assert sign_login(SECRET, 1700000000) == "5BDQK3TT+pZwD+V7RdtmbG7APaOnnEsBe4rY85qQ2Sg="


def test_hosts_and_options():
    assert OkxHosts().ws == "wss://ws.okx.com"  # no port: the usual one
    assert OkxHosts.local("http://127.0.0.1:8002/", "ws://127.0.0.1:8443/") == OkxHosts(
        rest="http://127.0.0.1:8002", ws="ws://127.0.0.1:8443"
    )
    assert REGIONS["eea"].rest == "https://eea.okx.com"
    for wrong in ((), ("options",)):
        with pytest.raises(BadConfig, match="okx markets"):
            OkxOptions(markets=wrong)


# ── On a connection ──


def manners_of(okx, *wanted: Subscription) -> OkxManners:
    natives = {one.instrument: okx.listed.get(one.instrument).native_symbol for one in wanted}
    return OkxManners(wanted, natives, traded_of(okx.listed))


def test_subscribes_each_channel_and_waits_for_each(okx):
    manners = manners_of(okx, Subscription(BTC, "depth"), Subscription(BTC, "quote"), Subscription(PERP, "ticker"))
    (message,) = manners.subscribe()
    assert json.loads(message.payload) == {
        "id": "1",
        "op": "subscribe",
        "args": [
            {"channel": "books", "instId": "BTC-USDT"},
            {"channel": "bbo-tbt", "instId": "BTC-USDT"},
            {"channel": "tickers", "instId": "BTC-USDT-SWAP"},
        ],
    }
    assert message.awaits == ("books:BTC-USDT", "bbo-tbt:BTC-USDT", "tickers:BTC-USDT-SWAP")


def test_a_mark_price_comes_in_parts(okx):
    def channels(instrument: str) -> list[tuple[str, str]]:
        (message,) = manners_of(okx, Subscription(instrument, "mark")).subscribe()
        return [(arg["channel"], arg["instId"]) for arg in json.loads(message.payload)["args"]]

    assert channels(PERP) == [("mark-price", "BTC-USDT-SWAP"), ("index-tickers", "BTC-USDT"), ("funding-rate", "BTC-USDT-SWAP")]
    assert channels(DATED) == [("mark-price", "BTC-USDT-220930"), ("index-tickers", "BTC-USDT")]
    # Two contracts of one index ask for it once.
    (message,) = manners_of(okx, Subscription(PERP, "mark"), Subscription(DATED, "mark")).subscribe()
    assert len(message.awaits) == len(set(message.awaits)) == 4


def test_no_message_is_larger_than_the_venue_takes(okx):
    wanted = [Subscription(one.id, "mark") for one in okx.listed if one.id.startswith(("cryptoperp", "cryptofuture"))]
    messages = manners_of(okx, *wanted).subscribe()
    longest = max(len(message.payload) / len(message.awaits) for message in messages)
    assert longest < 120
    assert spec.ARGS_MOST * 120 < 64 * 1024
    assert spec.SUBSCRIPTIONS_MOST * 3 <= spec.ARGS_MOST * 2


def test_a_book_is_renewed_by_a_new_subscription(okx):
    manners = manners_of(okx, Subscription(PERP, "depth"))
    manners.subscribe()
    messages = [json.loads(message.payload) for message in manners.renew(PERP)]
    arg = [{"channel": "books", "instId": "BTC-USDT-SWAP"}]
    assert messages == [{"op": "unsubscribe", "args": arg}, {"op": "subscribe", "args": arg}]


def test_operations_end_before_the_venue_ends_them(okx):
    manners = manners_of(okx, Subscription(PERP, "depth"))
    sent = len(manners.subscribe())
    while messages := manners.renew(PERP):
        sent += len(messages)
    assert 470 <= sent <= 480


def test_pings_sooner_than_the_venue_cuts(okx):
    manners = manners_of(okx, Subscription(BTC, "depth"))
    assert manners.ping == b"ping"
    assert manners.ping_s <= 25
    assert manners.doubted(b"{") is None
    assert manners.parse(b"pong", 1) == ()
