"""Connections cut, stalled, refused and robbed of frames at random; REST that throttles and fails: everything arrives, once, in order."""

from __future__ import annotations

import os
import random

import pytest

from faults.live_market import BTC, PERP, SPOT, USDM, Live
from zvt_crypto.domain.market import BookSnapshot, BookStale, Gap, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual

SEEDS = range(int(os.environ.get("ZVT_CRYPTO_PROVE_SEEDS", "20")))  # the suite runs a sample, `make prove` many
RUN_S = 180.0


async def trouble(live: Live, rng: random.Random) -> None:
    """One fault."""
    match rng.choice(["cut", "cut", "stall", "refuse", "drop_trade", "drop_any", "http", "drop_kline"]):
        case "cut":
            live.faults.cut_all()
        case "stall":
            live.faults.stall()
            await live.sleep(rng.uniform(0.5, 15))
            live.faults.resume()
        case "refuse":
            live.faults.refuse_connections(rng.uniform(0.5, 10))
            live.faults.cut_all()
        case "drop_trade":
            live.faults.drop_frame(lambda frame: b"rade" in frame, times=rng.randint(1, 4))
        case "drop_any":
            live.faults.drop_frame(lambda _: True, times=rng.randint(1, 10))
        case "drop_kline":
            live.faults.drop_frame(lambda frame: b'"x":true' in frame, times=1)
        case "http":
            live.faults.http(rng.choice([429, 500, 502, 503]), times=rng.randint(1, 4))
            live.faults.cut_all()
    live.transport.cut()


async def run_with_faults(seed: int) -> Live:
    rng = random.Random(seed)
    symbol = SPOT if seed % 3 else USDM
    live = Live(seed, symbols=(symbol,), events_per_s=3.0)
    async with live.running():
        await live.sleep(5)
        while live.clock.now_ns() < live.start_ns + RUN_S * NS_PER_S:
            await live.sleep(rng.uniform(1, 40))
            await trouble(live, rng)
        name, market = (BTC, "spot") if symbol is SPOT else (PERP, "usdm")
        live.books_seen = await live.books(name, market)  # type: ignore[attr-defined]
        await live.sleep(130)  # the last fault is over, and at least one minute closed after it
    return live


def name_of(live: Live) -> str:
    return BTC if live.connector.options.markets == ("spot",) else PERP


def every_trade_arrives_once_and_in_order(troubled):
    name = name_of(troubled)
    ids = [int(t.trade_id) for t in troubled.of(Trade, name)]
    if name == BTC:
        assert ids == troubled.true_ids(ids[0], ids[-1])
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert {int(t.trade_id) for t in troubled.store.ticks.values()} == set(ids)
    assert all(gap.filled_from == "rest" for gap in troubled.of(Gap, name))


def every_final_kline_arrives_and_is_true(troubled):
    name = name_of(troubled)
    finals = [k for k in troubled.of(Kline, name) if k.final and k.source == "venue" and k.interval is Interval.MIN_1]
    market = "spot" if name == BTC else "usdm"
    opens = sorted({k.open_ns for k in finals})
    assert opens == list(range(opens[0], opens[-1] + 1, NS_PER_MINUTE))
    assert opens[0] == troubled.start_ns
    assert opens[-1] >= troubled.start_ns + RUN_S * NS_PER_S
    truth = troubled.true_bars(opens[0], opens[-1] + NS_PER_MINUTE, market=market)
    assert {k.open_ns: (k.open, k.high, k.low, k.close, k.volume, float(k.trades)) for k in finals} == truth


def minutes_made_of_trades_are_the_venues_own(troubled):
    name = name_of(troubled)
    market = "spot" if name == BTC else "usdm"
    ours = [k for k in troubled.of(Kline, name) if k.final and k.source == "trades"]
    truth = troubled.true_bars(ours[0].open_ns, ours[-1].open_ns + NS_PER_MINUTE, market=market)
    assert {k.open_ns: (k.open, k.high, k.low, k.close, k.volume) for k in ours} == {o: v[:5] for o, v in truth.items()}


def no_forming_kline_follows_its_final_one(troubled):
    closed: set[tuple[object, int]] = set()
    for kline in troubled.of(Kline, name_of(troubled)):
        key = (kline.interval, kline.open_ns)
        assert kline.final or key not in closed
        if kline.final:
            closed.add(key)


def the_book_heals_each_time_and_equals_the_exchanges(troubled):
    name = name_of(troubled)
    ours, theirs = troubled.books_seen
    assert ours == theirs
    assert len(ours[0]) == len(ours[1]) == 20
    # Each loss, the end of the run among them, was told, and healed before the next.
    assert len(troubled.of(BookSnapshot, name)) == len(troubled.of(BookStale, name))


CLAIMS = (
    every_trade_arrives_once_and_in_order,
    every_final_kline_arrives_and_is_true,
    minutes_made_of_trades_are_the_venues_own,
    no_forming_kline_follows_its_final_one,
    the_book_heals_each_time_and_equals_the_exchanges,
)


@pytest.mark.prove
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_everything_arrives_once_in_order_and_true(seed):
    live = virtual.run(run_with_faults(seed))
    for claim in CLAIMS:
        claim(live)
