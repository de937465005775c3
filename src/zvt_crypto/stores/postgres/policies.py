"""How long what is kept, and in which form: policies in the database, one a target and action, and what a target is."""

from __future__ import annotations

from typing import Literal, NamedTuple

from zvt_crypto.domain.errors import BadInput, OutOfRange, UnknownInterval, shown
from zvt_crypto.domain.time import INTERVALS, Interval, parse_interval
from zvt_crypto.stores.postgres.chunks import PACKABLE
from zvt_crypto.stores.postgres.partitions import Span, day_of, month_of
from zvt_crypto.stores.postgres.pool import Connection

Action = Literal["compact", "retain"]
ACTIONS: tuple[Action, ...] = ("compact", "retain")
MOST_DAYS = 36_500


class Target(NamedTuple):
    """A table of rows that have a time. `interval` of klines."""

    table: str
    time: str
    interval: Interval | None = None

    def unit_of(self, at_ns: int) -> Span:
        """The month, or the day, that is archived as one."""
        return day_of(at_ns) if self.table in ("trade", "book_log") else month_of(at_ns)


TARGETS: dict[str, Target] = {
    **{f"kline_{i.slug}": Target(f"kline_{i.slug}", "open_time", i) for i in INTERVALS},
    "trade": Target("trade", "event_time"),
    "funding": Target("funding", "event_time"),
    "mark": Target("mark", "event_time"),
    "book_snapshot": Target("book_snapshot", "event_time"),
    "book_log": Target("book_log", "start_time"),
}
CHANNELS = {"book": "book_snapshot", "depth": "book_log"}  # what else a table is called


class Policy(NamedTuple):
    """What happens to rows of `target` that are older than `days`."""

    target: str
    action: Action
    days: int


def parse_target(text: str) -> Target:
    """A table, a channel, or an interval for its klines. Raises BadInput."""
    if (named := TARGETS.get(CHANNELS.get(text, text))) is not None:
        return named
    try:
        return TARGETS[f"kline_{parse_interval(text).slug}"]
    except UnknownInterval:
        raise BadInput(f"storage target {shown(text)} is neither an interval nor one of {', '.join([*TARGETS, *CHANNELS])}") from None


async def read_policies(connection: Connection) -> list[Policy]:
    """All, by target."""
    return [Policy(*row) for row in await connection.fetch("SELECT target, action, days FROM storage_policy ORDER BY target, action")]


async def set_policy(connection: Connection, target: Target, action: Action, days: int) -> None:
    """Raises BadInput for what cannot be done, OutOfRange."""
    if action == "compact" and target.interval not in PACKABLE:
        raise BadInput(f"{target.table} has no packed form: only klines of {', '.join(PACKABLE)} have one")
    if not 1 <= days <= MOST_DAYS:
        raise OutOfRange("days", days, 1, MOST_DAYS)
    await connection.execute(
        "INSERT INTO storage_policy (target, action, days, set_at) VALUES ($1, $2, $3, now()) "
        "ON CONFLICT (target, action) DO UPDATE SET days = excluded.days, set_at = excluded.set_at",
        target.table,
        action,
        days,
    )


async def drop_policy(connection: Connection, target: Target, action: Action) -> None:
    """Nothing happens to its rows any more; safe where there is none."""
    await connection.execute("DELETE FROM storage_policy WHERE target = $1 AND action = $2", target.table, action)
