"""Scripts of faults: a TOML file that says what goes wrong, when, and for how long.

```toml
[[fault]]
at = "30s"            # after the emulator's start: 500ms, 30s, 2m, 1h30m
every = "5m"          # optional: again and again
kind = "drop"
match = "depthUpdate" # only frames whose text holds this
times = 3
```
`KINDS` lists every kind with the keys that it takes; each has a usual value where it can.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.dialect import Dialect
from zvt_crypto.emulator.faults import DOORS, Bend, Faults
from zvt_crypto.emulator.market import MarketWorld, symbol_for

MOST_FAULTS = 10_000
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
# kind → the keys that it takes beside at, every and kind.
KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(get_args(Bend), ("match", "times")),
    "delay": ("match", "times", "by"),
    "cut": (),
    "close": ("code", "reason"),
    "day_over": (),
    "stall": ("for",),
    "heartbeats_only": ("for",),
    "refuse": ("for", "what"),
    "tls": ("for", "what"),
    "http": ("status", "times", "path", "body", "retry_after"),
    "limits": ("factor",),
    "clock_skew": ("by",),
    "restart_books": (),
    "late_klines": ("times", "by"),
    "revise_kline": ("market", "symbol"),
    "list": ("market", "base", "quote"),
    "delist": ("market", "symbol"),
    "finer_tick": ("market", "symbol", "factor"),
}


class Planned(msgspec.Struct, frozen=True):
    """One fault of a script. Times in seconds."""

    at_s: float
    every_s: float | None
    kind: str
    keys: dict[str, Any]


def read_script(text: str) -> list[Planned]:
    """The faults of a script, by their time. Raises BadInput, naming the entry and the value."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"the script of faults is not TOML: {error}") from None
    entries = found.pop("fault", [])
    if found or not isinstance(entries, list):
        raise BadInput(f"a script of faults holds [[fault]] entries only, not {', '.join(map(shown, found)) or shown(entries)}")
    if len(entries) > MOST_FAULTS:
        raise BadInput(f"a script holds {MOST_FAULTS} faults at most, not {len(entries)}")
    made = [_planned(number, entry) for number, entry in enumerate(entries, 1)]
    return sorted(made, key=lambda one: one.at_s)


def set_up(script: list[Planned], dialect: Dialect, start_ns: int) -> None:
    """Put the faults on the dialect's agenda. Raises BadInput for what this world or exchange cannot do."""
    for one in script:
        action = _action(one, dialect)
        dialect.faults.needs_tls |= one.kind == "tls"
        every_ns = None if one.every_s is None else int(one.every_s * NS_PER_S)
        dialect.faults.plan(start_ns + int(one.at_s * NS_PER_S), action, every_ns)


def _planned(number: int, entry: Any) -> Planned:
    where = f"fault {number}"
    if not isinstance(entry, dict):
        raise BadInput(f"{where} is not a table: {shown(str(entry))}")
    keys = dict(entry)
    kind = keys.pop("kind", None)
    if kind not in KINDS:
        raise BadInput(f"{where}: unknown kind {shown(str(kind))}: known are {', '.join(KINDS)}")
    at_s, every_s = _seconds(where, "at", keys.pop("at", "0s")), keys.pop("every", None)
    unknown = [name for name in keys if name not in KINDS[kind]]
    if unknown:
        raise BadInput(f"{where}: {kind} takes {', '.join(KINDS[kind]) or 'no keys'}, not {', '.join(map(shown, unknown))}")
    for name in ("for", "by"):
        if name in KINDS[kind]:
            keys[name] = _seconds(where, name, keys.get(name, "2s"), below_zero=kind == "clock_skew")
    repeat_s = None if every_s is None else _seconds(where, "every", every_s)
    if repeat_s is not None and repeat_s < 0.001:
        raise BadInput(f"{where}: every {shown(str(every_s))} is too often")
    _check(where, keys)
    return Planned(at_s, repeat_s, kind, keys)


# key → (its type, lowest, highest); texts are bounded by their length.
_DOMAIN: Mapping[str, tuple[type, float, float]] = {
    "times": (int, 1, 1_000_000),
    "code": (int, 1000, 4999),
    "status": (int, 400, 599),
    "factor": (float, 0.001, 1000),
    "match": (str, 0, 200),
    "reason": (str, 0, 120),
    "path": (str, 0, 200),
    "body": (str, 0, 100_000),
    "market": (str, 1, 10),
    "symbol": (str, 1, 40),
    "base": (str, 1, 20),
    "quote": (str, 1, 20),
}


