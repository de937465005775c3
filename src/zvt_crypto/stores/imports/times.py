"""Times of a file as nanoseconds, a column at a time: what `domain.time.parse_time` says of one value, said of many."""

from __future__ import annotations

from typing import Literal

import msgspec
import polars as pl

from zvt_crypto.domain.errors import BadInput, BadTime
from zvt_crypto.domain.time import EARLIEST_NS, LATEST_NUMBER_NS, NS_PER_MS, NS_PER_S, NS_PER_US, parse_time

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]
UNITS_NS: dict[str, int] = {"s": NS_PER_S, "ms": NS_PER_MS, "us": NS_PER_US, "ns": 1}
_DIGITS = r"^[0-9]{1,19}$"
_FRACTION = r"^([0-9]{1,19})\.([0-9]{1,12})$"


class TimeRule(msgspec.Struct, frozen=True):
    """How times are written: the unit of numbers (`auto`: told by their size), and whether those without a zone are UTC."""

    unit: TimeUnit = "auto"
    naive_is_utc: bool = False


def to_ns(column: pl.Series, rule: TimeRule) -> pl.Series:
    """Int64, null where a value is no time. Raises BadInput for a column whose type holds no times, or times without a zone."""
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        if kind.time_zone is None and not rule.naive_is_utc:
            raise BadInput(f"column {column.name!r} holds times without a zone: say --utc if they are UTC")
        return _bounded_ns(column.dt.replace_time_zone(None) if kind.time_zone is None else column.dt.convert_time_zone("UTC"))
    if kind == pl.Date:
        return _bounded_ns(column.cast(pl.Datetime("ms")))
    if kind.is_integer():
        return _of_numbers(column.cast(pl.Int64, strict=False), rule.unit)
    if kind.is_float():
        return _of_floats(column, rule.unit)
    if kind == pl.String:
        return _of_text(column, rule)
    raise BadInput(f"column {column.name!r} is of type {kind}, which holds no times")


def _bounded_ns(moments: pl.Series) -> pl.Series:
    """Nanoseconds of datetimes, null outside of 1970 to 2200: the finest unit cannot hold all that a coarse one can."""
    ms = moments.dt.timestamp("ms")
    in_range = (ms >= 0) & (ms <= 7_258_118_400_000)
    unit_ns = UNITS_NS[getattr(moments.dtype, "time_unit", "ms")]
    return _kept(moments.to_physical().cast(pl.Int64), in_range) * unit_ns


def _of_numbers(numbers: pl.Series, unit: TimeUnit) -> pl.Series:
    """Epoch numbers; under `auto` of the only unit in which they lie between 2009 and 2100."""
    if unit != "auto":
        return _scaled(numbers, UNITS_NS[unit], 0)
    made = pl.Series(numbers.name, [None] * len(numbers), pl.Int64)
    for unit_ns in UNITS_NS.values():
        made = made.zip_with(made.is_not_null(), _scaled(numbers, unit_ns, EARLIEST_NS))
    return made


def _scaled(numbers: pl.Series, unit_ns: int, lowest_ns: int) -> pl.Series:
    low, high = -(-lowest_ns // unit_ns), LATEST_NUMBER_NS // unit_ns
    return _kept(numbers, (numbers >= low) & (numbers <= high)) * unit_ns


def _of_floats(numbers: pl.Series, unit: TimeUnit) -> pl.Series:
    """As pandas writes integers beside a gap. Of seconds the fraction counts, to the µs that float64 holds."""
    finite = numbers.cast(pl.Float64)
    finite = _kept(finite, finite.is_finite() & (finite.abs() < 2**62))
    whole = _of_numbers(_kept(finite, finite == finite.floor()).cast(pl.Int64), unit)
    if unit not in ("auto", "s"):
        return whole
    return whole.zip_with(whole.is_not_null(), _of_numbers((finite * 1e6).round().cast(pl.Int64, strict=False), "us"))


def _of_text(column: pl.Series, rule: TimeRule) -> pl.Series:
    text = column.str.strip_chars()
    made = _of_numbers(_kept(text, text.str.contains(_DIGITS)).cast(pl.Int64, strict=False), rule.unit)
    left = made.is_null() & text.is_not_null()
    if not left.any():
        return made
    made = made.zip_with(made.is_not_null(), _of_fractions(text, rule.unit))
    values = made.to_list()
    for place in (made.is_null() & text.is_not_null()).arg_true():
        values[place] = _one(text[int(place)], rule)
    return pl.Series(column.name, values, pl.Int64)


def _of_fractions(text: pl.Series, unit: TimeUnit) -> pl.Series:
    """`1614556800.1234` and `1614556800000.0`: the number before the point tells the unit, what comes after is a part of it."""
    parts = text.str.extract_groups(_FRACTION).struct.unnest()
    whole = _of_numbers(parts["1"].cast(pl.Int64, strict=False), unit)
    per_unit = (whole / parts["1"].cast(pl.Int64, strict=False)).round().cast(pl.Int64)  # ns of one
    part_ns = ("0." + parts["2"]).cast(pl.Float64, strict=False) * per_unit
    return whole + part_ns.round().cast(pl.Int64, strict=False)


def _one(text: str, rule: TimeRule) -> int | None:
    if rule.unit != "auto" and text.isdigit():
        return None
    for said in (text, f"{text}Z") if rule.naive_is_utc else (text,):
        try:
            return parse_time(said)
        except BadTime:
            continue
    return None


def _kept(column: pl.Series, mask: pl.Series) -> pl.Series:
    """Null where the mask does not say yes."""
    return column.zip_with(mask.fill_null(value=False), pl.Series(column.name, [None], column.dtype).new_from_index(0, len(column)))
