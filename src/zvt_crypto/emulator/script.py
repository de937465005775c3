"""Scripts of faults: a TOML file that says what goes wrong, when, and for how long.

```toml
[[fault]]
at = "30s"            # after the emulator's start: 500ms, 30s, 2m, 1h30m
every = "5m"          # optional: again and again
exchange = "bybit"    # optional: at this one only, where several are played
kind = "drop"
match = "depthUpdate" # only frames whose text holds this
times = 3
```
`KINDS` lists every kind with the keys that it takes; each has a usual value where it can.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.changes import CHANGES, Change, Timed, change_of, try_plan
from zvt_crypto.emulator.dialect import Dialect
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.faults import DOORS, Bend, Faults
from zvt_crypto.emulator.market import MarketWorld

MOST_FAULTS = 10_000
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
# kind → the keys that it takes beside at, every, exchange and kind.
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
    """One fault of a script, its `number`th. Times in seconds. `exchange`: at this one only."""

    number: int
    at_s: float
    every_s: float | None
    exchange: str | None
    kind: str
    keys: dict[str, Any]

    @property
    def where(self) -> str:
        """How an error names it."""
        return f"fault {self.number} ({self.kind})"

    @property
    def every_ns(self) -> int | None:
        """Nanoseconds until it comes again."""
        return None if self.every_s is None else int(self.every_s * NS_PER_S)


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
    """As `set_up_all`, for one exchange."""
    set_up_all(script, [dialect], start_ns)


def set_up_all(script: list[Planned], dialects: Sequence[Dialect], start_ns: int) -> None:
    """Put the faults on the agendas of exchanges that are played side by side.

    Raises BadInput, and then none is set up, for what one of them cannot do: known by itself, or by what its entries before it do to what
    is listed. What cannot be done when its time comes all the same is told to `Faults.on_failure`, and left out.
    """
    running = [dialect.exchange for dialect in dialects]
    for one in script:
        if one.exchange is not None and one.exchange not in running:
            raise BadInput(f"{one.where} is for exchange {shown(one.exchange)}, which is not played; played: {', '.join(running)}")
    parts = [(dialect, [one for one in script if one.exchange in (None, dialect.exchange)]) for dialect in dialects]
    changes = [_changes(part, dialect, dialects, start_ns) for dialect, part in parts]
    for (dialect, part), changed in zip(parts, changes, strict=True):
        for one in part:
            if one.kind == "tls":
                dialect.faults.needs_tls = dialect.faults.needs_tls or f"{one.where} at {dialect.exchange}"
            change = changed.get(one.number)
            action = _action(one, dialect) if change is None else _change_action(change, dialect)
            dialect.faults.plan(start_ns + int(one.at_s * NS_PER_S), _named(one, dialect, action), one.every_ns)


def _changes(part: list[Planned], dialect: Dialect, dialects: Sequence[Dialect], start_ns: int) -> dict[int, Timed]:
    """By number, the changes of what is listed. Raises BadInput for everything of the part that this exchange cannot do."""
    changes: dict[int, Timed] = {}
    for one in part:
        where = f"{one.where} at {dialect.exchange}"
        if one.kind in dialect.never:
            able = [other for other in dialects if one.kind not in other.never]
            raise BadInput(f"{where}: {dialect.never[one.kind]}{_hint(able)}")
        if one.kind in CHANGES:
            change = _change(one, dialect, where)
            if change.market not in dialect.markets:
                able = [other for other in dialects if change.market in other.markets]
                raise BadInput(f"{where}: market {change.market} is not listed there, only {', '.join(dialect.markets)}{_hint(able)}")
            changes[one.number] = Timed(where, start_ns + int(one.at_s * NS_PER_S), one.every_ns, change)
    if isinstance(dialect.world, MarketWorld):
        try_plan(list(changes.values()), dialect.world, dialect.called)
    return changes


def _change(one: Planned, dialect: Dialect, where: str) -> Change:
    if not isinstance(dialect.world, MarketWorld):
        raise BadInput(f"{where}: {one.kind} needs a market: a replay shows what was recorded")
    try:
        return change_of(one.kind, one.keys)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def _hint(able: list[Dialect]) -> str:
    """How to keep an entry for those that can do it."""
    names = [f'"{other.exchange}"' for other in able]
    return f"; for one that does, say exchange = {' or '.join(names)}" if names else ""


def _named(one: Planned, dialect: Dialect, action: Callable[[int], None]) -> Callable[[int], None]:
    def act(now_ns: int) -> None:
        try:
            action(now_ns)
        except BadInput as error:
            raise BadInput(f"{one.where} at {dialect.exchange}: {error}") from None

    return act


def _change_action(timed: Timed, dialect: Dialect) -> Callable[[int], None]:
    """The change at its own time, not at that of the poll that found it due: so every exchange's market changes alike."""
    world, begin_ns, every_ns = dialect.world, timed.at_ns, timed.every_ns
    assert isinstance(world, MarketWorld), "checked"
    return lambda now_ns: timed.change.do(world, now_ns - (now_ns - begin_ns) % every_ns if every_ns else begin_ns)


def _planned(number: int, entry: Any) -> Planned:
    where = f"fault {number}"
    if not isinstance(entry, dict):
        raise BadInput(f"{where} is not a table: {shown(str(entry))}")
    keys = dict(entry)
    kind = keys.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadInput(f"{where}: unknown kind {shown(str(kind))}: known are {', '.join(KINDS)}")
    at_s, every_s = _seconds(where, "at", keys.pop("at", "0s")), keys.pop("every", None)
    exchange = keys.pop("exchange", None)
    if exchange is not None and (not isinstance(exchange, str) or exchange not in DIALECTS):
        raise BadInput(f"{where}: unknown exchange {shown(str(exchange))}: known are {', '.join(DIALECTS)}")
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
    return Planned(number, at_s, repeat_s, exchange, kind, keys)


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
            if not isinstance(value, str) or value not in DOORS:
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
        case _:
            picks = _picker(keys.get("match", ""))
            return lambda _: faults.bend_frame(one.kind, picks, keys.get("times", 1), by_s=keys.get("by", 0.0))  # type: ignore[arg-type]


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
