"""Instruments and assets are created, read, updated and delisted through Python; every refusal names the value."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from zvt_crypto.cli import entities
from zvt_crypto.cli.listings import make_listing
from zvt_crypto.cli.settings import Database, Settings
from zvt_crypto.domain.errors import BadInput, NotFound, UnknownExchange, UnknownSymbol
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp, TradingStatus


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database=Database(url=database_url, pool_size=2))


def pair(base: str = "BTC", quote: str = "USDT", **facts: object) -> CryptoPair:
    listing = {"tick": "0.01", "lot": "0.00001", "min_trade_amount": None, **facts}
    made = make_listing(base + quote, "binance", base, quote, perp=False, settle=None, steps=listing)
    assert isinstance(made, CryptoPair)
    return made


def test_a_pair_lives_from_its_creation_to_its_delisting(settings: Settings) -> None:
    made = entities.add_instrument(pair(), settings=settings)
    assert made.id == "cryptopair_binance_btcusdt"
    assert entities.get_instrument("BTC/USDT", settings=settings) == made

    changed = entities.update_instrument("btcusdt", "binance", status="suspended", tick="0.1", settings=settings)
    assert (changed.status, changed.tick, changed.lot) == (TradingStatus.SUSPENDED, Decimal("0.1"), Decimal("0.00001"))

    entities.delist_instrument("BTCUSDT", at="2026-01-01", settings=settings)
    last = entities.get_instrument("cryptopair_binance_btcusdt", settings=settings)
    assert last.status is TradingStatus.DELISTED
    assert entities.describe(last)["delisted"] == "2026-01-01T00:00:00.000Z"

    facts = entities.get_facts(made.id, settings=settings)
    told = [(f["field"], f["valid_from"]) for f in facts if f["field"].startswith("delisted") or f["value"] == "delisted"]
    assert sorted(told) == [(field, "2026-01-01T00:00:00.000Z") for field in ("delisted_by", "delisted_ns", "status")]
    again = entities.update_instrument("BTCUSDT", status="active", settings=settings)
    assert entities.get_instrument(made.id, settings=settings) == again

    ticks = [f["value"] for f in entities.get_facts(made.id, settings=settings) if f["field"] == "tick"]
    assert ticks == ["0.01", "0.1"]


def test_creating_a_pair_creates_its_assets_with_names_from_the_table(settings: Settings) -> None:
    entities.add_instrument(pair(), settings=settings)
    named = {a.id: (a.full_name, a.max_supply) for a in entities.get_assets("binance", settings=settings)}
    assert named == {"crypto_binance_btc": ("Bitcoin", Decimal(21_000_000)), "crypto_binance_usdt": ("Tether", None)}


def test_bitcoin_finds_one_asset_offline(settings: Settings) -> None:
    for base in ("BTC", "BCH", "WBTC"):
        entities.add_instrument(pair(base), settings=settings)
    assert [a.symbol for a in entities.search_assets("bitcoin", settings=settings)] == ["BTC"]
    assert [a.symbol for a in entities.search_assets("bitcoin cash", "binance", settings=settings)] == ["BCH"]
    assert {a.symbol for a in entities.search_assets("bitcoi", settings=settings)} == {"BTC", "BCH", "WBTC"}


def test_a_perpetual_settles_in_its_quote_unless_told_otherwise(settings: Settings) -> None:
    listing = make_listing("BTCUSDT", "binance", "btc", "usdt", perp=True, settle=None, steps={})
    made = entities.add_instrument(listing, settings=settings)
    assert isinstance(made, CryptoPerp)
    assert (made.id, made.settlement_currency, made.is_inverse) == ("cryptoperp_binance_btcusdt", "USDT", False)
    assert make_listing("BTCUSD_PERP", "binance", "BTC", "USD", perp=True, settle="BTC", steps={}).is_inverse  # type: ignore[union-attr]


def test_refuses_to_create_what_is_known(settings: Settings) -> None:
    entities.add_instrument(pair(), settings=settings)
    with pytest.raises(BadInput, match="cryptopair_binance_btcusdt is known"):
        entities.add_instrument(pair(), settings=settings)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": "red"}, "'colour'"),
        ({"base_asset": "ETH"}, "'base_asset'"),
        ({"status": "asleep"}, "'asleep'"),
        ({"tick": "wide"}, "'wide'"),
        ({"lot": "-1"}, "lot '-1' is not a positive number"),
        ({"lot": "NaN"}, "'NaN'"),
        ({"tick": "Infinity"}, "'Infinity'"),
        ({"tick": "0"}, "tick '0' is not a positive number"),
        ({"tick": "1e-30"}, "tick '1e-30'"),
        ({"listed_ns": "soon"}, "listed_ns 'soon': expected"),
        ({"id": "cryptopair_binance_x"}, "'id'"),
        ({"delisted_ns": 5}, "delisted_ns 5 of cryptopair_binance_btcusdt, which is active: delist it"),
        ({"funding_rate": "0.5"}, "'funding_rate' is no field"),
        ({}, "nothing to change"),
    ],
)
def test_refuses_a_change_that_makes_no_sense(settings: Settings, changes: dict[str, object], named: str) -> None:
    entities.add_instrument(pair(), settings=settings)
    with pytest.raises(BadInput, match=named):
        entities.update_instrument("BTCUSDT", settings=settings, **changes)


@pytest.mark.parametrize(
    ("native", "exchange", "base", "error", "named"),
    [
        ("BTC USDT", "binance", "BTC", BadInput, "'BTC USDT'"),
        ("BTCUSDT", "mtgox", "BTC", UnknownExchange, "'mtgox'"),
        ("B\x1bTC", "binance", "BTC", BadInput, "x1bTC"),
        ("x;drop", "binance", "BTC", BadInput, "native symbol 'x;drop'"),
        ("../etc", "binance", "BTC", BadInput, "'../etc'"),
        ("B" * 65, "binance", "BTC", BadInput, "'BBBB"),
        ("BTCUSDT", "binance", "b'tc", BadInput, "base asset"),
        ("BTCUSDT", "binance", "BTC/USDT", BadInput, "base asset 'BTC/USDT'"),
        ("BTCUSDT", "binance", "-", BadInput, "base asset '-'"),
        ("BTCUSDT", "binance", "", BadInput, "base asset ''"),
        ("USDTUSDT", "binance", "usdt", BadInput, "the same: 'USDT'"),
    ],
)
def test_refuses_names_that_are_none(native: str, exchange: str, base: str, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        make_listing(native, exchange, base, "USDT", perp=False, settle=None, steps={})


@pytest.mark.parametrize(
    ("native", "base", "quote"),
    [("BTC-USDT-SWAP", "BTC", "USDT"), ("BTCUSD_261225", "BTC", "USD"), ("XBT/USD:XBT", "XBT", "USD"), ("1000SHIBUSDT", "1000SHIB", "USDT"),
     ("币安人生USDT", "币安人生", "USDT"), ("USDC.e-USDT", "USDC.E", "USDT")],
)  # fmt: skip
def test_takes_the_names_that_exchanges_give(native: str, base: str, quote: str) -> None:
    made = make_listing(native, "Binance", base, quote, perp=False, settle=None, steps={})
    assert (made.native_symbol, made.base_asset, made.quote_asset, made.exchange) == (native, base, quote, "binance")


@pytest.mark.parametrize("step", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+13"), 0.01])
@pytest.mark.parametrize("field", ["tick", "lot", "min_trade_amount", "min_notional"])
def test_a_step_that_is_no_positive_decimal_is_refused_from_python_too(settings: Settings, field: str, step: object) -> None:
    listing = msgspec.structs.replace(pair(), **{field: step})
    with pytest.raises(BadInput, match=re.escape(f"{field} '{step}' is not a positive Decimal")):
        entities.add_instrument(listing, settings=settings)


def test_a_funding_rate_is_measured_and_cannot_be_set(settings: Settings) -> None:
    entities.add_instrument(make_listing("BTCUSDT", "binance", "btc", "usdt", perp=True, settle=None, steps={}), settings=settings)
    with pytest.raises(BadInput, match=r"funding_rate '0\.5': it is the newest settled funding of cryptoperp_binance_btcusdt"):
        entities.update_instrument("cryptoperp_binance_btcusdt", funding_rate=Decimal("0.5"), settings=settings)


def test_what_lives_again_was_not_delisted(settings: Settings) -> None:
    entities.add_instrument(pair(), settings=settings)
    entities.delist_instrument("BTCUSDT", settings=settings)
    again = entities.update_instrument("BTCUSDT", status="active", settings=settings)
    assert (again.status, again.delisted_ns) == (TradingStatus.ACTIVE, None)
    assert entities.get_instrument("BTCUSDT", settings=settings) == again


def test_none_clears_a_step(settings: Settings) -> None:
    entities.add_instrument(pair(), settings=settings)
    assert entities.update_instrument("BTCUSDT", tick=None, settings=settings).tick is None
    assert entities.get_instrument("BTCUSDT", settings=settings).tick is None


def test_a_pair_settles_in_nothing() -> None:
    with pytest.raises(BadInput, match="currency 'BTC': a pair has none"):
        make_listing("BTCUSDT", "binance", "BTC", "USDT", perp=False, settle="BTC", steps={})


def test_what_was_stored_is_returned_where_another_has_the_id(settings: Settings) -> None:
    first = entities.add_instrument(pair("AB", "CUSDT"), settings=settings)
    listing = CryptoPair(id=first.id, exchange="BINANCE", native_symbol="A-BCUSDT", base_asset="A", quote_asset="BCUSDT")
    second = entities.add_instrument(listing, settings=settings)
    assert (first.id, second.id) == ("cryptopair_binance_abcusdt", "cryptopair_binance_abcusdt_a-bcusdt")
    assert entities.get_instrument(second.id, settings=settings) == second
    assert entities.get_instrument(first.id, settings=settings) == first


def test_a_name_that_was_delisted_may_be_added_as_another_instrument(settings: Settings) -> None:
    first = entities.add_instrument(pair(), settings=settings)
    entities.delist_instrument("BTCUSDT", settings=settings)
    second = entities.add_instrument(pair(), settings=settings)
    assert (first.id, second.id) == ("cryptopair_binance_btcusdt", "cryptopair_binance_btcusdt_btcusdt")
    assert entities.get_instrument("BTCUSDT", settings=settings) == second


@pytest.mark.parametrize("delist", [lambda s: entities.delist_instrument("BTCUSDT", settings=s),
                                    lambda s: entities.update_instrument("BTCUSDT", status="delisted", settings=s)])  # fmt: skip
def test_who_delisted_is_a_fact(settings: Settings, delist: Callable[[Settings], object]) -> None:
    made = entities.add_instrument(pair(), settings=settings)
    delist(settings)
    tellers = [f["value"] for f in entities.get_facts(made.id, settings=settings) if f["field"] == "delisted_by"]
    assert tellers == ["user"]
    assert entities.get_instrument("BTCUSDT", settings=settings).delisted_ns is not None


def test_an_id_that_does_not_fit_is_refused(settings: Settings) -> None:
    listing = CryptoPair(id="cryptopair_binance_ethusdt", exchange="binance", native_symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT")
    with pytest.raises(BadInput, match=r"id 'cryptopair_binance_ethusdt' does not fit: .* make it cryptopair_binance_btcusdt"):
        entities.add_instrument(listing, settings=settings)
    assert len(entities.get_instruments(settings=settings)) == 0


def test_two_living_instruments_do_not_share_a_native_symbol(settings: Settings) -> None:
    entities.add_instrument(pair(), settings=settings)
    other = CryptoPair(id="", exchange="binance", native_symbol="BTCUSDT", base_asset="NEW", quote_asset="USDT")
    with pytest.raises(BadInput, match="'BTCUSDT' belongs to cryptopair_binance_btcusdt, which is not delisted"):
        entities.add_instrument(other, settings=settings)
    entities.delist_instrument("BTCUSDT", settings=settings)
    assert entities.add_instrument(other, settings=settings).id == "cryptopair_binance_newusdt"


@pytest.mark.parametrize(("symbol", "name", "told"), [("x;drop", None, "'x;drop'"), ("X", "a\x1b[31m", "x1b"), ("X", " ", "' '")])
def test_an_asset_with_no_possible_name_is_refused(settings: Settings, symbol: str, name: str | None, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        entities.save_asset(symbol, "binance", source="me", full_name=name, settings=settings)


def test_unknown_names_are_told_apart_from_absent_ids(settings: Settings) -> None:
    with pytest.raises(UnknownSymbol, match="'NOPE'"):
        entities.get_instrument("NOPE", settings=settings)
    with pytest.raises(NotFound, match="'crypto_binance_nope'"):
        entities.get_asset("crypto_binance_nope", settings=settings)


def test_an_asset_keeps_its_older_facts_and_their_order(settings: Settings) -> None:
    entities.save_asset("abc", "binance", source="whitepaper", full_name="Alphabet", settings=settings)
    entities.save_asset("ABC", "binance", source="explorer", max_supply=Decimal(1000), settings=settings)
    entities.save_asset("ABC", "binance", source="explorer", full_name="Alphabet Coin", settings=settings)
    asset = entities.get_asset("crypto_binance_abc", settings=settings)
    assert (asset.symbol, asset.full_name, asset.max_supply) == ("ABC", "Alphabet Coin", Decimal(1000))
    names = [f["value"] for f in entities.get_facts(asset.id, settings=settings) if f["field"] == "full_name"]
    assert names == ["Alphabet", "Alphabet Coin"]
    with pytest.raises(BadInput, match="need a source"):
        entities.save_asset("ABC", "binance", source=" ", settings=settings)


def test_an_imported_table_names_what_the_exchange_lists(settings: Settings, tmp_path: Path) -> None:
    entities.add_instrument(pair("NEWCOIN"), settings=settings)
    table = tmp_path / "mine.csv"
    table.write_text("symbol,full_name,max_supply,source,as_of\nNEWCOIN,New Coin,100,paper,2026-01-01\nOTHER,Other,,paper,2026-01-01\n")
    entities.import_assets(table, "binance", settings=settings)
    named = {a.symbol: a.full_name for a in entities.get_assets(settings=settings)}
    assert named == {"NEWCOIN": "New Coin", "USDT": "Tether"}


async def test_the_functions_work_where_a_loop_runs_already(settings: Settings) -> None:
    await asyncio.sleep(0)
    assert len(entities.get_instruments(settings=settings)) == 0
