"""`history`: every version of one bar, who told it, when, and who filled its gap."""

from __future__ import annotations

from typing import Any

from zvt_crypto.cli import exits
from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import note, print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.instrument import Instrument, Instruments
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import Interval, floor_ns, next_ns, parse_interval, parse_time, to_rfc3339
from zvt_crypto.domain.versions import BarHistory, Version

COLUMNS = ["known", "source", "open", "high", "low", "close", "volume", "turnover", "trades", "answer"]
NUMBERS = ("open", "high", "low", "close", "volume", "turnover")


def run_history(settings: Settings, symbol: str, *, interval: str, at: str, exchange: str | None, ask: bool, as_json: bool) -> int:
    """Print the versions of the bar that holds a time, oldest first. `ask`: and what the exchange answers at this moment."""
    of, at_ns = parse_interval(interval), parse_time(at)

    async def go() -> tuple[BarHistory, Kline | None]:
        async with open_database(settings) as store:
            table = await store.instruments.load()
            instrument = table.resolve(symbol, exchange)
            found = await store.versions.history(instrument.id, of, floor_ns(of, at_ns))
        return found, await _asked(settings, table, instrument, of, found.open_ns) if ask else None

    found, asked = run(go)
    if as_json:
        said = {"exchange_answers": None if asked is None else _values(asked)} if ask else {}
        print_json(_told(found, str(of)) | said)
        return exits.OK
    print(f"{found.instrument} {of} {to_rfc3339(found.open_ns)}")
    print_table([_row(version) for version in found.versions], COLUMNS)
    for name, version in (("first seen", found.first_seen), ("exchange says", found.venue_says)):
        if version is not None:
            print(f"{name}: close {_text(version.kline.close)}, {version.kline.source}, {to_rfc3339(version.known_ns)}")
    if ask:
        print(f"exchange answers: {_compared(asked, found)}")
    for gap in found.gaps:
        print(f"gap: {gap.channel} {to_rfc3339(gap.start_ns)} to {to_rfc3339(gap.end_ns)}, {_filled(gap)}: {gap.reason}")
    if not found.versions:
        note(f"no {of} kline of {symbol} that opens {to_rfc3339(found.open_ns)} is stored here")
    return exits.OK


async def _asked(settings: Settings, table: Instruments, instrument: Instrument, of: Interval, open_ns: int) -> Kline | None:
    """The exchange's own bar, not stored. None where it has none."""
    async with open_connector(settings, instrument.exchange, instruments=table) as connector:
        rows = await connector.fetch_kdata(instrument.id, of, since=open_ns, until=next_ns(of, open_ns), limit=1)
        return rows[0] if rows else None


def _compared(asked: Kline | None, found: BarHistory) -> str:
    if asked is None:
        return "that it has no such bar"
    said = " ".join(f"{name} {_text(getattr(asked, name))}" for name in NUMBERS)
    if found.current is None:
        return said
    differ = [name for name in NUMBERS if getattr(asked, name) != getattr(found.current.kline, name)]
    return f"{said}; otherwise than our answer: {', '.join(differ)}" if differ else f"{said}; the same as our answer"


def _row(version: Version) -> dict[str, Any]:
    values = _values(version.kline)
    return {"known": to_rfc3339(version.known_ns), **values, "answer": _answer(version)}


def _values(kline: Kline) -> dict[str, Any]:
    return {"source": kline.source, **{name: _text(getattr(kline, name)) for name in NUMBERS}, "trades": kline.trades}


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
