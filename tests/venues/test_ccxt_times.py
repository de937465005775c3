"""ccxt's rows are looked at as every exchange's are: a time that has not come ends the connection and is named."""

from __future__ import annotations

import asyncio

import pytest

from zvt_crypto.domain.errors import Disconnected
from zvt_crypto.domain.market import BookStale, Trade
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.ccxt.stream import CcxtStream


@pytest.mark.parametrize("channel", ["trade", "depth"])
async def test_a_time_that_has_not_come_ends_the_stream(kit, channel):
    clock, observer = kit.ManualClock(), kit.ListObserver()
    trades = [Trade("x", "trade", str(n), 1.0, 1.0, "buy", clock.now_ns() + n * 10**12, clock.now_ns()) for n in (0, 1)]

    async def watch() -> list[Trade]:
        await asyncio.sleep(0)
        return [trades.pop(0)]

    stream = CcxtStream("kraken ccxt", {Subscription("x", channel): watch}, clock, observer)
    assert [event.trade_id for event in await stream.receive()] == ["0"]
    if channel == "depth":
        assert {type(event) for event in await stream.receive()} == {BookStale}
    with pytest.raises(Disconnected, match=r"kraken trade of x at .* 1000 s ahead of our clock"):
        await stream.receive()
    assert observer.counted["venue_malformed"] == 1
    assert stream.heard() == set()
    await stream.close()
