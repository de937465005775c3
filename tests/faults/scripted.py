"""One scripted fault of a kind, through the whole platform at any exchange: what must hold once it is over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from faults.every_venue import SPOT
from faults.outages import Outcome, judge
from faults.venue_live import VenueLive, Which
from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import MarketWorld
from zvt_crypto.emulator.script import KINDS, read_script, set_up
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.venues import CAPABILITIES

AT_S = 75.0  # within the first minute that is seen whole
# kind → the faults that show it: what is not named takes the script's usual value. A kind that only REST hears of comes with a cut, since
# nobody asks before.
SCRIPTS: Mapping[str, tuple[dict[str, Any], ...]] = {
    **{kind: ({"times": 5},) for kind in ("drop", "duplicate", "reorder", "corrupt", "truncate")},
    "delay": ({"times": 5, "by": "1500ms"},),
    "cut": ({},),
    "close": ({"code": 1012, "reason": "restart"},),
    "day_over": ({},),
    "stall": ({"for": "8s"},),
    "heartbeats_only": ({"for": "8s"},),
    "refuse": ({"for": "3s", "what": "all"}, {"kind": "cut"}),
    "tls": ({"for": "3s", "what": "all"}, {"kind": "cut"}),
    "http": (
        {"status": 503, "times": 2},
        {"status": 429, "times": 1, "retry_after": 1},
        {"status": 502, "times": 1, "body": "html"},
        {"kind": "cut"},
    ),
    "limits": ({"factor": 0.5}, {"kind": "cut"}),
    "clock_skew": ({"by": "3s"}, {"at": "105s", "by": "0s"}),
    "restart_books": ({},),
    "late_klines": ({"times": 2, "by": "5s"},),
    "revise_kline": ({"at": "100s"},),
    "list": ({"base": "NEW", "quote": "USDT"},),
    "delist": ({"symbol": "ETHUSDT"},),
    "finer_tick": ({"factor": 10},),
}


def script_of(kind: str, market: str) -> str:
    """The TOML that a user would write."""
    entries = []
    for given in SCRIPTS[kind]:
        keys = {"at": f"{AT_S:g}s", "kind": kind, **given}
        if "market" in KINDS[keys["kind"]]:
            keys["market"] = market
        entries.append("[[fault]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items()))
    return "\n".join(entries)


def can(venue: str, kind: str) -> bool:
    """Whether the exchange ever does this, and tells."""
    if kind == "revise_kline":
        return CAPABILITIES[venue]["spot"]["stream.klines.1m"].how == "native"
    if kind != "restart_books":
        return True
    try:
        DIALECTS[venue](MarketWorld(1, (SPOT,), start_ns=NS_PER_MINUTE, history_days=1)).restart_books()
    except BadInput:
        return False
    return True


async def scripted(live: VenueLive, kind: str, script: str | None = None) -> Outcome:
    """From a while before the fault to a whole minute after its end. `script`: instead of the kind's own."""
    set_up(read_script(script or script_of(kind, live.listing.market)), live.dialect, live.start_ns)
    made = Outcome(live.venue, live.which, live.seed, [kind])
    async with live.running():
        await live.sleep(AT_S + 70.0)
        if not await live.book_equals():
            made.wrong.append(f"{live.venue} {live.which} {kind}: the book never was the exchange's again")
        await live.sleep((-live.clock.now_ns() % NS_PER_MINUTE) / NS_PER_S + 20.0)
        await live.platform.drained()
    # Ids without an order show neither that frames were exchanged nor that one is missing; what a connection lost without ending is
    # fetched once a book has shown it, after later ones.
    is_opaque = live.connector.trade_continuity(live.instrument) == "opaque"
    judge(
        live, made, in_order=not (is_opaque and kind in ("delay", "drop", "reorder", "short stall")), is_silent=is_opaque and kind == "drop"
    )
    return made


def live_for(venue: str, which: Which, kind: str, seed: int = 1) -> VenueLive:
    """Tables are looked at often, so that a listing that changed is seen."""
    return VenueLive(venue, seed, which, events_per_s=20.0, ingest=IngestOptions(refresh_s=20.0), beside=kind in ("list", "delist"))
