"""Time: int nanoseconds UTC inside, the nine intervals with calendar-true borders, and what users may write."""

from __future__ import annotations

import datetime as dt
import enum
import re

from zvt_crypto.domain.errors import BadTime, UnknownInterval, shown

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_DAY = 86_400 * NS_PER_S

# Monday 1969-12-29: the epoch itself was a Thursday.
_MONDAY_OFFSET_NS = 3 * NS_PER_DAY
_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# The widest range that a timestamp may have: 1970 up to 2200, well inside int64 nanoseconds (2262).
MAX_NS = (dt.date(2200, 1, 1).toordinal() - _EPOCH_ORDINAL) * NS_PER_DAY
# Before it nothing was traded: Bitcoin's first block is of 2009-01-03.
EARLIEST_NS = (dt.date(2009, 1, 1).toordinal() - _EPOCH_ORDINAL) * NS_PER_DAY
# An epoch number is believed from EARLIEST_NS up to here: the four units' ranges lie a factor of 300 apart, so its size tells the unit.
LATEST_NUMBER_NS = (dt.date(2100, 1, 1).toordinal() - _EPOCH_ORDINAL) * NS_PER_DAY


class Interval(enum.StrEnum):
    """A kline's length. `1m` is a minute and `1M` a month; names that fold case use `.slug` (`1mon`)."""

    MIN_1 = "1m"
    MIN_5 = "5m"
    MIN_15 = "15m"
    MIN_30 = "30m"
    HOUR_1 = "1h"
    HOUR_4 = "4h"
    DAY_1 = "1d"
    WEEK_1 = "1w"
    MONTH_1 = "1M"

    @property
    def slug(self) -> str:
        """The name for SQL, files and keys, where case does not count."""
        return "1mon" if self is Interval.MONTH_1 else self.value


INTERVALS: tuple[Interval, ...] = tuple(Interval)

# Length in ns of the intervals that have one; a month has none.
FIXED_NS: dict[Interval, int] = {
    Interval.MIN_1: NS_PER_MINUTE,
    Interval.MIN_5: 5 * NS_PER_MINUTE,
    Interval.MIN_15: 15 * NS_PER_MINUTE,
    Interval.MIN_30: 30 * NS_PER_MINUTE,
    Interval.HOUR_1: 60 * NS_PER_MINUTE,
    Interval.HOUR_4: 240 * NS_PER_MINUTE,
    Interval.DAY_1: NS_PER_DAY,
    Interval.WEEK_1: 7 * NS_PER_DAY,
}


def parse_interval(text: object) -> Interval:
    """`1m` … `1M`, or the slug `1mon`. Raises UnknownInterval."""
    if text == "1mon":
        return Interval.MONTH_1
    for interval in INTERVALS:
        if interval == text:
            return interval
    raise UnknownInterval(text, INTERVALS)


def floor_ns(interval: Interval, at_ns: int) -> int:
    """The open of the kline that holds `at_ns`: weeks open Monday 00:00 UTC, months on day 1."""
    if interval is Interval.MONTH_1:
        day = _date_of(at_ns)
        return _ns_of(day.replace(day=1))
    if interval is Interval.WEEK_1:
        return (at_ns + _MONDAY_OFFSET_NS) // FIXED_NS[interval] * FIXED_NS[interval] - _MONDAY_OFFSET_NS
    return at_ns // FIXED_NS[interval] * FIXED_NS[interval]


def next_ns(interval: Interval, open_ns: int) -> int:
    """The open of the following kline, which is this one's (exclusive) close."""
    if interval is Interval.MONTH_1:
        day = _date_of(open_ns)
        first = dt.date(day.year + (day.month == 12), day.month % 12 + 1, 1)
        return _ns_of(first)
    return floor_ns(interval, open_ns) + FIXED_NS[interval]


def is_aligned(interval: Interval, open_ns: int) -> bool:
    """Whether `open_ns` lies on the interval's grid."""
    return floor_ns(interval, open_ns) == open_ns


def count_opens(interval: Interval, start_ns: int, end_ns: int) -> int:
    """How many klines open in [start_ns, end_ns)."""
    if end_ns <= start_ns:
        return 0
    first = start_ns if is_aligned(interval, start_ns) else next_ns(interval, start_ns)
    if first >= end_ns:
        return 0
    if interval is Interval.MONTH_1:
        a, b = _date_of(first), _date_of(end_ns - 1)
        return (b.year - a.year) * 12 + b.month - a.month + 1
    return (end_ns - 1 - first) // FIXED_NS[interval] + 1


