"""Rows of trades. Trades are told apart by the exchange's own ids: a row without one is refused."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from zvt_crypto.domain.imports import Hole, Rejected
from zvt_crypto.domain.market import Trade, TradeStream
from zvt_crypto.domain.plausible import AHEAD_MOST_NS
from zvt_crypto.domain.time import EARLIEST_NS
from zvt_crypto.stores.imports.judging import NS, Judged, Rule, number_rules, raw, sift, time_rules, with_numbers
from zvt_crypto.stores.imports.reading import NUMBER

_SIDES = {"buy": "buy", "b": "buy", "sell": "sell", "s": "sell"}
# Whether the buyer was the maker → who took.
_TAKERS = {"true": "sell", "false": "buy", "1": "sell", "0": "buy"}
ID_MOST = 128
_PRINT = "print"
_NO_ID = "has no id of the exchange, by which trades are told apart"


class TradeJudge:
    """Trades of one instrument and id space, over all its files.

    `dense`: ids rise by one, so that a jump is told as a hole. Of rows far apart, one that says an id again with another time is not
    found here: only this batch and the one before it are kept in mind.
    """

    needs: tuple[str, ...] = ("time", "trade_id", "price", "quantity", "side")
    takes: tuple[str, ...] = ()

    def __init__(self, instrument: str, stream: TradeStream, now_ns: int, *, dense: bool) -> None:
        self._instrument = instrument
        self._stream: TradeStream = stream
        self._now_ns = now_ns
        self._dense = dense
        self._before = pl.DataFrame(schema={"trade_id": pl.String, _PRINT: pl.UInt64})
        self._last: tuple[int, int] | None = None
        self._holes: list[Hole] = []

    def judge(self, frame: pl.DataFrame, file: str) -> Judged:
        """`frame`: NUMBER, NS and the columns that are needed, as they stand; `side` of the taker, or `buyer_maker`."""
        frame = with_numbers(_named(frame), ["price", "quantity"])
        rules = [
            *time_rules(EARLIEST_NS, self._now_ns + AHEAD_MOST_NS, "is of a time that has not come"),
            Rule(pl.col("trade_id").is_null() | (pl.col("trade_id") == ""), "trade_id", _NO_ID),
            Rule(pl.col("trade_id").str.len_chars() > ID_MOST, "trade_id", f"has an id of more than {ID_MOST} characters"),
            *number_rules(["price", "quantity"]),
            *(Rule(pl.col(c) <= 0, raw(c), f"{c} is not above zero") for c in ("price", "quantity")),
            Rule(pl.col("side").is_null(), raw("side"), "side is neither buy nor sell"),
        ]
        sound, rejected = sift(frame, rules, file)
        sound = sound.with_columns(sound.select(NS, "price", "quantity", "side").hash_rows().alias(_PRINT))
        taken, repeated, other = self._sorted_out(sound)
        told = "this id came before, with other values"
        rejected += [Rejected(file, number, trade_id, told) for number, trade_id in other.select(NUMBER, "trade_id").rows()]
        if self._dense:
            self._find_holes(taken)
        trades = [
            Trade(self._instrument, self._stream, trade_id, price, quantity, side, at_ns)
            for trade_id, price, quantity, side, at_ns in taken.select("trade_id", "price", "quantity", "side", NS).iter_rows()
        ]
        return Judged(trades, taken[NUMBER].to_list(), repeated, rejected)

    def holes(self) -> Sequence[Hole]:
        """Ids that no file had, where ids rise by one."""
        return self._holes

    def _sorted_out(self, sound: pl.DataFrame) -> tuple[pl.DataFrame, int, pl.DataFrame]:
        """Trades that are new, how many came before, and those that contradict an earlier one."""
        both = pl.concat([self._before, sound.select("trade_id", _PRINT)])
        both = both.with_columns(
            pl.col(_PRINT).first().over("trade_id").alias("first"), pl.col("trade_id").is_first_distinct().alias("is_new")
        )
        judged = sound.hstack(both.tail(sound.height).select("first", "is_new"))
        self._before = sound.select("trade_id", _PRINT)
        taken = judged.filter(pl.col("is_new"))
        other = judged.filter(~pl.col("is_new") & (pl.col(_PRINT) != pl.col("first")))
        return taken, judged.height - taken.height - other.height, other

    def _find_holes(self, taken: pl.DataFrame) -> None:
        for trade_id, at_ns in taken.select(pl.col("trade_id").cast(pl.Int64, strict=False), NS).iter_rows():
            if trade_id is None:
                continue
            if self._last is not None and trade_id > self._last[0] + 1:
                self._holes.append(Hole(self._last[1], at_ns, trade_id - self._last[0] - 1))
            if self._last is None or trade_id > self._last[0]:
                self._last = (trade_id, at_ns)


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Ids as text, and sides in our words, with what stood there beside."""
    given, words = ("buyer_maker", _TAKERS) if "buyer_maker" in frame.columns else ("side", _SIDES)
    said = pl.col(given).cast(pl.String)
    trade_id = pl.col("trade_id")
    if frame.schema["trade_id"].is_float():  # as pandas writes integers beside a gap; above 2^53 they are not what they were
        trade_id = pl.when((trade_id.abs() < 2**53) & (trade_id == trade_id.floor())).then(trade_id.cast(pl.Int64, strict=False))
    return frame.with_columns(
        trade_id.cast(pl.String).str.strip_chars().alias("trade_id"),
        said.alias(raw("side")),
        said.str.strip_chars().str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String).alias("side"),
    )
