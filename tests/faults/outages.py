"""Connections cut, closed and half open at random, through the whole platform: how long until all is back, and what was lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from faults.venue_live import VenueLive, Which
from zvt_crypto.domain.market import Gap, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S
from zvt_crypto.venues import CAPABILITIES

# Connections are watched by their habits, which must be learnt first.
WARM_S = 120.0
# A cut and a close are told; half open is found by its silence.
FAULTS = ("cut", "cut", "close", "half open", "half open")


@dataclass
class Outcome:
    """Of one run. `wrong`: what must not be, each with its seed."""

    venue: str
    which: Which
    seed: int
    kinds: list[str] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    trades: int = 0
    lost: int = 0  # trades that the exchange does not give again, all of them flagged
    gaps: int = 0
    minutes: int = 0
    wrong: list[str] = field(default_factory=list)


async def outages(
    live: VenueLive, count: int, *, pause_s: tuple[float, float] = (8.0, 20.0), kinds: Sequence[str] = FAULTS, real_warm_s: float = 4.0
) -> Outcome:
    """`count` faults, one after another; then a whole minute of quiet where time costs nothing."""
    rng = random.Random(live.seed)
    made = Outcome(live.venue, live.which, live.seed)
    begins: list[int] = []
    async with live.running():
        await live.sleep(WARM_S if live.is_virtual else real_warm_s)
        for _ in range(count):
            made.kinds.append(rng.choice(kinds))
            begins.append(live.clock.now_ns())
            await _fault(live, made.kinds[-1])
            await live.sleep(rng.uniform(*pause_s))
        begins.append(live.clock.now_ns())
        if not await live.book_equals():
            made.wrong.append(f"{live.venue} {live.which} seed {live.seed}: the book never was the exchange's again")
        if live.is_virtual:
            await live.sleep((-live.clock.now_ns() % NS_PER_MINUTE) / NS_PER_S + 20.0)
        await live.platform.drained()
    made.back_s = live.back_s(begins)
    judge(live, made)
    return made


async def _fault(live: VenueLive, kind: str) -> None:
    match kind:
        case "cut":
            live.cut()
        case "close":
            live.faults.close_all(1001, "going away")
            live.now()
        case _:
            await live.half_open()


def judge(live: VenueLive, made: Outcome, *, in_order: bool = True, is_silent: bool = False) -> None:
    """Count what was received, and tell everything that is not as the exchange has it, or not flagged. `is_silent`: nothing tells of a
    loss when it happens; then the minute must, whose trades do not add up to the exchange's."""
    name = f"{live.venue} {live.which} seed {live.seed}"
    trades = [trade for _, trade in live.of(Trade)]
    account = live.account(trades, in_order=in_order)
    doubted = live.doubted_minutes() if is_silent else set()
    made.trades = account.received
    made.wrong += [f"{name}: {trade} is not the exchange's, came twice or out of order" for trade in account.foreign]
    gaps = live.open_gaps()
    made.gaps = len(gaps)
    for loss in account.losses:
        made.lost += loss.count
        # From the last trade before up to and including the instant of the first after.
        is_flagged = (loss.after.event_ns, loss.before.event_ns + 1) in {(gap.start_ns, gap.end_ns) for gap in gaps}
        if not is_flagged and not doubted & {
            at_ns // NS_PER_MINUTE * NS_PER_MINUTE for at_ns in (loss.after.event_ns, loss.before.event_ns)
        }:
            made.wrong.append(f"{name}: {loss.count} trades between {loss.after} and {loss.before} are missing and not flagged")
    if len(gaps) > len(account.losses) + sum(_is_unprovable(live, gap) for gap in gaps):
        made.wrong.append(f"{name}: {len(gaps)} gaps flagged for {len(account.losses)} losses")
    stored = {key for key in live.store.ticks if key[0] == live.instrument}
    if stored != {(trade.instrument, trade.stream, trade.trade_id) for trade in trades}:
        made.wrong.append(f"{name}: {len(stored)} trades stored of {len(trades)} published")
    made.minutes, wrong = live.wrong_minutes()
    made.wrong += wrong


def _is_unprovable(live: VenueLive, gap: Gap) -> bool:
    """Whether the exchange gave exactly as many of its newest trades as it ever gives, all of them after the gap: had one more come, it
    would be lost, and nothing shows that none did."""
    newest = CAPABILITIES[live.venue]["spot" if live.which == "pair" else "perp"]["trades.since"].newest
    if newest is None:
        return False
    came = [at for at, trade in live.of(Trade) if trade.event_ns >= gap.end_ns - 1]
    return len(came) >= newest and came[newest - 1] == came[0]