def _check(where: str, keys: dict[str, Any]) -> None:
    for name, value in keys.items():
        if name in ("for", "by"):
            continue
        if name == "retry_after":
            if value != "none" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise BadInput(f'{where}: retry_after {shown(str(value))} is no number of seconds, nor "none"')
            continue
        if name == "what":
            if value not in DOORS:
                raise BadInput(f"{where}: unknown what {shown(str(value))}: known are {', '.join(DOORS)}")
            continue
        kind, low, high = _DOMAIN[name]
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise BadInput(f"{where}: {name} {shown(str(value))} is no {'text' if kind is str else 'number'}")
        size = float(len(value) if isinstance(value, str) else str(value))
        if not low <= size <= high:
            raise BadInput(f"{where}: {name} {shown(str(value))} is out of range: {low:g} to {high:g}")


def _seconds(where: str, name: str, value: Any, *, below_zero: bool = False) -> float:
    text = str(value)
    sign = -1.0 if below_zero and text.startswith("-") else 1.0
    bare = text.removeprefix("-") if below_zero else text
    if not isinstance(value, str) or not _DURATION.fullmatch(bare):
        raise BadInput(f"{where}: {name} {shown(text)} is no duration such as 500ms, 30s, 2m or 1h30m")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", bare)
    return sign * sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _action(one: Planned, dialect: Dialect) -> Callable[[int], None]:
    faults, keys = dialect.faults, one.keys
    match one.kind:
        case "cut":
            return lambda _: faults.cut_all()
        case "close":
            return lambda _: faults.close_all(keys.get("code", 1001), keys.get("reason", "going away"))
        case "day_over":
            return lambda _: faults.close_all(1001, "24 hours are over")
        case "stall":
            return _for_a_while(faults, faults.stall, keys["for"])
        case "heartbeats_only":
            return _for_a_while(faults, faults.mute, keys["for"])
        case "refuse":
            return lambda _: faults.refuse_connections(keys["for"], keys.get("what", "ws"))
        case "tls":
            return lambda _: faults.fail_tls(keys["for"], keys.get("what", "ws"))
        case "http":
            return lambda _: _http(faults, keys)
        case "limits":
            return lambda _: dialect.scale_limits(keys.get("factor", 0.5))
        case "clock_skew":
            return lambda _: faults.skew(keys["by"])
        case "restart_books":
            return lambda _: dialect.restart_books()
        case "late_klines":
            return lambda _: faults.late_klines(keys.get("times", 1), keys["by"])
        case "revise_kline" | "list" | "delist" | "finer_tick":
            return _listing_change(one, dialect)
        case _:
            picks = _picker(keys.get("match", ""))
            return lambda _: faults.bend_frame(one.kind, picks, keys.get("times", 1), by_s=keys.get("by", 0.0))  # type: ignore[arg-type]


def _listing_change(one: Planned, dialect: Dialect) -> Callable[[int], None]:
    world, keys = dialect.world, one.keys
    if not isinstance(world, MarketWorld):
        raise BadInput(f"{one.kind} needs a market: a replay shows what was recorded")
    market, symbol = keys.get("market", "spot"), keys.get("symbol", "BTCUSDT")
    if market not in ("spot", "usdm"):
        raise BadInput(f"{one.kind}: unknown market {shown(market)}: known are spot, usdm")
    if one.kind == "list":
        return lambda _: world.list_symbol(symbol_for(market, keys.get("base", "NEW"), keys.get("quote", "USDT")))
    if one.kind == "delist":
        return lambda _: world.delist(market, symbol)
    if one.kind == "finer_tick":
        return lambda _: world.refine_tick(market, symbol, int(keys.get("factor", 10)))
    return lambda _: world.revise_minute(market, symbol)


def _for_a_while(faults: Faults, begin: Callable[[], None], seconds: float) -> Callable[[int], None]:
    def act(now_ns: int) -> None:
        begin()
        faults.plan(now_ns + int(seconds * NS_PER_S), lambda _: faults.resume())

    return act


def _http(faults: Faults, keys: dict[str, Any]) -> None:
    retry_after = keys.get("retry_after")
    headers = None if retry_after is None else {"Retry-After": "" if retry_after == "none" else str(retry_after)}
    body = keys.get("body")
    content = None if body is None else b"<html><body><h1>Bad Gateway</h1></body></html>" if body == "html" else body.encode()
    faults.http(keys.get("status", 503), keys.get("times", 1), headers=headers, body=content, path=keys.get("path", ""))


def _picker(text: str) -> Callable[[bytes], bool]:
    wanted = text.lower().encode()
    return lambda payload: wanted in payload.lower()
