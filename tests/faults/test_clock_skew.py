"""The whole live path on a machine whose clock is minutes wrong: bars end with the exchange's minute."""

from __future__ import annotations

import pytest

from faults.every_venue import EVERY
from faults.venue_live import VenueLive
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual

# The exchange's own minute comes within two seconds of its end; where it streams none, it is made of its trades.
LATE_S = 5.0


async def some_minutes(venue: str, ahead_s: float) -> tuple[VenueLive, int, list[str]]:
    live = VenueLive(venue, 1, events_per_s=20.0, ahead_s=ahead_s)
    async with live.running():
        await live.sleep(150.0)
        theirs_ns = live.clock.now_ns() + live.faults.skew_ns
        await live.sleep((-theirs_ns % NS_PER_MINUTE) / NS_PER_S + 20.0)
        await live.platform.drained()
    return live, *live.wrong_minutes()


@pytest.mark.parametrize("ahead_s", [-187.0, 187.0], ids=["ours is ahead", "theirs is ahead"])
@pytest.mark.parametrize("venue", EVERY)
def test_no_minute_is_final_early_or_late_or_wrong(venue, ahead_s, figure):
    live, minutes, wrong = virtual.run(some_minutes(venue, ahead_s))
    finals = [(at + live.faults.skew_ns, kline) for at, kline in live.of(Kline) if kline.final and kline.interval is Interval.MIN_1]
    first: dict[int, float] = {}  # of each minute: the exchange's own may follow ours
    for theirs_ns, kline in finals:
        if kline.open_ns >= live.start_ns:
            first.setdefault(kline.open_ns, (theirs_ns - kline.open_ns - NS_PER_MINUTE) / NS_PER_S)
    late_s = list(first.values())
    figure(
        f"clock {ahead_s:+g} s, {venue}: {minutes} minutes, {len(wrong)} wrong or missing, final {min(late_s):.2f} to {max(late_s):.2f} s late"
    )
    assert wrong == []
    assert minutes >= 2
    assert min(late_s) >= 0
    assert max(late_s) <= LATE_S
    assert live.open_gaps() == []
    assert all(abs(at + live.faults.skew_ns - trade.event_ns) < 3 * NS_PER_S for at, trade in live.of(Trade)[200:])
