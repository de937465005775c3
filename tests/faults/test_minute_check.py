"""Coinbase streams no minutes: those made of its trades are held against its own, which it tells by REST."""

from __future__ import annotations

import msgspec
import pytest

from faults.venue_live import VenueLive, values_of
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval, floor_ns
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.coinbase import feeds
from zvt_crypto.emulator.model import Fact
from zvt_crypto.emulator.script import read_script, set_up
from zvt_crypto.services.options import IngestOptions

QUICK = IngestOptions(check_minutes_s=60.0)
Finals = dict[str, dict[int, Kline]]


def finals(live: VenueLive) -> Finals:
    """Source → open → the final minute that was published."""
    made: Finals = {"venue": {}, "trades": {}}
    for _, kline in live.of(Kline):
        if kline.final and kline.interval is Interval.MIN_1:
            made.setdefault(kline.source, {})[kline.open_ns] = kline
    return made


def differing(live: VenueLive) -> set[int]:
    made = finals(live)
    return {at for at in made["venue"].keys() & made["trades"].keys() if values_of(made["venue"][at]) != values_of(made["trades"][at])}


@pytest.mark.parametrize("which", ["pair", "perp"])
def test_minutes_are_the_exchanges_own_some_minutes_after_they_closed(which):
    async def go():
        live = VenueLive("coinbase", 3, which, channels=("trade",), events_per_s=20.0, ingest=QUICK)
        async with live.running():
            await live.sleep(400)
            await live.platform.drained()
        return live, live.wrong_minutes()[1]

    live, wrong = virtual.run(go())
    made = finals(live)
    checked = sorted(made["venue"])
    assert len(checked) >= 4
    assert checked == list(range(floor_ns(Interval.MIN_1, live.start_ns), checked[-1] + 1, NS_PER_MINUTE))
    assert made["trades"].keys() >= set(checked[1:])
    assert differing(live) == set()
    assert wrong == []
    assert {live.store.bars[live.instrument, Interval.MIN_1, at].source for at in checked} == {"venue"}
    assert live.notes.counts["minutes_checked"] == len(checked)


def test_a_minute_that_the_exchange_tells_otherwise_is_served_as_it_tells_it():
    async def go():
        live = VenueLive("coinbase", 5, channels=("trade",), events_per_s=20.0, ingest=QUICK)
        script = '[[fault]]\nat = "181s"\nkind = "revise_kline"\nmarket = "spot"\nsymbol = "BTCUSDT"\n'
        set_up(read_script(script), live.dialect, live.start_ns)
        async with live.running():
            await live.sleep(300)
            await live.platform.drained()
        return live, live.wrong_minutes()[1]

    live, _ = virtual.run(go())
    (revised,) = differing(live)
    ours, theirs = finals(live)["trades"][revised], finals(live)["venue"][revised]
    assert theirs.volume > ours.volume
    assert live.store.bars[live.instrument, Interval.MIN_1, revised] == theirs


class Forgetful(feeds.MarketTrades):
    """A feed that leaves the oldest trade of one message out, in the third minute: no number shows it."""

    def next(self, fact: Fact) -> list[str]:
        before = self._told_id
        told = super().next(fact)
        rows = self._world.trades(self._product.listing, before + 1, 1_000)
        minute = rows[0].time_ns // NS_PER_MINUTE if rows else 0
        if told and minute % 60 == 2 and not forgotten and len(rows) > 1:
            forgotten.append(rows[0].size)
            kept = [row for row in rows[1:] if row.id <= self._told_id]
            return [feeds.wire.trades_event("update", self._product, kept[::-1])]
        return told


forgotten: list[int] = []


def test_a_trade_that_no_id_misses_makes_a_minute_differ_and_a_gap(monkeypatch):
    monkeypatch.setitem(feeds.FEEDS, "market_trades", Forgetful)
    forgotten.clear()

    async def go():
        live = VenueLive("coinbase", 7, "perp", channels=("trade",), events_per_s=20.0, ingest=QUICK, heal_s=30.0)
        async with live.running():
            await live.sleep(400)
            await live.platform.drained()
        return live, live.wrong_minutes()[1]

    live, wrong = virtual.run(go())
    assert len(forgotten) == 1
    (short,) = differing(live)
    assert short // NS_PER_MINUTE % 60 == 2
    assert finals(live)["venue"][short].volume - finals(live)["trades"][short].volume == pytest.approx(forgotten[0] / 1e8)
    assert wrong == []
    gaps = [e for _, e in live.of(Gap) if e.start_ns == short]
    assert [(gap.channel, gap.end_ns) for gap in gaps] == [("trade", short + NS_PER_MINUTE)]
    assert [gap.filled_from for gap in live.store.gaps.values() if gap.start_ns == short] == ["rest"]


def test_what_was_not_checked_when_we_ended_is_checked_after_the_next_start():
    async def go():
        first = VenueLive(
            "coinbase", 9, channels=("trade",), events_per_s=20.0, ingest=msgspec.structs.replace(QUICK, check_minutes_s=3600)
        )
        async with first.running():
            await first.sleep(250)
            await first.platform.drained()
        unchecked = {key[2] for key, bar in first.store.bars.items() if key[1] is Interval.MIN_1 and bar.source == "trades"}
        assert len(unchecked) >= 3
        second = VenueLive("coinbase", 9, channels=("trade",), events_per_s=20.0, ingest=QUICK)
        second.store, second.world, second.dialect, second.faults = first.store, first.world, first.dialect, first.faults
        second.listing = first.listing
        async with second.running():
            await second.sleep(90)
            await second.platform.drained()
        return unchecked, second

    unchecked, second = virtual.run(go())
    assert {second.store.bars[second.instrument, Interval.MIN_1, at].source for at in unchecked} == {"venue"}


def test_an_exchange_that_does_not_answer_is_asked_again_in_the_next_round():
    async def go():
        live = VenueLive("coinbase", 11, channels=("trade",), events_per_s=20.0, ingest=msgspec.structs.replace(QUICK, patience_s=5.0))
        async with live.running():
            await live.sleep(100)
            live.faults.http(503, times=8, path="/api/v3/brokerage/market/products/BTC")
            await live.sleep(300)
            await live.platform.drained()
        return live, live.wrong_minutes()[1]

    live, wrong = virtual.run(go())
    assert live.notes.noted("minutes_not_checked")
    assert len(finals(live)["venue"]) >= 4
    assert wrong == []


def test_where_minutes_are_streamed_nobody_asks_for_them():
    async def go():
        live = VenueLive("bybit", 3, channels=("trade",), events_per_s=20.0, ingest=QUICK)
        async with live.running():
            await live.sleep(200)
            await live.platform.drained()
        return live, live.wrong_minutes()[1]

    live, _ = virtual.run(go())
    assert finals(live)["venue"] == {}
    assert len(finals(live)["trades"]) >= 2
