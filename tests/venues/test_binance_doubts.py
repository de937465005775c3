"""A frame of Binance that cannot be read may have been a trade: where ids do not show a loss, somebody must ask."""

from __future__ import annotations

import pytest

from zvt_crypto.venues.binance.parse import may_be_trade_of


@pytest.mark.parametrize(
    ("payload", "symbol"),
    [
        (b'{"stream":"ethusdt@trade","data":{"e":"trade","p":"-5"}}', "ETHUSDT"),
        (b'{"stream":"ethusdt@aggTrade","data":{', "ETHUSDT"),
        (b'{"stream":"ethusdt@depth@100ms","data":{', None),
        (b'{"stream":"ethusdt@kline_1m","data":{', None),
        (b"rubbish", ""),
        (b"", ""),
    ],
)
def test_what_may_have_been_a_trade(payload, symbol):
    assert may_be_trade_of(payload) == symbol
