"""Every exchange that can be both followed and emulated: its emulator and our connector to it. A new one is here by standing in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.venues.conftest import DESKS
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld, Symbol
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.venues import VENUES

EVERY = tuple(name for name in VENUES if name in DIALECTS and name in DESKS)
SPOT = Symbol("spot", "BTC", "USDT", "60000", "0.01", "0.00001", 1500)
PERP = Symbol("usdm", "BTC", "USDT", "60010", "0.1", "0.001", 20, "100")


def connector_of(
    venue: str, transport: Any, clock: Any, budget: Any, observer: Any, rest: str = "http://emulator", ws: str = "ws://emulator"
) -> Any:
    """Our connector, pointed at one place."""
    make: Any = VENUES[venue]
    hosts = type(make(transport, clock, budget, observer).hosts).local(rest, ws)
    return make(transport, clock, budget, observer, instruments=Instruments(), hosts=hosts)


def desk_of(venue: str, seed: int, symbols: Sequence[Symbol], events_per_s: float, latency_ms: float = 5.0) -> Any:
    """The conformance suite's desk at a market of our own. Made inside a virtual loop."""
    desk = DESKS[venue](seed)
    desk.world = MarketWorld(seed, symbols, start_ns=desk.clock.now_ns(), events_per_s=events_per_s, history_days=1)
    desk.dialect = DIALECTS[venue](desk.world)
    desk.faults = desk.dialect.faults
    desk.transport = MemoryTransport(desk.dialect, desk.clock, latency_ms=latency_ms)
    desk.connector = connector_of(venue, desk.transport, desk.clock, desk.budget, desk.notes)
    return desk