def to_datetime(at_ns: int) -> dt.datetime:
    """An aware UTC datetime, cut to microseconds."""
    return _EPOCH + dt.timedelta(microseconds=at_ns // NS_PER_US)


def from_datetime(moment: dt.datetime) -> int:
    """Nanoseconds of an aware datetime. Raises BadTime for a naive one."""
    if moment.tzinfo is None:
        raise BadTime(f"time {moment.isoformat()} has no zone: say which, for example {moment.isoformat()}Z")
    delta = moment.astimezone(dt.UTC) - _EPOCH
    return (delta.days * 86_400_000_000 + delta.seconds * 1_000_000 + delta.microseconds) * NS_PER_US


def to_rfc3339(at_ns: int) -> str:
    """`2024-08-08T23:54:15.087Z`: UTC with milliseconds, cut, not rounded."""
    ms = at_ns // NS_PER_MS
    seconds, millis = divmod(ms, 1000)
    days, rest = divmod(seconds, 86_400)
    day = dt.date.fromordinal(_EPOCH_ORDINAL + days)
    return f"{day.isoformat()}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{millis:03d}Z"


_FRACTION = re.compile(r"\.(\d{1,9})(?=Z|z|[+-]\d{2}:?\d{2}$)")
_NUMBER = re.compile(r"[0-9]{1,32}")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?")
_UNITS_NS = (NS_PER_S, NS_PER_MS, NS_PER_US, 1)


def parse_time(value: object) -> int:
    """Nanoseconds UTC of a time as users write it.

    Accepts RFC 3339 (`2024-08-08T00:00:00Z`), a date, month or year (`2024-08-08` or `20240808`, `2024-08`, `2024`: its first midnight
    UTC), an epoch number (or its digits) of seconds, ms, µs or ns from 2009 to 2100, told apart by size, 0 for the epoch itself, or an
    aware datetime. Raises BadTime, naming the value, for all else: a datetime without a zone is refused, and a number that is of no
    such unit, never guessed.
    """
    if isinstance(value, dt.datetime):
        return _bounded(from_datetime(value), value)
    if isinstance(value, bool) or value is None:
        raise BadTime(f"time {shown(value)} is not a time")
    if isinstance(value, int):
        return _from_number(value, value)
    if isinstance(value, dt.date):
        return _bounded(_ns_of(value), value)
    if not isinstance(value, str):
        raise BadTime(f"time {shown(value)} is neither RFC 3339, an integer epoch nor a datetime with a zone")
    if _NUMBER.fullmatch(value):
        return _from_number(int(value), value)
    if found := _DATE.fullmatch(value):
        return _from_date(int(found[1]), int(found[2]), int(found[3] or 1), value)
    return _bounded(_from_text(value), value)


def _from_text(text: str) -> int:
    fraction = _FRACTION.search(text)
    sub_ns = int(fraction[1].ljust(9, "0")) if fraction else 0
    whole = text.replace(fraction[0], "", 1) if fraction else text
    try:
        moment = dt.datetime.fromisoformat(whole)
    except ValueError:
        raise BadTime(
            f"time {shown(text)} is not RFC 3339 (2024-08-08T00:00:00Z), a date (2024-08-08, 2024-08, 2024) nor an epoch number"
        ) from None
    return from_datetime(moment) + sub_ns


def _from_number(number: int, value: object) -> int:
    """A year of four digits, a date of eight, 0, or an epoch number of the only unit that fits."""
    if number == 0:
        return 0
    if 1000 <= number <= 9999:
        return _from_date(number, 1, 1, value)
    if 1000_00_00 <= number <= 9999_99_99:
        return _from_date(number // 10_000, number // 100 % 100, number % 100, value)
    for unit_ns in _UNITS_NS:
        if EARLIEST_NS <= number * unit_ns <= LATEST_NUMBER_NS:
            return number * unit_ns
    raise BadTime(f"time {shown(value)} is no epoch number: neither seconds, ms, µs nor ns of 2009 to 2100, nor a date (2024-08-08, 2024)")


def _from_date(year: int, month: int, day: int, value: object) -> int:
    try:
        midnight_ns = _ns_of(dt.date(year, month, day))
    except ValueError:
        raise BadTime(f"time {shown(value)} is not a date") from None
    return _bounded(midnight_ns, value)


def _bounded(at_ns: int, value: object) -> int:
    if not 0 <= at_ns <= MAX_NS:
        raise BadTime(f"time {shown(value)} is outside 1970 to 2200")
    return at_ns


def _date_of(at_ns: int) -> dt.date:
    return dt.date.fromordinal(_EPOCH_ORDINAL + at_ns // NS_PER_DAY)


def _ns_of(day: dt.date) -> int:
    return (day.toordinal() - _EPOCH_ORDINAL) * NS_PER_DAY
