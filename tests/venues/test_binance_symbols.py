"""exchangeInfo → instruments, and back."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instruments, TradingStatus, assign_ids
from zvt_crypto.venues.binance.spec import stream_name
from zvt_crypto.venues.binance.symbols import parse_exchange_info

FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01000000"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000", "stepSize": "0.00001000"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": "100", "stepSize": "0"},
    {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
]
BTCUSDT = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": FILTERS}
PERP = {**BTCUSDT, "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1569398400000}
PERP |= {"marginAsset": "USDT", "pricePrecision": 9, "quantityPrecision": 9}


def info(*symbols: object, **more: object) -> bytes:
    return json.dumps({"symbols": symbols, **more}).encode()


def test_steps_come_from_the_filters():
    (pair,) = parse_exchange_info(info(BTCUSDT), "spot").instruments
    assert type(pair) is CryptoPair
    assert (pair.tick, pair.lot, pair.min_trade_amount) == (Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"))
    assert (pair.min_notional, pair.price_precision, pair.quantity_precision) == (5, 2, 5)


def test_a_tick_of_zero_is_no_tick():
    none = [{**FILTERS[0], "tickSize": "0.00000000"}]
    assert parse_exchange_info(info({**BTCUSDT, "filters": none}), "spot").instruments[0].tick is None


def test_a_perpetual_does_not_take_precision_for_a_step():
    old = [*FILTERS[:2], {"filterType": "MIN_NOTIONAL", "notional": "100"}]
    (perp,) = parse_exchange_info(info({**PERP, "filters": old}), "usdm").instruments
    assert type(perp) is CryptoPerp
    assert (perp.tick, perp.min_notional, perp.contract_size) == (Decimal("0.01"), 100, 1)
    assert (perp.underlying_asset, perp.settlement_currency, perp.is_inverse) == ("BTC", "USDT", False)
    assert perp.listed_ns == 1569398400000 * 10**6


def test_a_dated_contract_knows_its_end():
    dated = {**PERP, "symbol": "BTCUSDT_210924", "contractType": "CURRENT_QUARTER", "deliveryDate": 1632470400000}
    made = assign_ids(parse_exchange_info(info(dated, PERP), "usdm").instruments, Instruments())
    assert [i.id for i in made] == ["cryptofuture_binance_btcusdt_210924", "cryptoperp_binance_btcusdt"]
    assert type(made[0]) is CryptoFuture
    assert made[0].expiry_ns == 1632470400000 * 10**6


@pytest.mark.parametrize("kind", ["TRADIFI_PERPETUAL", "", None, "EVENT"])
def test_an_unknown_contract_type_is_drift_and_not_a_crash(kind):
    listing = parse_exchange_info(info({**PERP, "symbol": "TSLAUSDT", "contractType": kind}, PERP), "usdm")
    assert [i.native_symbol for i in listing.instruments] == ["BTCUSDT"]
    assert [(one.what, one.value) for one in listing.drift] == [("contract type", f"TSLAUSDT {kind}")]


@pytest.mark.parametrize(
    ("market", "code", "status"),
    [
        ("spot", "TRADING", TradingStatus.ACTIVE),
        ("spot", "BREAK", TradingStatus.SUSPENDED),
        ("spot", "CANCEL_ONLY", TradingStatus.CANCEL_ONLY),
        ("usdm", "PENDING_TRADING", TradingStatus.PENDING),
        ("usdm", "SETTLING", TradingStatus.SETTLING),
        ("usdm", "CLOSE", TradingStatus.DELISTED),
    ],
)
def test_status_codes(market, code, status):
    listing = parse_exchange_info(info({**PERP, "status": code}), market)
    assert (listing.instruments[0].status, listing.drift) == (status, [])


def test_an_unknown_status_is_said():
    listing = parse_exchange_info(info({**BTCUSDT, "status": "NAPPING"}), "spot")
    assert listing.instruments[0].status is TradingStatus.UNKNOWN
    assert [one.value for one in listing.drift] == ["BTCUSDT NAPPING"]


def test_one_symbol_that_cannot_be_read_costs_only_itself():
    broken = [{"symbol": "X"}, 7, {**BTCUSDT, "symbol": "Y", "filters": [{**FILTERS[0], "tickSize": "many"}]}]
    listing = parse_exchange_info(info(*broken, BTCUSDT), "spot")
    assert [i.native_symbol for i in listing.instruments] == ["BTCUSDT"]
    assert [one.what for one in listing.drift] == ["symbol that cannot be read"] * 3


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"symbols":3}'])
def test_refuses_an_answer_that_is_no_listing(body):
    with pytest.raises(Malformed, match="exchangeInfo"):
        parse_exchange_info(body, "spot")


def test_a_market_may_list_nothing():
    assert parse_exchange_info(info(), "spot").instruments == []


def test_the_stated_weight_limit_is_read():
    rates = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
    ]
    assert parse_exchange_info(info(BTCUSDT, rateLimits=rates), "spot").limits == [("binance.spot.weight", 6000, 60_000)]


def test_thousands_and_letters_outside_ascii():
    odd = [
        {**BTCUSDT, "symbol": "1000SATSUSDT", "baseAsset": "1000SATS"},
        {**BTCUSDT, "symbol": "币安人生USDT", "baseAsset": "币安人生"},
    ]
    made = assign_ids(parse_exchange_info(info(*odd), "spot").instruments, Instruments())
    assert [i.id for i in made] == ["cryptopair_binance_1000satsusdt", "cryptopair_binance_币安人生usdt"]
    table = Instruments(made)
    assert table.resolve("币安人生/USDT", "binance").native_symbol == "币安人生USDT"
    assert stream_name("spot", "币安人生USDT", "trade", None, 100) == "币安人生usdt@trade"


@pytest.mark.parametrize(("market", "most"), [("spot", 1695), ("usdm", 122)])
def test_the_whole_recorded_listing_maps_both_ways(kit, listed, market, most):
    raw = json.loads(kit.exchange_info_of(market))["symbols"]
    assert len(raw) == most
    kinds = ("pair",) if market == "spot" else ("perp", "future")
    unread = 0
    for row in raw:
        found = [i for kind in kinds if (i := listed.find_native("binance", kind, row["symbol"])) is not None]
        if not found:
            unread += 1
            continue
        (one,) = found
        assert (one.base_asset, one.quote_asset) == (row["baseAsset"], row["quoteAsset"])
        assert listed.get(one.id) is one
        assert listed.resolve(one.id).native_symbol == row["symbol"]
    assert unread == (0 if market == "spot" else 1)  # BTCSTUSDT has an empty contract type


def test_recorded_ids_do_not_collide(listed):
    assert len({i.id for i in listed}) == len(listed) == 1695 + 121
