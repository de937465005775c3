"""The last evidence of a lost trade where ids show none: the exchange's own minute."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from services.service_parts import BTC, START, kline, unordered
from services.test_bars_service import Bench
from zvt_crypto.domain.market import Gap
from zvt_crypto.domain.time import NS_PER_MINUTE
from zvt_crypto.emulator import virtual
from zvt_crypto.services.addup import MOST_IN_A_ROW, AddUp


def minute(number: int, source: str, volume: float):
    return msgspec.structs.replace(kline(number, source=source), volume=volume)


@pytest.mark.parametrize("order", [("trades", "venue"), ("venue", "trades")])
@pytest.mark.parametrize(
    ("ours", "theirs", "is_flagged"), [(29.5, 30.0, True), (30.0, 30.0, False), (30.0 + 1e-9, 30.0, False), (31.0, 30.0, False)]
)
def test_a_minute_that_holds_less_than_the_exchanges_is_a_gap(order, ours, theirs, is_flagged):
    sums = AddUp(BTC, "trade")
    volumes = {"trades": ours, "venue": theirs}
    told = [sums.on_minute(minute(3, source, volumes[source])) for source in order]
    assert told[0] is None
    assert (told[1] is not None) == is_flagged
    if is_flagged:
        assert isinstance(told[1], Gap)
        assert (told[1].start_ns, told[1].end_ns) == (START + 3 * NS_PER_MINUTE, START + 4 * NS_PER_MINUTE)


def test_an_exchange_that_counts_otherwise_is_told_of_once():
    sums = AddUp(BTC, "trade")
    told = []
    for number in range(20):
        sums.on_minute(minute(number, "venue", 30.0))
        told.append(sums.on_minute(minute(number, "trades", 29.0)) is not None)
    assert told == [True] * MOST_IN_A_ROW + [False] * (20 - MOST_IN_A_ROW)
    assert sums.is_otherwise
    sums.on_minute(minute(30, "venue", 30.0))
    assert sums.on_minute(minute(30, "trades", 30.0)) is None
    assert not sums.is_otherwise


def test_what_never_gets_its_other_version_is_forgotten():
    sums = AddUp(BTC, "trade")
    for number in range(2_000):
        sums.on_minute(minute(number, "venue", 30.0))
    assert len(sums._volumes) <= 720


def test_a_single_trade_that_was_lost_without_a_word_is_flagged_in_its_minute_and_no_other_is_torn():
    async def go():
        async with Bench(intervals=(), continuity="opaque").running() as bench:
            gaps = bench.feed.subscribe("gaps", bound=100, when_full="fail", kinds=(Gap,))
            for number in range(301):
                if number != 150:
                    bench.feed.publish(unordered(number))
                if number % 60 == 0 and number:
                    bench.feed.publish(minute(number // 60 - 1, "venue", 30.0))
                    await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            found = await gaps.receive()
            assert [(g.start_ns - START) // NS_PER_MINUTE for g in found] == [2]
            ours = list(await bench.klines(final=True, source="trades"))
            assert [(k.open_ns - START) // NS_PER_MINUTE for k in ours] == [1, 2, 3, 4]

    virtual.run(go())
