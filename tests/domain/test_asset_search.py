"""What people type finds what they mean."""

from __future__ import annotations

import pytest

from zvt_crypto.domain.instrument import CryptoAsset, asset_id
from zvt_crypto.domain.search import rank_assets


def asset(symbol: str, name: str | None = None) -> CryptoAsset:
    return CryptoAsset(id=asset_id("binance", symbol), exchange="binance", symbol=symbol, full_name=name)


LISTED = [
    asset("WBTC", "Wrapped Bitcoin"),
    asset("BCH", "Bitcoin Cash"),
    asset("BTC", "Bitcoin"),
    asset("ETH", "Ethereum"),
    asset("ETC", "Ethereum Classic"),
    asset("ETHFI", "Ether.fi"),
    asset("1000SATS"),
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bitcoin", ["BTC"]),  # an exact name wins alone
        ("Bitcoin  CASH ", ["BCH"]),
        ("eth", ["ETH"]),  # and so does an exact symbol
        ("1000sats", ["1000SATS"]),
        ("bitco", ["BCH", "BTC", "WBTC"]),  # two names begin with it, one has a later word that does
        ("ethe", ["ETC", "ETH", "ETHFI"]),
        ("etc", ["ETC"]),
        ("ethf", ["ETHFI"]),
        ("cash", ["BCH"]),
        ("sats", ["1000SATS"]),
        ("btc", ["BTC"]),
        ("doge", []),
        ("", []),
        ("  ", []),
        ("%", []),
    ],
)
def test_finds_what_is_meant(text: str, found: list[str]) -> None:
    assert [a.symbol for a in rank_assets(text, LISTED)] == found


def test_the_order_of_the_listing_does_not_matter() -> None:
    assert rank_assets("bit", LISTED) == rank_assets("bit", list(reversed(LISTED)))
