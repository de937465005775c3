"""Coinbase's products as instruments: ids, steps in base, aliases, what is perpetual, and what may be done with each."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instruments, TradingStatus, assign_ids
from zvt_crypto.venues.coinbase.product import product_of
from zvt_crypto.venues.coinbase.symbols import family_of, market_of, parse_products, products_of

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "coinbase"
SPOT = (FIXTURES / "rest_products_spot.json").read_bytes()
FUTURE = (FIXTURES / "rest_products_future.json").read_bytes()
INTX = {
    "product_id": "BTC-PERP-INTX",
    "product_type": "FUTURE",
    "base_increment": "0.0001",
    "quote_increment": "0.1",
    "price_increment": "0.1",
    "base_min_size": "0.0001",
    "quote_min_size": "10",
    "quote_currency_id": "USDC",
    "status": "online",
    "future_product_details": {
        "venue": "intx",
        "contract_size": "1",
        "contract_root_unit": "BTC",
        "contract_expiry_type": "PERPETUAL",
        "contract_expiry": None,
        "perpetual_details": {"funding_rate": "0.000008", "open_interest": "1"},
    },
}


def table() -> Instruments:
    listed = [*parse_products(SPOT, "spot").instruments, *parse_products(FUTURE, "future").instruments]
    return Instruments(assign_ids(listed, Instruments()))


def future(**details: object) -> bytes:
    row = INTX | {"future_product_details": INTX["future_product_details"] | details}
    return json.dumps({"products": [row], "num_products": 1}).encode()


def test_recorded_pairs_have_ids_steps_and_names_both_ways():
    held = table()
    btc = held.resolve("BTC-USD", "coinbase")
    assert isinstance(btc, CryptoPair)
    assert (btc.id, btc.base_asset, btc.quote_asset) == ("cryptopair_coinbase_btcusd", "BTC", "USD")
    assert (btc.tick, btc.lot, btc.min_trade_amount, btc.min_notional) == (Decimal("0.01"), Decimal("1E-8"), Decimal("1E-8"), Decimal(1))
    for name in ("btcusd", "BTC/USD", "cryptopair_coinbase_btcusd", "btc-usd"):
        assert held.resolve(name, "coinbase") is btc
    assert held.symbol_mappings["coinbase"]["BTC-USD"] == "btcusd"
    assert held.resolve("BTC-USDC", "coinbase").id == "cryptopair_coinbase_btcusdc"
    assert parse_products(SPOT, "spot").drift == []


def test_a_usdc_pair_is_its_usd_pair_by_another_name_only_where_the_venue_says_so():
    aliases = parse_products(SPOT, "spot").aliases
    assert aliases["BTC-USDC"] == "BTC-USD"
    assert "BTC-USD" not in aliases
    assert "USDT-USDC" not in aliases  # has a book of its own beside USDT-USD
    held = table()
    usdc, tether = held.resolve("BTC-USDC", "coinbase"), held.resolve("USDT-USDC", "coinbase")
    known = products_of([usdc, tether], aliases)
    assert {name: one.instrument for name, one in known.items()} == {
        "BTC-USDC": usdc.id,
        "BTC-USD": usdc.id,
        "USDT-USDC": tether.id,
    }
    assert family_of(usdc) == family_of(held.resolve("BTC-USD", "coinbase")) == "BTC-USD"


def test_status_follows_the_venues_word_and_its_flags():
    by_native = {one.native_symbol: one.status for one in parse_products(SPOT, "spot").instruments}
    assert by_native["BTC-USD"] is TradingStatus.ACTIVE
    assert by_native["DAI-USD"] is TradingStatus.DELISTED
    (limit_only,) = [row["product_id"] for row in json.loads(SPOT)["products"] if row["limit_only"]]
    assert by_native[limit_only] is TradingStatus.ACTIVE  # it trades, in one way


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "offline"}, TradingStatus.SUSPENDED),
        ({"status": "internal"}, TradingStatus.PENDING),
        ({"status": "delisted", "trading_disabled": True}, TradingStatus.DELISTED),
        ({"trading_disabled": True}, TradingStatus.SUSPENDED),
        ({"is_disabled": True}, TradingStatus.SUSPENDED),
        ({"auction_mode": True}, TradingStatus.SUSPENDED),
        ({"cancel_only": True}, TradingStatus.CANCEL_ONLY),
        ({"fcm_trading_session_details": {"is_session_open": False}}, TradingStatus.SUSPENDED),
    ],
)
def test_each_flag_has_its_status(changes, status):
    row = json.loads(SPOT)["products"][0] | changes
    listing = parse_products(json.dumps({"products": [row]}).encode(), "spot")
    assert (listing.instruments[0].status, listing.drift) == (status, [])


def test_a_status_that_we_do_not_know_is_drift():
    row = json.loads(SPOT)["products"][0] | {"status": "sleeping"}
    listing = parse_products(json.dumps({"products": [row]}).encode(), "spot")
    assert listing.instruments[0].status is TradingStatus.UNKNOWN
    assert [(d.what, d.value) for d in listing.drift] == [("status", f"{row['product_id']} sleeping")]


def test_the_perpetual_of_the_us_venue_expires_on_paper_and_has_funding():
    perp, dated = assign_ids(parse_products(FUTURE, "future").instruments, Instruments())
    assert isinstance(perp, CryptoPerp)
    assert (perp.id, perp.native_symbol) == ("cryptoperp_coinbase_btcusd", "BIP-20DEC30-CDE")
    # One contract is 0.01 BTC: lots and minimum are counted in BTC.
    assert (perp.contract_size, perp.lot, perp.min_trade_amount, perp.tick) == (Decimal("0.01"), Decimal("0.01"), Decimal("0.01"), 5)
    assert (perp.settlement_currency, perp.is_inverse, perp.funding_rate) == ("USD", False, Decimal("0.000013"))
    assert product_of(perp).base(57.0) == 0.57
    assert isinstance(dated, CryptoFuture)
    # 2026-04-24T15:00:00Z
    assert (dated.id, dated.expiry_ns) == ("cryptofuture_coinbase_btcusd_260424", 1_777_042_800 * 10**9)
    assert {market_of(perp), market_of(dated)} == {"future"}


def test_the_perpetual_of_the_international_venue_settles_in_usdc():
    (perp,) = assign_ids(parse_products(future(), "future").instruments, table())
    assert isinstance(perp, CryptoPerp)
    assert (perp.id, perp.settlement_currency, perp.funding_rate) == ("cryptoperp_coinbase_btcusdc", "USDC", Decimal("0.000008"))
    assert (perp.lot, perp.min_notional) == (Decimal("0.0001"), Decimal(10))


def test_a_second_contract_on_the_same_pair_keeps_its_native_name_in_its_id():
    big = json.loads(future(contract_size="5"))["products"][0] | {"product_id": "BTI-PERP", "quote_currency_id": "USDC"}
    body = json.dumps({"products": [INTX, big]}).encode()
    first, second = assign_ids(parse_products(body, "future").instruments, Instruments())
    assert (first.id, second.id) == ("cryptoperp_coinbase_btcusdc", "cryptoperp_coinbase_btcusdc_bti-perp")


def test_gold_and_oil_are_left_out_in_silence():
    for details in ({"non_crypto": True}, {"futures_asset_type": "FUTURES_ASSET_TYPE_COMMODITY"}):
        listing = parse_products(future(**details), "future")
        assert (listing.instruments, listing.drift) == ([], [])


@pytest.mark.parametrize(
    ("details", "what"),
    [
        ({"contract_size": "0"}, "product that cannot be read"),
        ({"futures_asset_type": "FUTURES_ASSET_TYPE_WEATHER"}, "asset type"),
        ({"contract_size": "many"}, "product that cannot be read"),
        ({"contract_root_unit": ""}, "product that cannot be read"),
        ({"perpetual_details": {"funding_rate": "NaN"}}, "product that cannot be read"),
        ({"perpetual_details": {"funding_rate": "?"}}, "product that cannot be read"),
        ({"contract_expiry_type": "EXPIRING"}, "product that cannot be read"),
        ({"contract_expiry_type": "EXPIRING", "contract_expiry": "soon"}, "product that cannot be read"),
        ({"contract_expiry_type": "EXPIRING", "contract_expiry": "0001-01-01T00:00:00Z"}, "product that cannot be read"),
    ],
)
def test_one_contract_that_cannot_be_read_costs_only_itself(details, what):
    broken = json.loads(future(**details))["products"][0]
    listing = parse_products(json.dumps({"products": [broken, INTX]}).encode(), "future")
    assert [one.native_symbol for one in listing.instruments] == ["BTC-PERP-INTX"]
    assert [d.what for d in listing.drift] == [what]


def test_odd_rows_of_a_listing_are_drift():
    bare = {name: value for name, value in INTX.items() if name != "future_product_details"}
    strange = INTX | {"product_type": "OPTION"}
    listing = parse_products(json.dumps({"products": [bare, strange, INTX], "pagination": {"has_next": True}}).encode(), "future")
    assert [(d.what, d.value) for d in listing.drift] == [
        ("contract without details", "BTC-PERP-INTX"),
        ("product type", "BTC-PERP-INTX OPTION"),
    ]
    assert (listing.count, listing.has_next) == (3, True)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"products":[{"product_id":1}]}', b'{"products":[{}]}'])
def test_a_listing_that_is_none_is_malformed(body):
    with pytest.raises(Malformed, match="coinbase spot products"):
        parse_products(body, "spot")


def test_no_contracts_at_all_are_no_error():
    assert parse_products(b'{"products":[],"num_products":0,"pagination":null}', "future").instruments == []
