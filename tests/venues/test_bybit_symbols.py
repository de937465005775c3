"""instruments-info → instruments, and back."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from venues.bybit_parts import ROW, listed, spot_body, wired
from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.instrument import CryptoFuture, CryptoPair, CryptoPerp, Instruments, TradingStatus, assign_ids
from zvt_crypto.venues.bybit.spec import EXCHANGE
from zvt_crypto.venues.bybit.symbols import STATUS, category_of, natives_of, parse_instruments


def body(*rows: dict, cursor: str | None = "") -> bytes:
    return wired(
        {"retCode": 0, "retMsg": "OK", "result": {"list": rows, "nextPageCursor": cursor}, "retExtInfo": {}, "time": 1707186451514}
    )


def one(category: str, **changed: object):
    listing = parse_instruments(body({**ROW, **changed}), category)
    assert listing.drift == []
    (made,) = assign_ids(listing.instruments, Instruments())
    return made


def test_the_recorded_spot_listing():
    listing = parse_instruments(spot_body(), "spot")
    assert (len(listing.instruments), listing.cursor, listing.drift) == (557, None, [])
    assert {type(i) for i in listing.instruments} == {CryptoPair}
    bitcoin = listing.instruments[0]
    assert (bitcoin.native_symbol, bitcoin.tick, bitcoin.lot, bitcoin.min_notional) == ("BTCUSDT", Decimal("0.1"), Decimal("0.000001"), 5)
    assert bitcoin.min_trade_amount is None  # the venue checks the value only
    assert (bitcoin.price_precision, bitcoin.quantity_precision) == (1, 6)
    assert all(i.tick and i.lot for i in listing.instruments)


def test_a_linear_perpetual():
    made = one("linear")
    assert isinstance(made, CryptoPerp)
    assert (made.id, made.status, made.listed_ns) == ("cryptoperp_bybit_btcusdt", TradingStatus.ACTIVE, 1_585_526_400_000_000_000)
    assert (made.tick, made.lot, made.min_trade_amount, made.min_notional) == (Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), 5)
    assert (made.contract_size, made.settlement_currency, made.is_inverse) == (1, "USDT", False)


def test_an_inverse_perpetual_settles_in_its_base_and_counts_in_quote():
    made = one("inverse", symbol="BTCUSD", quoteCoin="USD", settleCoin="BTC", contractType="InversePerpetual")
    assert (made.id, made.is_inverse, made.contract_size, category_of(made)) == ("cryptoperp_bybit_btcusd", True, 1, "inverse")


def test_dated_contracts_of_all_three_kinds_have_ids_of_their_own():
    ends = "1798185600000"
    linear = one("linear", symbol="BTCUSDT-25DEC26", contractType="LinearFutures", deliveryTime=ends)
    usdc = one("linear", symbol="BTC-25DEC26", contractType="LinearFutures", deliveryTime=ends, quoteCoin="USDC", settleCoin="USDC")
    inverse = one("inverse", symbol="BTCUSDZ26", contractType="InverseFutures", deliveryTime=ends, quoteCoin="USD", settleCoin="BTC")
    assert [type(i) for i in (linear, usdc, inverse)] == [CryptoFuture] * 3
    assert linear.id == "cryptofuture_bybit_btcusdt_261225"
    assert usdc.id == "cryptofuture_bybit_btcusdc_261225"
    assert inverse.id == "cryptofuture_bybit_btcusd_261225"
    assert linear.expiry_ns == 1_798_185_600_000_000_000


def test_a_multiplied_base_is_a_base_of_its_own():
    assert one("linear", symbol="1000PEPEUSDT", baseCoin="1000PEPE").id == "cryptoperp_bybit_1000pepeusdt"
    assert one("linear", symbol="BTCPERP", quoteCoin="USDC", settleCoin="USDC").id == "cryptoperp_bybit_btcusdc"


@pytest.mark.parametrize("code", STATUS)
def test_every_status_is_known(code):
    made = one("linear", status=code, deliveryTime="1798185600000")
    assert made.status is STATUS[code]
    assert made.delisted_ns == (1_798_185_600_000_000_000 if code == "Closed" else None)


def test_an_unknown_status_is_drift_and_the_instrument_stays():
    listing = parse_instruments(body({**ROW, "status": "Frozen"}), "linear")
    assert [i.status for i in listing.instruments] == [TradingStatus.UNKNOWN]
    assert [(d.what, d.value) for d in listing.drift] == [("status", "BTCUSDT Frozen")]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"contractType": "LinearOption"}, "contract type"),
        ({"contractType": "LinearFutures"}, "contract type"),  # without a delivery it is none
        ({"settleCoin": "BTC"}, "category"),
        ({"priceFilter": {"tickSize": "ten"}}, "instrument that cannot be read"),
        ({"priceFilter": {}}, "instrument that cannot be read"),
        ({"baseCoin": 5}, "instrument that cannot be read"),
    ],
)
def test_a_row_that_cannot_be_used_costs_only_itself(changed, what):
    listing = parse_instruments(body({**ROW, **changed}, {**ROW, "symbol": "ETHUSDT", "baseCoin": "ETH"}), "linear")
    assert [i.native_symbol for i in listing.instruments] == ["ETHUSDT"]
    assert [d.what for d in listing.drift] == [what]


@pytest.mark.parametrize(("cursor", "given"), [("", None), (None, None), ("first%3DA%26last%3DB", "first%3DA%26last%3DB")])
def test_the_cursor_of_the_next_page(cursor, given):
    assert parse_instruments(body(ROW, cursor=cursor), "linear").cursor == given


def test_a_body_that_is_no_listing_is_malformed():
    with pytest.raises(Malformed, match="bybit linear instruments-info"):
        parse_instruments(b"<html>", "linear")


def test_symbols_both_ways():
    table = listed()
    for category in ("spot", "linear", "inverse"):
        natives = natives_of(table, category)
        for native, entity_id in natives.items():
            instrument = table.resolve(entity_id)
            assert (instrument.native_symbol, category_of(instrument)) == (native, category)
    assert natives_of(table, "spot")["BTCUSDT"] == "cryptopair_bybit_btcusdt"
    assert natives_of(table, "linear")["BTCUSDT"] == "cryptoperp_bybit_btcusdt"
    assert set(natives_of(table, "inverse")) == {"BTCUSD"}
    assert table.resolve("BTC/USDT:USDT", EXCHANGE).id == "cryptoperp_bybit_btcusdt"
    assert table.resolve("BTC-USDT", EXCHANGE).id == "cryptopair_bybit_btcusdt"
    assert json.loads(spot_body())["result"]["list"][0]["symbol"] in table.symbol_mappings[EXCHANGE]
