"""Which rows of a file are taken, and why not the others. Rules are tables: the first that holds gives the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import polars as pl

from zvt_crypto.domain.imports import ImportedRow, Rejected
from zvt_crypto.stores.imports.reading import NUMBER, SHOWN

NS = "ns"  # the column of times


class Rule(msgspec.Struct, frozen=True):
    """`holds` makes a row wrong; `column` is what the report shows of it."""

    holds: pl.Expr
    column: str
    reason: str


class Judged(msgspec.Struct, frozen=True):
    """Rows that are sound, and those that are not."""

    rows: Sequence[ImportedRow]
    numbers: Sequence[int]
    repeated: int = 0
    rejected: Sequence[Rejected] = ()


def raw(column: str) -> str:
    """The column as it stood in the file, beside the number made of it."""
    return f"raw {column}"


def with_numbers(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Each as float64, null for what is no number; as it stood beside it."""
    made: list[pl.Expr] = []
    for column in columns:
        is_number = frame.schema[column].is_numeric()
        text = pl.col(column) if is_number else pl.col(column).cast(pl.String, strict=False).str.strip_chars()
        made += [pl.col(column).alias(raw(column)), text.cast(pl.Float64, strict=False).alias(column)]
    return frame.with_columns(made)


def number_rules(columns: Iterable[str]) -> list[Rule]:
    """What is no number."""
    rules: list[Rule] = []
    for column in columns:
        given = pl.col(raw(column))
        rules.append(Rule(given.is_null() | (given.cast(pl.String).str.strip_chars() == ""), raw(column), f"{column} is missing"))
        rules.append(Rule(pl.col(column).is_null(), raw(column), f"{column} is not a number"))
        rules.append(Rule(~pl.col(column).is_finite(), raw(column), f"{column} is not a finite number"))
    return rules


def time_rules(earliest_ns: int, latest_ns: int, late: str) -> list[Rule]:
    """What is no time, or of a time that cannot be."""
    given = pl.col("time")
    return [
        Rule(given.is_null() | (given.cast(pl.String).str.strip_chars() == ""), "time", "time is missing"),
        Rule(pl.col(NS).is_null(), "time", "time is not a time, or has no zone (--utc)"),
        Rule(pl.col(NS) < earliest_ns, "time", "time is before 2009, when nothing was traded"),
        Rule(pl.col(NS) > latest_ns, "time", late),
    ]


def sift(frame: pl.DataFrame, rules: Sequence[Rule], file: str) -> tuple[pl.DataFrame, list[Rejected]]:
    """The rows that no rule holds for, and the others with the first rule that does."""
    if frame.is_empty():
        return frame, []
    place = pl.coalesce([pl.when(rule.holds.fill_null(value=False)).then(pl.lit(n, pl.Int16)) for n, rule in enumerate(rules)])
    judged = frame.with_columns(place.alias("rule"))
    wrong = judged.filter(pl.col("rule").is_not_null())
    return judged.filter(pl.col("rule").is_null()), rejections(wrong, rules, file)


def rejections(wrong: pl.DataFrame, rules: Sequence[Rule], file: str) -> list[Rejected]:
    """Rows with the number of their rule, as a report tells them."""
    made: list[Rejected] = []
    for row in wrong.iter_rows(named=True):
        rule = rules[row["rule"]]
        value = row[rule.column]
        made.append(Rejected(file, row[NUMBER], "" if value is None else str(value)[:SHOWN], rule.reason))
    return made
