"""The shipped asset table is clean, sourced, and found by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.instrument import CryptoPair, pair_id
from zvt_crypto.domain.search import rank_assets
from zvt_crypto.stores.assets import assets_of, load_facts

HEAD = "symbol,full_name,max_supply,source,as_of\n"


def pair(base: str, quote: str = "USDT") -> CryptoPair:
    return CryptoPair(
        id=pair_id("binance", base, quote), exchange="binance", native_symbol=base + quote, base_asset=base, quote_asset=quote
    )


def test_names_the_main_assets_with_caps_that_their_protocols_set() -> None:
    facts = load_facts()
    assert len(facts) >= 150
    assert (facts["BTC"].full_name, facts["BTC"].max_supply) == ("Bitcoin", Decimal(21_000_000))
    assert (facts["ETH"].full_name, facts["ETH"].max_supply) == ("Ethereum", None)
    assert facts["LTC"].max_supply == Decimal(84_000_000)
    assert all(fact.source and fact.as_of_ns for fact in facts.values())


def test_no_two_assets_share_a_name() -> None:
    names = [fact.full_name.casefold() for fact in load_facts().values()]
    assert len(names) == len(set(names))


def test_bitcoin_finds_one_asset_on_an_exchange_that_lists_its_cousins() -> None:
    listed = [pair("BTC"), pair("BCH"), pair("WBTC", "BTC"), pair("BSV"), pair("BTG"), pair("ETH", "BTC")]
    assets = assets_of("binance", listed, load_facts())
    assert [a.id for a in rank_assets("bitcoin", assets)] == ["crypto_binance_btc"]
    assert [a.id for a in rank_assets("bitcoin cash", assets)] == ["crypto_binance_bch"]


def test_an_asset_that_the_table_does_not_know_has_no_invented_facts() -> None:
    (asset, usdt) = assets_of("binance", [pair("NEWCOIN")], load_facts())
    assert (asset.symbol, asset.full_name, asset.max_supply, asset.market_cap) == ("NEWCOIN", None, None, None)
    assert usdt.full_name == "Tether"


def test_leaves_other_exchanges_out() -> None:
    assert assets_of("okx", [pair("BTC")], load_facts()) == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("BTC,Bitcoin,21e,rules,2025-01-01\n", "'21e'"),
        ("BTC,Bitcoin,-1,rules,2025-01-01\n", "'-1'"),
        ("BTC,Bitcoin,NaN,rules,2025-01-01\n", "'NaN'"),
        ("BTC,Bitcoin,,rules,yesterday\n", "'yesterday'"),
        ("BTC,Bitcoin,,,2025-01-01\n", "line 2"),
        ("BTC,Bitcoin,,rules,2025-01-01\nBTC,Bitcoin,,rules,2025-01-01\n", "'BTC' twice"),
    ],
)
def test_refuses_a_bad_row_and_names_it(tmp_path: Path, body: str, named: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(HEAD + body)
    with pytest.raises(BadInput, match=named):
        load_facts(table)


def test_refuses_other_columns(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("symbol,name\nBTC,Bitcoin\n")
    with pytest.raises(BadInput, match="symbol,name"):
        load_facts(table)
