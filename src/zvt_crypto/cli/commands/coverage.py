"""`coverage`: what is stored, what is missing, where it came from, what was told twice and differently."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.words import parse_range, resolve_all
from zvt_crypto.domain.coverage import Coverage, Difference
from zvt_crypto.domain.exchanges import check_exchange
from zvt_crypto.domain.market import Gap, Kline
from zvt_crypto.domain.time import INTERVALS, Interval, parse_interval, to_rfc3339

STREAMS = ("trade", "agg", "funding", "mark", "book")
COLUMNS = [
    "instrument",
    "stream",
    "rows",
    "first",
    "last",
    "missing",
    "not known",
    "gaps open",
    "filled",
    "sources",
    "forming",
    "revised",
    "differing",
]
SHOWN_HOLES = 20
SHOWN_GAPS = 50


def run_coverage(
    settings: Settings,
    symbols: Sequence[str],
    *,
    interval: str | None,
    start: str | None,
    end: str | None,
    exchange: str | None,
    differences: bool,
    as_json: bool,
) -> int:
    """Print one line a stream. Raises UnknownExchange, UnknownSymbol, UnknownInterval, BadTime, StoreUnavailable."""
    intervals = INTERVALS if interval is None else (parse_interval(interval),)
    start_ns, end_ns = parse_range(start, end)
    named = None if exchange is None else check_exchange(exchange)
    now_ns = time.time_ns()

    async def go() -> tuple[list[Coverage], list[Gap], list[Difference]]:
        found: list[Coverage] = []
        opened: list[Gap] = []
        differ: list[Difference] = []
        async with open_database(settings) as store:
            table = await store.instruments.load(named)
            for instrument in resolve_all(table, symbols, named) if symbols else list(table):
                span = (start_ns, end_ns, now_ns)
                bars = [await store.coverage.klines(instrument.id, one, *span) for one in intervals]
                rest = [] if interval else [await store.coverage.stream(instrument.id, one, *span) for one in STREAMS]
                told = [*_expected(bars, rest, is_asked=bool(interval and symbols)), *[one for one in rest if _says_something(one)]]
                found += told
                if channels := {one.stream.partition(" ")[0] for one in told if one.gaps_open}:
                    gaps = await store.facts.read_gaps(instrument.id, open_only=True)
                    opened += [gap for gap in gaps if gap.channel in channels and _is_asked_for(gap, intervals, start_ns, end_ns)]
                for bar in [one for one in bars if differences and one.differing]:
                    of = Interval(bar.stream.removeprefix("kline "))
                    differ += await store.coverage.differences(instrument.id, of, start_ns, end_ns)
        return found, opened, differ

    _tell(*run(go), as_json=as_json)
    return exits.OK


def _expected(bars: Sequence[Coverage], rest: Sequence[Coverage], *, is_asked: bool) -> list[Coverage]:
    """The klines of which something is to be told: those that say something, those that were asked for by name and lack something, and
    the minutes of trades that are followed."""
    has_trades = any(one.followed for one in rest if one.stream in ("trade", "agg"))
    awaited = [one.missing and (is_asked or (has_trades and one.stream == "kline 1m")) for one in bars]
    return [one for one, is_awaited in zip(bars, awaited, strict=True) if is_awaited or _says_something(one)]


def _says_something(one: Coverage) -> bool:
    """Streams that hold nothing, and of which nothing is missing either, do not."""
    return bool(one.rows or one.gaps_open or one.unknown or (one.followed and one.missing))


def _is_asked_for(gap: Gap, intervals: Sequence[Interval], start_ns: int | None, end_ns: int | None) -> bool:
    if gap.interval is not None and gap.interval not in intervals:
        return False
    return (start_ns is None or gap.end_ns >= start_ns) and (end_ns is None or gap.start_ns < end_ns)


def _tell(found: list[Coverage], opened: list[Gap], differ: list[Difference], *, as_json: bool) -> None:
    newest = sorted(opened, key=lambda gap: gap.start_ns)[-SHOWN_GAPS:]
    if as_json:
        told = {"coverage": [_told(one) for one in found], "count": len(found), "differences": [_both(one) for one in differ]}
        print_json(told | {"gaps_open": [_gap(gap) for gap in newest], "gaps_open_more": len(opened) - len(newest)})
        return
    print_table([_row(one) for one in found], COLUMNS)
    holes = [(one, hole) for one in found for hole in one.missing]
    for one, (low, high) in holes[:SHOWN_HOLES]:
        print(f"missing  {one.instrument}  {one.stream}  {to_rfc3339(low)} to {to_rfc3339(high)}")
    if len(holes) > SHOWN_HOLES:
        print(f"… and {len(holes) - SHOWN_HOLES} more holes: --json shows all")
    for one in found:
        for low, high in one.unknown:
            print(f"not known  {one.instrument}  {one.stream}  {to_rfc3339(low)} to {to_rfc3339(high)}  {_why_unknown(one, low)}")
    for gap in newest:
        print(_gap_line(gap))
    if len(opened) > len(newest):
        print(f"… and {len(opened) - len(newest)} older open gaps: --start and --end narrow it down")
    for two in differ:
        kept = "served before" if two.was_served else "not served"
        print(f"differs  {two.served.instrument}  {two.served.interval}  {to_rfc3339(two.served.open_ns)}")
        print(f"         {_values(two.served)}  served\n         {_values(two.other)}  {kept}")


def _row(one: Coverage) -> dict[str, Any]:
    return {
        "instrument": one.instrument,
        "stream": one.stream,
        "rows": one.rows,
        "first": _time(one.first_ns),
        "last": _time(one.last_ns),
        "missing": len(one.missing),
        "not known": len(one.unknown),
        "gaps open": one.gaps_open,
        "filled": _counts(one.filled),
        "sources": _counts(one.sources),
        "forming": one.forming,
        "revised": one.revised,
        "differing": one.differing,
    }


def _told(one: Coverage) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    times = {"first": _time(one.first_ns), "last": _time(one.last_ns)}
    return plain | times | {"missing": _spans(one.missing), "unknown": _spans(one.unknown), "whole": one.is_whole}


def _spans(ranges: list[tuple[int, int]]) -> list[dict[str, str]]:
    return [{"start": to_rfc3339(low), "end": to_rfc3339(high)} for low, high in ranges]


def _why_unknown(one: Coverage, low_ns: int) -> str:
    if one.rows == 0:
        return "nothing is stored: no trades, or nobody listened" if one.stream in ("trade", "agg") else "nothing is stored"
    if one.last_ns is not None and low_ns >= one.last_ns:
        return "after the last that is stored: the market was silent, or nobody listened"
    return "before the first that is stored: the market was silent, or nobody listened"


def _gap(gap: Gap) -> dict[str, Any]:
    place = {"instrument": gap.instrument, "channel": gap.channel, "interval": None if gap.interval is None else str(gap.interval)}
    span = {"start": to_rfc3339(gap.start_ns), "end": to_rfc3339(gap.end_ns)}
    return place | span | {"first_id": gap.first_id, "last_id": gap.last_id, "reason": gap.reason}


def _gap_line(gap: Gap) -> str:
    stream = gap.channel if gap.interval is None else f"{gap.channel} {gap.interval}"
    ids = "" if gap.first_id is None and gap.last_id is None else f"  ids {_end(gap.first_id)} to {_end(gap.last_id)}"
    return f"gap open  {gap.instrument}  {stream}  {to_rfc3339(gap.start_ns)} to {to_rfc3339(gap.end_ns)}{ids}  {gap.reason}"


def _end(number: int | None) -> str:
    return "?" if number is None else str(number)


def _both(two: Difference) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume", "source")
    served, other = ({name: getattr(bar, name) for name in names} for bar in (two.served, two.other))
    head = {"instrument": two.served.instrument, "interval": str(two.served.interval), "timestamp": to_rfc3339(two.served.open_ns)}
    return head | {"served": served, "other": other, "other_was_served": two.was_served, "recorded": to_rfc3339(two.recorded_ns)}


def _values(bar: Kline) -> str:
    return f"open {bar.open} high {bar.high} low {bar.low} close {bar.close} volume {bar.volume}  {bar.source}"


def _counts(named: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(named.items()))


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else to_rfc3339(at_ns)
