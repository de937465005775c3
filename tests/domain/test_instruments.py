"""Ids that never collide, and names read back through the table alone."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from zvt_crypto.domain.errors import AmbiguousSymbol, BadInput, UnknownExchange, UnknownSymbol
from zvt_crypto.domain.instrument import (
    CryptoFuture,
    CryptoPair,
    CryptoPerp,
    Instruments,
    TradingStatus,
    asset_id,
    assign_ids,
    ccxt_symbol,
    check_exchange,
    kind_of,
    short_symbol,
)
from zvt_crypto.domain.time import parse_time

EXPIRY_NS = parse_time("2026-12-25T08:00:00Z")


def pair(native: str, base: str, quote: str, exchange: str = "binance", status: TradingStatus = TradingStatus.ACTIVE) -> CryptoPair:
    return CryptoPair(id="", exchange=exchange, native_symbol=native, base_asset=base, quote_asset=quote, status=status)


def perp(native: str, base: str, quote: str, settle: str, exchange: str = "binance") -> CryptoPerp:
    return CryptoPerp(
        id="",
        exchange=exchange,
        native_symbol=native,
        base_asset=base,
        quote_asset=quote,
        underlying_asset=base,
        settlement_currency=settle,
    )


def future(native: str, base: str, quote: str, settle: str) -> CryptoFuture:
    return CryptoFuture(
        id="",
        exchange="binance",
        native_symbol=native,
        base_asset=base,
        quote_asset=quote,
        underlying_asset=base,
        settlement_currency=settle,
        expiry_ns=EXPIRY_NS,
    )


def test_ids_follow_the_convention() -> None:
    made = assign_ids(
        [pair("BTCUSDT", "BTC", "USDT"), perp("BTCUSDT", "BTC", "USDT", "USDT"), future("BTCUSDT_261225", "BTC", "USDT", "USDT")],
        Instruments(),
    )
    assert [i.id for i in made] == ["cryptopair_binance_btcusdt", "cryptoperp_binance_btcusdt", "cryptofuture_binance_btcusdt_261225"]
    assert asset_id("binance", "BTC") == "crypto_binance_btc"


def test_the_later_of_two_equal_letter_runs_carries_its_native_symbol() -> None:
    made = assign_ids([pair("USDCUSDT", "USDC", "USDT"), pair("USD-CUSDT", "USD", "CUSDT")], Instruments())
    assert [i.id for i in made] == ["cryptopair_binance_usdcusdt", "cryptopair_binance_usdcusdt_usd-cusdt"]
    table = Instruments(made)
    assert table.resolve("USDC/USDT", "binance").id == "cryptopair_binance_usdcusdt"
    assert table.resolve("USD/CUSDT", "binance").id == "cryptopair_binance_usdcusdt_usd-cusdt"
    assert table.resolve("usdcusdt", "binance").id == "cryptopair_binance_usdcusdt"  # its own native symbol, whoever came later


def test_a_short_name_that_is_nobodys_native_symbol_is_ambiguous() -> None:
    table = Instruments(assign_ids([pair("A-BC", "A", "BC"), pair("AB-C", "AB", "C")], Instruments()))
    with pytest.raises(AmbiguousSymbol, match="cryptopair_binance_abc, cryptopair_binance_abc_ab-c"):
        table.resolve("abc", "binance", "pair")


def test_a_third_claimant_gets_a_counter() -> None:
    first = assign_ids([pair("X", "A", "BC"), pair("Y", "AB", "C")], Instruments())
    again = assign_ids([pair("y", "ABC", "")], Instruments(first))
    assert again[0].id == "cryptopair_binance_abc_y_2"


def test_ids_do_not_change_when_the_venue_changes_its_order() -> None:
    first = assign_ids([pair("ABCX", "A", "BCX"), pair("AB_CX", "AB", "CX")], Instruments())
    second = assign_ids([pair("AB_CX", "AB", "CX"), pair("ABCX", "A", "BCX")], Instruments(first))
    assert {i.native_symbol: i.id for i in first} == {i.native_symbol: i.id for i in second}


def test_numbers_in_front_of_a_base_belong_to_it() -> None:
    table = Instruments(assign_ids([pair("1000SATSUSDT", "1000SATS", "USDT"), pair("SATSUSDT", "SATS", "USDT")], Instruments()))
    assert table.resolve("1000SATS/USDT", "binance").id == "cryptopair_binance_1000satsusdt"
    assert table.resolve("sats-usdt", "binance").id == "cryptopair_binance_satsusdt"


def test_inverse_and_linear_contracts_stand_side_by_side() -> None:
    made = assign_ids(
        [perp("BTCUSD_PERP", "BTC", "USD", "BTC"), perp("BTCUSDT", "BTC", "USDT", "USDT"), perp("BTCUSD", "BTC", "USD", "USD")],
        Instruments(),
    )
    assert [i.id for i in made] == ["cryptoperp_binance_btcusd", "cryptoperp_binance_btcusdt", "cryptoperp_binance_btcusd_btcusd"]
    assert [i.is_inverse for i in made if isinstance(i, CryptoPerp)] == [True, False, False]
    table = Instruments(made)
    assert table.resolve("BTC/USD:BTC", "binance").native_symbol == "BTCUSD_PERP"
    assert table.resolve("BTC/USD:USD", "binance").native_symbol == "BTCUSD"


@pytest.mark.parametrize("name", ["cryptopair_binance_btcusdt", "CRYPTOPAIR_BINANCE_BTCUSDT", "btcusdt", "BTCUSDT", "BTC/USDT", "BTC-USDT"])
def test_a_pair_is_found_by_every_name(name: str) -> None:
    table = Instruments(assign_ids([perp("BTCUSDT", "BTC", "USDT", "USDT"), pair("BTCUSDT", "BTC", "USDT")], Instruments()))
    assert table.resolve(name, "binance").id == "cryptopair_binance_btcusdt"


def test_a_perpetual_and_a_dated_contract_are_found_by_their_own_names() -> None:
    table = Instruments(
        assign_ids([perp("BTCUSDT", "BTC", "USDT", "USDT"), future("BTCUSDT_261225", "BTC", "USDT", "USDT")], Instruments())
    )
    assert table.resolve("BTC/USDT:USDT", "binance").id == "cryptoperp_binance_btcusdt"
    assert table.resolve("BTC/USDT:USDT-261225", "binance").id == "cryptofuture_binance_btcusdt_261225"
    assert table.resolve("btcusdt_261225", "binance").id == "cryptofuture_binance_btcusdt_261225"
    assert table.resolve("btcusdt", "binance").id == "cryptoperp_binance_btcusdt"  # no pair is listed here


def test_a_name_on_two_exchanges_needs_one_of_them() -> None:
    table = Instruments(assign_ids([pair("BTCUSDT", "BTC", "USDT"), pair("BTCUSDT", "BTC", "USDT", "bybit")], Instruments()))
    with pytest.raises(AmbiguousSymbol, match="cryptopair_binance_btcusdt, cryptopair_bybit_btcusdt"):
        table.resolve("BTC/USDT")
    assert table.resolve("BTC/USDT", "Bybit").id == "cryptopair_bybit_btcusdt"


def test_an_unknown_symbol_is_named_with_its_neighbours() -> None:
    table = Instruments(assign_ids([pair("BTCUSDT", "BTC", "USDT")], Instruments()))
    with pytest.raises(UnknownSymbol, match="'BTCUSD'; did you mean cryptopair_binance_btcusdt"):
        table.resolve("BTCUSD")
    with pytest.raises(UnknownSymbol, match="''"):
        table.resolve("")
    with pytest.raises(UnknownSymbol):
        table.resolve("x" * 10_000)
    with pytest.raises(UnknownSymbol):
        table.resolve("cryptopair_binance_btcusdt", "okx")


def test_an_unknown_exchange_is_named() -> None:
    with pytest.raises(UnknownExchange, match=r"'mtgox': known are binance, bybit, okx, coinbase, and .* through ccxt"):
        Instruments().resolve("BTC/USDT", "mtgox")
    assert check_exchange("Kraken") == "kraken"
    assert check_exchange("OKX") == "okx"


def test_a_relisted_symbol_is_the_living_one() -> None:
    old = assign_ids([pair("LUNAUSDT", "LUNA", "USDT", status=TradingStatus.DELISTED)], Instruments())
    new = CryptoPair(
        id="cryptopair_binance_lunausdt_2", exchange="binance", native_symbol="LUNAUSDT", base_asset="LUNA", quote_asset="USDT"
    )
    table = Instruments([*old, new])
    assert table.resolve("LUNA/USDT", "binance").id == "cryptopair_binance_lunausdt_2"
    found = table.find_native("binance", "pair", "LUNAUSDT")
    assert found is not None
    assert found.status is TradingStatus.ACTIVE


DAY = 86_400 * 10**9


def delisted(at_ns: int | None, listed_ns: int | None = None) -> Instruments:
    old = assign_ids([pair("LUNAUSDT", "LUNA", "USDT", status=TradingStatus.DELISTED)], Instruments())[0]
    return Instruments([msgspec.structs.replace(old, delisted_ns=at_ns, listed_ns=listed_ns)])


@pytest.mark.parametrize(
    ("gone_ns", "id_now"),
    [
        (DAY, "cryptopair_binance_lunausdt"),
        (7 * DAY, "cryptopair_binance_lunausdt"),
        (7 * DAY + 1, "cryptopair_binance_lunausdt_lunausdt"),
    ],
)
def test_a_name_that_comes_back_after_more_than_a_week_is_another_instrument(gone_ns: int, id_now: str) -> None:
    (made,) = assign_ids([pair("LUNAUSDT", "LUNA", "USDT")], delisted(100 * DAY), 100 * DAY + gone_ns)
    assert made.id == id_now


@pytest.mark.parametrize(
    ("before_ns", "listing_ns", "gone_ns", "is_same"),
    [
        (5, 5, 900 * DAY, True),  # the venue says that it is the same listing
        (5, 101 * DAY, DAY, False),  # it says that it is not
        (None, 101 * DAY, DAY, True),  # one of both alone says nothing
        (5, None, 8 * DAY, False),
    ],
)
def test_a_listing_time_that_both_tell_decides(before_ns: int | None, listing_ns: int | None, gone_ns: int, is_same: bool) -> None:
    listing = msgspec.structs.replace(pair("LUNAUSDT", "LUNA", "USDT"), listed_ns=listing_ns)
    (made,) = assign_ids([listing], delisted(100 * DAY, before_ns), 100 * DAY + gone_ns)
    assert (made.id == "cryptopair_binance_lunausdt") is is_same


def test_what_is_still_listed_as_delisted_stays_the_same() -> None:
    (made,) = assign_ids([pair("LUNAUSDT", "LUNA", "USDT", status=TradingStatus.DELISTED)], delisted(DAY), 900 * DAY)
    assert made.id == "cryptopair_binance_lunausdt"


def test_a_relisted_name_keeps_its_new_id_and_may_be_relisted_again() -> None:
    (second,) = assign_ids([pair("LUNAUSDT", "LUNA", "USDT")], delisted(DAY), 100 * DAY)
    table = Instruments([*delisted(DAY), second])
    assert assign_ids([pair("LUNAUSDT", "LUNA", "USDT")], table, 200 * DAY) == [second]
    ended = msgspec.structs.replace(second, status=TradingStatus.DELISTED, delisted_ns=200 * DAY)
    (third,) = assign_ids([pair("LUNAUSDT", "LUNA", "USDT")], Instruments([*delisted(DAY), ended]), 300 * DAY)
    assert third.id == "cryptopair_binance_lunausdt_lunausdt_2"


def test_a_contract_that_settles_otherwise_is_another_instrument() -> None:
    known = Instruments(assign_ids([perp("BTCUSD", "BTC", "USD", "BTC")], Instruments()))
    (made,) = assign_ids([perp("BTCUSD", "BTC", "USD", "USD")], known)
    assert made.id == "cryptoperp_binance_btcusd_btcusd"


def test_two_instruments_cannot_share_an_id() -> None:
    one = assign_ids([pair("BTCUSDT", "BTC", "USDT")], Instruments())
    with pytest.raises(BadInput, match="cryptopair_binance_btcusdt"):
        Instruments([*one, *one])


def test_symbol_mappings_are_a_read_only_view() -> None:
    table = Instruments(
        assign_ids(
            [perp("BTCUSDT", "BTC", "USDT", "USDT"), pair("BTCUSDT", "BTC", "USDT"), pair("BTC-USDT", "BTC", "USDT", "okx")], Instruments()
        )
    )
    assert table.symbol_mappings["binance"]["BTCUSDT"] == "btcusdt"
    assert table.symbol_mappings["okx"]["BTC-USDT"] == "btcusdt"
    with pytest.raises(TypeError):
        table.symbol_mappings["binance"]["X"] = "y"  # type: ignore[index]


def test_each_dated_contract_has_a_short_name_of_its_own_that_resolves() -> None:
    listings = [
        pair("BTCUSDT", "BTC", "USDT"),
        future("BTCUSDT_261225", "BTC", "USDT", "USDT"),
        future("BTCUSDT_Q", "BTC", "USDT", "BTC"),  # the same parts and date: told apart by its id alone
        msgspec.structs.replace(future("BTCUSDT_270326", "BTC", "USDT", "USDT"), expiry_ns=parse_time("2027-03-26T08:00:00Z")),
    ]
    table = Instruments(assign_ids(listings, Instruments()))
    names = dict(table.symbol_mappings["binance"])
    assert names == {
        "BTCUSDT": "btcusdt",
        "BTCUSDT_261225": "btcusdt_261225",
        "BTCUSDT_Q": "btcusdt_261225_btcusdt_q",
        "BTCUSDT_270326": "btcusdt_270326",
    }
    assert {table.resolve(short, "binance").native_symbol for short in names.values()} == set(names)


def test_the_table_answers_by_id_and_exchange() -> None:
    table = Instruments(assign_ids([pair("BTCUSDT", "BTC", "USDT"), pair("ETHUSDT", "ETH", "USDT")], Instruments()))
    assert len(table) == 2
    assert "cryptopair_binance_ethusdt" in table
    assert table.natives("binance", "pair") == {"BTCUSDT": "cryptopair_binance_btcusdt", "ETHUSDT": "cryptopair_binance_ethusdt"}
    assert [i.native_symbol for i in table.of_exchange("binance")] == ["BTCUSDT", "ETHUSDT"]
    assert table.of_exchange("okx") == []
    found = table.get("cryptopair_binance_ethusdt")
    assert found is not None
    assert (kind_of(found), short_symbol(found), ccxt_symbol(found)) == ("pair", "ethusdt", "ETH/USDT")
    assert table.get("nothing") is None


def test_precision_is_the_decimals_of_tick_and_lot() -> None:
    btc = CryptoPair(
        id="cryptopair_binance_btcusdt",
        exchange="binance",
        native_symbol="BTCUSDT",
        base_asset="BTC",
        quote_asset="USDT",
        tick=Decimal("0.50"),
        lot=Decimal("0.00001"),
    )
    assert (btc.price_precision, btc.quantity_precision) == (1, 5)
