"""One plan for several exchanges: each follows what it lists and can."""

from __future__ import annotations

from typing import Any

import pytest

from zvt_crypto.domain.errors import BadInput, UnknownSymbol, Unsupported
from zvt_crypto.domain.instrument import CryptoPair, Instruments
from zvt_crypto.services.plan import plan_listed

BTC = CryptoPair(id="cryptopair_binance_btcusdt", exchange="binance", native_symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT")


class Quiet:
    """As much of a connector as a plan asks; it has no tickers."""

    exchange = "binance"
    instruments = Instruments([BTC])

    def trade_stream(self, symbol: str) -> str:
        return "trade"

    def routes(self, subscriptions: Any) -> list[Any]:
        if any(one.channel == "ticker" for one in subscriptions):
            raise Unsupported("no tickers here")
        return [tuple(subscriptions)]


def test_leaves_out_what_others_list_and_what_this_one_cannot() -> None:
    made = plan_listed(Quiet(), ["BTCUSDT", "BTC-USD-SWAP"], ["trade", "ticker"], alone=False)  # type: ignore[arg-type]
    assert [(one.instrument, one.channel) for one in made] == [(BTC.id, "trade")]


def test_an_unknown_symbol_of_the_only_exchange_is_a_mistake() -> None:
    with pytest.raises(UnknownSymbol, match="BTC-USD-SWAP"):
        plan_listed(Quiet(), ["BTCUSDT", "BTC-USD-SWAP"], ["trade"], alone=True)  # type: ignore[arg-type]


def test_an_exchange_that_lists_none_of_them_says_so() -> None:
    with pytest.raises(BadInput, match="binance lists none of XYZ-USD"):
        plan_listed(Quiet(), ["XYZ-USD"], ["trade"], alone=False)  # type: ignore[arg-type]
