"""OKX's listing → our instruments."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instruments, TradingStatus, assign_ids
from zvt_crypto.venues.okx.symbols import index_of, market_of, parse_instruments
from zvt_crypto.venues.okx.units import traded, traded_of

ROW = {
    "instType": "SWAP", "instId": "BTC-USDT-SWAP", "uly": "BTC-USDT", "instFamily": "BTC-USDT", "baseCcy": "", "quoteCcy": "",
    "settleCcy": "USDT", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC", "ctType": "linear", "tickSz": "0.1", "lotSz": "0.01",
    "minSz": "0.01", "listTime": "1573557408000", "expTime": "", "state": "live", "instIdCode": 10459, "tradeQuoteCcyList": [],
}  # fmt: skip


def listing_of(market: str = "swap", **changes):
    return parse_instruments(json.dumps({"code": "0", "msg": "", "data": [{**ROW, **changes}]}).encode(), market)


def test_a_pair_is_named_by_its_currencies(okx):
    pair = okx.listed.resolve("BTC-USDT", "okx")
    assert isinstance(pair, CryptoPair)
    assert pair.id == "cryptopair_okx_btcusdt"
    assert (pair.tick, pair.lot, pair.min_trade_amount) == (Decimal("0.1"), Decimal("1E-8"), Decimal("0.00001"))
    assert pair.listed_ns == 1548133413000 * 1_000_000


def test_a_linear_contract_counts_in_base():
    (perp,) = listing_of().instruments
    assert isinstance(perp, CryptoPerp)
    assert (perp.base_asset, perp.quote_asset, perp.settlement_currency) == ("BTC", "USDT", "USDT")
    assert not perp.is_inverse
    assert perp.contract_size == Decimal("0.01")
    # A hundredth of a contract of 0.01 BTC.
    assert (perp.lot, perp.min_trade_amount) == (Decimal("0.0001"), Decimal("0.0001"))


def test_the_multiplier_belongs_to_the_contract():
    (perp,) = listing_of(ctMult="10").instruments
    assert perp.contract_size == Decimal("0.1")
    assert perp.lot == Decimal("0.001")


def test_an_inverse_contract_keeps_the_venues_steps(okx):
    perp = okx.listed.get("cryptoperp_okx_btcusd")
    assert perp.is_inverse
    assert (perp.contract_size, perp.settlement_currency, perp.underlying_asset) == (Decimal(100), "BTC", "BTC")
    assert perp.lot == Decimal(1)  # contracts


def test_dated_contracts_end_when_they_say(okx):
    future = okx.listed.get("cryptofuture_okx_btcusdt_220930")
    assert isinstance(future, CryptoFuture)
    assert future.native_symbol == "BTC-USDT-220930"
    assert future.expiry_ns == 1664524800000 * 1_000_000
    assert okx.listed.get("cryptofuture_okx_btcusd_220930").is_inverse


def test_names_map_both_ways_over_all_markets(okx):
    table = traded_of(okx.listed)
    assert len(table) == len(okx.listed) == 21
    for one in okx.listed:
        assert table[one.native_symbol].id == one.id
        assert okx.listed.resolve(one.id) is one
        assert okx.listed.resolve(one.native_symbol, "okx") is one
    assert {market_of(one) for one in okx.listed} == {"spot", "swap", "futures"}
    assert index_of(okx.listed.get("cryptofuture_okx_btcusdt_220930")) == "BTC-USDT"


def test_two_contracts_of_one_underlying_and_quote_get_two_ids():
    inverse = {"instId": "BTC-USD-SWAP", "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "100", "ctValCcy": "USD", "ctType": "inverse"}
    margined = {"instId": "BTC-USD_UM-SWAP", "uly": "BTC-USD", "instFamily": "BTC-USD_UM", "settleCcy": "USDC"}
    found = [*listing_of(**inverse).instruments, *listing_of(**margined).instruments]
    assert [one.id for one in assign_ids(found, Instruments())] == ["cryptoperp_okx_btcusd", "cryptoperp_okx_btcusd_btc-usd_um-swap"]


@pytest.mark.parametrize(("state", "status"), [("live", "active"), ("suspend", "suspended"), ("preopen", "pending"), ("test", "pending")])
def test_states_are_a_table(state, status):
    listing = listing_of(state=state)
    assert listing.instruments[0].status == status
    assert not listing.drift


def test_an_unknown_state_is_drift():
    listing = listing_of(state="hibernating")
    assert listing.instruments[0].status is TradingStatus.UNKNOWN
    assert [(one.what, one.value) for one in listing.drift] == [("state", "BTC-USDT-SWAP hibernating")]


@pytest.mark.parametrize(
    ("market", "changes"),
    [
        ("swap", {"ctVal": ""}),
        ("swap", {"ctVal": "0"}),
        ("swap", {"ctVal": "abc"}),
        ("swap", {"ctType": "quanto"}),
        ("swap", {"ctValCcy": "ETH"}),
        ("swap", {"settleCcy": ""}),
        ("swap", {"settleCcy": "BTC"}),
        ("swap", {"tickSz": "NaN"}),
        ("futures", {"expTime": ""}),
        ("spot", {"baseCcy": ""}),
        ("swap", {"instId": 5}),
    ],
)
def test_a_row_that_cannot_be_read_costs_only_itself(market, changes):
    body = {
        "code": "0",
        "data": [
            {**ROW, "baseCcy": "BTC", "quoteCcy": "USDT", **changes},
            {**ROW, "baseCcy": "A", "quoteCcy": "B", "expTime": "1664524800000"},
        ],
    }
    listing = parse_instruments(json.dumps(body).encode(), market)
    assert len(listing.instruments) == 1
    assert [one.what for one in listing.drift] == ["instrument that cannot be read"]


def test_unknown_fields_do_not_matter_and_a_missing_list_does():
    assert listing_of(invented=[{"deep": True}]).instruments
    assert parse_instruments(b'{"code":"0","msg":"","data":[]}', "futures").instruments == []
    with pytest.raises(Malformed):
        parse_instruments(b'{"code":"0","msg":""}', "swap")


def test_contracts_become_base_without_the_noise_of_floats():
    of = traded(listing_of().instruments[0])
    # From recorded candles, which tell contracts and base; the plain product of the second is 10.403699999999999.
    assert of.base(7164.04, 102_806.1) == 71.6404
    assert of.base(1040.37, 102_820.4) == 10.4037
    many = traded(listing_of(ctVal="1000000", ctValCcy="BTC", lotSz="1").instruments[0])
    assert many.base(3.0, 0.00002) == 3_000_000.0


def test_contracts_of_quote_become_base_at_their_price():
    inverse = {"instId": "BTC-USD-SWAP", "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "100", "ctValCcy": "USD", "ctType": "inverse"}
    of = traded(listing_of(**inverse).instruments[0])
    assert of.base(3.0, 60_000.0) == pytest.approx(0.005)
