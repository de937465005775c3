"""`history`: every version of one bar, who told it, when, and who filled its gap."""

from __future__ import annotations

from typing import Any

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import note, print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.market import Gap
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import floor_ns, parse_interval, parse_time, to_rfc3339
from zvt_crypto.domain.versions import BarHistory, Version

COLUMNS = ["known", "source", "open", "high", "low", "close", "volume", "turnover", "trades", "answer"]
NUMBERS = ("open", "high", "low", "close", "volume", "turnover")


def run_history(settings: Settings, symbol: str, *, interval: str, at: str, exchange: str | None, as_json: bool) -> int:
    """Print the versions of the bar that holds a time, oldest first."""
    of, at_ns = parse_interval(interval), parse_time(at)

    async def go() -> BarHistory:
        async with open_database(settings) as store:
            instrument = (await store.instruments.load()).resolve(symbol, exchange)
            return await store.versions.history(instrument.id, of, floor_ns(of, at_ns))

    found = run(go)
    if as_json:
        print_json(_told(found, str(of)))
        return exits.OK
    print(f"{found.instrument} {of} {to_rfc3339(found.open_ns)}")
    print_table([_row(version) for version in found.versions], COLUMNS)
    for name, version in (("first seen", found.first_seen), ("exchange says", found.venue_says)):
        if version is not None:
            print(f"{name}: close {_text(version.kline.close)}, {version.kline.source}, {to_rfc3339(version.known_ns)}")
    for gap in found.gaps:
        print(f"gap: {gap.channel} {to_rfc3339(gap.start_ns)} to {to_rfc3339(gap.end_ns)}, {_filled(gap)}: {gap.reason}")
    if not found.versions:
        note(f"no {of} kline of {symbol} that opens {to_rfc3339(found.open_ns)} is stored here")
    return exits.OK


def _row(version: Version) -> dict[str, Any]:
    kline = version.kline
    values = {name: _text(getattr(kline, name)) for name in NUMBERS}
    return {"known": to_rfc3339(version.known_ns), "source": kline.source, **values, "trades": kline.trades, "answer": _answer(version)}


def _answer(version: Version) -> str:
    if version.is_current:
        return "now"
    return f"until {to_rfc3339(version.until_ns)}" if version.until_ns is not None else "never"


def _told(found: BarHistory, interval: str) -> dict[str, Any]:
    head = {"symbol": found.instrument, "interval": interval, "timestamp": to_rfc3339(found.open_ns)}
    versions = [_plain(version) for version in found.versions]
    named = {"first_seen": found.first_seen, "venue_says": found.venue_says, "answer": found.current}
    gaps = [
        {
            "channel": g.channel,
            "start": to_rfc3339(g.start_ns),
            "end": to_rfc3339(g.end_ns),
            "filled_from": g.filled_from,
            "reason": g.reason,
        }
        for g in found.gaps
    ]
    told = {name: None if version is None else _plain(version) for name, version in named.items()}
    return head | {"versions": versions, "count": len(versions)} | told | {"filled_from": found.filled_from, "gaps": gaps}


def _plain(version: Version) -> dict[str, Any]:
    until = None if version.until_ns is None else to_rfc3339(version.until_ns)
    return {key: value for key, value in _row(version).items() if key != "answer"} | {"served": version.served, "until": until}


def _filled(gap: Gap) -> str:
    return "open" if gap.filled_from is None else f"filled from {gap.filled_from}"


def _text(value: float | None) -> str | None:
    return None if value is None else decimal_text(value)
